"""`make demo`: the whole chain for real.

    python -m ovseg_ros.app.demo.command [--queries "find moka pot, giraffe"]

The lifecycle node and a camera run as processes of their own over DDS. A planner asks through the three
interfaces: the topic `~/query`, the services `~/set_vocabulary` and `~/segment`, the action `~/find_object`;
first at the rendered tabletop with the preset mini, then at the photograph of a garage and its depth with
lite, then at photographs without depth. Each answer is held against the recording's ground truth, which the
node never gets. Exits 0 unless one that is judged is wrong, or too few things of the photographs have a mask,
and leaves result.json, overlay_*.png, masks_*.png, tabletop.gif and the processes' logs in out/demo.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ovseg_ros.app.demo.acts import Act, acts_with
from ovseg_ros.app.demo.output import Answer, Coverage, table, verdict, write_result
from ovseg_ros.app.demo.pictures import contact_sheet, in_rows, write_animation, write_image
from ovseg_ros.app.demo.presets import add_preset_options, presets_of
from ovseg_ros.app.demo.stage import Stage, own_domain
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluate.recordings.demo import machine, recording_folder
from ovseg_ros.evaluate.recordings.photographs import read_frames

GIF_RATE_HZ = 9.0


class Demo:
    """One run."""

    def __init__(self, output: Path, queries: str, presets: Mapping[str, str]) -> None:
        """`queries` empty: the demo's own. `presets`: recording -> preset, where it is not the act's."""
        self._output = output
        self._queries = queries
        self._presets = presets
        self._start = time.monotonic()
        self.answers: list[Answer] = []
        self.coverage: list[Coverage] = []
        self._stack = ExitStack()

    def say(self, text: str) -> None:
        """Prints a line of progress with the time since the start."""
        print(f"[{time.monotonic() - self._start:5.1f} s] {text}", flush=True)

    def verdict(self) -> tuple[bool, str]:
        """Whether all went well so far, and that in words."""
        return verdict(self.answers, self.coverage)

    def run(self) -> bool:
        """Plays all acts; True where nothing that is judged is wrong."""
        error = ""
        try:
            with self._stack:
                self._play()
        except OvsegError as failure:
            error = str(failure)
            self.say(f"failed: {error}")
        ok = not error and self.verdict()[0]
        seconds = round(time.monotonic() - self._start, 1)
        about: dict[str, Any] = {"seconds": seconds, "machine": machine()}
        if error:
            about["error"] = error
        write_result(self._output / "result.json", self.answers, ok, about, self.coverage)
        return ok

    def _play(self) -> None:
        stages = [self._stage(act, number) for number, act in enumerate(acts_with(self._presets))]
        stages = [stage for stage in stages if stage.act.asks]
        for number, stage in enumerate(stages):
            self.say(f"act {number + 1}: demo/{stage.name} and a node with the preset {stage.preset}")
            if not number:
                stage.start_node()
            stage.start_camera()
            stage.wait_ready()
            self.say("the node is active, frames arrive; asking")
            if number + 1 < len(stages):
                stages[number + 1].start_node(niceness=10)  # loads beside the questions; they go first
            self.answers += stage.ask_all(stage.act.asks)
            self.coverage += stage.coverage()
            frames = self._film(stage) if stage.act.film else []
            stage.close()
            self._write(stage, frames)

    def _stage(self, act: Act, number: int) -> Stage:
        folder = recording_folder(f"demo/{act.recording}")
        frames = list(read_frames(folder))
        truth = act.truth(frames)
        stage = Stage(
            act.asked(self._queries, truth.scenes),
            folder,
            truth,
            frames=len(frames) * act.repeat,
            domain=own_domain() % 100 + number if number else own_domain(),
            output=self._output,
            say=self.say,
        )
        self._stack.callback(stage.close)
        return stage

    def _film(self, stage: Stage) -> list[np.ndarray]:
        asked = [word for ask in stage.act.asks for word in ask.words]
        words = list(dict.fromkeys(asked if self._queries else stage.truth.names))
        self.say(f"filming the node's overlay of {', '.join(words)}")
        return stage.film(words)

    def _write(self, stage: Stage, frames: Sequence[np.ndarray]) -> None:
        """Writes the pictures of an act as a whole, while the next node loads."""
        if frames:
            size = write_animation(self._output / f"{stage.name}.gif", frames, GIF_RATE_HZ)
            write_image(self._output / f"{stage.name}.png", contact_sheet(frames))
            self.say(f"{stage.name}.gif: {len(frames)} frames, {size / 1e6:.1f} MB")
        if stage.mask_pictures:
            write_image(self._output / f"masks_{stage.name}.png", in_rows(stage.mask_pictures))


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; 0 unless an answer is wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m ovseg_ros.app.demo.command",
        description="Asks the real node, over DDS, for things by name.",
    )
    parser.add_argument(
        "--queries", default="", help='other words than the demo\'s own: "find moka pot, giraffe"'
    )
    parser.add_argument("--output", type=Path, default=Path("out/demo"), help="folder (default: out/demo)")
    add_preset_options(parser)
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _on_terminate)
    _empty(options.output)
    demo = Demo(options.output, options.queries.strip(), presets_of(options))
    try:
        ok = demo.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if demo.answers:
        print(
            "\n"
            + "\n\n".join([table(demo.answers), *(one.table() for one in demo.coverage if one.best)])
            + "\n"
        )
    demo.say(f"{demo.verdict()[1]}; see {options.output}")
    return 0 if ok else 1


def _on_terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _empty(folder: Path) -> None:
    """Makes the folder and removes what an earlier run left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("overlay_*.png", "masks_*.png", "*.log", "tabletop.*", "result.json"):
        for file in folder.glob(pattern):
            file.unlink()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of the middleware must not hold the end up

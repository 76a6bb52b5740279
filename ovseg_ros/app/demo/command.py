"""`make demo`: the whole chain for real.

    python -m ovseg_ros.app.demo.command [--queries "find moka pot, giraffe"]

The lifecycle node and a camera run as processes of their own over DDS. A planner asks through the three
interfaces: the topic `~/query`, the services `~/set_vocabulary` and `~/segment`, the action `~/find_object`;
first at the rendered tabletop with the preset mini, then at the photograph of a garage with lite. Each
answer is held against the recording's ground truth, which the node never gets. Exits 0 unless one
is wrong, and leaves result.json, overlay_*.png, tabletop.gif and the processes' logs in out/demo.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from ovseg_ros.app.demo.output import (
    Answer,
    contact_sheet,
    table,
    verdict,
    write_animation,
    write_image,
    write_result,
)
from ovseg_ros.app.demo.queries import GARAGE_ASKS, TABLETOP_ASKS, Ask, users_asks
from ovseg_ros.app.demo.stage import Stage, own_domain
from ovseg_ros.app.demo.truth import GARAGE_IOU, Truth
from ovseg_ros.errors import OvsegError
from ovseg_ros.evaluate.recordings.demo import machine, recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording

TABLETOP_RATE_HZ, GARAGE_RATE_HZ = 5.0, 2.0
GIF_RATE_HZ = 9.0


class Demo:
    """One run."""

    def __init__(self, output: Path, queries: str, presets: tuple[str, str] = ("mini", "lite")) -> None:
        """`queries` empty: the demo's own. `presets`: at the tabletop and in the garage."""
        self._output = output
        self._queries = queries
        self._presets = presets
        self._start = time.monotonic()
        self.answers: list[Answer] = []
        self._stack = ExitStack()

    def say(self, text: str) -> None:
        """Prints a line of progress with the time since the start."""
        print(f"[{time.monotonic() - self._start:5.1f} s] {text}", flush=True)

    def run(self) -> bool:
        """Plays both acts; True where no answer is wrong."""
        error = ""
        try:
            with self._stack:
                self._play()
        except OvsegError as failure:
            error = str(failure)
            self.say(f"failed: {error}")
        ok = not error and verdict(self.answers)[0]
        seconds = round(time.monotonic() - self._start, 1)
        about: dict[str, Any] = {"seconds": seconds, "machine": machine()}
        if error:
            about["error"] = error
        write_result(self._output / "result.json", self.answers, ok, about)
        return ok

    def _play(self) -> None:
        self.say(f"starting the node (preset {self._presets[0]}) and the camera (demo/tabletop)")
        tabletop = self._stage("tabletop", self._presets[0], TABLETOP_RATE_HZ, own_domain())
        tabletop.start_node()
        tabletop.start_camera()
        garage = self._stage("garage", self._presets[1], GARAGE_RATE_HZ, own_domain() % 100 + 1)
        tabletop_asks, garage_asks = self._asks(tabletop, garage)
        tabletop.wait_ready()
        self.say("the node is active, frames arrive; asking")
        if garage_asks:
            garage.start_node(niceness=10)  # loads beside the questions; they go first
        self.answers += tabletop.ask_all(tabletop_asks)
        frames = self._film(tabletop, tabletop_asks)
        tabletop.close()
        if garage_asks:
            self.say(f"on to demo/garage with a second node (preset {self._presets[1]})")
            garage.start_camera()
        if frames:  # written while the second node loads
            size = write_animation(self._output / "tabletop.gif", frames, GIF_RATE_HZ)
            write_image(self._output / "tabletop.png", contact_sheet(frames))
            self.say(f"tabletop.gif: {len(frames)} frames, {size / 1e6:.1f} MB")
        if garage_asks:
            garage.wait_ready()
            self.answers += garage.ask_all(garage_asks)

    def _stage(self, name: str, preset: str, rate_hz: float, domain: int) -> Stage:
        folder = recording_folder(f"demo/{name}")
        frames = list(read_recording(folder))
        needed = GARAGE_IOU if name == "garage" else {}
        stage = Stage(
            name,
            preset,
            folder,
            Truth.of_frames(frames, needed),
            frames=len(frames),
            rate_hz=rate_hz,
            domain=domain,
            output=self._output,
            say=self.say,
        )
        self._stack.callback(stage.close)
        return stage

    def _asks(self, tabletop: Stage, garage: Stage) -> tuple[Sequence[Ask], Sequence[Ask]]:
        if not self._queries:
            return TABLETOP_ASKS, GARAGE_ASKS
        first, second = (users_asks(self._queries, stage.truth.scenes) for stage in (tabletop, garage))
        return first, second

    def _film(self, tabletop: Stage, asks: Sequence[Ask]) -> list[np.ndarray]:
        words = [word for ask in asks for word in ask.words] if self._queries else tabletop.truth.names
        words = list(dict.fromkeys(words))
        if not words:
            return []
        self.say(f"filming the node's overlay of {', '.join(words)}")
        return tabletop.film(words)


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
    parser.add_argument("--preset", default="mini", help="of the tabletop's node (default: mini)")
    parser.add_argument("--garage-preset", default="lite", help="of the garage's node (default: lite)")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, _on_terminate)
    _empty(options.output)
    demo = Demo(options.output, options.queries.strip(), (options.preset, options.garage_preset))
    try:
        ok = demo.run()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    if demo.answers:
        print("\n" + table(demo.answers) + "\n")
    demo.say(f"{verdict(demo.answers)[1]}; see {options.output}")
    return 0 if ok else 1


def _on_terminate(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _empty(folder: Path) -> None:
    """Makes the folder and removes what an earlier run left there."""
    folder.mkdir(parents=True, exist_ok=True)
    for pattern in ("overlay_*.png", "*.log", "tabletop.*", "result.json"):
        for file in folder.glob(pattern):
            file.unlink()


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)  # threads of the middleware must not hold the end up

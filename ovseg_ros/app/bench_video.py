"""The case `video` of `ovseg bench`: a recording, frame by frame, every way in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ovseg_ros.app.bench_clock import Stages, Timing, spread, timed, weigh
from ovseg_ros.app.bench_paths import equal_labels, in_16_bits, in_32_bits, naive_of, our_frame, vocabulary_of
from ovseg_ros.app.bench_plan import Plan
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.demo import recording_folder
from ovseg_ros.evaluate.recording import read_recording

NAIVE, ANEW, COLD = "naive", "naive, words anew", "ours, every frame anew"
OURS, HALF = "ours", "ours, every frame anew, 16 bits"


class Run:
    """One preset's ways through a recording; each is handed the same frames."""

    def __init__(self, segmenter: OpenVocabularySegmenter, names: Sequence[str]) -> None:
        """Sets the ways up.

        Args:
            segmenter: ours, which is followed as it is; the others are made from it, without memory and with
                its encoder in float32.
            names: the words that are looked for in every frame.
        """
        from ovseg_ros.core.tracks import TrackOptions
        from ovseg_ros.core.video import VideoSegmenter

        self.device, self._names = segmenter.device, list(names)
        self._vocabulary = vocabulary_of(names)
        self.followers = {OURS: VideoSegmenter(segmenter, TrackOptions())}
        self.shown: dict[str, Segmentation] = {}
        self.timings: dict[str, Timing] = {}
        self.masks = {name: [0, 0] for name in self.followers}  # encoded, all
        half = in_16_bits(segmenter.clip, segmenter.device)

        def anew(encoder: Any, name: str) -> OpenVocabularySegmenter:
            return OpenVocabularySegmenter(
                segmenter.proposer, encoder, segmenter.options, segmenter.device, name=name
            )

        self._ways: dict[str, Callable[[Frame], Stages]] = {
            NAIVE: partial(self._plain, naive_of(segmenter)),
            ANEW: partial(self._plain, naive_of(segmenter, text="anew")),
            COLD: partial(self._own, COLD, anew(in_32_bits(segmenter.clip), "float32")),
            **{name: partial(self._own, name, follower) for name, follower in self.followers.items()},
        }

        if half is not None:
            self._ways[HALF] = partial(self._own, HALF, anew(half, "16 bits"))
        self.alike = {name: [0, 0] for name in (*self.followers, *([HALF] if half is not None else []))}

    def once(self, frames: Sequence[Frame], turn: int) -> dict[str, float]:
        """Through the recording from a fresh start; the seconds of each way."""
        self._reset()
        sums = dict.fromkeys(self._ways, 0.0)
        names = list(self._ways)
        for number, frame in enumerate(frames):
            first = (number + turn) % len(names)
            for name in names[first:] + names[:first]:
                timing = self.timings.setdefault(name, Timing())
                timed(partial(self._ways[name], frame), timing, self.device)
                sums[name] += timing.seconds[-1]
            self._compare()
        return sums

    def weigh(self, frames: Sequence[Frame]) -> None:
        """Through the recording once for memory, uncounted, which warms everything up."""
        self._reset()
        for frame in frames:
            for name, way in self._ways.items():
                weigh(partial(way, frame), self.timings.setdefault(name, Timing()), self.device)

    def times(self, fast: str, rounds: Sequence[Mapping[str, float]]) -> dict[str, Any]:
        """How many times longer each other way takes than `fast`.

        Of whole rounds: a frame on which everything is new counts with all it costs.
        """
        spent = {name: sum(timing.processor_s) for name, timing in self.timings.items()}
        return {
            name: {
                **spread([one[name] / one[fast] for one in rounds]),
                "processor": spent[name] / max(spent[fast], 1e-9),
            }
            for name in self.timings
            if name != fast
        }

    def _reset(self) -> None:
        for follower in self.followers.values():
            follower.reset()

    def _plain(self, path: Any, frame: Frame) -> Stages:
        return path.frame(frame, self._names)[1]  # type: ignore[no-any-return]

    def _own(self, name: str, segmenter: Any, frame: Frame) -> Stages:
        self.shown[name], _, stages = our_frame(segmenter, frame, self._vocabulary)
        if name in self.followers:
            segmenter.note(self.shown[name])
        return stages

    def _compare(self) -> None:
        """Against the same frame labelled without memory."""
        for name in self.alike:
            for count, new in zip((0, 1), equal_labels(self.shown[COLD], self.shown[name]), strict=True):
                self.alike[name][count] += new
        for name, follower in self.followers.items():
            self.masks[name][0] += follower.last.encoded
            self.masks[name][1] += len(self.shown[name])


def video(plan: Plan, say: Callable[[str], None]) -> dict[str, Any]:
    """The recording through the plain way, through ours without memory, and through ours with tracks.

    Raises:
        InvalidInputError: no recording, or one without frames.
    """
    from ovseg_ros.models.presets import load_preset

    frames, names = _read(plan.recording, plan.frames)
    segmenter = load_preset(plan.preset, device=plan.device)
    segmenter.warm_up()
    run = Run(segmenter, names)
    say(f"video: {plan.recording}, for memory")
    run.weigh(frames)
    rounds = []
    for turn in range(plan.repeats):
        say(f"video: {plan.recording}, round {turn + 1} of {plan.repeats}")
        rounds.append(run.once(frames, turn))
    shares: dict[str, float] = {name: alike / max(count, 1) for name, (alike, count) in run.alike.items()}
    return {
        "recording": str(plan.recording),
        "preset": plan.preset,
        "frames": len(frames),
        "rounds": plan.repeats,
        "labels": len(names),
        "masks": run.alike[OURS][1],
        "ways": {name: timing.figures() for name, timing in run.timings.items()},
        "times_ours": run.times(OURS, rounds),
        "labels_equal_to_cold": shares,
        "labels_equal_16_bits": shares.get(HALF),
        "share_encoded": {name: one / max(all_, 1) for name, (one, all_) in run.masks.items()},
    }


def _read(recording: Path, most: int | None) -> tuple[list[Frame], list[str]]:
    """Its frames, and the names of all things in it."""
    recorded = list(itertools.islice(read_recording(recording_folder(recording)), most))
    if not recorded:
        raise InvalidInputError(f"want a recording with frames, {recording} has none")
    names = sorted({name for one in recorded for name in one.names.values()})
    return [one.frame for one in recorded], names or ["thing"]

"""Follows each thing of recordings behind a board and out of the scene; writes out/benchmark/following.json.

Each thing that is found by its name in the first frame of its scene is followed three times, from there on:

    shown again   half of the scene, then a board hides the thing for longer than its track lives, while the
                  camera moves on, then the scene backwards from its end
    kept hidden   half of the scene, then the board hides it for good, the rest is in view: it has to be LOST
    other scene   half of the scene, then another scene, without it: it has to be LOST

The board is drawn over colour and depth, before the thing by 5 cm. The truth serves to draw it and to score:
a mask shows the thing that most of its pixels show.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from ovseg_ros.core.following import Following, FollowOptions, State, View
from ovseg_ros.core.maps import box_slices
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.space import objects_3d
from ovseg_ros.core.tracking import VideoSegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.evaluate.recordings.demo import machine, write_json
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording
from ovseg_ros.models.presets import load_preset

ROOT = Path(__file__).resolve().parents[1]
HIDDEN_S = 1.5  # a track lives for 1 s without its thing
LOST_AFTER_S = 2.5
AFTER_S = 3.0  # that a thing is gone
IN_VIEW = 0.5  # share of a thing's pixels from which it counts as visible, and at least …
MIN_PIXELS = 400  # … so many: what the recording's other figures are about
SHOWN_AGAIN, KEPT_HIDDEN, OTHER_SCENE = KINDS = ("shown again", "kept hidden", "other scene")


@dataclass
class Count:
    """Frames of one kind of trial, by what was said and what was true."""

    trials: int = 0
    right: int = 0  # followed, and it is the thing
    missed: int = 0  # said to be hidden, and visible
    hidden: int = 0  # said to be hidden or lost, and not visible
    another: int = 0  # followed, and it is something else
    ended_well: int = 0  # trials that ended in sight of it, or LOST where it is gone
    late: list[int] = field(default_factory=list)  # frames from its being visible again to its being found


def board(recorded: RecordedFrame, thing: int, rng: np.random.Generator) -> RecordedFrame:
    """The frame with a board before a thing, in the truth too."""
    mask, frame = recorded.mask(thing), recorded.frame
    if not mask.any():
        return recorded
    rows, columns = np.nonzero(mask)
    height, width = frame.size_hw
    y0, y1 = max(rows.min() - 12, 0), min(rows.max() + 13, height)
    x0, x1 = max(columns.min() - 12, 0), min(columns.max() + 13, width)
    image, depth, instances = frame.image_rgb.copy(), frame.depth_m.copy(), recorded.instances.copy()
    grain = rng.normal(0, 6, (y1 - y0, 1, 1)) + rng.normal(0, 3, (y1 - y0, x1 - x0, 1))
    image[y0:y1, x0:x1] = np.clip(np.array([150, 115, 80]) + grain, 0, 255)
    known = depth[mask][depth[mask] > 0]
    depth[y0:y1, x0:x1] = (np.percentile(known, 5) if known.size else 0.7) - 0.05
    instances[y0:y1, x0:x1] = 0
    return dataclasses.replace(
        recorded, frame=dataclasses.replace(frame, image_rgb=image, depth_m=depth), instances=instances
    )


def timed(frames: Iterator[RecordedFrame], period_ns: int) -> Iterator[RecordedFrame]:
    """Frames as they would come from one camera, one after the other."""
    for n, one in enumerate(frames):
        stamp = 1_000_000_000 + n * period_ns
        yield dataclasses.replace(one, frame=dataclasses.replace(one.frame, stamp_ns=stamp))


def played(
    kind: str, scene: Sequence[RecordedFrame], other: Sequence[RecordedFrame], thing: int, rate_hz: float
) -> Iterator[RecordedFrame]:
    """What the camera sees in one trial."""
    rng, half = np.random.default_rng(thing), len(scene) // 2
    yield from scene[:half]
    rest = itertools.cycle([*scene[half:], *scene[:half:-1]])
    if kind == OTHER_SCENE:
        yield from itertools.islice(itertools.cycle([*other, *other[::-1]]), round(AFTER_S * rate_hz))
        return
    seconds = HIDDEN_S if kind == SHOWN_AGAIN else AFTER_S
    for one in itertools.islice(rest, round(seconds * rate_hz)):
        yield board(one, thing, rng)
    if kind == SHOWN_AGAIN:
        yield from scene[: half - 1 : -1]


def view_of(result: Segmentation, time_s: float) -> View:
    """As the node makes it."""
    frame, parts = result.frame, box_slices(result.boxes_xyxy.tolist())

    def centroid(n: int) -> np.ndarray | None:
        found = objects_3d(frame.depth_m, frame.intrinsics, [result.masks[n].numpy()], [parts[n]])[0]
        return None if found is None else found.centroid_m

    return View.of(result, time_s=time_s, centroid=centroid)


def shown_by(result: Segmentation, index: int, recorded: RecordedFrame) -> int:
    """The thing that most of a mask's pixels show, 0: none."""
    inside, counts = np.unique(recorded.instances[result.masks[index].numpy()], return_counts=True)
    return int(inside[counts.argmax()])


@dataclass(eq=False)
class Trial:
    """One thing, followed from the first frame."""

    thing: int
    name: str
    whole_px: int
    count: Count
    following: Following | None = None
    state: State = State.FOLLOWING
    is_visible: bool = True
    was_hidden: bool = False
    visible_since: int = 0

    def begin(self, result: Segmentation, view: View, recorded: RecordedFrame) -> bool:
        """Whether the thing is what is found by its name."""
        index, _ = result.best(self.name)
        if index is None or shown_by(result, index, recorded) != self.thing:
            return False
        self.following = Following(view, index, FollowOptions(lost_after_s=LOST_AFTER_S))
        self.count.trials += 1
        return True

    def see(self, number: int, result: Segmentation, view: View, recorded: RecordedFrame) -> tuple[int, ...]:
        """Scores the next frame; returns the tracks to look at again."""
        assert self.following is not None
        where = self.following.see(view)
        pixels, was_visible = int(recorded.mask(self.thing).sum()), self.is_visible
        self.is_visible = pixels >= MIN_PIXELS and pixels >= IN_VIEW * self.whole_px
        if where.index is not None:
            is_right = shown_by(result, where.index, recorded) == self.thing
            self.count.right += is_right
            self.count.another += not is_right
        else:
            self.count.missed += self.is_visible
            self.count.hidden += not self.is_visible
        self.was_hidden |= not self.is_visible
        if self.is_visible and not was_visible:
            self.visible_since = number
        if self.is_visible and self.was_hidden and where.index is not None:
            self.count.late.append(number - self.visible_since)
            self.was_hidden = False
        self.state = where.state
        return where.look_again

    def end(self) -> None:
        """The thing has to be in sight of the last frame, or lost where it is gone."""
        self.count.ended_well += self.state is (State.FOLLOWING if self.is_visible else State.LOST)


def follow(
    video: VideoSegmenter, frames: Iterator[RecordedFrame], trials: list[Trial], seconds: list[float]
) -> list[Trial]:
    """Follows things at the same time; returns the trials that begin, each with one thing and its word."""
    video.reset()
    vocabularies = {trial.name: Vocabulary.empty().replace([trial.name])[0] for trial in trials}
    begun: list[Trial] = []
    for number, recorded in enumerate(frames):
        start = time.perf_counter()
        embedded = video.embed(recorded.frame)
        spent = time.perf_counter() - start
        for trial in trials if number == 0 else list(begun):
            start = time.perf_counter()
            result = video.label(embedded, vocabularies[trial.name])
            view = view_of(result, recorded.frame.stamp_ns * 1e-9)
            if number == 0:
                begun += [trial] if trial.begin(result, view, recorded) else []
            else:
                video.look_again(trial.see(number, result, view, recorded))
                seconds.append(spent + time.perf_counter() - start)
    for trial in begun:
        trial.end()
    return begun


def measure(segmenter: OpenVocabularySegmenter, recording: Path, only: Sequence[int]) -> dict[str, Any]:
    """All trials of one recording."""
    recorded = list(read_recording(recording))
    scenes = [list(frames) for _, frames in itertools.groupby(recorded, key=lambda one: sorted(one.names))]
    period_ns = scenes[0][1].frame.stamp_ns - scenes[0][0].frame.stamp_ns
    video, counts, seconds = VideoSegmenter(segmenter), {kind: Count() for kind in KINDS}, []
    not_begun = []
    for number, scene in enumerate(scenes):
        if only and number not in only:
            continue
        other = scenes[(number + 1) % len(scenes)]
        things = scene[0].names
        whole = {thing: max(int(one.mask(thing).sum()) for one in scene) for thing in things}
        for kind in KINDS:
            # The board hides one thing; another scene is without any of this one's.
            groups = [list(things)] if kind == OTHER_SCENE else [[thing] for thing in things]
            for group in groups:
                trials = [Trial(thing, things[thing], whole[thing], counts[kind]) for thing in group]
                frames = timed(played(kind, scene, other, group[0], 1e9 / period_ns), period_ns)
                before = counts[kind].another
                begun = follow(video, frames, trials, seconds)
                not_begun += [one.name for one in trials if one not in begun and kind == KINDS[0]]
                print(number, kind, [one.name for one in begun], counts[kind].another - before, flush=True)
    plain = plain_seconds(video, recorded)
    return {
        "recording": recording.name,
        "rate_hz": 1e9 / period_ns,
        "scenes": list(only) or list(range(len(scenes))),
        "not_begun": not_begun,
        "trials": {kind: dataclasses.asdict(count) for kind, count in counts.items()},
        "following_hz": 1 / statistics.median(seconds),
        "plain_hz": 1 / statistics.median(plain),
        "frames": len(seconds),
    }


def plain_seconds(video: VideoSegmenter, recorded: Sequence[RecordedFrame]) -> list[float]:
    """Of each frame, for segmentation with tracking and nothing followed."""
    video.reset()
    out = []
    for one in recorded:
        vocabulary = Vocabulary.empty().replace([next(iter(one.names.values()))])[0]
        start = time.perf_counter()
        video.segment(one.frame, vocabulary)
        out.append(time.perf_counter() - start)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recordings", type=Path, nargs="*", default=[ROOT / "demo" / "tabletop"])
    parser.add_argument("--preset", default="mini")
    parser.add_argument("--scene", type=int, action="append", default=[], help="these alone, 0 is the first")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "following.json")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    cv2.setNumThreads(arguments.threads)
    segmenter = load_preset(arguments.preset)
    segmenter.warm_up()
    results = [measure(segmenter, recording, arguments.scene) for recording in arguments.recordings]
    write_json({"preset": arguments.preset, "machine": machine(), "recordings": results}, arguments.out)
    for result in results:
        for trial in result["trials"].values():
            trial["late"] = dict(sorted(Counter(trial["late"]).items()))
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()

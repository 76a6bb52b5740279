"""The cases of `ovseg bench` on made-up frames: a cold frame, a query on a held one, and three sweeps."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

from ovseg_ros.app.bench_clock import Stages, Timing, alternate, ratios, spread
from ovseg_ros.app.bench_naive import NaivePath
from ovseg_ros.app.bench_paths import (
    cosines,
    in_16_bits,
    naive_of,
    our_frame,
    our_frame_of_many_words,
    vocabulary_of,
)
from ovseg_ros.app.bench_plan import Plan
from ovseg_ros.app.bench_scene import GivenMasks, know_words, made_up_frame, made_up_masks, random_clip, words
from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.vocabulary import MAX_LABELS
from ovseg_ros.evaluate.class_names import ClassList

HALF = "ours, 16 bits"
Say = Callable[[str], None]

# Every mask gets a label and is painted: the most work there is.
OPTIONS = SegmenterOptions(threshold=0.0, max_masks=10_000, min_mask_pixels=1, others="")


class Rig:
    """The networks that all cases share, so that they are built once."""

    def __init__(self, plan: Plan, ros: Callable[[Any], Stages] | None = None) -> None:
        """Builds them.

        Args:
            plan: model and device.
            ros: gives the seconds of "convert" and "publish" for a labelled frame; None without ROS.
        """
        self.plan, self.ros = plan, ros
        self.device = torch.device(plan.device)
        self.clip: MaskPromptedClip = random_clip(plan.model, self.device)
        know_words(self.clip, words(max(plan.label_counts)), OPTIONS.templates)
        self.half = in_16_bits(self.clip, self.device)
        self.naive = naive_of(self.segmenter(1, (8, 8)))
        known = self.clip.encode_text(words(max(plan.label_counts)), OPTIONS.templates)
        self.naive.words = dict(zip(words(max(plan.label_counts)), known, strict=True))
        self._anew = replace_text(self.naive, "anew")

    def segmenter(self, masks: int, size_hw: tuple[int, int], encoder: Any = None) -> OpenVocabularySegmenter:
        """Ours, with so many masks on a frame of that size."""
        given = GivenMasks(made_up_masks(masks, size_hw))
        return OpenVocabularySegmenter(given, encoder or self.clip, OPTIONS, self.device, name="bench")

    def ways(
        self, masks: int, size_hw: tuple[int, int], labels: int, *, anew: bool = False
    ) -> dict[str, Callable[[], Stages]]:
        """Both ways through one frame, ready to be timed."""
        segmenter, frame, names = self.segmenter(masks, size_hw), made_up_frame(size_hw), words(labels)

        def plain(path: NaivePath) -> Stages:
            path.proposer = segmenter.proposer
            return path.frame(frame, names)[1]

        ways = {"naive": partial(plain, self.naive), "ours": self._ours(segmenter, frame, names)}
        if self.half is not None:
            half = self.segmenter(masks, size_hw, self.half)
            ways[HALF] = self._ours(half, frame, names)
        if anew:
            ways["naive, words anew"] = partial(plain, self._anew)
        return ways

    def _ours(self, segmenter: OpenVocabularySegmenter, frame: Any, names: list[str]) -> Callable[[], Stages]:
        if len(names) <= MAX_LABELS:
            vocabulary = vocabulary_of(names)
            return lambda: our_frame(segmenter, frame, vocabulary)[2]
        classes = ClassList(tuple((name,) for name in names))
        return lambda: our_frame_of_many_words(segmenter, frame, classes, OPTIONS)


def replace_text(path: NaivePath, text: Any) -> NaivePath:
    """The same networks, words handled in another way."""
    other = NaivePath.__new__(NaivePath)
    other.__dict__.update(path.__dict__, text=text, words={})
    return other


def cold(rig: Rig, say: Say) -> dict[str, Any]:
    """A frame of which nothing is known, both ways, and whether they embed it alike."""
    plan = rig.plan
    say(f"cold: {plan.masks} masks, {plan.labels} labels")
    timings = _timed(rig, rig.ways(plan.masks, plan.size_hw, plan.labels, anew=True))
    segmenter, frame = rig.segmenter(plan.masks, plan.size_hw), made_up_frame(plan.size_hw)
    rig.naive.proposer = segmenter.proposer
    plain = rig.naive.frame(frame, words(plan.labels))[0]
    segmentation, embedded, _ = our_frame(segmenter, frame, vocabulary_of(words(plan.labels)))
    found = _compared(timings)
    found["cosine"] = {"ours": cosines(plain.embeddings, embedded.embeddings)}
    if rig.half is not None:
        in_half = rig.segmenter(plan.masks, plan.size_hw, rig.half).embed(frame)
        found["cosine"][HALF] = cosines(plain.embeddings, in_half.embeddings)
    if rig.ros is not None:
        stages: dict[str, list[float]] = {}
        for _ in range(plan.runs + 1):
            for name, seconds in rig.ros(segmentation).items():
                stages.setdefault(name, []).append(seconds)
        sent = {name: spread(times[1:], 1000.0) for name, times in stages.items()}
        found["ways"]["ours"]["stages_ms"].update(sent)
    return found


def query(rig: Rig, say: Say) -> dict[str, Any]:
    """What a query costs on a frame that is embedded already, beside a cold frame."""
    plan = rig.plan
    say("query: words known and words new, on a held frame")
    segmenter, frame = rig.segmenter(plan.masks, plan.size_hw), made_up_frame(plan.size_hw)
    held = segmenter.embed(frame)
    known, fresh = words(plan.labels), itertools.count()
    vocabulary = vocabulary_of(known)

    def asked(new: bool) -> Stages:
        asked_for = vocabulary_of([*known[:-1], f"novelty {next(fresh)}"]) if new else vocabulary
        timings = segmenter.label(held, asked_for).timings
        return {"text": timings["text"], "label": timings["classify"]}

    ways = {
        "cold frame": lambda: our_frame(segmenter, frame, vocabulary)[2],
        "words asked before": lambda: asked(False),
        "one new word": lambda: asked(True),
    }
    timings = _timed(rig, ways)
    whole = timings["cold frame"]
    return {
        "ways": {name: timing.figures() for name, timing in timings.items()},
        "share_of_cold": {
            name: ratios(timing, whole) for name, timing in timings.items() if name != "cold frame"
        },
    }


def sweep_masks(rig: Rig, say: Say) -> dict[str, Any]:
    """Cost against the number of masks."""
    plan = rig.plan
    points = [(count, (count, plan.size_hw, plan.labels)) for count in plan.mask_counts]
    return _sweep(rig, "masks", points, say)


def sweep_labels(rig: Rig, say: Say) -> dict[str, Any]:
    """Cost against the number of labels, all of them asked for before; and what 847 add to one."""
    plan = rig.plan
    points = [(count, (plan.masks, plan.size_hw, count)) for count in plan.label_counts]
    found = _sweep(rig, "labels", points, say)
    many = 847 if 847 in plan.label_counts else max(plan.label_counts)
    say(f"labels: 1 and {many} in turn")
    one = rig.ways(plan.masks, plan.size_hw, 1)["ours"]
    all_ = rig.ways(plan.masks, plan.size_hw, many)["ours"]
    timings = _timed(rig, {"1 label": one, f"{many} labels": all_})
    first, last = timings.values()
    found["ways"] = {name: timing.figures() for name, timing in timings.items()}
    found["many_over_one"] = {"labels": many, "ratio": ratios(last, first)}
    found["added"] = found["many_over_one"]["ratio"]["median"] - 1
    return found


def sweep_size(rig: Rig, say: Say) -> dict[str, Any]:
    """Cost against the size of the image."""
    plan = rig.plan
    points = [(h * w, (plan.masks, (h, w), plan.labels)) for h, w in plan.sizes_hw]
    found = _sweep(rig, "size", points, say)
    for point, (height, width) in zip(found["points"], plan.sizes_hw, strict=True):
        point["size"] = f"{width}x{height}"
    return found


def _sweep(rig: Rig, name: str, points: list[tuple[int, tuple[Any, ...]]], say: Say) -> dict[str, Any]:
    rows = []
    for at, arguments in points:
        say(f"{name}: {at}")
        rows.append({"at": at, **_compared(_timed(rig, rig.ways(*arguments)))})
    return {"points": rows}


def _timed(rig: Rig, ways: Mapping[str, Callable[[], Stages]]) -> dict[str, Timing]:
    return alternate(ways, runs=rig.plan.runs, device=rig.device, budget_s=rig.plan.budget_s)


def _compared(timings: Mapping[str, Timing]) -> dict[str, Any]:
    """Figures of each way; how many times ours the others take; and what all but the encoder takes."""
    return {
        "ways": {name: timing.figures() for name, timing in timings.items()},
        "without_encode_ms": {name: 1000 * timing.without("encode") for name, timing in timings.items()},
        "times_ours": {
            name: ratios(timing, timings["ours"]) for name, timing in timings.items() if name != "ours"
        },
        "times_16_bits": ratios(timings["naive"], timings[HALF]) if HALF in timings else None,
    }

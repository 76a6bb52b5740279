"""The cases of `ovseg bench`: a cold frame, a query on a held frame, and a video."""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F

from ovseg_ros.app.bench.baseline import Baseline, in_32_bits, in_torch_32
from ovseg_ros.app.bench.clock import Stages, Variant, interleave, ratios
from ovseg_ros.app.bench.panorama import PANORAMA_FRAMES, WORDS, Panorama
from ovseg_ros.app.bench.scene import GivenMasks, made_up_frame, made_up_masks, random_clip
from ovseg_ros.core.encoders import AccelerateOptions, accelerate
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import boxed_masks, mask_iou
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import TrackOptions, VideoSegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.photographs import read_frames
from ovseg_ros.models.presets import load_preset

BASELINE, WORDS_ANEW, OURS = "baseline", "baseline, words anew", "ours"
HALF = "ours, 16 bits"
UNTRACKED, EXACT = "ours, every frame anew", "ours, every frame anew, float32 in torch"
PANORAMA = "panorama"  # in place of a recording

# Every mask gets a label and is painted: the most work there is.
OPTIONS = SegmenterOptions(threshold=0.0, max_masks=10_000, min_mask_pixels=1, others="")

Segmenter = OpenVocabularySegmenter | VideoSegmenter


def cold(options: argparse.Namespace) -> dict[str, Any]:
    """A frame of which nothing is known but the words, and whether baseline and ours embed it alike."""
    segmenter, frame, names = _made_up(options)
    vocabulary, baseline = vocabulary_of(names), Baseline(segmenter)
    baseline.encode_words(names)
    ours = {OURS: segmenter}
    if (half := in_16_bits(segmenter.clip, segmenter.device)) is not None:
        ours[HALF] = segmenter.rebuilt(clip=half)
    variants: dict[str, Variant] = {
        BASELINE: lambda frame: baseline.frame(frame, names)[1],
        **{name: variant(one, vocabulary) for name, one in ours.items()},
        WORDS_ANEW: lambda frame: baseline.frame(frame, names, words_anew=True)[1],
    }
    expected = baseline.frame(frame, names)[0].embeddings
    return {
        **compared(variants, [frame], OURS, options, segmenter.device),
        "least_cosine": {
            name: least_cosine(expected, one.embed(frame).embeddings) for name, one in ours.items()
        },
    }


def query(options: argparse.Namespace) -> dict[str, Any]:
    """Words asked of a frame that is embedded already, beside a cold frame."""
    segmenter, frame, names = _made_up(options)
    vocabulary, held, fresh = vocabulary_of(names), segmenter.embed(frame), itertools.count()

    def ask(asked: Vocabulary) -> Stages:
        timings = segmenter.label(held, asked).timings
        return {name: timings[name] for name in ("text", "classify")}

    variants: dict[str, Variant] = {
        "cold frame": variant(segmenter, vocabulary),
        "words asked before": lambda _: ask(vocabulary),
        "one new word": lambda _: ask(vocabulary_of([*names[:-1], f"novelty {next(fresh)}"])),
    }
    return compared(variants, [frame], "cold frame", options, segmenter.device)


def video(options: argparse.Namespace) -> dict[str, Any]:
    """A recording through the baseline, and through a preset with and without memory of the frames before.

    Labels are compared with those of every frame anew with all networks in torch, in float32.

    Raises:
        InvalidInputError: no recording, or one without frames.
        ConfigError: see `Panorama`.
    """
    frames, names = _read(options)
    segmenter = load_preset(options.preset, device=options.device)
    exact = load_preset(options.preset, device=options.device, runtime="torch")  # shares no pass with it
    exact = exact.rebuilt(proposer=in_torch_32(exact.proposer), clip=in_32_bits(exact.clip))
    segmenter.warm_up()
    baseline, vocabulary = Baseline(exact), vocabulary_of(names)
    follower = VideoSegmenter(segmenter, TrackOptions())
    ours: dict[str, Segmenter] = {OURS: follower, UNTRACKED: segmenter}
    variants: dict[str, Variant] = {BASELINE: lambda frame: baseline.frame(frame, names)[1]}
    if baseline.is_clip:
        variants[WORDS_ANEW] = lambda frame: baseline.frame(frame, names, words_anew=True)[1]
    variants |= {name: variant(one, vocabulary) for name, one in {EXACT: exact, **ours}.items()}
    found = compared(variants, frames, OURS, options, segmenter.device, follower.reset)
    return {"frames": len(frames), **found, **agreement(exact, ours, frames, vocabulary)}


def agreement(
    reference: Segmenter, others: Mapping[str, Segmenter], frames: Sequence[Frame], vocabulary: Vocabulary
) -> dict[str, Any]:
    """Shares of the reference's masks that the others label alike, and that they put through the encoder."""
    alike, encoded, masks = dict.fromkeys(others, 0), dict.fromkeys(others, 0), 0
    for one in others.values():
        if isinstance(one, VideoSegmenter):
            one.reset()
    for frame in frames:
        expected = reference.segment(frame, vocabulary)
        masks += len(expected)
        for name, one in others.items():
            found = one.segment(frame, vocabulary)
            alike[name] += labelled_alike(expected, found)
            encoded[name] += one.last.encoded if isinstance(one, VideoSegmenter) else len(found)
    return {
        "masks": masks,
        "labels_equal": {name: count / max(masks, 1) for name, count in alike.items()},
        "share_encoded": {name: count / max(masks, 1) for name, count in encoded.items()},
    }


def labelled_alike(expected: Segmentation, found: Segmentation) -> int:
    """How many of the expected masks have a counterpart, at IoU 0.5 or more, with the same label."""
    if not len(expected) or not len(found):
        return 0
    iou = torch.from_numpy(mask_iou(boxed_masks(expected.masks), boxed_masks(found.masks)))  # (N,M)
    best, partner = iou.max(dim=1)
    return int(((expected.label_ids == found.label_ids[partner]) & (best >= 0.5)).sum())


def our_frame(segmenter: Segmenter, frame: Frame, vocabulary: Vocabulary) -> tuple[Segmentation, Stages]:
    """One frame from pixels to label map, and the seconds of each stage; "track" is the segmenter's rest."""
    start = time.perf_counter()
    segmentation = segmenter.segment(frame, vocabulary)
    labelled = time.perf_counter()
    segmentation.semantic()
    compose_s = time.perf_counter() - labelled
    timings = segmentation.timings
    stages = {name: timings.get(name, 0.0) for name in ("propose", "crop", "encode", "text", "classify")}
    stages["track"] = max(labelled - start - sum(stages.values()), 0.0)
    return segmentation, {**stages, "compose": compose_s}


def least_cosine(one: torch.Tensor, other: torch.Tensor) -> float:
    """How alike two variants embed the same N > 0 masks, at worst: (N, D) against (N, D)."""
    return float(F.cosine_similarity(one.float().cpu(), other.float().cpu(), dim=1).min())


def in_16_bits(clip: Any, device: torch.device) -> Any:
    """The encoder with its image tower in 16 bits; None where the device does not compute in them.

    Whether labels agree is not checked here: with random weights that means nothing, and `video` counts it.
    """
    exact = in_32_bits(clip)
    faster = accelerate(exact, AccelerateOptions(precision="auto", check_regions=0), device)
    return None if faster is exact else faster


def vocabulary_of(names: Sequence[str]) -> Vocabulary:
    """A vocabulary of at most 255 names.

    Raises:
        ConfigError: names that a vocabulary does not take.
    """
    vocabulary, rejected = Vocabulary.empty().replace(list(names))
    if rejected:
        raise ConfigError(f"not taken as a word: {rejected[0]}")
    return vocabulary


def _made_up(options: argparse.Namespace) -> tuple[OpenVocabularySegmenter, Frame, list[str]]:
    """A segmenter with random weights that has its masks already, a frame, and words that it knows."""
    device, names = torch.device(options.device), [f"thing {i}" for i in range(options.labels)]
    proposer = GivenMasks(made_up_masks(options.masks, options.size_hw))
    clip = random_clip(options.model, device)
    segmenter = OpenVocabularySegmenter(proposer, clip, OPTIONS, device, name="bench")
    segmenter.encode_text(names)
    return segmenter, made_up_frame(options.size_hw), names


def variant(segmenter: Segmenter, vocabulary: Vocabulary) -> Variant:
    """Our whole frame, for `interleave`."""
    return lambda frame: our_frame(segmenter, frame, vocabulary)[1]


def compared(
    variants: Mapping[str, Variant],
    frames: Sequence[Frame],
    reference: str,
    options: argparse.Namespace,
    device: torch.device,
    reset: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Figures of each variant, and how many times as long as the reference the others take."""
    timings = interleave(variants, frames, rounds=options.rounds, device=device, reset=reset)
    return {
        "variants": {name: timing.figures() for name, timing in timings.items()},
        "reference": reference,
        "times_reference": {
            name: ratios(timing, timings[reference], len(frames)) for name, timing in timings.items()
        },
    }


def _read(options: argparse.Namespace) -> tuple[list[Frame], list[str]]:
    """The frames of the recording, and the names of all things in it."""
    if str(options.recording) == PANORAMA:
        return Panorama(options.size_hw, options.frames or PANORAMA_FRAMES).frames, list(WORDS)
    recorded = list(itertools.islice(read_frames(recording_folder(options.recording)), options.frames))
    if not recorded:
        raise InvalidInputError(f"expected a recording with frames, {options.recording} has none")
    names = sorted({name for one in recorded for name in one.names.values()})
    return [one.frame for one in recorded], names or ["thing"]

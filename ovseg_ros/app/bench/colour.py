"""The cases of `ovseg bench` about colour cameras: a photograph, and a video with tracks."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from ovseg_ros.app.bench.cases import agreement, compared, in_32_bits, least_cosine, variant, vocabulary_of
from ovseg_ros.app.bench.panorama import PANORAMA_FRAMES, WORDS, Panorama
from ovseg_ros.core.encoders import AccelerateOptions, accelerate
from ovseg_ros.core.engines import has_openvino
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import TrackOptions, VideoSegmenter
from ovseg_ros.models.presets import load_preset

MASKS = 50
TORCH, OPENVINO, POOLED = "crops in torch", "crops in OpenVINO", "one pass in torch"


def colour(options: argparse.Namespace) -> dict[str, Any]:
    """A photograph of which nothing is known but the words."""
    panorama = Panorama(options.size_hw, 1)
    segmenters, vocabulary = _segmenters(options, panorama), vocabulary_of(WORDS)
    embedded = {name: one.embed(panorama.frames[0]) for name, one in segmenters.items()}
    return {
        **compared(
            {name: variant(one, vocabulary) for name, one in segmenters.items()},
            panorama.frames,
            TORCH,
            options,
            segmenters[TORCH].device,
        ),
        "masks": len(embedded[TORCH]),
        "cosine_with_reference": {
            name: least_cosine(embedded[TORCH].embeddings, one.embeddings)
            for name, one in embedded.items()
            if name != POOLED  # by design another embedding
        },
    }


def colour_video(options: argparse.Namespace) -> dict[str, Any]:
    """A camera that pans over photographs, with memory of the frames before and without.

    Raises:
        ConfigError: see `Panorama`.
    """
    panorama = Panorama(options.size_hw, options.frames or PANORAMA_FRAMES)
    segmenters, vocabulary = _segmenters(options, panorama), vocabulary_of(WORDS)
    followers = {
        f"{name}, tracks": VideoSegmenter(segmenter, TrackOptions()) for name, segmenter in segmenters.items()
    }
    reference = segmenters[TORCH]
    variants = {TORCH: variant(reference, vocabulary)}
    variants |= {name: variant(one, vocabulary) for name, one in followers.items()}

    def reset() -> None:
        for follower in followers.values():
            follower.reset()

    return {
        "frames": len(panorama.frames),
        **compared(variants, panorama.frames, TORCH, options, reference.device, reset),
        **agreement(reference, followers, panorama.frames, vocabulary),
    }


def _segmenters(options: argparse.Namespace, panorama: Panorama) -> dict[str, OpenVocabularySegmenter]:
    """The preset with its crops in each engine that is here, and with one pass where its network can.

    Its own masks where it finds any in colour, those of the panorama where it does not; the best 50.
    """
    preset = load_preset(options.colour_preset, device=options.device)
    exact, device = in_32_bits(preset.clip), preset.device
    ways = "combined" if preset.options.classifier == "combined" else "clip"
    chosen = dataclasses.replace(preset.options, classifier=ways, max_masks=MASKS, min_mask_pixels=1)
    proposer = panorama if preset.needs_depth else preset.proposer

    def segmenter(clip: Any, **changed: Any) -> OpenVocabularySegmenter:
        return preset.rebuilt(proposer=proposer, clip=clip, options=dataclasses.replace(chosen, **changed))

    found = {TORCH: segmenter(exact)}
    if device.type == "cpu" and has_openvino():
        found[OPENVINO] = segmenter(accelerate(exact, AccelerateOptions(runtime="openvino"), device))
    if hasattr(exact, "encode_pooled"):
        found[POOLED] = segmenter(exact, classifier="pooled")
    for one in found.values():
        one.warm_up()
    return found

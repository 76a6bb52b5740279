"""What a chain refuses: options that its parts cannot follow, and masks that come with NaN or infinity."""

from __future__ import annotations

from typing import Any

from ovseg_ros.core.device import check_finite
from ovseg_ros.core.frame import Proposals, RegionEncoder, as_proposer
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.trust import TrustModel
from ovseg_ros.errors import ConfigError


def check_options(
    options: SegmenterOptions,
    *,
    proposer: Any,
    clip: RegionEncoder,
    trust: TrustModel | None,
    name: str,
) -> None:
    """Refuses options that a chain of these parts cannot follow; `name` is its own, or "".

    Raises:
        ConfigError: see `OpenVocabularySegmenter.check`.
    """
    if options.uses_clip and getattr(clip, "words_only", False):
        raise ConfigError(
            f"classifier {options.classifier!r} needs an encoder that looks at masks; that of "
            f"{name or type(clip).__name__!r} reads words alone, for the generator it belongs to: take the "
            "classifier maskformer, which is the generator's own"
        )
    if options.uses_trust and trust is None:
        raise ConfigError(
            "decision 'trust' needs a TrustModel, and this segmenter was made "
            "without: give OpenVocabularySegmenter one, or take load_preset, or the decision softmax"
        )
    if options.uses_pooling and not hasattr(clip, "encode_pooled"):
        raise ConfigError(
            f"classifier {options.classifier!r} needs a convolutional network, or one that ends with "
            "attention pooling, whose features can be pooled over masks; that of "
            f"{name or type(clip).__name__!r} is none: take the classifier clip, or lite, or a preset with a "
            "ConvNeXt, SigLIP or Perception Encoder"
        )
    if options.uses_generator and not as_proposer(proposer).classifies:
        raise ConfigError(
            f"classifier {options.classifier!r} needs masks that come with a class embedding; those of "
            f"{type(proposer).__name__} have none: take the classifier clip, or proposals of kind "
            "ovseg_maskformer"
        )
    if getattr(proposer, "by_words", False) and options.classifier != "maskformer":
        raise ConfigError(
            f"classifier {options.classifier!r} needs masks before the words; {type(proposer).__name__} "
            "finds them by the words: take the classifier maskformer, with both parts of one preset"
        )
    spaces = [getattr(part, "space", "") for part in (proposer, clip)]
    if options.uses_generator and spaces[0] != spaces[1]:
        raise ConfigError(
            f"classifier {options.classifier!r} needs masks and words of one network; the class embeddings "
            f"are {spaces[0] or 'of a MaskFormer'}'s and the words {spaces[1] or 'of a CLIP'}'s: take the "
            "classifier clip, or both parts from one preset"
        )


def check_proposals(proposals: Proposals, generator: str) -> None:
    """Refuses masks that come with NaN or infinity; `generator` gave them.

    Raises:
        NotFiniteError: it does.
    """
    parts = {
        "scores": proposals.scores,
        "soft masks": None if proposals.soft is None else proposals.soft.logits,
        "class embeddings": proposals.class_embeddings,
        "scales and shifts": proposals.scale_shift,
        '"no object"': proposals.non_object,
    }
    for name, part in parts.items():
        if part is not None:
            check_finite(part, f"the {name} of {generator}'s masks")

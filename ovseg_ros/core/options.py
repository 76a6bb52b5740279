"""How a frame is looked at and labelled: every choice of the method that may change between frames."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, get_args

from ovseg_ros.core.words import VILD_TEMPLATES
from ovseg_ros.errors import ConfigError

Fill = Literal["mean", "none", "black", "grey"]
"""What stands where a region is blanked: CLIP's mean colour, the picture itself, black, grey."""
FILLS: tuple[Fill, ...] = ("mean", "none", "black", "grey")

Classifier = Literal["clip", "pooled", "combined", "maskformer", "ensemble"]
RegionView = Literal["masked", "context", "both"]
SemanticKind = Literal["binary", "soft"]
Decision = Literal["softmax", "trust"]

CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
REGION_VIEWS: tuple[RegionView, ...] = get_args(RegionView)
SEMANTIC_KINDS: tuple[SemanticKind, ...] = get_args(SemanticKind)
DECISIONS: tuple[Decision, ...] = get_args(Decision)

_CHOICES = {
    "fill": FILLS,
    "classifier": CLASSIFIERS,
    "region_view": REGION_VIEWS,
    "semantic": SEMANTIC_KINDS,
    "decision": DECISIONS,
}
_UNIT_RANGES = {"threshold": (0, 1), "clip_weight": (0, 1), "granularity": (0, 1)}
_AT_LEAST_1 = ("max_masks", "min_mask_pixels", "batch_size")
# What decides which masks are embedded, and how; the rest matters to labelling alone.
_OF_EMBEDDING = ("fill", "expand_ratio", "region_view", "mask_prompts", "max_masks", "min_mask_pixels")


@dataclass(frozen=True)
class SegmenterOptions:
    """What may change between frames. docs/modes.md has the formulas.

    Attributes:
        threshold: probability a mask needs to get a label that has no threshold of its own, in [0, 1].
        background: words that compete with the labels but are never reported.
        background_max_similarity: cosine to any asked label at which a background word steps aside; not
            under "trust".
        others: competes where a single label would have no rival at all and so always win; "" for none; not
            under "trust".
        templates: sentences each word is put into.
        classifier: who names a mask: "clip" on its region; "pooled", the network's features of the whole
            image, pooled over the mask; "combined", the mean of these two embeddings;
            "maskformer", the generator's own class embedding, MaskFormer's or another's; "ensemble", "clip"
            and "maskformer": p_maskformer^(1−λ) · p_clip^λ. The last two need a generator that classifies,
            "pooled" and "combined" an encoder that can pool.
        clip_weight: λ of the ensemble, in [0, 1].
        region_view: what CLIP sees: "masked", the background filled; "context", the same box with its
            background; "both", the two embeddings averaged.
        mask_prompts: tell the encoder where the region is, so that its learned tokens stand in for
            background patches; False hides the mask from it.
        fill: what replaces the background in the masked view, see `crop_regions`.
        expand_ratio: growth of the box around a mask, at least 1.
        max_masks: most masks embedded per frame, the best-scored ones; bounds time and memory.
        min_mask_pixels: smaller masks are dropped before they are embedded. A generator that classifies
            still names them where it has a say, but CLIP does not.
        batch_size: most masks per forward pass.
        semantic: the label image from "binary" masks that got a label, or from "soft" masks, all of them,
            labelled or not, as the benchmarks do.
        granularity: leaves masks out of the label image whose probability is at most this part of their
            label's best, in [0, 1]; see `select_by_granularity`.
        decision: what a probability is: "softmax", the method's own, among the words that compete; "trust",
            that the word is right, by the rule of absence (`ovseg_ros.core.trust`). Where the generator alone
            names masks it is always the softmax.
        rivals: object words that compete under "trust" instead of the package's own list; none: that list.
        colour_check: a name that says a colour ("red mug") loses its probability on masks that clearly have
            another; see `core.colours`.
    """

    threshold: float = 0.5
    background: tuple[str, ...] = ()
    background_max_similarity: float = 0.9
    others: str = "others"
    templates: tuple[str, ...] = VILD_TEMPLATES
    classifier: Classifier = "clip"
    clip_weight: float = 0.7
    region_view: RegionView = "masked"
    mask_prompts: bool = True
    fill: Fill = "mean"
    expand_ratio: float = 1.0
    max_masks: int = 100
    min_mask_pixels: int = 64
    batch_size: int = 64
    semantic: SemanticKind = "binary"
    granularity: float = 0.0
    decision: Decision = "softmax"
    rivals: tuple[str, ...] = ()
    colour_check: bool = False

    def __post_init__(self) -> None:
        for name, (low, high) in _UNIT_RANGES.items():
            if not low <= getattr(self, name) <= high:
                raise ConfigError(f"expected {name} in [{low}, {high}], got {getattr(self, name)}")
        if not -1.0 <= self.background_max_similarity <= 1.0:
            raise ConfigError(
                f"expected background_max_similarity in [-1, 1], got {self.background_max_similarity}"
            )
        if any(isinstance(words, str) for words in (self.background, self.templates, self.rivals)):
            raise ConfigError(
                "expected tuples of background words, templates and rivals, got a single string"
            )
        if not isinstance(self.colour_check, bool):
            raise ConfigError(f"expected colour_check true or false, got {self.colour_check!r}")
        if not self.templates or any("{}" not in template for template in self.templates):
            raise ConfigError(f"expected templates with {{}} in each, got {self.templates}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"expected {name} one of {', '.join(choices)}, got {getattr(self, name)!r}")
        if not 1.0 <= self.expand_ratio < float("inf"):
            raise ConfigError(f"expected expand_ratio at least 1 and finite, got {self.expand_ratio}")
        for name in _AT_LEAST_1:
            if getattr(self, name) < 1:
                raise ConfigError(f"expected {name} at least 1, got {getattr(self, name)}")

    @property
    def uses_clip(self) -> bool:
        """Whether CLIP looks at the image at all."""
        return self.classifier != "maskformer"

    @property
    def uses_generator(self) -> bool:
        """Whether the generator's own class embeddings count."""
        return self.classifier in ("maskformer", "ensemble")

    @property
    def uses_trust(self) -> bool:
        """Whether the rule of absence decides."""
        return self.decision == "trust" and self.uses_clip

    @property
    def uses_pooling(self) -> bool:
        """Whether one pass over the whole image serves all masks, instead of a crop for each or beside it."""
        return self.classifier in ("pooled", "combined")

    @property
    def uses_crops(self) -> bool:
        """Whether each mask is looked at by itself."""
        return self.classifier in ("clip", "combined", "ensemble")

    @property
    def embedding_key(self) -> tuple[Hashable, ...]:
        """Equal for options under which a frame is embedded alike, so that it need not be done again.

        The first two say what was embedded, and must be equal where a frame is to be labelled; the others
        how, which labelling does not mind.
        """
        looks = {"pooled": "pooled", "combined": "combined", "maskformer": ""}.get(self.classifier, "regions")
        return (looks, self.uses_generator, *(getattr(self, name) for name in _OF_EMBEDDING))

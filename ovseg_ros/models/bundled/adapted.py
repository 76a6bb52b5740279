"""An image classifier made open-vocabulary: words are soft sets of its classes; a learned map adds the rest.

A view of a region, a blanked crop or features averaged over a mask, has features f and class probabilities
p = softmax(logits / T). A word has weights w over the classes (`ClassSets`) and an embedding t. Its score is

    score(f, word) = p · w + h · t,    h = f · A + b,

where A was learned on true masks of photographs with the text tower locked (`NamesMap`). Both parts are one
inner product, so a region is one row and a word another, both of unit length:

    region = [p, h/κ, √(2 − |p|² − |h/κ|²) · a, 0] / √2
    word = [w', κt, 0, √(W² + κ² − |w'|² − |κt|²) · e] / √(W² + κ²)

a is a fixed projection of f, and e the word's embedding, both of unit length. They fill the rows up where the
other kind of row has nothing, so that two regions, or two words, can be compared too. w' is w less a small
handicap for the names the map was trained on, whose scores are higher than those of others at equal likeness:
as p sums to 1, that takes the same off every region's score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.encoders import MaskPooling, TextCache
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.words import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.bundled.class_sets import ClassSets, unit_rows
from ovseg_ros.models.bundled.names_map import NamesMap

APPEARANCE = 64
"""Dimensions of a, in which no word has anything."""

_KAPPA = 0.5
_LONGEST = 1.25
"""W: no row w' is longer."""

SCORE_PER_COSINE = 2.0**0.5 * (_LONGEST**2 + _KAPPA**2) ** 0.5
"""A score is so many times the cosine of region and word."""


class AdaptedClassifier(MaskPooling, nn.Module):
    """Puts regions and words into one space by way of a classifier of timm's that convolves and averages.

    The same interface as `MaskPromptedClip`, so the two are interchangeable in a segmenter.

    Attributes:
        size: S, the input side in pixels.
        embedding_dim: D = C + R + `APPEARANCE` + D', the text tower's width.
        logit_scale: multiplies cosines before a softmax.
        adapted: the learned map.
        pooled_mean: the classifier's own normalisation of RGB in [0, 1], subtracted.
        pooled_std: and divided by.
    """

    _scale: torch.Tensor
    _shift: torch.Tensor
    _crop: torch.Tensor
    _pooled: torch.Tensor
    _crop_bias: torch.Tensor
    _pooled_bias: torch.Tensor
    _projection: torch.Tensor

    def __init__(
        self,
        classifier: nn.Module,
        class_names: Sequence[Sequence[str]],
        class_words: dict[str, list[list[int]]],
        text_tower: nn.Module,
        tokenizer: Callable[[list[str]], torch.Tensor],
        adapted: NamesMap,
        *,
        size: int,
        logit_scale: float,
        temperature: float = 2.0,
        rim: int = 0,
        pooled_side: int,
        stride: int,
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        """Embeds the class names: one pass of the text tower over all.

        Args:
            classifier: with `forward_features` (N,3,H,W) -> (N,F,h,w), and `forward_head`, which averages
                over h and w and then, unless `pre_logits`, has a linear layer to C logits.
            class_names: C lists of names, in the order of the logits, each with at least one.
            class_words: see `read_words`.
            text_tower: token ids -> (K, D).
            tokenizer: texts -> token ids.
            adapted: for F features and this text tower.
            size: S.
            logit_scale: see the attribute.
            temperature: T.
            rim: pixels of the crop that stay visible around the region; the rest is blanked with the
                classifier's mean colour. Crops must come with their background (fill "none").
            pooled_side: see `MaskPooling`.
            stride: pixels of the input per cell of `forward_features`.
            mean: the classifier's own normalisation of RGB in [0, 1], subtracted.
            std: and divided by.

        Raises:
            ConfigError: temperature or rim out of range, a class without a name, another kind of classifier,
                or a map of another width.
        """
        super().__init__()
        if not temperature > 0 or rim < 0:
            raise ConfigError(f"expected temperature > 0 and rim >= 0, got {temperature} and {rim}")
        if not all(class_names):
            raise ConfigError("expected at least one name for every class")
        if not (hasattr(classifier, "forward_features") and hasattr(classifier, "forward_head")):
            raise ConfigError(
                "expected a classifier with forward_features and forward_head, as timm's convolutional ones "
                f"have, got {type(classifier).__name__}"
            )
        self.classifier, self.text_tower, self.tokenizer = classifier, text_tower, tokenizer
        self.size, self.logit_scale = size, float(logit_scale)
        self.temperature, self.rim = temperature, rim
        self.stride, self.pooled_side = stride, pooled_side
        self.pooled_mean, self.pooled_std = tuple(mean), tuple(std)
        self.text_cache = TextCache()
        # Crops come normalised for CLIP: x = (rgb - clip mean) / clip std. The classifier wants
        # (rgb - mean) / std = x * (clip std / std) + (clip mean - mean) / std.
        own_mean, own_std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        clip_mean, clip_std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
        self.register_buffer("_scale", clip_std / own_std, persistent=False)  # (3,1,1)
        self.register_buffer("_shift", (clip_mean - own_mean) / own_std, persistent=False)
        flat = [name for names in class_names for name in names]
        rows = TextCache(len(flat)).encode(flat, BARE_TEMPLATE, self.embed_sentences)
        if adapted.text.shape[0] != rows.shape[1]:
            raise ConfigError(
                f"expected a map for words of {rows.shape[1]} dimensions, got {adapted.text.shape[0]}"
            )
        self.sets = ClassSets(class_words, class_names, rows)
        self.adapt(adapted)

    def adapt(self, adapted: NamesMap) -> None:
        """Takes another map; words embedded before are forgotten."""
        self.adapted = adapted
        generator = torch.Generator().manual_seed(0)
        projection = torch.randn(len(adapted.crop), APPEARANCE, generator=generator)
        for name in ("crop", "pooled", "crop_bias", "pooled_bias"):
            self.register_buffer(f"_{name}", getattr(adapted, name) / _KAPPA, persistent=False)
        self.register_buffer("_projection", projection - projection.mean(dim=0), persistent=False)
        self.to(next(self.classifier.parameters()).device)
        self.embedding_dim = self.sets.count + adapted.crop.shape[1] + APPEARANCE + adapted.text.shape[0]
        self.text_cache.clear()

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds crops.

        Args:
            pixels: (N, 3, S, S) CLIP-normalised, from `crop_regions`.
            region_masks: (N, 1, S, S), above 0 where the region is; None leaves the crops as they are.

        Returns:
            (N, D) float32 unit rows on the classifier's device; (0, D) for N = 0.

        Raises:
            InvalidInputError: pixels or masks of another shape.
        """
        device = self._scale.device
        if pixels.shape[0] == 0:
            self._check(pixels, region_masks)
            return torch.zeros((0, self.embedding_dim), device=device)
        return self._rows(self.crop_features(pixels, region_masks), self._crop, self._crop_bias)

    def crop_features(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """(N, F) float32: the classifier's features of crops, blanked by masks; see `encode_regions`."""
        self._check(pixels, region_masks)
        device = self._scale.device
        crops = pixels.to(device) * self._scale + self._shift
        if region_masks is not None:
            inside = (region_masks.to(device) > 0).float()
            crops = crops * F.max_pool2d(inside, 2 * self.rim + 1, stride=1, padding=self.rim)
        dense = self.classifier.forward_features(crops)  # type: ignore[operator]
        features: torch.Tensor = self.classifier.forward_head(dense, pre_logits=True)  # type: ignore[operator]
        return features.float()

    def _check(self, pixels: torch.Tensor, region_masks: torch.Tensor | None) -> None:
        side = self.size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, side, side):
            raise InvalidInputError(f"expected pixels (N,3,{side},{side}), got {tuple(pixels.shape)}")
        if region_masks is not None and region_masks.shape != (pixels.shape[0], 1, side, side):
            raise InvalidInputError(
                f"expected region_masks ({pixels.shape[0]},1,{side},{side}), got {tuple(region_masks.shape)}"
            )

    def probabilities(self, features: torch.Tensor) -> torch.Tensor:
        """(N, F) features -> (N, C), the classes' probabilities at the temperature."""
        weight = self._pooled_weight()
        logits: torch.Tensor = self.classifier.forward_head(  # type: ignore[operator]
            features.to(weight.dtype)[:, :, None, None]
        )
        return (logits.float() / self.temperature).softmax(dim=-1)

    def rows_of(self, crop: torch.Tensor, pooled: torch.Tensor) -> torch.Tensor:
        """(N, F) features of both views -> (N, D) unit rows, the mean of both views' as for "combined"."""
        both = self._rows(crop, self._crop, self._crop_bias) + self._pooled_head(pooled)
        return F.normalize(both, dim=-1)

    def _rows(self, features: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """(N, F) features of a view, and the view's map (F, R) and (R,) -> (N, D) unit rows."""
        probs = self.probabilities(features)
        learned = features @ weight + bias  # (N,R)
        # Never longer than 1, however odd the picture: the row must keep its length.
        learned = learned / learned.norm(dim=-1, keepdim=True).clamp(min=1.0)
        used = probs.square().sum(dim=-1, keepdim=True) + learned.square().sum(dim=-1, keepdim=True)
        seen = F.normalize(features @ self._projection, dim=-1)
        left = (2.0 - used).clamp(min=0.0).sqrt()
        # Not len(left): it would fix the number of rows in what torch.export makes of this.
        none = left.new_zeros(1, self.adapted.text.shape[0]).expand(left.shape[0], -1)
        rows = torch.cat([probs, learned, left * seen, none], dim=-1)
        return F.normalize(rows, dim=-1)

    def forward(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """The same as `encode_regions`."""
        return self.encode_regions(pixels, region_masks)

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """Embeds labels; each is encoded once and then comes from a cache.

        Args:
            labels: K words or phrases.
            templates: sentences with one `{}` each; the bare word when None, as the class names were. In any
                other sentence WordNet does not know a word, and likeness alone says which classes it means.

        Returns:
            (K, D) float32 unit rows on the classifier's device; (0, D) for no labels.

        Raises:
            InvalidInputError: see `TextCache.encode`.
        """
        device = self._scale.device
        if len(labels) == 0:
            return torch.zeros((0, self.embedding_dim), device=device)
        chosen = BARE_TEMPLATE if templates is None else templates
        return self.text_cache.encode(labels, chosen, self._encode_words).to(device)

    def _encode_words(self, words: list[str]) -> torch.Tensor:
        return self.word_rows(words, self.embed_sentences(words))

    def word_rows(self, labels: Sequence[str], words: torch.Tensor) -> torch.Tensor:
        """K labels and their embeddings (K, D') in the text tower's space -> (K, D) unit rows on the CPU."""
        adapted = self.adapted
        learned = F.normalize(words - adapted.text_mean, dim=-1) @ adapted.text * _KAPPA  # (K,R)
        sets = self.sets.weights(labels, words)
        if len(adapted.known):
            likest = (words @ adapted.known.T).amax(dim=1, keepdim=True)  # (K,1)
            sets = sets - adapted.handicap * (2 * likest - 1).clamp(min=0)
        used = sets.square().sum(dim=-1, keepdim=True) + learned.square().sum(dim=-1, keepdim=True)
        rest = (_LONGEST**2 + _KAPPA**2 - used).clamp(min=0).sqrt()
        rows = torch.cat([sets, learned, torch.zeros(len(labels), APPEARANCE), rest * words], dim=-1)
        return F.normalize(rows, dim=-1)

    @torch.no_grad()
    def embed_sentences(self, sentences: list[str]) -> torch.Tensor:
        """K sentences -> (K, D') unit rows of the text tower, on the CPU."""
        device = next(self.text_tower.parameters()).device
        return unit_rows(self.text_tower(self.tokenizer(sentences).to(device)))

    def _pooled_weight(self) -> torch.Tensor:
        return next(self.classifier.parameters())

    def _pooled_features(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.classifier.forward_features(pixels)  # type: ignore[operator]
        return features

    def _pooled_head(self, pooled: torch.Tensor) -> torch.Tensor:
        return self._rows(pooled.float(), self._pooled, self._pooled_bias)

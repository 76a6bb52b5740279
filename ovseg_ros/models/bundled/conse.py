"""An image classifier made open-vocabulary: ConSE (Norouzi et al., ICLR 2014, arXiv 1312.5650).

A region's embedding is the convex combination of the word embeddings of the classes the classifier thinks
it is:

    f(x) = sum over the T most probable classes c of p(c | x) · s(c), made unit length,

where s(c) is the text embedding of class c's name. A region that looks like a moped, a scooter and a disk
brake lands near "motorcycle", although ImageNet has no such class. Nothing is trained.

Two things are ours. p is softmax(logits / temperature): a classifier is too sure of itself on blanked crops,
which it was never shown, and above 1 its second thoughts count for more. And p is the mean over views that
leave rims of different widths around the region: blanked to its very outline a thing loses its frame, and
with its surroundings it is taken for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ovseg_ros.core.encoders import MaskPooling, TextCache
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.words import BARE_TEMPLATE
from ovseg_ros.errors import ConfigError, InvalidInputError


class ConSE(nn.Module):
    """Puts regions and words into the space of a text tower by way of a classifier.

    The same interface as `MaskPromptedClip`, so the two are interchangeable in a segmenter.

    Attributes:
        size: S, the input side in pixels.
        embedding_dim: D, that of the text tower.
        logit_scale: multiplies cosines before the softmax.
        mean: the classifier's own normalisation of RGB in [0, 1], subtracted.
        std: and divided by.
        class_embeddings: (C, D) unit rows, s(c); a class of several names has the mean of their rows.
    """

    class_embeddings: torch.Tensor
    _scale: torch.Tensor
    _shift: torch.Tensor

    def __init__(
        self,
        classifier: nn.Module,
        class_names: Sequence[Sequence[str]],
        text_tower: nn.Module,
        tokenizer: Callable[[list[str]], torch.Tensor],
        *,
        size: int,
        logit_scale: float,
        top: int = 10,
        temperature: float = 1.0,
        rims: Sequence[int] = (0,),
        mean: Sequence[float] = (0.5, 0.5, 0.5),
        std: Sequence[float] = (0.5, 0.5, 0.5),
    ) -> None:
        """Builds the class embeddings: one pass of the text tower over all names.

        Args:
            classifier: (N, 3, S, S) -> (N, C) logits.
            class_names: C lists of names, in the order of the logits, each with at least one.
            text_tower: token ids -> (K, D).
            tokenizer: texts -> token ids.
            size: S.
            logit_scale: see the attribute.
            top: T; probability outside the T best classes is dropped.
            temperature: divides the logits; 1 is the paper's.
            rims: one view each: pixels of the crop that stay visible around the region. The rest is blanked
                with the classifier's mean colour. Crops must come with their background (fill "none") for
                rims above 0 to show anything.
            mean: the classifier's own normalisation of RGB in [0, 1], subtracted.
            std: and divided by.

        Raises:
            ConfigError: T, temperature or a rim out of range, or a class without a name.
        """
        super().__init__()
        if not 1 <= top <= len(class_names):
            raise ConfigError(f"want top in 1…{len(class_names)}, got {top}")
        if not temperature > 0:
            raise ConfigError(f"want temperature > 0, got {temperature}")
        if not rims or min(rims) < 0:
            raise ConfigError(f"want at least one rim, each >= 0, got {tuple(rims)}")
        if not all(class_names):
            raise ConfigError("want at least one name for every class")
        self.classifier = classifier
        self.text_tower = text_tower
        self.tokenizer = tokenizer
        self.text_cache = TextCache()
        self.size = size
        self.top = top
        self.temperature = temperature
        self.rims = tuple(rims)
        self.mean, self.std = tuple(mean), tuple(std)
        self.logit_scale = float(logit_scale)
        # Crops come normalised for CLIP: x = (rgb - clip mean) / clip std. The classifier wants
        # (rgb - mean) / std = x * (clip std / std) + (clip mean - mean) / std.
        own_mean, own_std = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
        clip_mean, clip_std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
        self.register_buffer("_scale", clip_std / own_std, persistent=False)  # (3,1,1)
        self.register_buffer("_shift", (clip_mean - own_mean) / own_std, persistent=False)
        self.register_buffer("class_embeddings", self._embed_classes(class_names), persistent=False)
        self.embedding_dim = self.class_embeddings.shape[1]

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
        side = self.size
        if pixels.ndim != 4 or pixels.shape[1:] != (3, side, side):
            raise InvalidInputError(f"want pixels (N,3,{side},{side}), got {tuple(pixels.shape)}")
        if region_masks is not None and region_masks.shape != (pixels.shape[0], 1, side, side):
            raise InvalidInputError(
                f"want region_masks ({pixels.shape[0]},1,{side},{side}), got {tuple(region_masks.shape)}"
            )
        device = self.class_embeddings.device
        if pixels.shape[0] == 0:
            return torch.zeros((0, self.embedding_dim), device=device)
        crops = pixels.to(device) * self._scale + self._shift
        views = [crops] if region_masks is None else self._views(crops, region_masks.to(device))
        probs = torch.stack([self._probabilities(self.classifier(view)) for view in views]).mean(dim=0)
        return F.normalize(self._combined(probs), dim=-1)

    def _views(self, crops: torch.Tensor, region_masks: torch.Tensor) -> list[torch.Tensor]:
        """Per rim the crops (N,3,S,S) with all but the region and its rim at 0, the classifier's mean."""
        inside = (region_masks > 0).float()
        return [crops * F.max_pool2d(inside, 2 * rim + 1, stride=1, padding=rim) for rim in self.rims]

    def _probabilities(self, logits: torch.Tensor) -> torch.Tensor:
        """(N,C) -> (N,C)."""
        return (logits.float() / self.temperature).softmax(dim=-1)

    def _combined(self, probs: torch.Tensor) -> torch.Tensor:
        """(N,C) probabilities -> (N,D), the best classes' embeddings weighted by them, of any length."""
        best, classes = probs.topk(self.top, dim=-1)  # (N,T)
        return torch.einsum("nt,ntd->nd", best, self.class_embeddings[classes])

    def forward(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """The same as `encode_regions`."""
        return self.encode_regions(pixels, region_masks)

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """Embeds labels; each is encoded once and then comes from a cache.

        Args:
            labels: K words or phrases.
            templates: sentences with one `{}` each; the bare word when None, as the class names were.

        Returns:
            (K, D) float32 unit rows on the classifier's device; (0, D) for no labels.
        """
        if len(labels) == 0:
            return torch.zeros((0, self.embedding_dim), device=self.class_embeddings.device)
        chosen = BARE_TEMPLATE if templates is None else templates
        return self.text_cache.encode(labels, chosen, self._encode_sentences).to(self.class_embeddings.device)

    @torch.no_grad()
    def _encode_sentences(self, sentences: list[str]) -> torch.Tensor:
        device = next(self.text_tower.parameters()).device
        features: torch.Tensor = self.text_tower(self.tokenizer(sentences).to(device))
        return features

    def _embed_classes(self, class_names: Sequence[Sequence[str]]) -> torch.Tensor:
        flat = [name for names in class_names for name in names]
        rows = TextCache(len(flat)).encode(flat, BARE_TEMPLATE, self._encode_sentences)
        groups = rows.split([len(names) for names in class_names])
        return F.normalize(torch.stack([group.mean(dim=0) for group in groups]), dim=-1)  # (C,D)


class PooledConSE(MaskPooling, ConSE):
    """A `ConSE` whose classifier is one of timm's that convolve and average: it can also pool over masks.

    The classifier's features before its average are averaged over a mask; its last layer, the softmax and the
    classes' embeddings follow as for a crop. There is one view: a rim cannot be added afterwards.
    """

    def __init__(
        self, classifier: nn.Module, *args: Any, pooled_side: int, stride: int, **settings: Any
    ) -> None:
        """Wraps a classifier.

        Args:
            classifier: see `ConSE`; with `forward_features` and `forward_head`, as timm's have them.
            *args: see `ConSE`.
            pooled_side: see there.
            stride: pixels of the input per cell of `forward_features`.
            **settings: see `ConSE`.

        Raises:
            ConfigError: see `ConSE`; a side that cannot be; or a classifier without these methods.
        """
        if not (hasattr(classifier, "forward_features") and hasattr(classifier, "forward_head")):
            raise ConfigError(
                "pooling over masks needs a classifier with forward_features and forward_head, as timm's "
                f"convolutional ones have, got {type(classifier).__name__}: take ConSE, which needs neither"
            )
        super().__init__(classifier, *args, **settings)
        self.pooled_mean, self.pooled_std = self.mean, self.std
        self.stride = stride
        self.pooled_side = pooled_side

    def _pooled_weight(self) -> torch.Tensor:
        return next(self.classifier.parameters())

    def _pooled_features(self, pixels: torch.Tensor) -> torch.Tensor:
        features: torch.Tensor = self.classifier.forward_features(pixels)  # type: ignore[operator]
        return features

    def _pooled_head(self, pooled: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier.forward_head(pooled[:, :, None, None])  # type: ignore[operator]
        return self._combined(self._probabilities(logits))

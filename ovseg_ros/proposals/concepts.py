"""A network that looks for what it is told: the image once, its head for each word."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import DTYPES, PRECISIONS, check_device
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals
from ovseg_ros.core.maps import boxed_masks, mask_iou
from ovseg_ros.core.scene import Found
from ovseg_ros.errors import ConfigError


@dataclass(frozen=True)
class ConceptOutput:
    """What one word found in one image, surest first or in any order.

    Attributes:
        masks: (M, H, W) bool.
        scores: (M,) in [0, 1], that the mask is of the word and that the word is in the image at all.
        presence: in (0, 1], the latter alone.
    """

    masks: torch.Tensor
    scores: torch.Tensor
    presence: float


class ConceptNetwork(Protocol):
    """A built network.

    Attributes:
        space: whose words it is told.
        looks_dim: D of what it says of masks.
    """

    space: str
    looks_dim: int

    def look(self, image_rgb: npt.NDArray[np.uint8]) -> Any:
        """(H, W, 3) uint8 RGB -> features, all that the words need of the image."""
        ...

    def find(self, features: Any, word: Any, size_hw: tuple[int, int], min_score: float) -> ConceptOutput:
        """The masks of one word, as the encoder gives it, that score more than `min_score`."""
        ...

    def looks(self, features: Any, masks: torch.Tensor) -> torch.Tensor:
        """(M, H, W) bool -> (M, D) what they look like."""
        ...


@dataclass(frozen=True)
class ConceptOptions:
    """How `ConceptProposals` looks for words.

    Attributes:
        min_score: what scores no more is not kept at all, in [0, 1): a threshold below it has no effect.
        duplicate_iou: masks of two words of at least this IoU are one thing, in (0, 1].
        precision: "fp32", or "bf16" or "fp16" by autocast; "auto" takes 16 bits where the hardware computes
            in them.
    """

    min_score: float = 0.1
    duplicate_iou: float = 0.7
    precision: str = "auto"

    def __post_init__(self) -> None:
        if not 0 <= self.min_score < 1:
            raise ConfigError(f"expected min_score in [0, 1), got {self.min_score}")
        if not 0 < self.duplicate_iou <= 1:
            raise ConfigError(f"expected duplicate_iou in (0, 1], got {self.duplicate_iou}")
        if self.precision not in ("auto", *PRECISIONS):
            raise ConfigError(
                f"expected precision one of auto, {', '.join(PRECISIONS)}, got {self.precision!r}"
            )


class ConceptProposals:
    """Proposes no mask before a word is asked, but a scene in which words are found.

    Attributes:
        space: of the network; its words have to be of the same.
        by_words: True; nothing is found without.
    """

    needs_depth, classifies, grid_points = False, True, None
    by_words = True

    def __init__(
        self,
        network: ConceptNetwork,
        options: ConceptOptions | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        """Takes a network.

        Args:
            network: built and loaded; moved to `device`, in evaluation mode.
            options: see `ConceptOptions`.
            device: where the network runs.

        Raises:
            ConfigError: the device cannot do the precision.
        """
        self.options = ConceptOptions() if options is None else options
        self.device = torch.device(device)
        self.network = network.to(self.device).eval() if isinstance(network, nn.Module) else network
        self.space = network.space
        self.dtype = DTYPES[check_device(self.options.precision, self.device)]

    def autocast(self) -> torch.autocast:
        """The precision that is asked for."""
        return torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32)

    @torch.no_grad()
    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """Looks at the frame's colour image, once.

        Args:
            frame: of any size; depth is not used.
            hints: not used.

        Returns:
            No masks, and the scene.

        Raises:
            torch.OutOfMemoryError: the device's memory is full.
        """
        with self.autocast():
            features = self.network.look(frame.image_rgb)
        nothing = Proposals.empty(*frame.size_hw)
        return Proposals(nothing.masks, nothing.scores, scene=ConceptScene(self, features, frame.size_hw))


class ConceptScene:
    """One image, looked at; what a word found in it is remembered as long as it is."""

    def __init__(self, proposer: ConceptProposals, features: Any, size_hw: tuple[int, int]) -> None:
        """Keeps the features of an image of height x width."""
        self._proposer, self._features, self._size_hw = proposer, features, size_hw
        self._known: dict[str, tuple[ConceptOutput, torch.Tensor]] = {}
        self._lock = threading.Lock()  # one thread may ask while another does

    @torch.no_grad()
    def find(self, words: Sequence[str], encoder: Any) -> Found:
        """The masks of K words, each thing once: of masks that are one the surest word's stays.

        Args:
            words: K words; one asked before costs nothing.
            encoder: has `encode_concepts(words)`, a list of what the network is told.
        """
        with self._lock:
            missing = [word for word in dict.fromkeys(words) if word not in self._known]
            for word, told in zip(missing, encoder.encode_concepts(missing), strict=True):
                self._known[word] = self._one(told)
            known = [self._known[word] for word in words]
        looks_dim = self._proposer.network.looks_dim
        masks = torch.cat(
            [torch.zeros((0, *self._size_hw), dtype=torch.bool), *(out.masks for out, _ in known)]
        )
        looks = torch.cat([torch.zeros(0, looks_dim), *(rows for _, rows in known)])
        counts = [len(out.masks) for out, _ in known]
        column = torch.arange(len(words)).repeat_interleave(torch.tensor(counts, dtype=torch.int64))
        scores = torch.cat([torch.zeros(0), *(out.scores for out, _ in known)])
        presence = torch.tensor([out.presence for out, _ in known])[column]
        probs = torch.zeros(len(masks), len(words))
        probs[torch.arange(len(masks)), column] = scores
        objectness = (scores / presence).clamp(0, 1)
        return merged(Found(masks, probs, objectness, looks), self._proposer.options.duplicate_iou)

    def _one(self, told: Any) -> tuple[ConceptOutput, torch.Tensor]:
        network, options = self._proposer.network, self._proposer.options
        with self._proposer.autocast():
            found = network.find(self._features, told, self._size_hw, options.min_score)
            looks = network.looks(self._features, found.masks)
        cpu = ConceptOutput(found.masks.cpu(), found.scores.float().cpu(), found.presence)
        return cpu, looks.float().cpu()


def merged(found: Found, duplicate_iou: float) -> Found:
    """Each thing once: a mask gives its words to a surer one of another word with which it is one thing.

    Two masks of one word are two things, however they overlap: the network tells its own apart.

    Args:
        found: N masks, each with one word.
        duplicate_iou: least IoU of masks that are one thing.
    """
    boxed = boxed_masks(found.masks.numpy())
    iou = mask_iou(boxed, boxed, least=duplicate_iou)
    probs = found.probs.clone()
    stays: list[int] = []
    for n in found.probs.amax(dim=1).argsort(descending=True, stable=True).tolist() if len(probs) else []:
        word = int(found.probs[n].argmax())
        one = [m for m in stays if iou[n, m] >= duplicate_iou and found.probs[m, word] == 0]
        if not one:
            stays.append(n)
            continue
        nearest = max(one, key=lambda m: iou[n, m])
        probs[nearest, word] = torch.maximum(probs[nearest, word], found.probs[n, word])
    kept = torch.tensor(sorted(stays), dtype=torch.int64)
    return Found(found.masks[kept], probs[kept], found.scores[kept], found.looks[kept])

"""Whether a proposal network in another runtime still finds the masks that it finds in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import is_finite
from ovseg_ros.core.encoders import TIE, AgreementReport
from ovseg_ros.core.engines import Store, measured_once

PHOTOGRAPHS = 2
"""So many of them are looked at beside a made-up image: each costs a frame by torch in 32 bits, once."""

ALIKE = 0.999
"""Cosine from which two embeddings of a mask's class count as the same."""


@dataclass(frozen=True)
class Answer:
    """M masks of one image, in an order that the other answer has too.

    Attributes:
        scores: (M,) in [0, 1], how sure the network is of each.
        logits: (M, ...) on any grid, above 0 where a mask is.
        embeddings: (M, C) unit rows, of what each mask is; None from networks that do not say.
    """

    scores: torch.Tensor
    logits: torch.Tensor
    embeddings: torch.Tensor | None = None

    @property
    def is_finite(self) -> bool:
        """Neither NaN nor infinity."""
        parts = (self.scores, self.logits, *(() if self.embeddings is None else (self.embeddings,)))
        return is_finite(parts)


Ask = Callable[[torch.Tensor], tuple[Answer, Answer]]
"""An image -> what torch in float32 and the other runtime answer."""


def check_masks(
    ask: Ask,
    images: Sequence[torch.Tensor],
    *,
    what: str,
    least: float,
    store: Store | None = None,
    name: str = "",
) -> AgreementReport:
    """Gives each pixel of some images to the mask that is surest of it, or to none, twice.

    Args:
        ask: see there.
        images: at least one.
        what: is compared with torch, for the report.
        least: see `AgreementReport`.
        store: keeps the figures for the next start.
        name: of them, see `measurement_name`.

    Returns:
        What came out, a pixel's mask taken for its label; of networks that embed classes, the share of masks
        whose embedding stays where that is less. The cosine is of all masks' logits at once.
    """
    finite, agreement, same, cosine = map(
        float, measured_once(store, name, (4,), lambda: _compared(ask, images))
    )
    return AgreementReport(what, least, bool(finite), agreement, same, cosine)


def _compared(ask: Ask, images: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
    """Whether all is finite, shares of pixels that agree and that are the same, and the least cosine."""
    tied, same, alike, cosines, finite = [], [], [], [], True
    for image in images:
        answer, other = ask(image)
        if not other.is_finite:
            finite = False
            continue
        logits, found = answer.logits.flatten(1).float(), other.logits.flatten(1).float()  # (M,P)
        probs, probs_found = _sureness(answer.scores, logits), _sureness(other.scores, found)  # (1+M,P)
        label = probs_found.argmax(dim=0, keepdim=True)
        tied.append(probs.gather(0, label)[0] >= probs.amax(dim=0) - TIE)
        same.append(label[0] == probs.argmax(dim=0))
        cosines.append(float(torch.cosine_similarity(logits.flatten(), found.flatten(), dim=0)))
        if answer.embeddings is not None and other.embeddings is not None:
            alike.append((answer.embeddings * other.embeddings).sum(dim=1) >= ALIKE)
    shares = [_share(tied), _share(same)]
    if alike:
        shares = [min(share, _share(alike)) for share in shares]
    return np.array([finite, *shares, min(cosines, default=0.0)], np.float32)


def _sureness(scores: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """(1+M,P): a mask counts by how sure the network is of it too. The first row is a pixel of no mask."""
    probs = scores.float()[:, None] * logits.sigmoid() * (logits > 0)
    none = torch.full((1, probs.shape[1]), 1e-6, device=probs.device)  # which anything above nothing beats
    return torch.cat([none, probs])


def _share(parts: Sequence[torch.Tensor]) -> float:
    return float(torch.cat(list(parts)).float().mean()) if parts else 0.0

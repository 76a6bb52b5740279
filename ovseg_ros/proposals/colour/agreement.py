"""Whether the colour mask network in another runtime still finds the masks that it finds in torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import is_finite
from ovseg_ros.core.encoders import TIE, AgreementReport
from ovseg_ros.core.engines import Store, measured_once
from ovseg_ros.proposals.colour.network import Cells

BEST = 100
"""So many cells of an image are compared: those with the best scores in torch."""

Look = Callable[[torch.Tensor], Cells]


def check_cells(
    exact: Look,
    other: Look,
    images: Sequence[torch.Tensor],
    *,
    what: str,
    least: float,
    store: Store | None = None,
    name: str = "",
) -> AgreementReport:
    """Gives each pixel of some images to the mask that is surest of it, or to none, twice.

    Args:
        exact: (1, 3, h, w) pixels -> cells, by torch in float32.
        other: the same, by what is to be trusted.
        images: at least one, see `network_input`.
        what: `other` is, for the report.
        least: see `AgreementReport`.
        store: keeps the figures for the next start.
        name: of them, see `measurement_name`.

    Returns:
        What came out, a pixel's mask taken for its label; cosine is of all masks' logits at once.
    """
    found = measured_once(store, name, (4,), lambda: _compared(exact, other, images))
    finite, agreement, same, cosine = map(float, found)
    return AgreementReport(what, least, bool(finite), agreement, same, cosine)


def _compared(exact: Look, other: Look, images: Sequence[torch.Tensor]) -> npt.NDArray[np.float32]:
    """Whether all is finite, shares of pixels that agree and that are the same, and the least cosine."""
    tied, same, cosines, finite = [], [], [], True
    for image in images:
        cells, others = exact(image), other(image)
        parts = (others.scores, others.boxes, others.kernels, others.pixels)
        if not is_finite(parts):
            finite = False
            continue
        index = cells.scores.topk(min(BEST, len(cells.scores))).indices
        logits, found = (one.mask_logits(index, every=2).flatten(1) for one in (cells, others))  # (B,P)
        # A mask counts by how sure the network is of it too: by its score times its pixel's probability.
        probs, probs_found = (
            _with_none(one.scores[index].float().sigmoid()[:, None] * part.sigmoid() * (part > 0))
            for one, part in ((cells, logits), (others, found))
        )  # (1+B,P)
        label = probs_found.argmax(dim=0, keepdim=True)
        tied.append(probs.gather(0, label)[0] >= probs.amax(dim=0) - TIE)
        same.append(label[0] == probs.argmax(dim=0))
        cosines.append(float(torch.cosine_similarity(logits.flatten(), found.flatten(), dim=0)))
    agreement, same_share = (float(torch.cat(part).float().mean()) if part else 0.0 for part in (tied, same))
    return np.array([finite, agreement, same_share, min(cosines, default=0.0)], np.float32)


def check_image(size_hw: tuple[int, int]) -> npt.NDArray[np.uint8]:
    """(H, W, 3) uint8: discs of many colours on a shaded ground; the same every time."""
    generator = np.random.default_rng(0)
    height, width = size_hw
    y, x = np.mgrid[:height, :width]
    image = np.stack([90 + 80 * y / height, 120 + 40 * x / width, 100 + 0 * y], axis=-1)
    for _ in range(12):
        middle_y, middle_x, radius = generator.random(3) * (height, width, 0.2 * height)
        inside = (y - middle_y) ** 2 + (x - middle_x) ** 2 < radius**2
        image[inside] = generator.integers(0, 255, 3) * (0.8 + 0.2 * y[inside, None] / height)
    return image.clip(0, 255).astype(np.uint8)


def _with_none(probs: torch.Tensor) -> torch.Tensor:
    """(B,P) -> (1+B,P): the first row is a pixel that no mask takes, which anything above nothing beats."""
    return torch.cat([torch.full_like(probs[:1], 1e-6), probs])

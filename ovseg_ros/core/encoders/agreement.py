"""Whether an image tower in 16 bits, or by another runtime, gives the labels of torch in 32."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import Network, is_finite
from ovseg_ros.core.engines import Store, measured_once
from ovseg_ros.core.frame import RegionEncoder
from ovseg_ros.core.regions import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.words import BARE_TEMPLATE

# fmt: off
CHECK_WORDS = (
    "cup", "bottle", "book", "chair", "table", "apple", "box", "plant",
    "lamp", "shoe", "ball", "plate", "red", "green", "blue", "sky",
)
# fmt: on
VOCABULARIES, WORDS_IN_EACH = 64, 5
TIE = 0.02
"""Probabilities this close are a tie: no precision can be held to its order."""


@dataclass(frozen=True)
class AgreementReport:
    """How far an encoder in 16 bits is from itself in float32.

    Attributes:
        precision: what was compared with fp32.
        least: the agreement asked for, in [0, 1].
        finite: neither NaN nor infinity came out.
        agreement: share of (region, vocabulary) pairs whose label is the same, or tied with the same within
            0.02 of probability.
        same: share of pairs whose label is exactly the same.
        cosine: the smallest cosine of a region's two embeddings.
    """

    precision: str
    least: float
    finite: bool
    agreement: float
    same: float
    cosine: float

    @property
    def agrees(self) -> bool:
        """Finite, and the labels agree often enough."""
        return self.finite and self.agreement >= self.least

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "does not agree"
        return (
            f"{self.precision} {verdict} with fp32: {100 * self.agreement:.2f} % of labels agree (expected "
            f"{100 * self.least:g} %), {100 * self.same:.2f} % without counting ties, cosine of embeddings "
            f">= {self.cosine:.5f}" + ("" if self.finite else ", not finite")
        )


def check_agreement(
    encoder: RegionEncoder,
    exact: Network,
    short: Network,
    *,
    precision: str,
    regions: Sequence[tuple[torch.Tensor, torch.Tensor]],
    least: float,
    store: Store | None = None,
    name: str = "",
) -> AgreementReport:
    """Labels regions twice, with words drawn from a list into many small vocabularies.

    Args:
        encoder: for its words, input side, scale and device.
        exact: (N,3,S,S), (N,1,S,S) -> (N,D) unit rows in float32.
        short: the same in 16 bits.
        precision: its name, for the report.
        regions: batches of pixels (N,3,S,S) and masks (N,1,S,S), at least one region in all.
        least: see `AgreementReport`.
        store: keeps the regions' embeddings, so that the next start has only to encode the words.
        name: of them, see `measurement_name`.

    Returns:
        What came out; disagreement is reported, not raised.
    """
    text = encoder.encode_text(CHECK_WORDS, BARE_TEMPLATE).float()  # (K,D)

    def embedded() -> npt.NDArray[np.float32]:
        batches = [(pixels.to(text.device), masks.to(text.device)) for pixels, masks in regions]
        with torch.no_grad():
            both = [torch.cat([run(*batch).float() for batch in batches]) for run in (exact, short)]
        return torch.stack(both).cpu().numpy()

    count = sum(len(pixels) for pixels, _ in regions)
    both = torch.from_numpy(measured_once(store, name, (2, count, text.shape[1]), embedded))
    rows, others = both.to(text.device)  # (R,D), (R,D)
    finite = is_finite(others)
    others = others.nan_to_num(0.0, 0.0, 0.0)
    generator = torch.Generator().manual_seed(0)
    chosen = torch.stack(
        [torch.randperm(len(CHECK_WORDS), generator=generator)[:WORDS_IN_EACH] for _ in range(VOCABULARIES)]
    ).to(text.device)  # (V,W)
    probs, others_probs = (
        (encoder.logit_scale * (part @ text.T))[:, chosen].softmax(dim=-1) for part in (rows, others)
    )  # (R,V,W)
    label = others_probs.argmax(dim=-1, keepdim=True)  # (R,V,1)
    tied = probs.gather(-1, label)[..., 0] >= probs.amax(dim=-1) - TIE
    same = label[..., 0] == probs.argmax(dim=-1)
    return AgreementReport(
        precision=precision,
        least=least,
        finite=finite,
        agreement=float(tied.float().mean()),
        same=float(same.float().mean()),
        cosine=float((rows * others).sum(dim=-1).min()),
    )


def check_regions(count: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N,3,S,S) normalised pixels and (N,1,S,S) masks: ellipses of striped colours; the same every time."""
    generator = torch.Generator().manual_seed(0)
    across = torch.linspace(-1, 1, size)
    y, x = across[:, None], across[None, :]
    shape = torch.rand(count, 8, 1, 1, generator=generator)  # what makes each region its own
    inside = (x / (0.4 + 0.6 * shape[:, 0])) ** 2 + (y / (0.4 + 0.6 * shape[:, 1])) ** 2 < 1  # (N,S,S)
    waves = torch.sin((2 + 20 * shape[:, 2]) * (x * shape[:, 3] + y * (1 - shape[:, 3])))
    colours = torch.rand(count, 3, 1, 1, generator=generator)
    rgb = colours + (0.3 * shape[:, 4] * waves)[:, None]
    rgb = (rgb + 0.05 * torch.randn(count, 3, size, size, generator=generator)).clamp(0, 1)
    mean, std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
    masks = inside[:, None].float()
    return (rgb - mean) / std * masks, masks


def picture_regions(
    pictures: Sequence[npt.NDArray[np.uint8]], size: int, each: int = 1
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Regions of photographs: the ellipses of `check_regions` on squares cut out of each.

    Args:
        pictures: (H, W, 3) uint8 RGB.
        size: S, of the encoder's input.
        each: squares per picture, from its left to its right.

    Returns:
        Nothing for no pictures, else one batch: (N,3,S,S) normalised pixels and (N,1,S,S) masks.
    """
    if not pictures:
        return []
    _, masks = check_regions(each * len(pictures), size)
    squares = []
    for picture in pictures:
        side = min(picture.shape[:2])
        for left in np.linspace(0, picture.shape[1] - side, each).astype(int):
            square = cv2.resize(
                picture[:side, left : left + side], (size, size), interpolation=cv2.INTER_AREA
            )
            squares.append(torch.from_numpy(square).permute(2, 0, 1).float() / 255)
    mean, std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
    return [((torch.stack(squares) - mean) / std * masks, masks)]

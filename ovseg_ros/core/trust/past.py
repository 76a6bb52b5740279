"""What a word usually scores: its own past on masks seen before.

Some words lie near everything ("hubs"): a cosine that is a find for one word is what another gets from any
mask. Read against its own past each has to do better than it usually does.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ovseg_ros.errors import InvalidInputError

LEAST_DEVIATION = 0.1
"""Of the median word's; a word whose past is all the same would else make much of nothing. Relative, as one
encoder's cosines differ by tenths and another's by thousandths."""

_NOTHING = 1e-6  # where the median word's past is all the same, too


@dataclass(frozen=True)
class Past:
    """What W words scored on R masks seen before.

    Attributes:
        mean: (W,) float32 of their cosines.
        deviation: (W,) float32, their standard deviations, of the median at least `LEAST_DEVIATION`.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def standardised(self, cosines: torch.Tensor) -> torch.Tensor:
        """(N, W) cosines in standard deviations from their mean: z = (cosine − mean) / deviation."""
        return (cosines - self.mean) / self.deviation


def past_of(text: torch.Tensor, reference: torch.Tensor) -> Past:
    """Words' own past, one matrix product.

    Args:
        text: (W, D) unit rows.
        reference: (R, D) unit rows of masks seen before, R >= 2.

    Raises:
        InvalidInputError: widths differ, or fewer than two masks.

    Examples:
        >>> past = past_of(torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> past.mean, past.deviation, past.standardised(torch.tensor([[1.0]]))
        (tensor([0.5000]), tensor([0.5000]), tensor([[1.]]))
    """
    if reference.ndim != 2 or len(reference) < 2 or reference.shape[1] != text.shape[1]:
        raise InvalidInputError(
            f"expected at least two masks seen before, as wide as the words' {text.shape[1]}, got "
            f"{tuple(reference.shape)}: the reference is another encoder's"
        )
    cosines = text.float() @ reference.to(text).float().T  # (W,R)
    deviation, mean = torch.std_mean(cosines, dim=1, correction=0)
    least = max(LEAST_DEVIATION * float(deviation.median()), _NOTHING) if len(deviation) else _NOTHING
    return Past(mean, deviation.clamp(min=least))

"""From what speaks for a word to the probability that it is right."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ovseg_ros.errors import ConfigError

FURTHEST = 1e6
"""No log odds of a competition count for more; they may be infinite, see `log_odds`."""

SURE = 80.0
"""No log odds go further: float32 still tells 1e-35 from 0, and words keep their order."""


@dataclass(frozen=True)
class Calibration:
    """The few numbers of a preset that make scores probabilities; fitted by `ovseg_ros.learn.trust`.

    logit p = bias + odds · g + past · z + mask · m − ln(N / usual_masks)

    g are the log odds of the competition, z is the word's score in standard deviations of its own past, m the
    log odds of the mask's own score, as a right word on a piece of a thing is no right answer, and N the
    number of masks. The last term is the prior: the one mask that is meant is one of N, so that twice as many
    masks halve the odds of each.

    Attributes:
        bias: log odds where nothing speaks for or against.
        odds: weight of the competition; 1 takes the encoder's softmax as it is, less trusts it less.
        past: weight of the word's own past; does nothing where there is none.
        mask: weight of the mask's own score.
        hub: part of a word's mean score in the past that is taken off before words compete, in [0, 1].
        usual_masks: N at which the numbers were fitted.
        prior: of an encoder with a `logit_bias`, added to the log odds of all words before they compete: ln
            of how much likelier a word is here than a text was in training; see docs/modes.md.
    """

    bias: float = 0.0
    odds: float = 0.8
    past: float = 0.0
    mask: float = 0.0
    hub: float = 0.0
    usual_masks: float = 30.0
    prior: float = 0.0

    def __post_init__(self) -> None:
        for name in ("bias", "odds", "past", "mask", "hub", "usual_masks", "prior"):
            if not math.isfinite(getattr(self, name)):
                raise ConfigError(
                    f"expected a number for {name} of the calibration, got {getattr(self, name)}"
                )
        if min(self.odds, self.past, self.mask) < 0:
            raise ConfigError(
                f"expected odds, past and mask of the calibration at least 0, got {self.odds}, "
                f"{self.past} and "
                f"{self.mask}: what speaks for an answer must not count against it"
            )
        if not 0 <= self.hub <= 1:
            raise ConfigError(f"expected hub of the calibration in [0, 1], got {self.hub}")
        if not self.usual_masks > 0:
            raise ConfigError(f"expected usual_masks of the calibration above 0, got {self.usual_masks}")

    def probability(
        self, odds: torch.Tensor, past: torch.Tensor, masks: int, mask_odds: torch.Tensor | float = 0.0
    ) -> torch.Tensor:
        """The formula above.

        Args:
            odds: g, of any shape; ±inf is allowed.
            past: z, of the same shape.
            masks: N, at least 1.
            mask_odds: m, of a shape that goes with theirs; see `mask_log_odds`.

        Returns:
            p in (0, 1), of the same shape.

        Examples:
            >>> one = Calibration(odds=1.0, usual_masks=8.0)
            >>> even = torch.zeros(1)
            >>> one.probability(even, even, 8), one.probability(even, even, 16)
            (tensor([0.5000]), tensor([0.3333]))
        """
        prior = self.bias - math.log(masks / self.usual_masks)
        weighed = self.odds * odds.clamp(-FURTHEST, FURTHEST)  # a weight of 0 times infinity is no number
        weighed = weighed + self.past * past + self.mask * mask_odds
        return (weighed + prior).clamp(-SURE, SURE).sigmoid()


def mask_log_odds(mask_scores: torch.Tensor) -> torch.Tensor:
    """(N,) float: m, the log odds of masks' own scores, which are cut to 0.02…0.98 for that.

    Examples:
        >>> mask_log_odds(torch.tensor([0.5, 0.0]))
        tensor([ 0.0000, -3.8918])
    """
    return mask_scores.float().clamp(0.02, 0.98).logit()

"""Numbers that are none, NaN and infinity: refused where a network gives them."""

from __future__ import annotations

import torch

from ovseg_ros.errors import NotFiniteError


def check_finite(tensor: torch.Tensor, what: str) -> torch.Tensor:
    """The same tensor, where all its numbers are some.

    A comparison with NaN is false, so that what follows from one looks like an answer: a mask that beats no
    threshold, a track that is like no other.

    Args:
        tensor: of any shape and type; an empty one passes. Its least and greatest number are looked at, a
            third of the time of `isfinite`; on a GPU this waits for what computes it.
        what: it is, for people.

    Raises:
        NotFiniteError: one is NaN or infinite; the message says how many are.
    """
    if tensor.numel() == 0 or not tensor.is_floating_point():
        return tensor
    low, high = torch.aminmax(tensor.detach())  # NaN where any is
    if bool(torch.isfinite(low) & torch.isfinite(high)):
        return tensor
    wrong = int((~torch.isfinite(tensor)).sum())
    raise NotFiniteError(
        f"{wrong} of {tensor.numel()} numbers are NaN or infinite in {what}: nothing can be found by them; "
        "if it happens on every frame, check the weights (ovseg download verifies them) or compute in float32"
    )

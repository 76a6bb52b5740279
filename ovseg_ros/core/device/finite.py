"""NaN and infinity: refused where a network gives them."""

from __future__ import annotations

import torch

from ovseg_ros.errors import NotFiniteError


def check_finite(tensor: torch.Tensor, what: str) -> torch.Tensor:
    """The same tensor, where all its numbers are finite.

    A comparison with NaN is false, so that what follows from one looks like an answer: a mask that beats no
    threshold, a track that is like no other.

    Args:
        tensor: of any shape and type; an empty one passes. Its sum is looked at, which costs a small part of
            what `isfinite` does; on a GPU this waits for what computes it.
        what: the tensor is, for people.

    Raises:
        NotFiniteError: one is NaN or infinite; the message says how many are.
    """
    if not tensor.is_floating_point():
        return tensor
    numbers = tensor.detach()
    wide = torch.promote_types(numbers.dtype, torch.float32)
    if bool(torch.isfinite(numbers.sum(dtype=wide))):  # no sum with NaN or infinity in it is finite
        return tensor
    if bool(torch.isfinite(numbers).all()):  # large numbers, whose sum overflows
        return tensor
    wrong = int((~torch.isfinite(tensor)).sum())
    raise NotFiniteError(
        f"{wrong} of {tensor.numel()} numbers are NaN or infinite in {what}: nothing can be found by them; "
        "if it happens on every frame, check the weights (ovseg download verifies them) or compute in float32"
    )

"""NumPy's numbers in torch's files, such as a training program's best score: torch.load alone refuses them.

A pickled NumPy scalar names a function and a type of NumPy. Here stand-ins take their places that know
numbers and nothing else: no function of NumPy is called with what a file says.
"""

from __future__ import annotations

import pickle
from typing import Any

import torch

_SCALAR = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")  # before NumPy 2 and since
_FORMATS = {
    "b1": torch.bool,
    "i1": torch.int8,
    "i2": torch.int16,
    "i4": torch.int32,
    "i8": torch.int64,
    "u1": torch.uint8,
    "u2": torch.uint16,
    "u4": torch.uint32,
    "u8": torch.uint64,
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
}


class _DType:
    """Stands for `numpy.dtype` while a file is read."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "<"

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, tuple) and len(state) > 1 and state[1] in ("<", ">", "|", "="):
            self.order = state[1]


def _scalar(kind: Any, content: Any = b"") -> bool | int | float:
    """The number that a pickled NumPy scalar holds."""
    dtype = _FORMATS.get(kind.code) if isinstance(kind, _DType) else None
    content = content.encode("latin1") if isinstance(content, str) else content
    if dtype is None or not isinstance(content, bytes) or len(content) != dtype.itemsize:
        raise pickle.UnpicklingError(
            f"expected a number in a NumPy scalar, got {getattr(kind, 'code', kind)!r}"
        )
    ordered = content[::-1] if kind.order == ">" else content
    value: bool | int | float = torch.frombuffer(bytearray(ordered), dtype=dtype).item()
    return value


def with_numpy_scalars() -> torch.serialization.safe_globals:
    """In this context `torch.load(weights_only=True)` reads NumPy's numbers as Python's."""
    return torch.serialization.safe_globals(
        [(_DType, "numpy.dtype"), _DType, *((_scalar, s) for s in _SCALAR)]
    )

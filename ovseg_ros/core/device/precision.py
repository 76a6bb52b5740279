"""Running a network in 16 bits: which a device has, and 32 again where a result is not finite."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Literal, get_args

import torch

from ovseg_ros.errors import ConfigError

Precision = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
Network = Callable[..., Any]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_LOG = logging.getLogger(__name__)


def check_device(precision: str, device: torch.device) -> Precision:
    """What a precision means on a device.

    "auto" is bf16 where the hardware computes in it, fp16 on other GPUs, else fp32.

    Args:
        precision: "auto", or one of `PRECISIONS`.
        device: where a network is to run.

    Returns:
        One of `PRECISIONS`.

    Raises:
        ConfigError: another word, fp16 on a CPU, or bf16 on a GPU that does not compute in it.
    """
    if precision == "auto":
        if _has_bf16(device):
            return "bf16"
        return "fp16" if device.type == "cuda" else "fp32"
    if precision not in PRECISIONS:
        raise ConfigError(f"expected precision one of {', '.join(PRECISIONS)}, got {precision!r}")
    if precision == "fp16" and device.type == "cpu":
        raise ConfigError(
            "expected precision fp32 or bf16 on a CPU, got fp16; say precision: bf16, or use a GPU"
        )
    if precision == "bf16" and device.type == "cuda" and not _has_bf16(device):
        raise ConfigError(f"{torch.cuda.get_device_name(device)} cannot do bf16; say precision: fp16 or fp32")
    return precision


def _has_bf16(device: torch.device) -> bool:
    """Whether bf16 is computed in hardware: GPUs from Ampere on, CPUs with AVX512_BF16 or AMX."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)  # before, it is only emulated
    return device.type == "cpu" and cpu_has_bf16()


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies matrices in bf16 in hardware: AVX512_BF16 or AMX."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def under_autocast(network: Network, precision: Precision, device: torch.device) -> Network:
    """The network in a precision, without gradient: tensors, or tuples of them, come out in float32.

    A caller's own autocast does not change what "fp32" means.
    """
    dtype = DTYPES[precision]

    def run(*args: Any, **kwargs: Any) -> Any:
        with torch.no_grad(), torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            result = network(*args, **kwargs)
        return tuple(part.float() for part in result) if isinstance(result, tuple) else result.float()

    return run


def repaired(short: Network, exact: Network, *, name: str, precision: str) -> Network:
    """Calls `short`, and `exact` again where anything that came out is not finite.

    Args:
        short: in 16 bits.
        exact: the same in float32.
        name: of the network, for the warning that comes the first time.
        precision: of `short`, or what else runs it, for the same.
    """
    warned = False

    def run(*args: Any, **kwargs: Any) -> Any:
        nonlocal warned
        result = short(*args, **kwargs)
        if is_finite(result):
            return result
        if not warned:
            _LOG.warning("%s overflowed in %s; such images are done in fp32", name, precision)
            warned = True
        return exact(*args, **kwargs)

    return run


def is_finite(result: Any) -> bool:
    """Whether neither NaN nor infinity is in a tensor, or in any of a tuple of them."""
    parts = result if isinstance(result, tuple) else (result,)
    return all(bool(torch.isfinite(part).all()) for part in parts)

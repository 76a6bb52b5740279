"""What another runtime is told of a network, and what names the program it makes of it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import nn

from ovseg_ros import __version__
from ovseg_ros.core.device import Precision


class Store(Protocol):
    """Keeps programs between two starts; the core itself reads and writes no file."""

    folder: str
    """Where a runtime may keep what it writes by itself."""

    def read(self, name: str) -> bytes | None:
        """What was written under that name; None where there is nothing, or nothing whole."""

    def write(self, name: str, content: bytes) -> None:
        """Keeps it. What cannot be kept is said, not raised: it is made again the next time."""


@dataclass(frozen=True)
class Job:
    """A network to run elsewhere.

    Attributes:
        module: in evaluation mode; its weights are taken as they are now.
        example: its inputs, float32, each with one row; their shapes are those of every call, the number of
            rows aside.
        precision: what to compute in, where the runtime has it.
        device: where the caller's tensors are.
        threads: of the processor, at least 1.
        rows: True where calls bring several rows, False where they bring one: then all threads work at it.
    """

    module: nn.Module
    example: tuple[torch.Tensor, ...]
    precision: Precision
    device: torch.device
    threads: int
    rows: bool = True

    @cached_property
    def digest(self) -> str:
        """64 hex digits of the module's weights and structure, as they are when it is first asked for."""
        return digest_of(self.module)


def fingerprint(job: Job, *settings: object) -> str:
    """64 hex digits that differ wherever the program would: weights, structure, inputs, settings.

    Args:
        job: see there.
        settings: what else the program depends on: the runtime's version, the processor.
    """
    digest = hashlib.sha256()
    for part in (__version__, torch.__version__, job.precision, job.rows, job.digest, *settings):
        digest.update(f"{part}\n".encode())
    for tensor in job.example:
        digest.update(f"{tuple(tensor.shape)}\n".encode())
    return digest.hexdigest()


def digest_of(network: nn.Module) -> str:
    """64 hex digits of a network's weights and structure, as they are now."""
    digest = hashlib.sha256(f"{network}\n".encode())
    for name, module in network.named_modules():
        plain = {key: value for key, value in vars(module).items() if _is_plain(value)}
        digest.update(f"{name} {sorted(plain.items())}\n".encode())
    for name, weight in (*network.named_parameters(), *network.named_buffers()):
        digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}\n".encode())
        flat = weight.detach().cpu().contiguous().flatten().view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def _is_plain(value: object) -> bool:
    """Whether a module's attribute is a setting: a number, a word, or a tuple of them."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return isinstance(value, tuple) and all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)

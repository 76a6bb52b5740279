"""Composed pictures as the network meets them: the backbone's maps, made once and read many times.

The backbone stays as it is, so what it says of a picture need not be computed again in every epoch and for
every seed: on a CPU that is half of the work.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ovseg_ros.core.device import DTYPES, check_device
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.learn.colour.pictures import Sample
from ovseg_ros.learn.colour.targets import Targets, targets_of
from ovseg_ros.proposals.colour.network import backbone_maps


@dataclass(frozen=True)
class Batch:
    """Some pictures.

    Attributes:
        maps: four (B, C, h, w) bfloat16, see `backbone_maps`.
        pixels: (B, 3, H, W) uint8.
        targets: B of them.
    """

    maps: list[torch.Tensor]
    pixels: torch.Tensor
    targets: list[Targets]


def prepare(
    compose: Callable[[np.random.Generator], Sample],
    backbone: nn.Module,
    folder: Path,
    batches: range,
    *,
    size: int,
    seed: int = 0,
    device: str | torch.device = "cpu",
) -> Iterator[int]:
    """Writes batches that are not there yet, about 2.5 MB a picture.

    Args:
        compose: makes a picture; see `Composer`.
        backbone: see `backbone_maps`.
        folder: for the files, made when needed.
        batches: numbers of those to write; each is made from its own random numbers.
        size: pictures in each.
        seed: of the random numbers.
        device: where the backbone runs.

    Yields:
        The number of each batch once it is there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    where = torch.device(device)
    dtype = DTYPES[check_device("auto", where)]
    for number in batches:
        path = folder / f"{number:06d}.pt"
        if not path.exists():
            rng = np.random.default_rng((seed, number))
            samples = [compose(rng) for _ in range(size)]
            pixels = torch.stack([torch.from_numpy(sample.image).permute(2, 0, 1) for sample in samples])
            with torch.no_grad(), torch.autocast(where.type, dtype, enabled=dtype != torch.float32):
                maps = backbone_maps(backbone, normalised(pixels.to(where)))
            kept = [m.to("cpu", torch.bfloat16).contiguous() for m in maps]
            targets = [targets_of(sample) for sample in samples]
            packed = [(t.owner.int(), (t.masks * 255).round().to(torch.uint8), t.boxes) for t in targets]
            partial = path.with_suffix(".part")
            torch.save({"maps": kept, "pixels": pixels, "targets": packed}, partial)
            partial.replace(path)
        yield number


def normalised(pixels: torch.Tensor) -> torch.Tensor:
    """(B, 3, H, W) uint8 -> float32 in [-1, 1], as the backbone wants it."""
    return (pixels.float() / 127.5 - 1.0).contiguous(memory_format=torch.channels_last)


def read_batch(path: Path) -> Batch:
    """A batch that `prepare` wrote.

    Raises:
        InvalidInputError: the file is damaged.
    """
    try:
        content = torch.load(path, weights_only=True)
        targets = [
            Targets(owner.long(), masks.float() / 255, boxes) for owner, masks, boxes in content["targets"]
        ]
        return Batch(content["maps"], content["pixels"], targets)
    except (RuntimeError, KeyError, EOFError) as error:
        raise InvalidInputError(f"{path} is damaged; delete it, and prepare makes it anew") from error

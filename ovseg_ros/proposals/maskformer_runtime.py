"""A MaskFormer in another runtime than torch, trusted where masks and class embeddings stay the same."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import Network
from ovseg_ros.core.encoders import AgreementReport
from ovseg_ros.core.engines import Job, Programs, Store, measurement_name
from ovseg_ros.proposals.agreement import Answer, check_masks
from ovseg_ros.proposals.sam.precision import check_image

if TYPE_CHECKING:
    from ovseg_ros.proposals.maskformer import MaskFormerNetwork, MaskFormerOptions, MaskFormerOutput

Parts = tuple[torch.Tensor, ...]


class InParts(nn.Module):
    """A network whose output is a tuple of tensors, which is all that other runtimes know."""

    def __init__(self, network: MaskFormerNetwork) -> None:
        """Nothing is copied."""
        super().__init__()
        self.network = network

    def forward(self, pixels: torch.Tensor) -> Parts:
        """(1, 3, h, w) -> mask logits, then class embeddings and objectness where the network has them."""
        output: MaskFormerOutput = self.network(pixels)
        parts = (output.mask_logits, output.class_embeddings, output.objectness)
        return tuple(part for part in parts if part is not None)


def named(parts: Any, classifies: bool) -> dict[str, torch.Tensor]:
    """What `InParts` or a program of it gave, by the names in `MaskFormerOutput`."""
    names = ("mask_logits", *(["class_embeddings"] if classifies else []), "objectness")
    return dict(zip(names, parts if isinstance(parts, tuple) else (parts,), strict=False))


def network_programs(
    network: MaskFormerNetwork,
    options: MaskFormerOptions,
    device: torch.device,
    prepare: Callable[[npt.NDArray[np.uint8]], torch.Tensor],
    store: Store | None,
    pictures: Sequence[npt.NDArray[np.uint8]],
) -> Programs:
    """The whole network in `options.runtime`, a program for each shape of input.

    Args:
        network: on `device`.
        options: see `MaskFormerOptions`.
        device: where it is.
        prepare: image (h, w, 3) uint8 with sides that the network takes -> pixels (1, 3, h, w).
        store: keeps what the runtime makes of it; None makes it anew at each start.
        pictures: photographs (H, W, 3) uint8 RGB on which it is held against torch, beside a made-up image.
    """
    whole = InParts(network)
    cut = math.log(options.mask_threshold / (1 - options.mask_threshold))

    def answer(parts: Any) -> Answer:
        said = named(parts, network.classifies)
        logits = said["mask_logits"].float()
        scores = said.get("objectness", torch.ones(len(logits), device=logits.device))
        embeddings = said.get("class_embeddings")
        return Answer(scores, logits - cut, None if embeddings is None else embeddings.float())

    def check(program: Network, job: Job) -> AgreementReport:
        height, width = job.example[0].shape[-2:]
        made_up = check_image(max(height, width))[:height, :width]
        images = [prepare(one) for one in (made_up, *(cv2.resize(p, (width, height)) for p in pictures))]
        runtime = programs.runtime
        return check_masks(
            lambda pixels: (answer(whole(pixels)), answer(program(pixels))),
            images,
            what=f"{job.precision} in {runtime}",
            least=options.min_agreement,
            store=store,
            name="" if store is None else measurement_name(job, runtime, f"masks 1 {cut}", images),
        )

    programs = Programs(
        "MaskFormer",
        lambda: whole,
        check,
        runtime=options.runtime,
        precision=options.precision,  # type: ignore[arg-type]  # checked by the options
        device=device,
        store=store,
    )
    return programs

"""Segment Anything's image encoder in another runtime than torch, trusted where the masks stay the same."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import Network, Precision
from ovseg_ros.core.encoders import AgreementReport
from ovseg_ros.core.engines import (
    Job,
    Programs,
    Store,
    digest_of,
    measurement_name,
    precision_elsewhere,
)
from ovseg_ros.proposals.agreement import Answer, check_masks
from ovseg_ros.proposals.sam.options import SamOptions
from ovseg_ros.proposals.sam.precision import SamInPrecision, check_image, grid_answers

if TYPE_CHECKING:
    from segment_anything.modeling import Sam


def encoder_programs(
    sam: Sam,
    options: SamOptions,
    precision: Precision,
    store: Store | None,
    pictures: Sequence[npt.NDArray[np.uint8]],
) -> Programs:
    """The image encoder in `options.runtime`; the mask decoder stays with torch.

    Args:
        sam: on its device, at the size that it shall run at.
        options: see `SamOptions`.
        precision: what `options.precision` came to in torch.
        store: keeps what the runtime makes of it; None makes it anew at each start.
        pictures: see `check_pictures`.
    """

    def check(program: Network, job: Job) -> AgreementReport:
        images = check_pictures(pictures, sam.image_encoder.img_size)
        runtime, name = programs.runtime, ""
        if store is not None:
            decoder = (digest_of(sam.prompt_encoder), digest_of(sam.mask_decoder))
            name = measurement_name(job, runtime, f"sam masks 1 {decoder}", images)
        exact, other = SamInPrecision(sam), SamInPrecision(sam, encoder=program, repair=False)
        return check_masks(
            lambda image: best_of_three(*(grid_answers(model, image.numpy()) for model in (exact, other))),
            images,
            what=f"{job.precision} in {runtime}",
            least=options.min_agreement,
            store=store,
            name=name,
        )

    programs = Programs(
        "Segment Anything's image encoder",
        lambda: sam.image_encoder,
        check,
        runtime=options.runtime,
        precision=precision_elsewhere(options.precision, precision, sam.device),
        device=sam.device,
        store=store,
    )
    return programs


def check_pictures(pictures: Sequence[npt.NDArray[np.uint8]], side: int) -> list[torch.Tensor]:
    """A made-up image and some photographs, as large as the network's input, so that none of it is padding.

    Args:
        pictures: (H, W, 3) uint8 RGB, of any size.
        side: of the input.

    Returns:
        (side, side, 3) uint8 each.
    """
    squares = [check_image(side), *(cv2.resize(one, (side, side)) for one in pictures)]
    return [torch.from_numpy(np.ascontiguousarray(square)) for square in squares]


def best_of_three(
    exact: tuple[torch.Tensor, torch.Tensor], other: tuple[torch.Tensor, torch.Tensor]
) -> tuple[Answer, Answer]:
    """Of each prompt's three masks the one that torch in float32 rates best, by both.

    Args:
        exact: (P, 3, h, w) mask logits and (P, 3) predicted IoU.
        other: the same by what is to be trusted.
    """
    best = exact[1].argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    answer, found = (
        Answer(rated[rows, best].clamp(0, 1), logits[rows, best]) for logits, rated in (exact, other)
    )
    return answer, found

"""SAM 2's image encoder in another runtime than torch, trusted where the masks stay the same."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import Network, Precision
from ovseg_ros.core.encoders import AgreementReport
from ovseg_ros.core.engines import Job, Programs, Store, measurement_name, precision_elsewhere
from ovseg_ros.proposals.agreement import Answer, check_masks
from ovseg_ros.proposals.sam.runtime import best_of_three, check_pictures
from ovseg_ros.proposals.sam2.network import Sam2Network, check_prompts
from ovseg_ros.proposals.sam2.options import Sam2Options


def encoder_programs(
    model: nn.Module,
    options: Sam2Options,
    precision: Precision,
    store: Store | None,
    pictures: Sequence[npt.NDArray[np.uint8]],
) -> Programs:
    """The image encoder in `options.runtime`; mask decoder and memory stay with torch.

    Args:
        model: on its device, see `Sam2Network`.
        options: see `Sam2Options`.
        precision: what `options.precision` came to in torch.
        store: keeps what the runtime makes of it; None makes it anew at each start.
        pictures: photographs (H, W, 3) uint8 RGB on which it is held against torch too.
    """

    @functools.cache
    def exact() -> Sam2Network:  # not for torch, which asks for none
        return Sam2Network(model)

    def check(program: Network, job: Job) -> AgreementReport:
        other = Sam2Network(model, repair=False)
        other.encode_by(program)
        images = check_pictures(pictures, exact().side)
        runtime = programs.runtime

        def ask(image: torch.Tensor) -> tuple[Answer, Answer]:
            return best_of_three(*(_answers(network, image.numpy()) for network in (exact(), other)))

        return check_masks(
            ask,
            images,
            what=f"{job.precision} in {runtime}",
            least=options.min_agreement,
            store=store,
            name="" if store is None else measurement_name(job, runtime, "sam2 masks 1", images),
        )

    device = next(model.parameters()).device
    programs = Programs(
        f"the image encoder of {type(model).__name__}",
        lambda: ImageEncoder(exact(), model),
        check,
        runtime=options.runtime,
        precision=precision_elsewhere(options.precision, precision, device),
        device=device,
        store=store,
    )
    return programs


class ImageEncoder(nn.Module):
    """Pixels (1, 3, S, S) -> `Features`; its weights are all of the network's, what it says depends on."""

    def __init__(self, network: Sam2Network, model: nn.Module) -> None:
        """Nothing is copied."""
        super().__init__()
        self._network, self.model = network, model

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """See the class."""
        return self._network.features_of(pixels)


def _answers(network: Sam2Network, image: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    size_hw = image.shape[0], image.shape[1]
    return network.decode(network.embed(image), check_prompts(size_hw), size_hw, multimask=True)

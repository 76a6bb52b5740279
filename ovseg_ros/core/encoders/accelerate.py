"""An encoder's image tower in 16 bits, compiled, or by another runtime; its words stay as they are."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from ovseg_ros.core.device import (
    DTYPES,
    PRECISIONS,
    Network,
    check_device,
    repaired,
    under_autocast,
)
from ovseg_ros.core.encoders.agreement import (
    AgreementReport,
    check_agreement,
    check_regions,
    picture_regions,
)
from ovseg_ros.core.encoders.vit_tower import is_vit, vit_features
from ovseg_ros.core.engines import (
    Job,
    Store,
    check_runtime,
    choose_runtime,
    measurement_name,
    run_elsewhere,
)
from ovseg_ros.errors import ConfigError

_LOG = logging.getLogger(__name__)

_WHAT = "the image tower"


@dataclass(frozen=True)
class AccelerateOptions:
    """How an image tower is run.

    Attributes:
        precision: "fp32"; "bf16" or "fp16" (not on a CPU), where labels then still agree; "auto" is bf16
            where the hardware computes in it, fp16 on other GPUs, else fp32.
        runtime: "torch"; "openvino", on a CPU; "onnxruntime"; "tensorrt", on an NVIDIA card; "auto" is
            OpenVINO on a CPU where it is installed, else torch. One that cannot be had gives way to torch.
        compile: by `torch.compile`, in torch; needs a C++ compiler on a CPU, Triton on a GPU, and minutes at
            the start.
        check_regions: on how many made-up regions 16 bits, or another runtime, are compared with torch in 32
            bits at the start, beside some of photographs where the caller has any; 0 trusts them.
        min_agreement: share of labels that must agree, in [0, 1]; else it stays with torch in fp32.
    """

    removed: ClassVar[Mapping[str, str]] = {
        "cuda_graphs": "say compile: true",
        "batch_buckets": "leave it out: compile takes batches of any size",
        "engine": "say runtime, with the same words",
    }
    """Options there were once, and what to do instead."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "fp32"
    runtime: Literal["auto", "torch", "onnxruntime", "openvino", "tensorrt"] = "torch"
    compile: bool = False
    check_regions: int = 8
    min_agreement: float = 0.995

    def __post_init__(self) -> None:
        words = ("auto", *PRECISIONS)
        if self.precision not in words:
            raise ConfigError(f"expected precision one of {', '.join(words)}, got {self.precision!r}")
        check_runtime(self.runtime)
        if self.runtime != "torch" and self.compile:
            raise ConfigError(
                f"expected runtime torch with compile, got {self.runtime!r}: leave one of them out"
            )
        if self.check_regions < 0:
            raise ConfigError(f"expected check_regions >= 0, got {self.check_regions}")
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"expected min_agreement in [0, 1], got {self.min_agreement}")


def accelerate(
    encoder: Any,
    options: AccelerateOptions | None,
    device: torch.device,
    store: Store | None = None,
    pictures: Sequence[npt.NDArray[np.uint8]] = (),
) -> Any:
    """The encoder, or one around it that runs its image tower as the options say.

    Args:
        encoder: on `device`, in evaluation mode.
        options: None, or ones that ask for nothing, give the encoder back.
        device: where it runs.
        store: keeps what another runtime makes of the network; None makes it anew at each start.
        pictures: photographs (H, W, 3) uint8 RGB on whose regions agreement is checked too.

    Raises:
        ConfigError: the device cannot do what is asked.
    """
    if options is None:
        return encoder
    runtime = choose_runtime(options.runtime, device, _WHAT)
    if runtime == "torch" and check_device(options.precision, device) == "fp32" and not options.compile:
        return encoder
    options = dataclasses.replace(options, runtime=runtime)
    return AcceleratedEncoder(encoder, options, device, store, pictures)


class AcceleratedEncoder:
    """A region encoder whose `encode_regions` is for inference alone; all else is the encoder's own.

    A ViT runs with a copy of its weights in 16 bits, other towers under autocast. What is not finite in 16
    bits is computed again in float32, with a warning the first time. The weights must not change any more.

    Attributes:
        encoder: the encoder inside; not changed.
        precision: what it runs in: the one asked for, or "fp32" where that did not agree.
        runtime: what runs it: the one asked for, or "torch" where that failed or did not agree.
        report: how the labels agreed; None where that was not checked.
        compiled: whether it runs compiled.
    """

    def __init__(
        self,
        encoder: Any,
        options: AccelerateOptions,
        device: torch.device,
        store: Store | None = None,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        """Wraps an encoder; see `accelerate`."""
        self.encoder = encoder
        self.precision = check_device(options.precision, device)
        self.report: AgreementReport | None = None
        self.compiled = False
        self._device = device
        self._exact: Network = under_autocast(encoder.encode_regions, "fp32", device)
        self.runtime = choose_runtime(options.runtime, device, _WHAT)
        self._run = self._short() if self.runtime == "torch" else self._elsewhere(store)
        if (self.precision, self.runtime) != ("fp32", "torch") and options.check_regions:
            self._trust(self._exact, options, store, pictures)
        if options.compile:
            self._compile()
        if self.precision != "fp32":
            self._run = repaired(self._run, self._exact, name="the image tower", precision=self.precision)

    def __getattr__(self, name: str) -> Any:
        if name == "encoder":  # not there yet, as in copy and pickle
            raise AttributeError(name)
        return getattr(self.encoder, name)

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """Embeds masked crops, without gradient.

        Args:
            pixels: (N, 3, S, S) CLIP-normalised, from `crop_regions`.
            region_masks: (N, 1, S, S), above 0 where the region is, or None.

        Returns:
            (N, D) float32 unit rows on the device; (0, D) for N = 0.

        Raises:
            InvalidInputError: shapes are not as above.
            torch.OutOfMemoryError: as it comes.
        """
        side = self.encoder.size
        odd = pixels.ndim != 4 or pixels.shape[1:] != (3, side, side) or pixels.shape[0] == 0
        if odd or (region_masks is not None and region_masks.shape != (pixels.shape[0], 1, side, side)):
            with torch.no_grad():
                rows: torch.Tensor = self.encoder.encode_regions(pixels, region_masks)
            return rows
        masks = None if region_masks is None else region_masks.to(self._device)
        rows = self._run(pixels.to(self._device), masks)
        return rows

    def _short(self) -> Network:
        """The forward pass in the chosen precision."""
        encoder = self.encoder
        visual = getattr(getattr(encoder, "clip_model", None), "visual", None)
        if self.precision != "fp32" and visual is not None and is_vit(visual):
            rescaled = getattr(encoder, "rescaled", lambda same: same)
            run = _vit(visual, getattr(encoder, "mask_prompts", None), DTYPES[self.precision])
            return lambda pixels, masks: run(rescaled(pixels), masks)
        return under_autocast(encoder.encode_regions, self.precision, self._device)

    def _elsewhere(self, store: Store | None) -> Network:
        """The forward pass in another runtime, or in torch where that cannot run the network."""
        told = run_elsewhere(self.runtime, self._job, store, _WHAT)
        if told is None:
            self.runtime = "torch"
            return self._short()
        exact = self._exact
        return lambda pixels, masks: exact(pixels, masks) if masks is None else told(pixels, masks)

    @cached_property
    def _job(self) -> Job:
        side, device = self.encoder.size, self._device
        example = (torch.zeros(1, 3, side, side, device=device), torch.ones(1, 1, side, side, device=device))
        return Job(self.encoder, example, self.precision, device, torch.get_num_threads())

    def _trust(
        self,
        exact: Network,
        options: AccelerateOptions,
        store: Store | None,
        pictures: Sequence[npt.NDArray[np.uint8]],
    ) -> None:
        """Compares the labels, and goes back to torch in float32 where they do not agree."""
        regions = [
            check_regions(options.check_regions, self.encoder.size),
            *picture_regions(pictures, self.encoder.size),
        ]
        kept = store if self.runtime != "torch" else None
        shown = [part for batch in regions for part in batch]
        name = "" if kept is None else measurement_name(self._job, self.runtime, "embeddings 1", shown)
        report = check_agreement(
            self.encoder,
            exact,
            self._run,
            precision=self.precision if self.runtime == "torch" else f"{self.precision} in {self.runtime}",
            regions=regions,
            least=options.min_agreement,
            store=kept,
            name=name,
        )
        self.report = report
        if report.agrees:
            _LOG.info("the image tower by %s on %s: %s", self.runtime, self._device, report)
            return
        _LOG.warning("the image tower on %s stays with torch in fp32: %s", self._device, report)
        self.precision, self.runtime, self._run = "fp32", "torch", exact

    def _compile(self) -> None:
        """Compiles, for one region and for any number of them; a machine that cannot goes on without."""
        compiled = torch.compile(self._run)
        pixels, masks = (part.to(self._device) for part in check_regions(2, self.encoder.size))
        try:
            for count in (1, 2):  # from the second size on torch.compile makes it for all sizes
                compiled(pixels[:count], masks[:count])
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever is missing: a compiler, its headers, Triton
            _LOG.warning(
                "torch.compile cannot be used here, going on without: %s", str(error).strip().split("\n")[0]
            )
        else:
            self.compiled, self._run = True, compiled


def _vit(visual: Any, prompts: torch.Tensor | None, dtype: torch.dtype) -> Network:
    """A ViT's forward pass with a copy of its weights in `dtype`; unit rows in float32."""
    visual = copy.deepcopy(visual).requires_grad_(False).to(dtype)
    prompts = None if prompts is None else prompts.detach().to(dtype)

    @torch.no_grad()
    def run(pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        return F.normalize(vit_features(visual, pixels, masks, prompts).float(), dim=-1)

    return run

"""An encoder's image tower in 16 bits, compiled, or replayed from CUDA graphs; its words stay as they are."""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F

from ovseg_ros.core.agreement import AgreementReport, check_agreement, check_regions
from ovseg_ros.core.batch_buckets import CudaGraphs, Run, run_in_buckets
from ovseg_ros.core.vit_tower import is_plain_vit, vit_features
from ovseg_ros.errors import ConfigError

Precision = Literal["auto", "fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class AccelerateOptions:
    """How an image tower is run.

    Attributes:
        precision: "fp32"; "bf16" or "fp16" (not on a CPU), where labels then still agree; "auto" is bf16
            where the hardware computes in it, fp16 on other GPUs, else fp32.
        compile: by `torch.compile`, one program per batch size; needs a C++ compiler on a CPU, Triton on a
            GPU, and minutes the first time.
        cuda_graphs: replay one recording per batch size, on a GPU.
        batch_buckets: the batch sizes there are programs or recordings of; other batches are split and
            padded. Without either, batches run as they come.
        check_regions: on how many made-up regions 16 bits are compared with 32 at the start; 0 trusts them.
        min_agreement: share of labels that must agree, in [0, 1]; else it stays with fp32.
    """

    precision: Precision = "fp32"
    compile: bool = False
    cuda_graphs: bool = False
    batch_buckets: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    check_regions: int = 8
    min_agreement: float = 0.995

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"want precision one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        sizes = self.batch_buckets
        if (
            not sizes
            or any(isinstance(size, bool) or not isinstance(size, int) or size < 1 for size in sizes)
            or list(sizes) != sorted(set(sizes))
        ):
            raise ConfigError(f"want batch_buckets as ascending whole numbers >= 1, got {sizes}")
        if self.check_regions < 0:
            raise ConfigError(f"want check_regions >= 0, got {self.check_regions}")
        if not 0 <= self.min_agreement <= 1:
            raise ConfigError(f"want min_agreement in [0, 1], got {self.min_agreement}")


def accelerate(encoder: Any, options: AccelerateOptions | None, device: torch.device) -> Any:
    """The encoder, or one around it that runs its image tower as the options say.

    Args:
        encoder: on `device`, in evaluation mode.
        options: None, or ones that ask for nothing, give the encoder back.
        device: where it runs.

    Raises:
        ConfigError: the device cannot do what is asked.
    """
    if options is None:
        return encoder
    precision = check_device(options.precision, device)
    if options.cuda_graphs and device.type != "cuda":
        raise ConfigError(f"want a GPU for cuda_graphs, got {device}; leave cuda_graphs out")
    if precision == "fp32" and not options.compile and not options.cuda_graphs:
        return encoder
    return AcceleratedEncoder(encoder, options, device)


def check_device(precision: Precision, device: torch.device) -> Precision:
    """What a precision means on a device.

    Raises:
        ConfigError: fp16 on a CPU, or bf16 on a GPU without it.
    """
    if device.type == "cuda":
        bf16 = torch.cuda.get_device_capability(device) >= (8, 0)  # before, it is only emulated
        if precision == "bf16" and not bf16:
            raise ConfigError(f"{torch.cuda.get_device_name(device)} cannot do bf16; say fp16 or fp32")
        return ("bf16" if bf16 else "fp16") if precision == "auto" else precision
    if precision == "fp16":
        raise ConfigError(f"want precision fp32, bf16 or auto on {device.type}, got fp16")
    if precision == "auto":
        return "bf16" if device.type == "cpu" and cpu_has_bf16() else "fp32"
    return precision


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies matrices in bf16 in hardware: AVX512_BF16 or AMX."""
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return bool(found.get("avx512_bf16") or found.get("amx_bf16"))


class AcceleratedEncoder:
    """A region encoder whose `encode_regions` is for inference alone; all else is the encoder's own.

    An ordinary ViT runs with a copy of its weights in 16 bits, other towers under autocast. What is not
    finite in 16 bits is computed again in float32, with a warning the first time. The weights must not change
    any more. Not for several threads at once.

    Attributes:
        encoder: the encoder inside; not changed.
        precision: what it runs in: the one asked for, or "fp32" where that did not agree.
        report: how the labels agreed; None where that was not checked.
        compiled: whether it runs compiled.
    """

    def __init__(self, encoder: Any, options: AccelerateOptions, device: torch.device) -> None:
        """Wraps an encoder; see `accelerate`."""
        self.encoder = encoder
        self.options = options
        self._device = device
        self.precision = check_device(options.precision, device)
        self.report: AgreementReport | None = None
        self.compiled = False
        self._warned = False
        self._graphs: CudaGraphs | None = None
        self._run: Run = self._tower(self.precision)
        if self.precision != "fp32" and options.check_regions:
            self._trust()
        if options.compile:
            self._compile()
        if options.cuda_graphs:
            self._run = self._graphs = CudaGraphs(self._run)

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
            torch.OutOfMemoryError: as it comes; recordings are let go of before.
        """
        side = self.encoder.size
        odd = pixels.ndim != 4 or pixels.shape[1:] != (3, side, side) or pixels.shape[0] == 0
        if odd or (region_masks is not None and region_masks.shape != (pixels.shape[0], 1, side, side)):
            with torch.no_grad():
                rows: torch.Tensor = self.encoder.encode_regions(pixels, region_masks)
            return rows
        pixels = pixels.to(self._device)
        masks = None if region_masks is None else region_masks.to(self._device)
        try:
            with torch.inference_mode():
                rows = self._batches(pixels, masks)
        except torch.OutOfMemoryError:
            if self._graphs is not None:
                self._graphs.clear()
            raise
        rows = rows.clone()  # an ordinary tensor again
        if self.precision != "fp32" and not bool(torch.isfinite(rows).all()):
            rows = self._repair(pixels, masks)
        return rows

    def _batches(self, pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        if self.compiled or self._graphs is not None:
            return run_in_buckets(self._run, pixels, masks, self.options.batch_buckets)
        return self._run(pixels, masks)

    def _repair(self, pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        if not self._warned:
            _LOG.warning("the image tower overflowed in %s; such regions are done in fp32", self.precision)
            self._warned = True
        with torch.no_grad():
            rows: torch.Tensor = self.encoder.encode_regions(pixels, masks)
        return rows

    def _tower(self, precision: str) -> Run:
        """The forward pass in a precision."""
        encoder = self.encoder
        visual = getattr(getattr(encoder, "clip_model", None), "visual", None)
        if visual is not None and is_plain_vit(visual):
            return _vit(visual, getattr(encoder, "mask_prompts", None), _DTYPES[precision])
        dtype, kind = _DTYPES[precision], self._device.type
        if kind == "cuda" and visual is not None:
            visual.to(memory_format=torch.channels_last)

        def run(pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
            if kind == "cuda":  # convolutions in 16 bits are made for this order
                pixels = pixels.contiguous(memory_format=torch.channels_last)
            with torch.autocast(kind, dtype=dtype, enabled=dtype != torch.float32):
                rows: torch.Tensor = encoder.encode_regions(pixels, masks)
            return rows.float()

        return run

    def _trust(self) -> None:
        """Compares the labels, and goes back to float32 where they do not agree."""
        report = check_agreement(
            self.encoder,
            self.encoder.encode_regions,
            self._run,
            precision=self.precision,
            regions=self.options.check_regions,
            least=self.options.min_agreement,
        )
        self.report = report
        if report.agrees:
            _LOG.info("the image tower on %s: %s", self._device, report)
            return
        _LOG.warning("the image tower on %s stays with fp32: %s", self._device, report)
        self.precision = "fp32"
        self._run = self._tower("fp32")

    def _compile(self) -> None:
        """Compiles, and tries the smallest batch; a machine that cannot goes on without."""
        plain, self._run = self._run, torch.compile(self._run, dynamic=False)
        pixels, masks = check_regions(self.options.batch_buckets[0], self.encoder.size)
        try:
            with torch.inference_mode():
                self._run(pixels.to(self._device), masks.to(self._device))
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever is missing: a compiler, its headers, Triton
            _LOG.warning(
                "torch.compile cannot be used here, going on without: %s", str(error).strip().split("\n")[0]
            )
            self._run = plain
        else:
            self.compiled = True


def _vit(visual: Any, prompts: torch.Tensor | None, dtype: torch.dtype) -> Run:
    """An ordinary ViT's forward pass with its weights in `dtype`; unit rows in float32."""
    if next(visual.parameters()).dtype != dtype:
        visual = copy.deepcopy(visual).requires_grad_(False).to(dtype)
    prompts = None if prompts is None else prompts.detach().to(dtype)

    def run(pixels: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        return F.normalize(vit_features(visual, pixels, masks, prompts).float(), dim=-1)

    return run

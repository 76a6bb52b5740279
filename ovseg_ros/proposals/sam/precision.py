"""Running a Segment Anything network in 16 bits, and checking that it still says the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import Network, Precision, check_device, is_finite, repaired, under_autocast
from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

_LOG = logging.getLogger(__name__)

CHECK_SIDE = 1024
CHECK_POINTS = 8  # per side: 64 prompts, and the best mask of each


class SamInPrecision:
    """A `Sam` as segment-anything's predictor uses one, with the heavy parts under autocast.

    Image encoder and mask decoder run in 16 bits and hand on float32. The prompt encoder stays in float32: it
    takes sines of angles of some tens of radians, of which 16 bits would leave no position, and costs little.
    What overflows in 16 bits is computed again in float32, with a warning the first time. The network itself
    is not touched.
    """

    def __init__(
        self,
        sam: Sam,
        precision: Precision = "fp32",
        *,
        repair: bool = True,
        encoder: Network | None = None,
    ) -> None:
        """Wraps a network.

        Args:
            sam: on its device.
            precision: "fp32" leaves autocast out.
            repair: False hands on what is not finite.
            encoder: what runs the image encoder in torch's place; `precision` is then the mask decoder's.

        Raises:
            ConfigError: another word, or fp16 on a CPU.
        """
        precision = check_device(precision, sam.device)
        self.sam = sam
        self.precision = precision
        self.image_encoder = _Part(sam.image_encoder, precision, sam.device, repair)
        if encoder is not None:
            self.image_encoder.run_by(encoder, repair)
        self.mask_decoder = _Part(sam.mask_decoder, precision, sam.device, repair)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sam, name)


class _Part:
    """One part of the network; calls run in a precision, everything else is the part's own."""

    def __init__(
        self, part: torch.nn.Module, precision: Precision, device: torch.device, repair: bool
    ) -> None:
        self._part, self._device = part, device
        self._call = under_autocast(part, precision, device)
        if repair and precision != "fp32":
            exact = under_autocast(part, "fp32", device)
            self._call = repaired(self._call, exact, name=type(part).__name__, precision=precision)

    def run_by(self, call: Network, repair: bool) -> None:
        """Has something else run the part; what is not finite then, torch computes again in float32."""
        exact = under_autocast(self._part, "fp32", self._device)
        name, how = type(self._part).__name__, "another runtime"
        self._call = repaired(call, exact, name=name, precision=how) if repair else call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._part, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._call(*args, **kwargs)


def as_it_is(device: torch.device) -> torch.autocast:
    """Switches a caller's own autocast off, which would change what "fp32" means."""
    return torch.autocast(device.type, enabled=False)


@dataclass(frozen=True)
class PrecisionReport:
    """How far a network in 16 bits is from itself in float32, on one image.

    The masks are the best of each prompt of a grid, best by float32's predicted IoU.

    Attributes:
        precision: what was compared with fp32.
        tolerance: what `agrees` goes by.
        finite: neither NaN nor infinity in anything that came out in 16 bits.
        mask_iou: mean IoU of a prompt's two masks, in [0, 1]; two empty masks agree.
        changed_share: share of mask pixels that changed sides, in [0, 1].
        score_error: mean difference of the predicted IoU, >= 0.
        logit_error: root mean square difference of the mask logits over that of the logits, >= 0.
    """

    precision: Precision
    tolerance: float
    finite: bool
    mask_iou: float
    changed_share: float
    score_error: float
    logit_error: float

    @property
    def agrees(self) -> bool:
        """Finite, and masks and predicted IoU within the tolerance."""
        return self.finite and 1 - self.mask_iou <= self.tolerance and self.score_error <= self.tolerance

    def __str__(self) -> str:
        verdict = "agrees" if self.agrees else "does not agree"
        return (
            f"{self.precision} {verdict} with fp32 within {self.tolerance:g}: mask IoU {self.mask_iou:.4f}, "
            f"{100 * self.changed_share:.2f} % of mask pixels changed, predicted IoU off by "
            f"{self.score_error:.4f}, logits by {100 * self.logit_error:.2f} %"
            + ("" if self.finite else ", not finite")
        )


def check_precision(
    sam: Sam,
    precision: Precision,
    image_rgb: npt.NDArray[np.uint8] | None = None,
    *,
    tolerance: float = 0.05,
) -> PrecisionReport:
    """Runs a network in float32 and in another precision on one image and compares the masks.

    Args:
        sam: on its device; not changed.
        precision: "bf16" or "fp16" ("fp32" compares it with itself).
        image_rgb: (H, W, 3) uint8; None takes `check_image`.
        tolerance: largest 1 - mask IoU and largest difference of predicted IoU, both as means.

    Returns:
        What came out; disagreement is reported, not raised.

    Raises:
        ConfigError: the device cannot do `precision` at all, or the tolerance is negative.
    """

    def ask(one: Precision, image: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, ...]:
        return grid_answers(SamInPrecision(sam, one, repair=False), image)

    return against_fp32(ask, precision, image_rgb, cut=sam.mask_threshold, tolerance=tolerance)


def against_fp32(
    ask: Callable[[Precision, npt.NDArray[np.uint8]], tuple[torch.Tensor, ...]],
    precision: Precision,
    image_rgb: npt.NDArray[np.uint8] | None,
    *,
    cut: float,
    tolerance: float,
) -> PrecisionReport:
    """Compares a network's answers in float32 and in another precision on one image.

    Args:
        ask: gives in a precision, of an image, the answers to P prompts: (P, 3, h, w) mask logits, (P, 3)
            predicted IoU, and whatever else has to be finite.
        precision: the other.
        image_rgb: see `check_precision`.
        cut: logit above which a pixel is in the mask.
        tolerance: see `check_precision`.

    Raises:
        ConfigError: see `check_precision`.
    """
    image = check_image(CHECK_SIDE) if image_rgb is None else image_rgb
    exact, short = ask("fp32", image), ask(precision, image)
    return compared(
        (exact[0], exact[1]), (short[0], short[1]), cut, precision, tolerance, finite=is_finite(short)
    )


def settled(report: PrecisionReport, name: str, device: torch.device) -> Precision:
    """Logs what a check came to, and gives the precision to run in: fp32 where masks do not agree."""
    if report.agrees:
        _LOG.info("%s on %s: %s", name, device, report)
        return report.precision
    _LOG.warning("%s on %s stays with fp32: %s", name, device, report)
    return "fp32"


def compared(
    exact: tuple[torch.Tensor, torch.Tensor],
    short: tuple[torch.Tensor, torch.Tensor],
    cut: float,
    precision: Precision,
    tolerance: float,
    *,
    finite: bool,
) -> PrecisionReport:
    """How far one network's answers to P prompts are from another's.

    Args:
        exact: (P, 3, h, w) mask logits and (P, 3) predicted IoU in float32.
        short: the same in another precision.
        cut: logit above which a pixel is in the mask.
        precision: of `short`.
        tolerance: see `check_precision`.
        finite: see `PrecisionReport`.

    Raises:
        ConfigError: the tolerance is negative.
    """
    if not tolerance >= 0:
        raise ConfigError(f"expected tolerance >= 0, got {tolerance}")
    best = exact[1].argmax(dim=1)
    rows = torch.arange(len(best), device=best.device)
    exact_logits, short_logits = exact[0][rows, best], short[0][rows, best]  # (P,h,w)
    a, b = exact_logits > cut, short_logits > cut
    union = (a | b).flatten(1).sum(dim=1)  # (P,)
    overlap = (a & b).flatten(1).sum(dim=1)
    iou = torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union, dtype=torch.float32))
    scale = exact_logits.square().mean().sqrt().clamp(min=1e-12)
    logit_error = (exact_logits - short_logits).square().mean().sqrt() / scale
    return PrecisionReport(
        precision=precision,
        tolerance=tolerance,
        finite=finite,
        mask_iou=float(iou.mean()),
        changed_share=float((a != b).float().mean()),
        score_error=float((exact[1] - short[1])[rows, best].abs().nan_to_num(1.0, 1.0).mean()),
        logit_error=float(logit_error.nan_to_num(1e3, 1e3)),
    )


def check_image(side: int) -> npt.NDArray[np.uint8]:
    """(side, side, 3) uint8: discs, boxes and grain on a gradient; the same pixels every time."""
    ramp = np.linspace(40, 200, side, dtype=np.float32)
    canvas = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None, :], np.float32(120)), axis=-1)
    canvas = np.ascontiguousarray(canvas)  # (side, side, 3)
    rng = np.random.default_rng(0)
    for shape in range(12):
        x, y = (int(v) for v in rng.integers(0, side, 2))
        reach = int(rng.integers(side // 20 + 1, side // 6 + 2))
        colour = tuple(float(v) for v in rng.integers(0, 256, 3))
        if shape % 2:
            cv2.circle(canvas, (x, y), reach, colour, -1)
        else:
            cv2.rectangle(canvas, (x, y), (x + reach, y + reach // 2), colour, -1)
    grain = rng.normal(0, 6, canvas.shape)
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def grid_answers(model: SamInPrecision, image: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, torch.Tensor]:
    """(P,3,h,w) mask logits on SAM's own coarse grid and (P,3) predicted IoU, for a grid of P points."""
    from segment_anything import SamPredictor
    from segment_anything.utils.amg import build_point_grid

    predictor = SamPredictor(model)
    with as_it_is(model.device):
        predictor.set_image(np.ascontiguousarray(image))
    height, width = predictor.input_size
    points = torch.from_numpy(build_point_grid(CHECK_POINTS) * (width, height)).to(model.device)  # (P,2)
    labels = torch.ones((len(points), 1), dtype=torch.int, device=model.device)
    with torch.no_grad(), as_it_is(model.device):
        sparse, dense = model.prompt_encoder(points=(points[:, None], labels), boxes=None, masks=None)
        return model.mask_decoder(
            image_embeddings=predictor.get_image_embedding(),
            image_pe=model.prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=True,
        )

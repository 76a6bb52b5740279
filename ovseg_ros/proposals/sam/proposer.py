"""Masks from Segment Anything (Kirillov et al., 2023): of everything in view, or of what a caller points at.

Source: segment-anything, `automatic_mask_generator.py` and `predictor.py`, which do the work here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.device import Network, Precision, check_device
from ovseg_ros.core.engines import Store
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.proposals.sam.bits import from_bits
from ovseg_ros.proposals.sam.embedded import Embedded, LastFrame, prompted
from ovseg_ros.proposals.sam.image_size import at_image_size
from ovseg_ros.proposals.sam.images import resized, unpacked, working_size
from ovseg_ros.proposals.sam.limits import Limits
from ovseg_ros.proposals.sam.options import SamOptions
from ovseg_ros.proposals.sam.precision import (
    PrecisionReport,
    SamInPrecision,
    as_it_is,
    check_precision,
    settled,
)
from ovseg_ros.proposals.sam.prompts import ArrayLike, Prompts, read_prompts
from ovseg_ros.proposals.sam.runtime import encoder_programs
from ovseg_ros.proposals.sam.video import boxes_on_image, interleaved_grid, stability
from ovseg_ros.proposals.union import without_duplicates

__all__ = ["Multimask", "SamOptions", "SamProposals", "working_size"]

if TYPE_CHECKING:
    from segment_anything.modeling import Sam

    from ovseg_ros.proposals.sam.generator import MaskGenerator

Multimask = Literal["best", "all", "single"]

_MASKS_PER_POINT = 3
_BATCH_PIXELS = 1 << 28  # of float32 mask logits at once: 1 GiB. 64 points on 1280 x 960 fit.
_OURS = (  # all else is the library's
    "precision",
    "precision_tolerance",
    "runtime",
    "min_agreement",
    "long_side",
    "max_mask_pixels",
    "image_size",
    "video_points_per_side",
    "video_duplicate_iou",
)


class SamProposals:
    """Proposes everything Segment Anything sees, from the image alone; a score is its predicted IoU.

    The network's mode and gradients stay as they are; nothing is trained here. Where a device runs out of
    memory, torch's own `OutOfMemoryError` comes through. The call after it decodes half as many prompts at
    once; if that goes well, the one after that all of them again.
    """

    needs_depth: ClassVar[bool] = False
    classifies: ClassVar[bool] = False

    def __init__(
        self,
        sam: Sam,
        options: SamOptions | None = None,
        device: str | torch.device = "cpu",
        *,
        check: bool | None = None,
        store: Store | None = None,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        """Puts the network on its device and, in 16 bits, sees whether it can be trusted there.

        Args:
            sam: built and loaded, see `models.sam.load_sam`; moved to `device`.
            options: see `SamOptions`.
            device: where it runs.
            check: compare with float32 now, and stay with float32 (and a warning) where they do not agree;
                None does so where precision is "auto", or not fp32 and the device is no CPU.
            store: keeps what another runtime makes of the image encoder; None makes it anew at each start.
            pictures: photographs (H, W, 3) uint8 RGB on which that is held against torch, beside a made-up
                image.

        Raises:
            ConfigError: the device cannot do the precision asked for.
        """
        self.options = SamOptions() if options is None else options
        self.device = torch.device(device)
        self.precision: Precision = check_device(self.options.precision, self.device)
        self.sam = at_image_size(sam.to(self.device), self.options.image_size)
        self.precision_report: PrecisionReport | None = None
        if check is None:  # who asks for 16 bits on a CPU by name knows what they are for
            check = self.options.precision == "auto" or self.device.type != "cpu"
        if check and self.precision != "fp32":
            tolerance = self.options.precision_tolerance
            self.precision_report = check_precision(self.sam, self.precision, tolerance=tolerance)
            self.precision = settled(self.precision_report, "Segment Anything", self.device)
        self.programs = encoder_programs(self.sam, self.options, self.precision, store, pictures)
        self._model = SamInPrecision(self.sam, self.precision, encoder=self.prepare())
        self._last = LastFrame(self._model)
        self._limits = Limits(self.options.max_mask_pixels)
        self._phase = 0

    @property
    def grid_points(self) -> int | None:
        """Points per side of the grid beside the tracks' boxes."""
        return self.options.video_points_per_side or None

    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """Masks of everything the grid of points finds; where the hints have boxes, see `propose_video`.

        Args:
            frame: depth is not looked at.
            hints: `points_per_side` of the grid on this frame, >= 1; those of the options when None. Crop
                layers that would then have less than one point are left out.

        Returns:
            N >= 0 masks on the network's device, none of them empty, in the library's order; scores are the
            predicted IoU cut to [0, 1].

        Raises:
            InvalidInputError: `points_per_side` is no whole number >= 1.
            torch.OutOfMemoryError: as it comes.
        """
        if hints.boxes_xyxy is not None:
            return self.propose_video(frame, hints.boxes_xyxy, points_per_side=hints.points_per_side)
        points = self.options.points_per_side if hints.points_per_side is None else hints.points_per_side
        _check_points(points, 1)
        working = self._working_size(frame)
        with self._limits.halved_after_running_out(), as_it_is(self.device):
            generator = self._generator(working, points_per_side=points)
            return self._generated(generator, resized(frame.image_rgb, working), frame.size_hw)

    def prepare(self, size_hw: tuple[int, int] | None = None) -> Network | None:
        """Has another runtime make its program of the image encoder, whose input is of one size alone.

        Returns:
            The program; None where torch runs the encoder.
        """
        side = self.sam.image_encoder.img_size
        return self.programs.prepare(torch.Size((1, 3, side, side)))

    def warm_up(self, frame: Frame) -> None:
        """Proposes once where that makes the next time quicker: on a CPU it does not, and takes minutes."""
        if self.device.type != "cpu":
            self.propose(frame)

    def propose_video(
        self, frame: Frame, boxes_xyxy: torch.Tensor, *, points_per_side: int | None = None
    ) -> Proposals:
        """Masks of what is followed, asked for by its boxes, and of what a sparse grid finds beside.

        Four calls one after another ask four grids that together have twice as many points per side, so that
        what lies between the points of one is found by another. The image is encoded once. Masks of boxes
        pass the same two thresholds as those of the grid, so a box with nothing in it any more falls silent.

        Args:
            frame: depth is not looked at.
            boxes_xyxy: (M, 4) left, top, right, bottom in pixels; cut to the image, left out where nothing
                remains.
            points_per_side: at most so many points of the grid, >= 0; `video_points_per_side` when None.

        Returns:
            N >= 0 masks on the CPU, none of them empty, those of boxes first, without duplicates.

        Raises:
            InvalidInputError: another shape of boxes, or `points_per_side` is no whole number >= 0.
            torch.OutOfMemoryError: as it comes.
        """
        boxes = boxes_on_image(boxes_xyxy, frame.size_hw)[: self._limits.most_masks(frame.size_hw)]
        points = self.options.video_points_per_side
        if points_per_side is not None:
            _check_points(points_per_side, 0)
            points = min(points, points_per_side)
        gridded = boxed = Proposals.empty(*frame.size_hw)
        with self._limits.halved_after_running_out():
            if len(boxes):
                boxed = self._filtered(frame, boxes)
            if points:
                gridded = self._gridded(frame, interleaved_grid(points, self._phase))
                self._phase += 1
        return without_duplicates([boxed, gridded], self.options.video_duplicate_iou)

    def _filtered(self, frame: Frame, boxes_xyxy: torch.Tensor) -> Proposals:
        """One mask per box, without those that the network rates low or that change when the cut moves."""
        options = self.options
        boxed = self._at(frame, read_prompts(frame.size_hw, boxes_xyxy, None, None), "single")
        keep = (options.pred_iou_thresh <= 0) | (boxed.scores > options.pred_iou_thresh)
        if options.stability_score_thresh > 0 and boxed.soft is not None:
            cut, offset = self._model.mask_threshold, options.stability_score_offset
            keep &= stability(boxed.soft, cut, offset) >= options.stability_score_thresh
        return Proposals(boxed.masks[keep], boxed.scores[keep])

    def _gridded(self, frame: Frame, grid: npt.NDArray[np.float64]) -> Proposals:
        """Masks of a grid (P,2) in parts of the image, which is not encoded again."""
        from ovseg_ros.proposals.sam.generator import HeldPredictor

        with as_it_is(self.device):
            embedded = self._embed(frame)
            generator = self._generator(embedded.working_hw, point_grids=[grid], crop_n_layers=0)
            generator.predictor = HeldPredictor(embedded.predictor)
            nothing = np.broadcast_to(np.uint8(0), (*embedded.working_hw, 3))
            return self._generated(generator, nothing, frame.size_hw)

    def _generated(
        self, generator: MaskGenerator, image_rgb: npt.NDArray[np.uint8], size_hw: tuple[int, int]
    ) -> Proposals:
        """What a generator finds in a picture, as masks of an image of `size_hw`."""
        working_hw = image_rgb.shape[:2]
        if not generator.can_generate_bits(working_hw):
            records = generator.generate(image_rgb)
            best = self._affordable(np.array([record["predicted_iou"] for record in records]), size_hw)
            proposals = unpacked([records[i] for i in best], size_hw)
            return Proposals(proposals.masks.to(self.device), proposals.scores.to(self.device))
        bits, rated = generator.generate_bits(image_rgb)
        best = self._affordable(rated, size_hw)
        masks = from_bits([bits[i] for i in best], working_hw, size_hw, self.device)
        scores = torch.from_numpy(rated[best].astype(np.float32).clip(0, 1)).to(self.device)
        some = masks.flatten(1).any(dim=1)
        return Proposals(masks, scores) if bool(some.all()) else Proposals(masks[some], scores[some])

    def propose_at(
        self,
        frame: Frame,
        *,
        boxes_xyxy: ArrayLike | None = None,
        points_xy: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        multimask: Multimask = "best",
    ) -> Proposals:
        """Masks of what boxes or points show; with both, box i and points i are one prompt.

        The image is encoded once per `Frame` object, however often this is called on it.

        Args:
            frame: its image must not be written to between calls.
            boxes_xyxy: (N, 4) left, top, right, bottom in pixels of the image, on the image.
            points_xy: (N, 2), one point per prompt, or (N, P, 2), in pixels.
            point_labels: shaped as the points without their last axis: 1 on the thing, 0 off it, -1 padding;
                None means 1.
            multimask: "best" of the network's three answers by predicted IoU; "all" three, one after another
                (3 N masks); "single", its one answer for prompts that leave no doubt.

        Returns:
            A mask per prompt in their order, empty where nothing reached the cut, with soft masks; none for
            N = 0. All on the CPU.

        Raises:
            InvalidInputError: see `read_prompts`; or another `multimask`.
            torch.OutOfMemoryError: as it comes.
        """
        if multimask not in get_args(Multimask):
            raise InvalidInputError(
                f"expected multimask one of {', '.join(get_args(Multimask))}, got {multimask!r}"
            )
        prompts = read_prompts(frame.size_hw, boxes_xyxy, points_xy, point_labels)
        if len(prompts) == 0:
            return Proposals.empty(*frame.size_hw)
        with self._limits.halved_after_running_out():
            return self._at(frame, prompts, multimask)

    def _prompts_at_once(self, size_hw: tuple[int, int]) -> int:
        """As many as have room for their masks, at least one."""
        room = _BATCH_PIXELS // (_MASKS_PER_POINT * size_hw[0] * size_hw[1])
        return max(1, min(self.options.points_per_batch, room) // self._limits.share)

    def _at(self, frame: Frame, prompts: Prompts, multimask: Multimask) -> Proposals:
        """One mask or three per prompt, with soft masks, for at least one prompt."""
        batch = self._prompts_at_once(frame.size_hw)
        with as_it_is(self.device):
            embedded = self._embed(frame)
            parts = [
                prompted(self._model, embedded, frame.size_hw, prompts.part(start, batch), multimask)
                for start in range(0, len(prompts), batch)
            ]
        masks, scores, logits = (torch.cat(column) for column in zip(*parts, strict=True))
        side = self.sam.image_encoder.img_size
        soft = SoftMasks(logits, (side, side), tuple(embedded.predictor.input_size))
        return Proposals(masks, scores, soft)

    def _working_size(self, frame: Frame) -> tuple[int, int]:
        return working_size(frame.size_hw, self.sam.image_encoder.img_size, self.options.long_side)

    def _generator(self, working_hw: tuple[int, int], **changes: Any) -> MaskGenerator:
        """The library's generator for images of one size, with some of its settings changed."""
        from ovseg_ros.proposals.sam.generator import configured_generator

        settings = {name: value for name, value in asdict(self.options).items() if name not in _OURS}
        settings |= {"points_per_side": None, **changes}
        settings["points_per_batch"] = self._prompts_at_once(working_hw)
        return configured_generator(self._model, working_hw, settings)

    def _affordable(self, rated: npt.NDArray[np.floating], size_hw: tuple[int, int]) -> list[int]:
        """Which masks may be unpacked: all, or the best rated of them in the order they came."""
        most = self._limits.most_masks(size_hw)
        if len(rated) <= most:
            return list(range(len(rated)))
        self._limits.warn(len(rated), size_hw)
        return sorted(sorted(range(len(rated)), key=lambda i: -rated[i])[:most])

    def _embed(self, frame: Frame) -> Embedded:
        return self._last.of(frame, self._working_size(frame))


def _check_points(points_per_side: int, least: int) -> None:
    if isinstance(points_per_side, bool) or not isinstance(points_per_side, int) or points_per_side < least:
        raise InvalidInputError(
            f"expected points_per_side as a whole number >= {least}, got {points_per_side!r}"
        )

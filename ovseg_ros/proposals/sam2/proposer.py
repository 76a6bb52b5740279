"""Masks from SAM 2.1 (Ravi et al., 2024) or EdgeTAM (Zhou et al., 2025): of boxes, or of everything in view.

Source: transformers' `Sam2Model` and `EdgeTamModel`, which do the work here, and the rules of its
`Sam2ImageProcessor` for masks of a grid.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ovseg_ros.core.device import Network, Precision, check_device
from ovseg_ros.core.engines import Store
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals, as_proposer
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.proposals.sam.limits import Limits
from ovseg_ros.proposals.sam.precision import PrecisionReport, settled
from ovseg_ros.proposals.sam.prompts import ArrayLike, read_prompts
from ovseg_ros.proposals.sam.video import boxes_on_image, interleaved_grid
from ovseg_ros.proposals.sam2.asking import Asking
from ovseg_ros.proposals.sam2.candidates import COVERED_IOU, Candidates, filled, proposed, uncovered
from ovseg_ros.proposals.sam2.masks import (
    enlarged,
    mask_iou,
    nearest_box_iou,
    outer_boxes,
    shrunk,
    stability,
)
from ovseg_ros.proposals.sam2.memory import ObjectMemory
from ovseg_ros.proposals.sam2.network import CUT, Sam2Network, check_precision, grid_prompts
from ovseg_ros.proposals.sam2.options import Sam2Options
from ovseg_ros.proposals.sam2.runtime import encoder_programs

__all__ = ["Sam2Options", "Sam2Proposals"]

Multimask = Literal["best", "all", "single"]


class Sam2Proposals:
    """Proposes masks; a score is the predicted IoU times how stable the mask is when the cut moves.

    With `boxes_from`, that generator looks first, and the network makes a mask of each of its masks' boxes;
    the image is encoded once. Without, or where that one finds nothing or cannot use the frame, a grid of
    points is asked. Masks stay on the device. Where a device runs out of memory, torch's own
    `OutOfMemoryError` comes through; the call after it decodes half as many prompts at once, and if that goes
    well, the one after that all of them.
    """

    classifies: ClassVar[bool] = False

    def __init__(
        self,
        model: nn.Module,
        options: Sam2Options | None = None,
        device: str | torch.device = "cpu",
        *,
        boxes_from: Any = None,
        check: bool = True,
        store: Store | None = None,
        pictures: Sequence[npt.NDArray[np.uint8]] = (),
    ) -> None:
        """Puts the network on its device and, in 16 bits, sees whether it can be trusted there.

        Args:
            model: built and loaded, see `models.sam2.load_sam2`; moved to `device`. With `video_memory` the
                whole network.
            options: see `Sam2Options`; `image_size` is the loader's to follow.
            device: where it runs.
            boxes_from: another generator, whose masks' boxes are asked for; None asks a grid.
            check: in 16 bits, compare with float32 now, and stay with float32 (and a warning) where they do
                not agree.
            store: keeps what another runtime makes of the image encoder; None makes it anew at each start.
            pictures: photographs (H, W, 3) uint8 RGB on which that is held against torch, beside a made-up
                image.

        Raises:
            ConfigError: the device cannot do the precision asked for, there is neither grid nor `boxes_from`,
                or no memory in the network.
        """
        self.options = Sam2Options() if options is None else options
        self.device = torch.device(device)
        if boxes_from is None and not self.options.points_per_side:
            raise ConfigError("expected points_per_side >= 1 or boxes_from another generator, got neither")
        self.boxes_from = None if boxes_from is None else as_proposer(boxes_from)
        self._boxes_are_rated = bool(getattr(boxes_from, "scores_are_iou", True))
        model = model.to(self.device).eval()
        precision: Precision = check_device(self.options.precision, self.device)
        self.precision_report: PrecisionReport | None = None
        if check and precision != "fp32":
            tolerance = self.options.precision_tolerance
            self.precision_report = check_precision(model, precision, tolerance=tolerance)
            precision = settled(self.precision_report, type(model).__name__, self.device)
        self.network = Sam2Network(model, precision)
        self.programs = encoder_programs(model, self.options, precision, store, pictures)
        if (program := self.prepare()) is not None:
            self.network.encode_by(program)
        if self.options.video_memory and self.network.video is None:
            raise ConfigError(
                f"expected a whole network for video beside video_memory, got a {type(model).__name__}; "
                "load it with memory=True, or leave video_memory out"
            )
        self._limits = Limits(self.options.max_mask_pixels)
        self._asking = Asking(self.network, self.options, self._limits)
        self._phase = 0

    def prepare(self, size_hw: tuple[int, int] | None = None) -> Network | None:
        """Has another runtime make its program of the image encoder, whose input is of one size alone.

        Returns:
            The program; None where torch runs the encoder.
        """
        return self.programs.prepare(torch.Size((1, 3, self.network.side, self.network.side)))

    @property
    def precision(self) -> Precision:
        """What the network runs in."""
        return self.network.precision

    @property
    def needs_depth(self) -> bool:
        """Whether the other generator does, and there is no grid to stand in for it."""
        return (
            self.boxes_from is not None and self.boxes_from.needs_depth and not self.options.points_per_side
        )

    @property
    def grid_points(self) -> int | None:
        """Points per side of the grid beside the tracks' boxes; None with `boxes_from`, which has none."""
        return None if self.boxes_from is not None else self.options.video_points_per_side or None

    @torch.no_grad()
    def propose(self, frame: Frame, hints: Hints = NO_HINTS) -> Proposals:
        """Masks of what the other generator found, of what is followed, and where that is nothing, of a grid.

        A mask that came from a box stands in for the other generator's own if the network rates it higher
        than `pred_iou_thresh`, it is more stable than `stability_score_thresh`, and the two have an IoU of
        `least_agreement`; else the other generator's stays as it was, so that nothing it found is lost. Boxes
        of tracks that no box of the other generator covers are asked for too, under the same thresholds.
        Without `boxes_from` a sparse grid is laid beside tracks: four frames one after another ask four grids
        that together have twice as many points per side.

        With `video_memory` and a memory in the hints, what is remembered of the camera's things comes first:
        each is found again, and is not asked for a second time. What else is found begins to be remembered.

        Args:
            frame: what it must hold is the other generator's to say, if the grid cannot stand in.
            hints: boxes of tracks, cut to the image; at most so many points per side of the grid; and where
                things are remembered.

        Returns:
            N >= 0 masks on the device, none of them empty, each thing once: of memory first, then of boxes.
            With `object_ids` where things are remembered.

        Raises:
            InvalidInputError: hints of another shape or range, or the other generator cannot use the frame.
                Then, as where memory runs out, what was remembered of the camera is forgotten.
            torch.OutOfMemoryError: as it comes.
        """
        memory: ObjectMemory | None = None
        if self.options.video_memory and hints.memory is not None:
            memory = hints.memory.pop(self, None) or ObjectMemory(self.network, self.options)
        proposals = self._proposed(frame, hints, memory)
        if memory is not None and hints.memory is not None:
            hints.memory[self] = memory  # only now: after an error it has seen half a frame
        return proposals

    def _proposed(self, frame: Frame, hints: Hints, memory: ObjectMemory | None) -> Proposals:
        most = self._limits.most_masks(frame.size_hw)
        followed = self._followed(frame, hints)[:most]
        found = self._found(frame, hints)
        with self._limits.halved_after_running_out():
            carried = None if memory is None else memory.carry(self._asking.embed(frame))
            if carried is not None:
                found, followed = uncovered(found, followed, carried, self.options.least_agreement)
            parts: list[Candidates] = []
            if len(found):
                boxes = outer_boxes(found.masks)
                followed = followed[nearest_box_iou(followed, boxes) < COVERED_IOU]
                parts.append(self._refined(frame, found, boxes))
            if len(followed):
                parts.append(self._asking.boxed(frame, followed))
            has_boxes = bool(parts) or (carried is not None and len(carried.scores) > 0)
            grid = self._grid(hints, has_tracks=hints.boxes_xyxy is not None, has_boxes=has_boxes)
            if grid is not None:
                parts.append(self._asking.gridded(frame, grid_prompts(grid, frame.size_hw)))
            if carried is not None:
                new = (part.without(carried.cells, self.options.least_agreement) for part in parts)
                parts = [carried, *new]
            proposals, count = proposed(parts, frame.size_hw, CUT, self.options.duplicate_iou, most)
            if memory is not None:
                proposals = memory.numbered(self._asking.embed(frame), proposals)
        if count > most:
            self._limits.warn(count, frame.size_hw)
        return proposals

    def _grid(self, hints: Hints, *, has_tracks: bool, has_boxes: bool) -> np.ndarray | None:
        """(P, 2) x, y in (0, 1), or None where the grid is not asked."""
        asked = hints.points_per_side
        if asked is not None and (type(asked) is not int or asked < 0):
            raise InvalidInputError(f"expected points_per_side as a whole number >= 0, got {asked!r}")
        on_video = self.boxes_from is None and has_tracks
        if self.boxes_from is not None and has_boxes:
            return None
        points = self.options.video_points_per_side if on_video else self.options.points_per_side
        if asked is not None:
            points = min(points, asked) if on_video or self.boxes_from is not None else asked
        if not points:
            return None
        if on_video:
            self._phase += 1
            return interleaved_grid(points, self._phase - 1)
        steps = (np.arange(points) + 0.5) / points
        return np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2)

    def _followed(self, frame: Frame, hints: Hints) -> torch.Tensor:
        if hints.boxes_xyxy is None:
            return torch.zeros(0, 4, dtype=torch.float64)
        return boxes_on_image(hints.boxes_xyxy, frame.size_hw)

    def _found(self, frame: Frame, hints: Hints) -> Proposals:
        """What the other generator finds, without empty masks; nothing where the grid has to stand in."""
        nothing = Proposals.empty(*frame.size_hw)
        if self.boxes_from is None:
            return nothing
        has_depth = frame.depth_m is not None and frame.intrinsics is not None
        if self.boxes_from.needs_depth and not has_depth and self.options.points_per_side:
            return nothing
        found = self.boxes_from.propose(frame, hints)
        found.check_size(frame, self.boxes_from)
        masks, scores = found.masks.to(self.device), found.scores.to(self.device, torch.float32)
        if not self._boxes_are_rated:
            scores = scores * self.options.unrated_trust
        best = scores.argsort(descending=True, stable=True)[: self._limits.most_masks(frame.size_hw)]
        some = best.sort().values
        some = some[masks[some].flatten(1).any(dim=1)]
        return Proposals(masks[some], scores[some])

    def propose_at(
        self,
        frame: Frame,
        *,
        boxes_xyxy: ArrayLike | None = None,
        points_xy: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        multimask: Multimask = "best",
    ) -> Proposals:
        """Masks of what boxes or points show; as `SamProposals.propose_at`, but on the device, none empty.

        The image is encoded once per `Frame` object, however often this is called on it.

        Args:
            frame: its image must not be written to between calls.
            boxes_xyxy: (N, 4) left, top, right, bottom in pixels of the image, on the image.
            points_xy: (N, 2), one point per prompt, or (N, P, 2), in pixels.
            point_labels: 1 on the thing, 0 off it, -1 padding; None means 1.
            multimask: "best" of the network's three answers by predicted IoU; "all" three, one after another;
                "single", its one answer for prompts that leave no doubt.

        Returns:
            The masks in the prompts' order; those of which no pixel reached the cut are left out.

        Raises:
            InvalidInputError: see `read_prompts`; or another `multimask`.
            torch.OutOfMemoryError: as it comes.
        """
        if multimask not in get_args(Multimask):
            raise InvalidInputError(
                f"expected multimask one of {', '.join(get_args(Multimask))}, got {multimask!r}"
            )
        prompts = read_prompts(frame.size_hw, boxes_xyxy, points_xy, point_labels)
        if not len(prompts):
            return Proposals.empty(*frame.size_hw)
        with torch.no_grad(), self._limits.halved_after_running_out():
            logits, rated = self._asking.answers(frame, prompts, multimask=multimask != "single")
            if multimask == "best":
                best = rated.argmax(dim=1, keepdim=True)
                rated = rated.gather(1, best)
                logits = logits[torch.arange(len(logits), device=self.device)[:, None], best]
            logits, rated = logits.flatten(0, 1), rated.flatten().clamp(0, 1)
            scores = rated * stability(logits, CUT, self.options.stability_score_offset)
            return filled(Proposals(enlarged(logits, frame.size_hw, CUT), scores))

    def warm_up(self, frame: Frame | None = None) -> None:
        """Runs what a frame runs once: the other generator and one box, or as many points as go at once.

        Args:
            frame: to run it on; None for a black one of the network's own size.

        Raises:
            InvalidInputError: the other generator cannot use the frame.
        """
        side = self.network.side
        frame = Frame(np.zeros((side, side, 3), np.uint8)) if frame is None else frame
        height, width = frame.size_hw
        if self.boxes_from is None:
            points = min(self.options.points_per_side**2, self.options.prompts_per_batch)
            self.propose_at(frame, points_xy=[[width / 2, height / 2]] * points)
            return
        self._found(frame, NO_HINTS)
        self.propose_at(frame, boxes_xyxy=[[0, 0, width, height]], multimask="single")

    def _refined(self, frame: Frame, found: Proposals, boxes_xyxy: torch.Tensor) -> Candidates:
        """Of each mask that was found: what the network makes of its box, or the mask itself."""
        logits, rated, is_good = self._asking.of_boxes(frame, boxes_xyxy)
        cells, own = logits > CUT, shrunk(found.masks, (logits.shape[1], logits.shape[2]))
        agreement = mask_iou(cells, own).diagonal()
        is_good &= agreement >= self.options.least_agreement
        return Candidates(
            torch.where(is_good[:, None, None], cells, own),
            torch.where(is_good, rated, found.scores),
            logits,
            found.masks,
            ~is_good,
        )

"""A labelled image on its way to messages: what several of them need is computed once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from ovseg_ros.core.maps import box_slices
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.space import Object3d, find_up, object_points, objects_3d
from ovseg_ros.core.words import UNLABELLED_ID as UNLABELLED
from ovseg_ros.ros.io.images import image_from_array
from ovseg_ros.ros.io.transforms import Placement

LEVEL_CAMERA = np.array([0.0, -1.0, 0.0])  # up where nothing says better: the image's top


@dataclass
class MessageContext:
    """A labelled image under its message header; what outputs share is computed once, when asked for."""

    header: Any
    segmentation: Segmentation
    placement: Placement = field(default_factory=Placement)
    _in_camera: dict[int, Object3d | None] = field(default_factory=dict, init=False, repr=False)

    def placed(self, placement: Placement) -> MessageContext:
        """The same with its 3D in another frame."""
        return dataclasses.replace(self, placement=placement)

    def without(self, indices: Sequence[int]) -> MessageContext:
        """The same where these masks have no label: they are not what was asked for."""
        if not len(indices):
            return self
        probs = self.segmentation.probs.clone()
        probs[list(indices)] = 0.0
        other = dataclasses.replace(self, segmentation=dataclasses.replace(self.segmentation, probs=probs))
        other._in_camera = self._in_camera
        return other

    @property
    def size_hw(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.segmentation.frame.size_hw

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool."""
        return self.segmentation.masks.numpy()

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(N,) label id, 255 unlabelled."""
        return self.segmentation.label_ids.numpy()

    @cached_property
    def scores(self) -> np.ndarray:
        """(N,) probability of the best label."""
        return self.segmentation.scores.double().numpy()

    @cached_property
    def margins(self) -> list[float]:
        """N numbers, how far each mask's score is above that of its runner-up."""
        return self.segmentation.margin.tolist()

    @cached_property
    def runner_up_scores(self) -> list[float]:
        """N numbers, probability of each mask's runner-up, 0 where it has none."""
        return self.segmentation.runner_up_score.tolist()

    @property
    def remarks(self) -> list[str]:
        """Why masks did not get a word they look like, each once."""
        return [remark for remark in dict.fromkeys(self.segmentation.remarks) if remark]

    @cached_property
    def mask_scores(self) -> list[float]:
        """N numbers, how sure the proposer is of each mask."""
        return self.segmentation.mask_scores.tolist()

    @cached_property
    def track_ids(self) -> list[int]:
        """N numbers, the same for the same thing from frame to frame, 0: not tracked."""
        return self.segmentation.track_ids.tolist()

    @cached_property
    def names(self) -> list[str]:
        """The label of each mask, empty where it has none."""
        labels = self.segmentation.vocabulary.labels
        return [labels[i].name if i >= 0 else "" for i in self.segmentation.label_index.tolist()]

    @cached_property
    def boxes(self) -> list[tuple[slice, slice]]:
        """Rows and columns of the tight box of each mask, empty slices for an empty mask."""
        return box_slices(self.segmentation.boxes_xyxy.tolist())

    @cached_property
    def order(self) -> list[int]:
        """Masks that have pixels, labelled before unlabelled, the best by `Segmentation.ranking` first."""
        filled = [i for i, (rows, _) in enumerate(self.boxes) if rows.stop > rows.start]
        ranking = self.segmentation.ranking.tolist()
        return sorted(filled, key=lambda i: (self.label_ids[i] == UNLABELLED, -ranking[i], i))

    @cached_property
    def labelled(self) -> list[int]:
        """The part of `order` that has a label."""
        return [i for i in self.order if self.label_ids[i] != UNLABELLED]

    @cached_property
    def label_image(self) -> np.ndarray:
        """(H, W) uint8 label ids."""
        return self.segmentation.label_image()

    @cached_property
    def instance_map(self) -> np.ndarray:
        """(H, W) uint16, 0 none, i + 1 for mask i."""
        return self.segmentation.instances()

    @cached_property
    def label_message(self) -> Image:
        """`label_image` as mono8."""
        return image_from_array(self.header, self.label_image)

    @cached_property
    def instance_message(self) -> Image:
        """`instance_map` as 16UC1."""
        return image_from_array(self.header, self.instance_map)

    def is_visible(self, index: int) -> bool:
        """Whether mask `index`, which has pixels, is anywhere on top in the instance map."""
        rows, columns = self.boxes[index]
        first = columns.start + int(self.masks[index, rows.start, columns].argmax())
        if self.instance_map[rows.start, first] == index + 1:
            return True
        return bool((self.instance_map[rows, columns] == index + 1).any())

    @property
    def has_depth(self) -> bool:
        """True where depth and intrinsics came with the image."""
        frame = self.segmentation.frame
        return frame.depth_m is not None and frame.intrinsics is not None

    @property
    def frame_id_3d(self) -> str:
        """The frame of the 3D fields."""
        return self.placement.frame_id or self.header.frame_id

    @property
    def remark_3d(self) -> str:
        """Why 3D is not told as it was wanted; "": it is, or there is none."""
        return self.placement.remark if self.has_depth else ""

    @cached_property
    def header_3d(self) -> Header:
        """The image's time and the frame of the 3D fields."""
        return Header(stamp=self.header.stamp, frame_id=self.frame_id_3d)

    def object_3d(self, index: int) -> Object3d | None:
        """What mask `index` is in the frame `frame_id_3d`; None where no depth is known."""
        found, rigid = self.objects_in_camera([index])[0], self.placement.rigid
        return found if found is None or rigid is None else rigid.of_object(found)

    def objects_in_camera(self, indices: Sequence[int]) -> list[Object3d | None]:
        """What masks are, in the camera's optical frame."""
        if not self.has_depth:
            return [None] * len(indices)
        frame, known = self.segmentation.frame, self._in_camera
        new = [i for i in indices if i not in known]
        masks, parts = [self.masks[i] for i in new], [self.boxes[i] for i in new]
        if new:
            found = objects_3d(frame.depth_m, frame.intrinsics, masks, parts, up=self._up)
            known.update(zip(new, found, strict=True))
        return [known[i] for i in indices]

    @cached_property
    def _up(self) -> npt.NDArray[np.float64]:
        """(3,) against gravity in the camera's frame: as TF says, else as the depth image shows."""
        if self.placement.up is not None:
            return self.placement.up
        frame = self.segmentation.frame
        seen = find_up(frame.depth_m, frame.intrinsics)
        return LEVEL_CAMERA if seen is None else seen

    @cached_property
    def objects_3d(self) -> dict[int, Object3d]:
        """`object_3d` of every labelled mask that has one."""
        self.objects_in_camera(self.labelled)
        found = ((i, self.object_3d(i)) for i in self.labelled)
        return {i: one for i, one in found if one is not None}

    def points_3d(self, index: int) -> np.ndarray:
        """(M, 3) float32 visible points of mask `index` in the frame `frame_id_3d`, M >= 0."""
        frame, rigid = self.segmentation.frame, self.placement.rigid
        if not self.has_depth:
            return np.zeros((0, 3), np.float32)
        points = object_points(frame.depth_m, frame.intrinsics, self.masks[index], self.boxes[index])
        return points if rigid is None else rigid.of_points(points)

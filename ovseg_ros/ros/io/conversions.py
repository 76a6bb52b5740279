"""Between the messages of one moment and the core's `Frame` and `Segmentation`."""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from sensor_msgs.msg import Image

from ovseg_ros.core.camera import Box3d, camera_info_intrinsics, decode_depth, mask_boxes_3d
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import box_slices
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import Segment
from ovseg_ros.msg import Segmentation as SegmentationMsg
from ovseg_ros.msg import Vocabulary as VocabularyMsg
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.images import colour_from_message, fill_image, image_from_array

UNLABELLED = 255


def frame_from_messages(
    image: Any,
    depth: Any,
    camera_info: Any,
    *,
    depth_scale: float | None = None,
    rectified: bool = False,
) -> tuple[Frame, dict[str, str]]:
    """The frame of one moment, and by input (depth, camera_info) why it is of no use.

    Args:
        image: sensor_msgs/Image or CompressedImage.
        depth: sensor_msgs/Image or CompressedImage, or None.
        camera_info: sensor_msgs/CameraInfo or None.
        depth_scale: Metres per unit of the depth's numbers; None: by its encoding.
        rectified: Whether the image is, see `core.camera.is_rectified`.

    Raises:
        InvalidInputError: the colour image cannot be used. Bad depth or intrinsics cost the 3D alone.
    """
    rgb = colour_from_message(image)
    problems: dict[str, str] = {}
    depth_m = None
    if depth is not None:
        try:
            depth_m = _registered_depth(depth, image, rgb.shape[:2], depth_scale)
        except InvalidInputError as error:
            problems["depth"] = str(error)
    intrinsics = None
    if camera_info is not None:
        try:
            intrinsics = camera_info_intrinsics(camera_info, rgb.shape[:2], rectified=rectified)
        except InvalidInputError as error:
            problems["camera_info"] = str(error)
    frame_id = image.header.frame_id
    return Frame(rgb, depth_m, intrinsics, stamp_ns(image.header), frame_id), problems


def _registered_depth(
    depth: Any, image: Any, size_hw: tuple[int, int], depth_scale: float | None
) -> np.ndarray:
    depth_m = decode_depth(depth, depth_scale=depth_scale)
    if depth_m.shape != size_hw:
        height, width = depth_m.shape
        raise InvalidInputError(
            f"want the size of the image, {size_hw[1]}x{size_hw[0]}, got {width}x{height}; "
            "use the depth topic that is registered to colour"
        )
    if depth.header.frame_id and image.header.frame_id and depth.header.frame_id != image.header.frame_id:
        raise InvalidInputError(
            f"want the frame of the image, {image.header.frame_id!r}, got {depth.header.frame_id!r}; "
            "use the depth topic that is registered to colour"
        )
    return depth_m


@dataclass
class MessageContext:
    """A labelled image under its message header; what outputs share is computed once, when asked for."""

    header: Any
    segmentation: Segmentation
    _known_boxes: dict[int, Box3d | None] = field(default_factory=dict, init=False, repr=False)

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

    def box_3d(self, index: int) -> Box3d | None:
        """Centre and size (3,) in metres of mask `index`'s visible points; None where no point is known."""
        return self.find_boxes_3d([index])[0]

    def find_boxes_3d(self, indices: Sequence[int]) -> list[Box3d | None]:
        """`box_3d` of several masks."""
        if not self.has_depth:
            return [None] * len(indices)
        frame, known = self.segmentation.frame, self._known_boxes
        new = [i for i in indices if i not in known]
        masks, parts = [self.masks[i] for i in new], [self.boxes[i] for i in new]
        known.update(zip(new, mask_boxes_3d(frame.depth_m, frame.intrinsics, masks, parts), strict=True))
        return [known[i] for i in indices]

    @cached_property
    def boxes_3d(self) -> dict[int, Box3d]:
        """`box_3d` of every labelled mask that has one."""
        found = zip(self.labelled, self.find_boxes_3d(self.labelled), strict=True)
        return {i: box for i, box in found if box is not None}


def segment_message(context: MessageContext, index: int, *, with_mask: bool = True) -> Segment:
    """Mask `index` of a labelled image as a message."""
    part = rows, columns = context.boxes[index]
    mask = np.ascontiguousarray(context.masks[index][part]).view(np.uint8)
    message = Segment()  # filled in place: its parts are there already, and to make them takes time
    message.label = context.names[index]
    message.label_id = int(context.label_ids[index])
    message.score = float(context.scores[index])
    message.margin = context.margins[index]
    message.runner_up = context.segmentation.runner_up[index]
    message.runner_up_score = context.runner_up_scores[index]
    message.mask_score = context.mask_scores[index]
    message.instance_id = index + 1 if context.is_visible(index) else 0
    message.track_id = context.track_ids[index]
    message.area_px = int(np.count_nonzero(mask))
    box = message.box
    box.x_offset, box.y_offset = columns.start, rows.start
    box.width, box.height = columns.stop - columns.start, rows.stop - rows.start
    if with_mask:
        fill_image(message.mask, context.header, np.negative(mask))
    box_3d = context.box_3d(index)
    if box_3d is not None:
        message.has_3d = True
        for vector, values in ((message.centroid, box_3d[0]), (message.size, box_3d[1])):
            vector.x, vector.y, vector.z = values.tolist()
    return message


def segmentation_message(
    context: MessageContext, *, model: str, with_masks: bool, with_unlabelled: bool
) -> SegmentationMsg:
    """A labelled image as the one atomic message (its latency is for the publisher to fill)."""
    height, width = context.size_hw
    vocabulary = context.segmentation.vocabulary
    kept = [i for i in context.order if with_unlabelled or context.label_ids[i] != UNLABELLED]
    context.find_boxes_3d(kept)
    return SegmentationMsg(
        header=context.header,
        height=height,
        width=width,
        vocabulary_version=vocabulary.version,
        labels=list(vocabulary.names),
        label_ids=array.array("B", vocabulary.ids),
        segments=[segment_message(context, i, with_mask=with_masks) for i in kept],
        label_image=context.label_message,
        instance_image=context.instance_message,
        has_depth=context.has_depth,
        inference_time_s=float(sum(context.segmentation.timings.values())),
        latency_s=-1.0,
        model=model,
    )


def vocabulary_message(vocabulary: Any, default_threshold: float, stamp: Any) -> VocabularyMsg:
    """A vocabulary with the thresholds that are in force."""
    message = VocabularyMsg(version=vocabulary.version, labels=list(vocabulary.names))
    message.header.stamp = stamp
    message.label_ids = array.array("B", vocabulary.ids)
    message.thresholds = array.array(
        "f",
        [default_threshold if label.threshold is None else label.threshold for label in vocabulary.labels],
    )
    message.names_by_id = list(vocabulary.names_by_id)
    return message

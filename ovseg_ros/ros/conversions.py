"""Between the messages of one moment and the core's `Frame` and `Segmentation`."""

from __future__ import annotations

import array
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from geometry_msgs.msg import Point, Vector3
from sensor_msgs.msg import PointCloud2, PointField, RegionOfInterest

from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.geometry import back_project, box_3d
from ovseg_ros.core.image_messages import decode_camera_info, decode_depth
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import Segment
from ovseg_ros.msg import Segmentation as SegmentationMsg
from ovseg_ros.msg import Vocabulary as VocabularyMsg
from ovseg_ros.ros.frame_source import stamp_ns
from ovseg_ros.ros.images import colour_from_message, image_from_array

UNLABELLED = 255


def frame_from_messages(image: Any, depth: Any, camera_info: Any) -> tuple[Frame, list[str]]:
    """The frame of one moment, and a sentence for each thing that keeps it from having 3D.

    Args:
        image: sensor_msgs/Image or CompressedImage.
        depth: sensor_msgs/Image or None.
        camera_info: sensor_msgs/CameraInfo or None.

    Raises:
        InvalidInputError: the colour image cannot be used. Bad depth or intrinsics cost the 3D alone.
    """
    rgb = colour_from_message(image)
    notes: list[str] = []
    depth_m = None
    if depth is not None:
        try:
            depth_m = _registered_depth(depth, image, rgb.shape[:2])
        except InvalidInputError as error:
            notes.append(f"depth: {error}")
    intrinsics = None
    if camera_info is None:
        notes.append("camera_info: none has arrived")
    else:
        try:
            intrinsics = intrinsics_from_message(camera_info, rgb.shape[:2])
        except InvalidInputError as error:
            notes.append(f"camera_info: {error}")
    frame_id = image.header.frame_id
    return Frame(rgb, depth_m, intrinsics, stamp_ns(image.header), frame_id), notes


def _registered_depth(depth: Any, image: Any, size_hw: tuple[int, int]) -> np.ndarray:
    depth_m = decode_depth(depth)
    if depth_m.shape != size_hw:
        raise InvalidInputError(
            f"want the size of the image, {size_hw[1]}x{size_hw[0]}, got {depth.width}x{depth.height}; "
            "use the depth topic that is registered to colour"
        )
    if depth.header.frame_id and image.header.frame_id and depth.header.frame_id != image.header.frame_id:
        raise InvalidInputError(
            f"want the frame of the image, {image.header.frame_id!r}, got {depth.header.frame_id!r}; "
            "use the depth topic that is registered to colour"
        )
    return depth_m


def intrinsics_from_message(camera_info: Any, size_hw: tuple[int, int]) -> CameraIntrinsics:
    """The pinhole intrinsics K of a CameraInfo, for an image of `size_hw`.

    Raises:
        InvalidInputError: K[0] or K[4] is 0 (uncalibrated), not finite, or it is for another image size.
    """
    height, width = size_hw
    intrinsics = decode_camera_info(camera_info)
    if intrinsics is None:
        fx, fy = camera_info.k[0], camera_info.k[4]
        raise InvalidInputError(f"want focal lengths > 0, got fx={fx}, fy={fy}; is the camera calibrated?")
    if camera_info.width and (camera_info.width, camera_info.height) != (width, height):
        raise InvalidInputError(
            f"want the size of the image, {width}x{height}, got {camera_info.width}x{camera_info.height}"
        )
    return replace(intrinsics, width=width, height=height)


@dataclass
class Scene:
    """One labelled frame under its message header; what outputs share is computed once, when asked for."""

    header: Any
    segmentation: Any  # core.segmenter.Segmentation

    @cached_property
    def size_hw(self) -> tuple[int, int]:
        """(H, W) of the image."""
        return self.segmentation.frame.size_hw

    @cached_property
    def masks(self) -> np.ndarray:
        """(N, H, W) bool."""
        return _array(self.segmentation.masks)

    @cached_property
    def label_ids(self) -> np.ndarray:
        """(N,) label id, 255 unlabelled."""
        return _array(self.segmentation.label_ids)

    @cached_property
    def scores(self) -> np.ndarray:
        """(N,) probability of the best label."""
        return _array(self.segmentation.scores).astype(np.float64)

    @cached_property
    def order(self) -> list[int]:
        """Masks that have pixels, labelled before unlabelled, the best by `Segmentation.ranking` first."""
        filled = [i for i in range(len(self.masks)) if self.masks[i].any()]
        ranking = _array(self.segmentation.ranking).astype(np.float64)
        return sorted(filled, key=lambda i: (self.label_ids[i] == UNLABELLED, -ranking[i], i))

    @cached_property
    def label_map(self) -> tuple[np.ndarray, np.ndarray]:
        """(H, W) uint8 label ids and (H, W) float confidence in [0, 1]."""
        labels, confidence = self.segmentation.semantic()
        return _array(labels).astype(np.uint8), _array(confidence)

    @cached_property
    def instance_map(self) -> np.ndarray:
        """(H, W) uint16, 0 none, i + 1 for mask i."""
        return _array(self.segmentation.instances()).astype(np.uint16)

    @cached_property
    def visible_instances(self) -> frozenset[int]:
        """The instance ids that occur in the instance map."""
        return frozenset(int(i) for i in np.unique(self.instance_map))

    @cached_property
    def points(self) -> np.ndarray | None:
        """(H, W, 3) float32 metres in the optical frame, NaN unknown; None without depth or intrinsics."""
        frame = self.segmentation.frame
        if frame.depth_m is None or frame.intrinsics is None:
            return None
        return np.asarray(back_project(frame.depth_m, frame.intrinsics), dtype=np.float32)

    @property
    def has_depth(self) -> bool:
        """True where depth and intrinsics came with the image."""
        frame = self.segmentation.frame
        return frame.depth_m is not None and frame.intrinsics is not None

    def name(self, index: int) -> str:
        """The label of mask `index`, empty where it has none."""
        label = int(_array(self.segmentation.label_index)[index])
        return self.segmentation.vocabulary.labels[label].name if label >= 0 else ""

    def box_3d(self, index: int) -> tuple[np.ndarray, np.ndarray] | None:
        """Centre and size (3,) in metres of mask `index`'s visible points; None where no point is known."""
        if self.points is None:
            return None
        points = self.points[self.masks[index]]
        points = points[np.isfinite(points).all(axis=1)]
        if not len(points):
            return None
        centre, size = box_3d(points)
        return np.asarray(centre, dtype=np.float64), np.asarray(size, dtype=np.float64)

    @cached_property
    def boxes_3d(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """`box_3d` of every labelled mask that has one."""
        found = ((i, self.box_3d(i)) for i in self.order if self.label_ids[i] != UNLABELLED)
        return {i: box for i, box in found if box is not None}


def tight_box(mask: np.ndarray) -> tuple[int, int, int, int]:
    """x, y, width, height of the smallest box around a mask (H, W) that has at least one pixel."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    x, y = int(columns[0]), int(rows[0])
    return x, y, int(columns[-1]) - x + 1, int(rows[-1]) - y + 1


def segment_message(scene: Scene, index: int, *, with_mask: bool = True) -> Segment:
    """Mask `index` of a scene as a message."""
    mask = scene.masks[index]
    x, y, width, height = tight_box(mask)
    message = Segment(
        label=scene.name(index),
        label_id=int(scene.label_ids[index]),
        score=float(scene.scores[index]),
        mask_score=float(scene.segmentation.mask_scores[index]),
        instance_id=index + 1 if index + 1 in scene.visible_instances else 0,
        box=RegionOfInterest(x_offset=x, y_offset=y, width=width, height=height),
        area_px=int(mask.sum()),
    )
    if with_mask:
        cropped = mask[y : y + height, x : x + width].astype(np.uint8) * 255
        message.mask = image_from_array(scene.header, cropped)
    box = scene.boxes_3d.get(index) if message.label else scene.box_3d(index)
    if box is not None:
        message.has_3d = True
        message.centroid = Point(**_xyz(box[0]))
        message.size = Vector3(**_xyz(box[1]))
    return message


def segmentation_message(
    scene: Scene, *, model: str, with_masks: bool, with_unlabelled: bool
) -> SegmentationMsg:
    """A scene as the one atomic message (its latency is for the publisher to fill)."""
    height, width = scene.size_hw
    vocabulary = scene.segmentation.vocabulary
    kept = [i for i in scene.order if with_unlabelled or scene.label_ids[i] != UNLABELLED]
    return SegmentationMsg(
        header=scene.header,
        height=height,
        width=width,
        vocabulary_version=vocabulary.version,
        labels=list(vocabulary.names),
        label_ids=array.array("B", vocabulary.ids),
        segments=[segment_message(scene, i, with_mask=with_masks) for i in kept],
        label_image=image_from_array(scene.header, scene.label_map[0]),
        instance_image=image_from_array(scene.header, scene.instance_map),
        has_depth=scene.has_depth,
        inference_time_s=float(sum(scene.segmentation.timings.values())),
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


def cloud_message(scene: Scene) -> PointCloud2:
    """The organised cloud of a scene with depth: x y z in metres, rgb, label, instance; NaN: unknown.

    It is written without sensor_msgs_py, which not every machine has.
    """
    height, width = scene.size_hw
    layout = np.dtype([(n, "<f4") for n in "xyz"] + [("rgb", "<u4"), ("label", "<u2"), ("instance", "<u2")])
    cloud = np.zeros((height, width), layout)
    points, rgb = scene.points, scene.segmentation.frame.image_rgb.astype(np.uint32)
    for axis, name in enumerate("xyz"):
        cloud[name] = points[..., axis]
    cloud["rgb"] = rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2]
    cloud["label"], cloud["instance"] = scene.label_map[0], scene.instance_map
    types = {
        "x": PointField.FLOAT32,
        "rgb": PointField.FLOAT32,
        "label": PointField.UINT16,
    }  # rgb: as PCL packs it
    types.update(y=PointField.FLOAT32, z=PointField.FLOAT32, instance=PointField.UINT16)
    fields = [
        PointField(name=n, offset=layout.fields[n][1], datatype=types[n], count=1) for n in layout.names
    ]
    message = PointCloud2(header=scene.header, height=height, width=width, fields=fields)
    message.point_step, message.row_step = layout.itemsize, layout.itemsize * width
    message.is_bigendian, message.is_dense = False, False
    message.data = array.array("B", cloud.tobytes())
    return message


def _array(values: Any) -> np.ndarray:
    """A numpy array of what may be a torch tensor on any device."""
    return values.cpu().numpy() if hasattr(values, "cpu") else np.asarray(values)


def _xyz(vector: np.ndarray) -> dict[str, float]:
    return {axis: float(value) for axis, value in zip("xyz", vector, strict=True)}

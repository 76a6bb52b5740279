"""Between the messages of one moment and the core's `Frame` and `Segmentation`."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from geometry_msgs.msg import Pose

from ovseg_ros.core.camera import camera_info_intrinsics, decode_depth
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.space import Object3d
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.msg import Segment
from ovseg_ros.msg import Segmentation as SegmentationMsg
from ovseg_ros.msg import Vocabulary as VocabularyMsg
from ovseg_ros.ros.io.clouds import xyz_cloud
from ovseg_ros.ros.io.context import UNLABELLED, MessageContext
from ovseg_ros.ros.io.frame_source import stamp_ns
from ovseg_ros.ros.io.images import colour_from_message, fill_image


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
            f"expected the size of the image, {size_hw[1]}x{size_hw[0]}, got {width}x{height}; "
            "use the depth topic that is registered to colour"
        )
    if depth.header.frame_id and image.header.frame_id and depth.header.frame_id != image.header.frame_id:
        raise InvalidInputError(
            f"expected the frame of the image, {image.header.frame_id!r}, got {depth.header.frame_id!r}; "
            "use the depth topic that is registered to colour"
        )
    return depth_m


def segment_message(
    context: MessageContext, index: int, *, with_mask: bool, with_points: bool = False
) -> Segment:
    """Mask `index` of a labelled image as a message; its 3D is in the frame `context.frame_id_3d`."""
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
    found = context.object_3d(index)
    if found is not None:
        message.has_3d = True
        message.distance_m = found.distance_m
        message.centroid_covariance = found.covariance_m2.reshape(9)
        fill_pose(message.pose, found)
        for vector, values in ((message.centroid, found.centroid_m), (message.size, found.size_m)):
            vector.x, vector.y, vector.z = values.tolist()
        if with_points:
            message.points = xyz_cloud(context.header_3d, context.points_3d(index))
    return message


def fill_pose(pose: Pose, found: Object3d) -> None:
    """Where the box of a thing is, and how it is turned."""
    position, orientation = pose.position, pose.orientation
    position.x, position.y, position.z = found.centre_m.tolist()
    orientation.x, orientation.y, orientation.z, orientation.w = found.quaternion_xyzw


def segmentation_message(
    context: MessageContext,
    *,
    model: str,
    with_masks: bool,
    with_unlabelled: bool,
    with_images: bool = True,
    with_points: bool = False,
) -> SegmentationMsg:
    """A labelled image as the one atomic message (its latency is for the publisher to fill).

    Args:
        context: The image.
        model: Name of the preset.
        with_masks: Whether segments carry their masks.
        with_unlabelled: Whether masks without a label are in it.
        with_images: Whether it has the images of labels and instances.
        with_points: Whether segments carry their points.
    """
    height, width = context.size_hw
    vocabulary = context.segmentation.vocabulary
    kept = [i for i in context.order if with_unlabelled or context.label_ids[i] != UNLABELLED]
    context.objects_in_camera(kept)
    message = SegmentationMsg(
        header=context.header,
        height=height,
        width=width,
        vocabulary_version=vocabulary.version,
        labels=list(vocabulary.names),
        label_ids=array.array("B", vocabulary.ids),
        segments=[segment_message(context, i, with_mask=with_masks, with_points=with_points) for i in kept],
        has_depth=context.has_depth,
        frame_id_3d=context.frame_id_3d,
        inference_time_s=float(sum(context.segmentation.timings.values())),
        latency_s=-1.0,
        model=model,
    )
    if with_images:
        message.label_image, message.instance_image = context.label_message, context.instance_message
    return message


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

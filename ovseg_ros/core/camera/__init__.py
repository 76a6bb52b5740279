"""What cameras send: image encodings, and pixels to metres."""

from ovseg_ros.core.camera.decode import (
    COLOUR_ENCODINGS,
    DEPTH_ENCODINGS,
    GREY_ENCODINGS,
    WANTED_COLOUR,
    decode_camera_info,
    decode_colour,
    decode_depth,
    decode_integers,
    is_compressed,
    short,
)
from ovseg_ros.core.camera.geometry import Box3d, mask_boxes_3d, pixel_rays, write_cloud

__all__ = [
    "COLOUR_ENCODINGS",
    "DEPTH_ENCODINGS",
    "GREY_ENCODINGS",
    "WANTED_COLOUR",
    "Box3d",
    "decode_camera_info",
    "decode_colour",
    "decode_depth",
    "decode_integers",
    "is_compressed",
    "mask_boxes_3d",
    "pixel_rays",
    "short",
    "write_cloud",
]

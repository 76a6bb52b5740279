"""What cameras send: image encodings, intrinsics, and pixels to metres."""

from ovseg_ros.core.camera.camera_info import NEVER_CALIBRATED, camera_info_intrinsics, is_rectified
from ovseg_ros.core.camera.compressed import check_pixels, short
from ovseg_ros.core.camera.decode import (
    COLOUR_ENCODINGS,
    DEPTH_ENCODINGS,
    GREY_ENCODINGS,
    WANTED_COLOUR,
    decode_colour,
    is_compressed,
)
from ovseg_ros.core.camera.depth import check_depth_scale, decode_depth, decode_integers, metres
from ovseg_ros.core.camera.formats import COMPRESSED_DEPTH, PICTURE_CODECS, ImageFormat
from ovseg_ros.core.camera.geometry import pixel_rays, write_cloud
from ovseg_ros.core.camera.heard import CameraLook, Heard
from ovseg_ros.core.camera.missing import InputState, missing_inputs
from ovseg_ros.core.camera.plausible import DepthDoubt, depth_remark

__all__ = [
    "COLOUR_ENCODINGS",
    "COMPRESSED_DEPTH",
    "DEPTH_ENCODINGS",
    "GREY_ENCODINGS",
    "NEVER_CALIBRATED",
    "PICTURE_CODECS",
    "WANTED_COLOUR",
    "CameraLook",
    "DepthDoubt",
    "Heard",
    "ImageFormat",
    "InputState",
    "camera_info_intrinsics",
    "check_depth_scale",
    "check_pixels",
    "decode_colour",
    "decode_depth",
    "decode_integers",
    "depth_remark",
    "is_compressed",
    "is_rectified",
    "metres",
    "missing_inputs",
    "pixel_rays",
    "short",
    "write_cloud",
]

"""From masks to the squares that CLIP looks at."""

from ovseg_ros.core.regions.crop import (
    CLIP_MEAN,
    CLIP_STD,
    MEMORY_BUDGET,
    crop_regions,
    grow_boxes,
    mask_boxes,
)
from ovseg_ros.core.regions.gather import crop_bytes
from ovseg_ros.core.regions.views import View, encode_views, region_views

__all__ = [
    "CLIP_MEAN",
    "CLIP_STD",
    "MEMORY_BUDGET",
    "View",
    "crop_bytes",
    "crop_regions",
    "encode_views",
    "grow_boxes",
    "mask_boxes",
    "region_views",
]

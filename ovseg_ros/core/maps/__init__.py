"""From masks with probabilities to images of labels, instances and confidence."""

from ovseg_ros.core.maps.compose import label_map, select_by_granularity
from ovseg_ros.core.maps.mask_overlap import BoxedMask, boxed_masks, mask_iou, shared_pixels
from ovseg_ros.core.maps.paint import LabelMap, box_slices, paint_instances

__all__ = [
    "BoxedMask",
    "LabelMap",
    "box_slices",
    "boxed_masks",
    "label_map",
    "mask_iou",
    "paint_instances",
    "select_by_granularity",
    "shared_pixels",
]

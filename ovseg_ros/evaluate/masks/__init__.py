"""Class-agnostic masks against true instances: average recall as COCO counts it."""

from ovseg_ros.evaluate.masks.recall import LIMITS, SIZES, MaskScores, score_masks
from ovseg_ros.files.instances import InstanceDataset, read_instances

__all__ = ["LIMITS", "SIZES", "InstanceDataset", "MaskScores", "read_instances", "score_masks"]

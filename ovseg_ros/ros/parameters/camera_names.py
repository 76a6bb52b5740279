"""What cameras may be called: their names are parts of topic names, beside the node's own."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ovseg_ros.errors import ConfigError

TOKEN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # of a topic name
MAX_LENGTH = 64

# A camera named as one of these would be taken for it by people: `~/segmentation/overlay` beside
# `~/segmentation`. test/ros/test_policy.py holds the list against the running node.
INPUTS = frozenset({"image", "depth", "camera_info"})
OUTPUTS = frozenset(
    {
        "segmentation",
        "label_image",
        "confidence",
        "instance_image",
        "overlay",
        "points",
        "markers",
        "pose",
        "found",
        "detections",
        "detections_3d",
    }
)
SHARED = frozenset(
    {
        "alive",
        "embed_text",
        "enable",
        "find_like",
        "find_object",
        "follow_object",
        "forget",
        "label_info",
        "memory_markers",
        "query",
        "recall",
        "segment",
        "set_vocabulary",
        "teach",
        "vocabulary",
    }
)


def check_camera_names(names: Sequence[str]) -> None:
    """Refuses names of cameras that cannot be, or that stand for something else.

    Args:
        names: one empty name for one camera, or names that are not empty.

    Raises:
        ConfigError: not one part of a topic name, given twice, or the name of a topic, service or action of
            the node's.
    """
    if tuple(names) == ("",):
        return
    for name, times in Counter(names).items():
        if not TOKEN.fullmatch(name) or len(name) > MAX_LENGTH:
            raise ConfigError(
                "parameter cameras: expected names of letters, digits and _, not beginning with a digit, "
                f"of at most {MAX_LENGTH} characters, got {name!r}; remap <name>/image to any topic"
            )
        if times > 1:
            raise ConfigError(f"parameter cameras: expected each name once, got {name!r} {times} times")
        if name in INPUTS | OUTPUTS | SHARED:
            raise ConfigError(
                "parameter cameras: expected a name that is no topic, service or action of the node's, got "
                f"{name!r}; call it {name}_camera"
            )

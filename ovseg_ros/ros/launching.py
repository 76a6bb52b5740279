"""What the launch files share: checks of arguments, a Fast DDS profile, how long a process may take to end.

Nothing of `launch` is imported here. An argument that cannot be is a ConfigError, raised before anything
starts: launch prints it and ends.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix

from ovseg_ros.errors import ConfigError

PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # to Fast DDS 2 and to 3
FAST_DDS = ("", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")  # RMW_IMPLEMENTATION; unset is ROS's default
IMAGES, CLOUDS = "fastdds.xml", "fastdds_points.xml"
LOG_LEVELS = ("debug", "info", "warn", "error", "fatal")
CAMERA = "{camera}"
MAX_RATE = 1000.0  # Hz, of the player

# After Ctrl-C launch waits 5 s before SIGTERM and 5 s more before SIGKILL, where it is not told otherwise.
# The node ends within 3 s by itself.
ENDING = {"sigterm_timeout": "3", "sigkill_timeout": "1"}


def as_bool(name: str, text: str) -> bool:
    """The value of a yes-or-no argument."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise ConfigError(f"{name}: expected true or false, got {text!r}")


def as_rate(name: str, text: str) -> float:
    """Hz, above 0 and up to `MAX_RATE`."""
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= MAX_RATE:
        raise ConfigError(
            f"{name}: expected a number of Hz above 0 and up to {MAX_RATE:g}, such as 5.0, got {text!r}"
        )
    return rate


def as_count(name: str, text: str) -> int:
    """A whole number from 1 on."""
    try:
        count = int(text)
    except ValueError:
        count = 0
    if count < 1:
        raise ConfigError(f"{name}: expected a whole number, 1 or more, got {text!r}")
    return count


def as_log_level(name: str, text: str) -> str:
    """One of `LOG_LEVELS`, in whatever case."""
    if text.lower() not in LOG_LEVELS:
        raise ConfigError(f"{name}: expected one of {', '.join(LOG_LEVELS)}, got {text!r}")
    return text.lower()


def topic_of(name: str, topic: str, default: str, camera: str) -> str:
    """The topic of one camera.

    Args:
        name: Of the argument.
        topic: As given; of several cameras with {camera} in it, which stands for their names.
        default: The argument's; of several cameras its first part gives way to their names.
        camera: The name; empty where there is one camera.
    """
    if not camera or not topic:
        return topic
    if topic == default:
        topic = "/".join(["", CAMERA, *topic.split("/")[2:]])
    if CAMERA not in topic:
        raise ConfigError(
            f"{name}: expected {CAMERA} in it, which stands for the name of each of the cameras, got "
            f"{topic!r}"
        )
    return topic.replace(CAMERA, camera)


def wants_rviz(name: str, text: str) -> bool:
    """Whether to start RViz, which must be installed then."""
    if not as_bool(name, text):
        return False
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        raise ConfigError(
            f"{name}: expected the package rviz2, which is not installed (apt install "
            f"ros-$ROS_DISTRO-rviz2); "
            f"without {name}:=true the node starts alone"
        ) from None
    return True


def fast_dds(environment: Mapping[str, str], share: Path, *, clouds: bool) -> dict[str, str]:
    """The variables that give a process shared memory for whole images, where nobody chose otherwise.

    Args:
        environment: What the process has already; one's own profile stays, and other middleware gets none.
        share: The package's share folder.
        clouds: Whether the process publishes point clouds that somebody will look at.
    """
    if environment.get("RMW_IMPLEMENTATION", "") not in FAST_DDS:
        return {}
    ours = (share / "config" / IMAGES).read_bytes()
    chosen = [Path(environment[name]) for name in PROFILES if environment.get(name)]
    if not all(
        file.is_file() and file.read_bytes() == ours for file in chosen
    ):  # ours: scripts/env.sh sets it
        return {}
    return dict.fromkeys(PROFILES, str(share / "config" / (CLOUDS if clouds else IMAGES)))

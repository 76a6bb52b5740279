"""Fast DDS: does shared memory hold a whole image? Without, best-effort images get lost on a busy machine."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ovseg_ros.app.doctor.check import OK, WARN, Check

FAST_DDS = ("", "rmw_fastrtps_cpp", "rmw_fastrtps_dynamic_cpp")  # as ros/launching.py has it
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
IMAGE_BYTES = 640 * 480 * 3
ROOM_BYTES = 16_000_000  # four processes with 4 MB each: camera, node, planner, and one to look
SET = (
    "export FASTRTPS_DEFAULT_PROFILES_FILE=$(ros2 pkg prefix --share ovseg_ros)/config/fastdds.xml in each "
    "terminal (Kilted: FASTDDS_DEFAULT_PROFILES_FILE); the launch files do so for what they start"
)


def check_dds(
    environment: Mapping[str, str], profiles: Mapping[str, str], room: tuple[int, int] | None
) -> list[Check]:
    """Whether raw images fit.

    Args:
        environment: of the process.
        profiles: text of each profile file that it names and that is there, by path.
        room: free and all bytes of /dev/shm; None where it is not known.
    """
    rmw = environment.get("RMW_IMPLEMENTATION", "")
    if rmw not in FAST_DDS:
        return [Check("DDS", "middleware", OK, f"{rmw}; its own settings are not looked at")]
    return [_profile(environment, profiles), *([] if room is None else [_room(*room)])]


def _profile(environment: Mapping[str, str], profiles: Mapping[str, str]) -> Check:
    named = {name: environment[name] for name in PROFILES if environment.get(name)}
    if not named:
        found = "none is set, and an image of 640x480 does not fit into Fast DDS's default shared memory"
        return Check("DDS", "profile", WARN, found, SET)
    for name, path in named.items():
        if path not in profiles:
            return Check("DDS", "profile", WARN, f"{name} names {path}, which is not there", SET)
    text = "".join(profiles[path] for path in named.values())
    sizes = [int(size) for size in re.findall(r"<segment_size>\s*(\d+)\s*</segment_size>", text)]
    where = ", ".join(dict.fromkeys(named.values()))
    if not sizes or max(sizes) < IMAGE_BYTES:
        found = f"{where} gives shared memory no segment_size that holds an image of 640x480"
        return Check("DDS", "profile", WARN, found, SET)
    return Check("DDS", "profile", OK, f"{where}: {max(sizes) / 1e6:.1f} MB of shared memory a process")


def _room(free: int, total: int) -> Check:
    found = f"{free / 1e6:.0f} of {total / 1e6:.0f} MB of /dev/shm are free"
    if free >= ROOM_BYTES:
        return Check("DDS", "shared memory", OK, found)
    cure = "start the container with --shm-size 256m, or end ROS's processes and delete /dev/shm/fastrtps_*"
    return Check("DDS", "shared memory", WARN, found, cure)

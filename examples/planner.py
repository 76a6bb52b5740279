#!/usr/bin/env python3
"""A planner in 20 lines: where to put the gripper for something that is asked for by name, in base_link.

python3 planner.py "the mug left of the teapot"
"""

import sys

from ovseg_ros.ros.client import NodeClient

FRAME = "base_link"


def main(query: str) -> int:
    """Prints a point 10 cm above what was asked for; 1 where there is none to give."""
    with NodeClient() as ovseg:
        reply = ovseg.find(query, want_3d=True, target_frame=FRAME, timeout_s=5.0)
    if not reply.found or reply.frame_3d != FRAME:  # where TF does not lead there, the message says why
        print(f"{reply.code_name}: {reply.message}")
        return 1
    place = reply.best.place
    x, y, z = place.pose.position_m
    z += place.size_m[2] / 2 + 0.10
    print(f"above {reply.best.label}: x {x:.3f}, y {y:.3f}, z {z:.3f} m in {place.frame}")
    return 0


if __name__ == "__main__":
    sys.exit(main(" ".join(sys.argv[1:])))

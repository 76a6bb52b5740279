"""Point the ROS wheels' CMake files at this environment's Python and NumPy headers.

The wheels were built under /opt/python/cp3XX-cp3XX and their exported CMake targets still name that
folder's include paths, which do not exist here. Run by scripts/setup.sh after each install of the
wheels; running it again changes nothing.

    .venv/bin/python scripts/relocate_ros_wheels.py
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

import numpy

_NUMPY = re.compile(r"/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages/numpy/(_core|core)/include")
_PYTHON = re.compile(r"/opt/python/cp\d+-cp\d+/include/python3\.\d+")


def relocate(text: str, python_include: str, numpy_include: str) -> str:
    """Return the CMake text with the build machine's include folders replaced.

    Raises:
        ValueError: If another path of the build machine is left over.
    """
    text = _NUMPY.sub(lambda _: numpy_include, text)
    text = _PYTHON.sub(lambda _: python_include, text)
    if "/opt/python/" in text:
        line = next(line.strip() for line in text.splitlines() if "/opt/python/" in line)
        raise ValueError(f"a path of the wheels' build machine is left: {line}")
    return text


def main() -> int:
    """Rewrite every CMake file under the environment's share/ folder; print how many changed."""
    changed = 0
    for path in sorted(Path(sys.prefix, "share").glob("*/cmake/*.cmake")):
        before = path.read_text(encoding="utf-8")
        if "/opt/python/" not in before:
            continue
        after = relocate(before, sysconfig.get_path("include"), numpy.get_include())
        path.write_text(after, encoding="utf-8")
        changed += 1
    print(f"relocated {changed} CMake files")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Remove half-installed packages, so that the next `pip install` puts them right.

An install that was interrupted can leave a package whose metadata is there while some of its files are
not; pip would take it for installed. Run by scripts/setup.sh with the environment's own Python.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from importlib.metadata import Distribution, distributions
from pathlib import Path


def is_whole(distribution: Distribution) -> bool:
    """Whether every file that the package's own list names is there with its recorded size."""
    files = distribution.files
    if not files or not distribution.metadata["Name"]:
        return False
    for file in files:
        path = Path(str(file.locate()))
        if path.suffix == ".pyc":
            continue
        if not path.is_file():
            return False
        # relocate_ros_wheels.py rewrites CMake files, so their size tells nothing
        if path.suffix != ".cmake" and file.size is not None and os.path.getsize(path) != file.size:
            return False
    return True


def main() -> int:
    """Delete the metadata folder of each package that is not whole, and pip's own leftovers."""
    site = Path(sysconfig.get_path("purelib"))
    for distribution in list(distributions(path=[str(site)])):
        folder = getattr(distribution, "_path", None)
        # The ROS message wheels carry an .egg-info beside their .dist-info; only the latter is pip's.
        if folder is None or not str(folder).endswith(".dist-info") or is_whole(distribution):
            continue
        print(f"not whole, will be installed again: {Path(folder).name}")
        shutil.rmtree(folder)
    for leftover in site.glob("~*"):
        print(f"removing {leftover.name}")
        shutil.rmtree(leftover, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Python, torch, ROS and cv_bridge: is each there, in a version that fits the others?"""

from __future__ import annotations

from dataclasses import dataclass

from ovseg_ros.app.doctor.check import ERROR, OK, WARN, Check
from ovseg_ros.models.nvidia import TorchBuild

OLDEST, NEWEST = (3, 10), (3, 13)  # setup.py's python_requires
DISTROS = ("humble", "jazzy", "kilted")
SOURCED = "source /opt/ros/DISTRO/setup.bash and the workspace's install/setup.bash in this terminal"


@dataclass(frozen=True)
class Ros:
    """What this Python has of ROS.

    Attributes:
        distro: ROS_DISTRO, "" where none was sourced.
        has_rclpy: whether it is installed.
        has_interfaces: whether this package's messages were built and can be found.
        error: what stopped the node's modules from being imported, "" where nothing did.
        installed: distributions under /opt/ros.
        rmw: RMW_IMPLEMENTATION, "" where it is not set.
    """

    distro: str = ""
    has_rclpy: bool = False
    has_interfaces: bool = False
    error: str = ""
    installed: tuple[str, ...] = ()
    rmw: str = ""

    @property
    def works(self) -> bool:
        """Whether a node could be made."""
        return self.has_rclpy and self.has_interfaces and not self.error


@dataclass(frozen=True)
class CvBridge:
    """The cv_bridge of this Python, which decodes encodings that this package does not know.

    Attributes:
        is_here: whether it is installed.
        error: the last line of what it said where it does not work.
        numpy: numpy's version.
    """

    is_here: bool = False
    error: str = ""
    numpy: str = ""


def check_python(version: tuple[int, int, int], executable: str) -> Check:
    """Whether this Python is one that the package runs on."""
    found = f"{'.'.join(map(str, version))} ({executable})"
    if OLDEST <= version[:2] <= NEWEST:
        return Check("Python", "version", OK, found)
    wanted = "{}.{} to {}.{}".format(*OLDEST, *NEWEST)
    cure = f"use Python {wanted}; on Ubuntu 22.04 and 24.04 it is python3"
    return Check("Python", "version", ERROR, found, cure)


def check_torch(build: TorchBuild | None, error: str) -> Check:
    """Whether torch, and torchvision beside it, can be imported.

    Args:
        build: None where it cannot.
        error: why it cannot, or why torchvision does not fit; "".
    """
    if build is None:
        cure = "activate the virtual environment that has it, or install it: docs/install_gpu.md"
        return Check("Python", "torch", ERROR, error, cure)
    made_with = f"CUDA {build.cuda}" if build.cuda else "ROCm" if build.is_rocm else "no CUDA"
    found = f"{build.version} ({made_with})"
    if error:
        what, _, cure = error.partition("; ")
        cure = cure or "install torch and torchvision anew"
        return Check("Python", "torch", ERROR, f"{found}: {what}", cure)
    return Check("Python", "torch", OK, found)


def check_ros(ros: Ros, *, is_wanted: bool) -> list[Check]:
    """Whether a node could run here.

    Args:
        ros: what there is.
        is_wanted: whether something was asked for that needs it.
    """
    if not ros.has_rclpy:
        there = f"; /opt/ros has {', '.join(ros.installed)}" if ros.installed else ""
        found = f"this Python has no rclpy: the node cannot start, ovseg segment, demo and web can{there}"
        setup = SOURCED.replace("DISTRO", ros.installed[-1]) if ros.installed else SOURCED
        cure = f"for the node, {setup}" if ros.installed else f"for the node, install ROS 2, then {setup}"
        return [Check("ROS", "rclpy", ERROR if is_wanted else WARN, found, cure)]
    checks = [_distro(ros.distro)]
    if not ros.has_interfaces:
        found = "this package's messages, services and actions were not built, or not sourced"
        cure = "run colcon build in the workspace, then source install/setup.bash there"
        checks.append(Check("ROS", "interfaces", ERROR, found, cure))
    elif ros.error:
        cure = "use the Python that ROS was built for, and build the workspace anew with it (colcon build)"
        checks.append(Check("ROS", "interfaces", ERROR, ros.error, cure))
    else:
        checks.append(Check("ROS", "interfaces", OK, "built, and can be imported"))
    return checks


def _distro(distro: str) -> Check:
    if distro in DISTROS:
        return Check("ROS", "distribution", OK, distro)
    if not distro:
        return Check("ROS", "distribution", WARN, "rclpy is here, and ROS_DISTRO is not set", SOURCED)
    cure = f"if the node fails, use one of {', '.join(DISTROS)}"
    return Check("ROS", "distribution", WARN, f"{distro}, which was not tried", cure)


def check_cv_bridge(bridge: CvBridge) -> Check:
    """Whether cv_bridge works with this numpy: one built for another crashes the first time it is used."""
    if not bridge.is_here:
        found = "not installed; the usual encodings need none"
        return Check("ROS", "cv_bridge", OK, found)
    found = f"with numpy {bridge.numpy}"
    if not bridge.error:
        return Check("ROS", "cv_bridge", OK, f"works {found}")
    cure = 'install the numpy that it was built for: pip install "numpy<2" for the one of apt'
    return Check("ROS", "cv_bridge", WARN, f"does not work {found}: {bridge.error}", cure)

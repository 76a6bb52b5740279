"""The set-up scripts: what they refuse, what they say, and how they put the ROS wheels right."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from repository import ROOT

TOOLS = [
    "bash",
    "cat",
    "cd",
    "cmake",
    "cmp",
    "cp",
    "cut",
    "dirname",
    "env",
    "find",
    "flock",
    "g++",
    "grep",
    "head",
    "ls",
    "make",
    "mkdir",
    "mv",
    "rm",
    "sed",
    "sha256sum",
    "sort",
    "tail",
    "touch",
    "tr",
    "uname",
]


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A copy of what setup.sh reads, so that the real environment stays as it is."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copytree(ROOT / "requirements", folder / "requirements")
    return folder


def bare_machine(folder: Path, *, without: tuple[str, ...] = (), **fakes: str) -> dict[str, str]:
    """An environment whose PATH holds the usual tools but those in `without`, and these fake ones."""
    tools = folder / "bin"
    tools.mkdir(parents=True)
    for name in TOOLS:
        real = shutil.which(name)
        if real and name not in without and name not in fakes:
            (tools / name).symlink_to(real)
    for name, body in fakes.items():
        path = tools / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    return {"PATH": str(tools), "HOME": str(folder)}


def set_up(checkout: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    command = ["bash", "scripts/setup.sh"]
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("version", ["3.9", "3.14", "2.7"])
def test_setup_refuses_another_python(checkout: Path, tmp_path: Path, version: str) -> None:
    done = set_up(checkout, bare_machine(tmp_path, python3=f"echo {version}"))
    assert done.returncode == 1
    assert f"Python {version}, expected 3.10 to 3.13" in done.stderr
    assert not (checkout / ".venv").exists()


def test_setup_says_when_there_is_no_python(checkout: Path, tmp_path: Path) -> None:
    done = set_up(checkout, bare_machine(tmp_path))
    assert done.returncode == 1
    assert "no python3 found" in done.stderr


def test_without_root_or_sudo_setup_stops_with_the_line_to_type(checkout: Path, tmp_path: Path) -> None:
    fakes = {"python3": f'exec "{sys.executable}" "$@"', "id": "echo 1000", "apt_get": "exit 99"}
    done = set_up(checkout, bare_machine(tmp_path, without=("g++", "cmake"), **fakes))
    assert done.returncode == 1
    assert "sudo apt-get update && sudo apt-get install -y g++ cmake" in done.stderr


def test_setup_shows_why_apt_failed(checkout: Path, tmp_path: Path) -> None:
    fakes = {
        "python3": f'exec "{sys.executable}" "$@"',
        "id": "echo 0",
        "apt_get": "echo no such archive >&2; exit 100",
    }
    done = set_up(checkout, bare_machine(tmp_path, without=("g++",), **fakes))
    assert done.returncode == 1
    assert "no such archive" in done.stderr
    assert "log/setup.log" in done.stderr


def test_env_says_what_to_do_first(checkout: Path) -> None:
    done = subprocess.run(
        ["bash", "scripts/env.sh", "true"], cwd=checkout, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "make setup" in done.stderr


def test_env_gives_each_run_its_own_domain_on_request(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    (checkout / ".venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    environment = {key: value for key, value in os.environ.items() if key != "ROS_DOMAIN_ID"}

    def domain(*flags: str, **more: str) -> int:
        command = ["bash", "scripts/env.sh", *flags, "printenv", "ROS_DOMAIN_ID"]
        done = subprocess.run(
            command, cwd=checkout, env={**environment, **more}, capture_output=True, text=True, timeout=60
        )
        return int(done.stdout)

    assert domain() == domain()
    assert 1 <= domain("--own-domain") <= 100
    assert domain("--own-domain", ROS_DOMAIN_ID="7") == 7


def test_relocate_replaces_the_build_machines_folders() -> None:
    relocate = script("relocate_ros_wheels").relocate
    text = (
        'INTERFACE_INCLUDE_DIRECTORIES "/opt/python/cp312-cp312/include/python3.12;'
        '/opt/python/cp312-cp312/lib/python3.12/site-packages/numpy/_core/include"'
    )
    assert (
        relocate(text, "/py/include", "/np/include")
        == 'INTERFACE_INCLUDE_DIRECTORIES "/py/include;/np/include"'
    )


def test_relocate_refuses_a_path_it_does_not_know() -> None:
    with pytest.raises(ValueError, match="/opt/python/cp312-cp312/lib/libpython"):
        script("relocate_ros_wheels").relocate(
            'set(x "/opt/python/cp312-cp312/lib/libpython.so")', "/py", "/np"
        )


@pytest.mark.ros
def test_nothing_of_the_build_machine_is_left_in_the_wheels() -> None:
    left = [
        path
        for path in Path(sys.prefix, "share").glob("*/cmake/*.cmake")
        if "/opt/python/" in path.read_text()
    ]
    assert left == []


def fake_package(site: Path, *, size_recorded: int, content: str) -> Path:
    info = site / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "thing.py").write_text(content)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"thing.py,sha256=x,{size_recorded}\nthing-1.0.dist-info/RECORD,,\n")
    return info


@pytest.mark.parametrize(("size", "whole"), [(5, True), (6, False)])
def test_a_package_is_whole_if_its_files_have_their_sizes(tmp_path: Path, size: int, whole: bool) -> None:
    from importlib.metadata import PathDistribution

    info = fake_package(tmp_path, size_recorded=size, content="x = 1")
    assert script("repair_venv").is_whole(PathDistribution(info)) is whole
    (tmp_path / "thing.py").unlink()
    assert script("repair_venv").is_whole(PathDistribution(info)) is False


def test_repair_forgets_what_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repair = script("repair_venv")
    info = fake_package(tmp_path, size_recorded=99, content="x = 1")
    (tmp_path / "~hing").mkdir()
    monkeypatch.setattr(repair.sysconfig, "get_path", lambda name: str(tmp_path))
    assert repair.main() == 0
    assert not info.exists()
    assert not (tmp_path / "~hing").exists()


def test_another_ros_is_refused_by_name(checkout: Path, tmp_path: Path) -> None:
    done = set_up(checkout, {**bare_machine(tmp_path), "ROS": "humble"})
    assert done.returncode == 2
    assert "expected ROS=jazzy or ROS=kilted, got humble" in done.stderr


def test_env_takes_the_distribution_that_was_set_up(checkout: Path) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.touch(mode=0o755)
    (checkout / ".venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)

    environment = {key: value for key, value in os.environ.items() if not key.endswith("_PROFILES_FILE")}

    def printed(name: str) -> str:
        command = ["bash", "scripts/env.sh", "printenv", name]
        done = subprocess.run(
            command, cwd=checkout, env=environment, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()

    assert printed("ROS_DISTRO") == "jazzy"
    assert printed("FASTRTPS_DEFAULT_PROFILES_FILE") == f"{checkout}/config/fastdds.xml"
    (checkout / ".venv" / ".ros").write_text("kilted\n")
    assert printed("ROS_DISTRO") == "kilted"
    assert printed("FASTDDS_DEFAULT_PROFILES_FILE") == f"{checkout}/config/fastdds.xml"
    assert printed("FASTRTPS_DEFAULT_PROFILES_FILE") == ""  # of which Kilted warns


def test_kilted_has_the_packages_of_jazzy() -> None:
    """But two that Kilted does not have any more, and one that its CMake files ask for."""

    def packages(name: str) -> set[str]:
        text = (ROOT / "requirements" / f"{name}.txt").read_text()
        return {line.split("==")[0] for line in text.splitlines() if line and not line.startswith("#")}

    jazzy = {name.replace("ros-jazzy-", "ros-kilted-") for name in packages("ros")}
    gone = {"ros-kilted-fastrtps-cmake-module", "ros-kilted-python-cmake-module"}
    assert packages("ros_kilted") == jazzy - gone | {"ros-kilted-ament-cmake-ros-core"}


PIP = """#!/bin/sh
case "$*" in
    *"pip list"*) printf 'numpy==2\\nros-rclpy==7\\nros-jazzy-rclpy==7\\n' ;;
    *version_info*) echo "VERSION PREFIX" ;;
    *) echo "$*" >>calls ;;
esac
"""


@pytest.mark.parametrize(("ros", "leaves"), [("kilted", True), ("jazzy", False)])
def test_the_other_distribution_leaves_before_one_comes(checkout: Path, ros: str, leaves: bool) -> None:
    """With a .venv whose python only writes down what it was asked for; the build after it fails, and may."""
    venv = checkout / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / ".made").touch()
    python = venv / "bin" / "python"
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    python.write_text(PIP.replace("VERSION", here).replace("PREFIX", str(venv)))
    python.chmod(0o755)
    environment = {**os.environ, "PYTHON": sys.executable, "ROS": ros}
    subprocess.run(
        ["bash", "scripts/setup.sh"], cwd=checkout, env=environment, capture_output=True, timeout=60
    )
    calls = (checkout / "calls").read_text().splitlines()
    gone = [call for call in calls if "uninstall" in call]
    assert gone == (["-m pip uninstall -y ros-rclpy ros-jazzy-rclpy"] if leaves else [])
    list_of = {"jazzy": "ros.txt", "kilted": "ros_kilted.txt"}[ros]
    first = next(call for call in calls if "pip install" in call)
    assert f"-r requirements/{list_of} -c" in first
    assert (venv / ".ros").read_text() == f"{ros}\n"

"""The containers: lint, what is copied into them, and the health check against a real lifecycle node.

No image is built here: that takes Docker and the network.
"""

from __future__ import annotations

import difflib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from repository import ROOT

FOLDER = ROOT / "docker"
DOCKERFILES = sorted(FOLDER.glob("Dockerfile.*"))
TEXTS = {path.suffix[1:]: path.read_text(encoding="utf-8") for path in DOCKERFILES}


def hadolint() -> str | None:
    """The linter, of this environment or of the machine."""
    beside = Path(sys.executable).parent / "hadolint"
    return str(beside) if beside.is_file() else shutil.which("hadolint")


def test_there_is_one_for_each_kind_of_machine():
    assert TEXTS.keys() == {"cpu", "cuda", "jetson"}


@pytest.mark.skipif(hadolint() is None, reason="hadolint is not installed (requirements/test.txt brings it)")
def test_hadolint_finds_nothing():
    command = [hadolint(), "-c", FOLDER / ".hadolint.yaml", *DOCKERFILES]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_is_copied_exists_and_is_not_ignored(text: str):
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split("\n")
    for sources in re.findall(r"^COPY (?!--from)(?:--\S+ )*(.*) \S+$", text, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists(), source
            assert source.split("/")[0] not in ignored, source


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_runs_is_not_root_and_says_how_it_is(text: str):
    run = text[text.rindex("\nFROM ") :]
    assert re.search(r"^USER [1-9]\d+$", run, re.MULTILINE)
    assert "HEALTHCHECK " in run
    assert text.count("\nFROM ") >= 2  # what builds stays behind
    base = re.search(r"^ARG BASE=(\S+):(\S+)$", text, re.MULTILINE)
    assert base
    assert base[2] != "latest"


def test_cpu_and_cuda_differ_in_torch_and_the_driver_alone():
    lines = difflib.ndiff(TEXTS["cpu"].splitlines(), TEXTS["cuda"].splitlines())
    changed = [line[2:].strip() for line in lines if line[0] in "+-" and not line[2:].startswith("#")]
    assert all(re.match(r"ARG TORCH_INDEX=|PYTHONUNBUFFERED=1|NVIDIA_", line) for line in changed), changed


def test_lists_that_the_build_splits_are_whole():
    """torch goes apart from the rest, and memory's packages are found among those of the tests."""
    vision = (ROOT / "requirements" / "vision.txt").read_text(encoding="utf-8")
    assert re.findall(r"^(torch\w*)==", vision, re.MULTILINE) == re.findall(
        r"^(torch.*?)[=<>]", vision, re.MULTILINE
    )
    test = (ROOT / "requirements" / "test.txt").read_text(encoding="utf-8")
    memory = re.search(r'"memory": \[(.*)\]', (ROOT / "setup.py").read_text(encoding="utf-8"))[1]
    for name in re.findall(r'"(\w+)', memory):
        assert re.search(rf"^{name}\b", test, re.MULTILINE | re.IGNORECASE), name


def test_compose_starts_what_the_images_and_the_launch_file_have():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    assert compose["services"].keys() == {"node", "player", "foxglove"}
    launch = (ROOT / "launch" / "ovseg.launch.py").read_text(encoding="utf-8")
    arguments = compose["services"]["node"]["command"][4:]
    assert len(arguments) >= 4
    for argument in arguments:
        assert re.search(rf'\(\s*"{argument.split(":=")[0]}",', launch), argument
        assert re.search(r":=\$\{OVSEG_\w+:-[^}]+\}$", argument), (
            f"{argument}: ros2 launch refuses an empty value"
        )
    recording = compose["services"]["player"]["command"][4]
    assert (ROOT / recording.split("share/ovseg_ros/")[1]).is_dir()
    for text in TEXTS.values():
        assert "foxglove-bridge" in text
    kept = {volume.split(":")[1] for volume in compose["services"]["node"]["volumes"]}
    assert all(f'"{folder}"' in text for folder in kept for text in TEXTS.values())


def test_the_gpu_is_added_to_a_service_that_exists():
    compose = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
    more = yaml.safe_load((FOLDER / "compose.gpu.yaml").read_text(encoding="utf-8"))
    assert more["services"].keys() <= compose["services"].keys()


def test_the_entrypoint_runs_its_command_in_the_environment(tmp_path: Path):
    """With the three files that it reads in other places."""
    places = {
        "/opt/ros/$ROS_DISTRO/setup.bash": "ros",
        "/opt/venv/bin/activate": "venv",
        "/opt/ovseg/setup.bash": "own",
    }
    text = (FOLDER / "entrypoint.sh").read_text(encoding="utf-8")
    for place, name in places.items():
        assert place in text
        (tmp_path / name).write_text(f"export ORDER=${{ORDER}}{name},\n")
        text = text.replace(place, str(tmp_path / name))
    done = subprocess.run(
        ["bash", "-c", text, "entrypoint.sh", "bash", "-c", 'echo "$ORDER $1"; exit 7', "x", "a b"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.returncode) == ("ros,venv,own, a b\n", 7)


@pytest.mark.ros
def test_health_is_the_lifecycle_state():
    import threading

    import rclpy
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.lifecycle import LifecycleNode

    def health(node: str) -> tuple[int, str]:
        environment = {**os.environ, "OVSEG_NODE": node, "OVSEG_HEALTH_TIMEOUT": "8"}
        command = [sys.executable, FOLDER / "healthcheck.py"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
        return done.returncode, done.stdout.strip()

    context = rclpy.Context()
    context.init()
    node = LifecycleNode("ovseg", namespace="health", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    try:
        assert health("/health/ovseg") == (1, "unconfigured")
        node.trigger_configure()
        node.trigger_activate()
        assert health("/health/ovseg") == (0, "active")
    finally:
        executor.shutdown()
        thread.join(10)
        node.destroy_node()
        context.try_shutdown()


@pytest.mark.ros
def test_a_node_that_is_not_there_is_not_healthy():
    environment = {**os.environ, "OVSEG_NODE": "/nobody", "OVSEG_HEALTH_TIMEOUT": "1"}
    command = [sys.executable, FOLDER / "healthcheck.py"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout.strip()) == (1, "no node /nobody within 1 s")

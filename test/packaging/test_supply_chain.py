"""Versions are pinned with hashes, and the audit says so when it could not ask."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from repository import ROOT

LOCKED = ROOT / "requirements" / "locked"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")


def wanted(name: str) -> list[Requirement]:
    lines = (ROOT / "requirements" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def pinned(name: str) -> list[tuple[Requirement, list[str]]]:
    """Each requirement of a locked list, and its hashes."""
    text = (LOCKED / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [
        (Requirement(entry.split(" --hash=")[0]), re.findall(r"--hash=sha256:([0-9a-f]{64})", entry))
        for entry in entries
    ]


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(
    ("lock", "lists"), [("everything", ("vision", "web", "ros", "test", "docs")), ("no_deps", ("no_deps",))]
)
def test_each_requirement_is_pinned_within_its_limits(lock, lists, python):
    here = {"python_version": python, "python_full_version": f"{python}.5", "sys_platform": "linux"}
    here |= {"platform_machine": "x86_64", "implementation_name": "cpython", "platform_system": "Linux"}
    there = {}
    for entry, _ in pinned(lock):
        if entry.marker is None or entry.marker.evaluate(here):
            assert plain(entry.name) not in there, entry
            there[plain(entry.name)] = re.fullmatch(r"==([^*]+)", str(entry.specifier))[1]
    for name in lists:
        for entry in wanted(name):
            if entry.marker is None or entry.marker.evaluate(here):
                assert entry.specifier.contains(there[plain(entry.name)], prereleases=True), entry


@pytest.mark.parametrize("lock", ["everything", "no_deps"])
def test_everything_pinned_has_hashes_and_no_index_is_named(lock):
    for entry, hashes in pinned(lock):
        assert hashes, entry
        assert entry.url is None
    text = (LOCKED / f"{lock}.txt").read_text(encoding="utf-8")
    assert not re.search(r"https?:|file:|--index|--extra|--find-links|--trusted", text)


# What pip-audit says, by what it is asked about: the release with known holes, or the environment.
HOLE = {"name": "jinja2", "version": "3.1.2", "vulns": [{"id": "CVE-2024-22195", "fix_versions": ["3.1.3"]}]}
CLEAN = {"name": "numpy", "version": "2.2.6", "vulns": []}
UNKNOWN = {"name": "ovseg_ros", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("control", "environment", "status", "part"),
    [
        (None, None, 3, "nothing is known"),
        (
            [{"name": "jinja2", "version": "3.1.2", "vulns": []}],
            [CLEAN],
            3,
            "nothing is known",
        ),  # such a mirror
        ([{"name": "jinja2", "skip_reason": "not found"}], [CLEAN], 3, "nothing is known"),
        ([HOLE], None, 3, "no database"),
        ([HOLE], [CLEAN, UNKNOWN], 0, "1 packages asked about, 1 that the database does not know"),
        ([HOLE], [HOLE, CLEAN], 1, "jinja2 3.1.2: CVE-2024-22195, mended in 3.1.3"),
    ],
    ids=["no network", "a mirror that knows of none", "not there", "lost on the way", "clean", "a hole"],
)
def test_the_audit_never_takes_silence_for_health(tmp_path: Path, control, environment, status, part) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "supply_chain.sh", tmp_path / "scripts")
    (tmp_path / "requirements").mkdir()
    tools = shutil.copy(ROOT / "requirements" / "tools.txt", tmp_path / "requirements")
    bin_folder = tmp_path / "out" / "tools" / "bin"
    bin_folder.mkdir(parents=True)
    (tmp_path / "out" / "tools" / ".done").write_text(
        hashlib.sha256(Path(tools).read_bytes()).hexdigest() + "  -\n"
    )
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to(sys.executable)
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps({"control": control, "environment": environment}))
    tool = bin_folder / "pip-audit"
    tool.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"answers = json.load(open({str(answers)!r}))\n"
        "found = answers['control' if '-r' in sys.argv else 'environment']\n"
        "if found is None:\n    sys.exit('ConnectionError')\n"
        "json.dump({'dependencies': found}, open(sys.argv[sys.argv.index('-o') + 1], 'w'))\n"
        "sys.exit(any(one.get('vulns') for one in found))\n"
    )
    tool.chmod(0o755)
    done = subprocess.run(
        ["bash", "scripts/supply_chain.sh", "audit"],
        cwd=tmp_path,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == status, done.stdout + done.stderr
    assert part in done.stdout + done.stderr

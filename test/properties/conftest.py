"""Settings of the property-based tests, and the sum of their cases at the end of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis.configuration import set_hypothesis_home_dir
from property_cases import IS_SOAK, RAN, within_memory

_home = tempfile.TemporaryDirectory(prefix="ovseg_properties_")
set_hypothesis_home_dir(_home.name)  # its tables of Unicode would lie in the source tree as .hypothesis


@pytest.fixture(autouse=True)
def limited_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    if request.node.get_closest_marker("slow"):  # starts processes with networks, which would inherit it
        yield
        return
    with within_memory():
        yield


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A process of several (pytest-xdist) hands its counts to the one that prints."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["properties"] = dict(RAN)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    RAN.update(getattr(node, "workeroutput", {}).get("properties", {}))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if RAN:
        mood = "at random" if IS_SOAK else "the same in each run"
        terminalreporter.write_line(f"properties: {sum(RAN.values())} cases of {len(RAN)} tests, {mood}")

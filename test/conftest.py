"""Settings of the whole test session: a DDS domain of its own, and what happens where ROS is missing."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from domains import domain_of_process

if TYPE_CHECKING:
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter

# Before anything imports rclpy: tests must not meet another run's nodes.
os.environ["ROS_DOMAIN_ID"] = os.environ.get("OVSEG_TEST_DOMAIN_ID") or str(domain_of_process())
os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")

# What takes longest, by the measured seconds. These go first: with the short files at the end, no process of
# several has to wait long for the last.
HEAVIEST = (
    "app/segment/test_every_mode.py",
    "app/demo/test_demo.py",
    "ros/test_lifecycle.py",
    "ros/test_ending.py",
    "docs/test_python.py",
    "packaging/test_wheel.py",
    "app/test_cli.py",
    "app/bench/test_bench.py",
    "test_colour_alone.py",
    "models/bundled/test_lite.py",
    "models/test_auto.py",
    "learn/training/test_loop.py",
    "ros/requests/test_flood.py",
    "ros/client/test_client.py",
    "learn/colour/test_train.py",
    "models/checkpoints/test_convert.py",
    "core/encoders/test_runtime.py",
    "learn/pairs/test_collect.py",
)

# Several processes on a busy machine, each with its own time limits: one that fails is run once more, and the
# summary names it (RERUN). Whoever sees one looks for its cause: two that came so were faults of their tests.
ROS_RERUNS = 1

NO_ROS = "rclpy and the built interfaces are not importable here (run `make test`, or source a ROS workspace)"


def ros_is_here() -> bool:
    """Whether rclpy and the generated interfaces can be imported, without importing them."""
    try:
        return bool(importlib.util.find_spec("rclpy") and importlib.util.find_spec("ovseg_ros.msg"))
    except ModuleNotFoundError:
        return False


def pytest_sessionstart(session: pytest.Session) -> None:
    """`make test` runs where ROS was set up: there its absence is a failure, not a reason to skip."""
    if os.environ.get("OVSEG_TEST_REQUIRE_ROS") and not ros_is_here():
        pytest.exit(f"OVSEG_TEST_REQUIRE_ROS is set, but {NO_ROS}", returncode=3)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The heaviest files first; the others, and the tests of a file, stay in their order. Who reruns."""
    rank = {Path(__file__).parent / name: place for place, name in enumerate(HEAVIEST)}
    assert all(file.is_file() for file in rank), "HEAVIEST names a file that is not there"
    items.sort(key=lambda item: rank.get(item.path, len(rank)))
    for item in items:
        if item.get_closest_marker("ros"):
            item.add_marker(pytest.mark.flaky(reruns=ROS_RERUNS))


def pytest_collection_finish() -> None:
    """What was imported stays for good: `gc.collect`, which the product calls too, may pass over it."""
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what is marked `ros` where ROS is missing."""
    if item.get_closest_marker("ros") and not ros_is_here():
        pytest.skip(NO_ROS)


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch in one thread, for networks so small that waking others costs more than they do."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def lite_segmenter() -> OpenVocabularySegmenter:
    """The preset `lite`, loaded once for all tests of a process. Whoever changes it puts it back."""
    from ovseg_ros.models.presets import load_preset

    return load_preset("lite")


@pytest.fixture
def load_preset_once(lite_segmenter: OpenVocabularySegmenter) -> Callable[..., OpenVocabularySegmenter]:
    """Stands for `load_preset`: gives `lite` where that or "auto" is asked for, and loads the others."""
    from ovseg_ros.models.presets import load_preset

    def load(preset: Any, *given: Any, **named: Any) -> OpenVocabularySegmenter:
        return lite_segmenter if preset in ("lite", "auto") else load_preset(preset, *given, **named)

    return load

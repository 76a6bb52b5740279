"""What the launch files share, without `launch`: arguments that cannot be, and the Fast DDS profile."""

from __future__ import annotations

from pathlib import Path

import pytest
from repository import ROOT

launching = pytest.importorskip("ovseg_ros.ros.launching", reason="ament_index_python is not installed")
FAST_DDS_2, FAST_DDS_3 = launching.PROFILES


def profile(environment, *, clouds=False):
    """The file name that both variables are set to, or None."""
    given = launching.fast_dds(environment, ROOT, clouds=clouds)
    files = {Path(file) for file in given.values()}
    assert all(file.is_file() for file in files)
    assert given.keys() in (set(), {FAST_DDS_2, FAST_DDS_3})
    return files.pop().name if len(files) == 1 else None


def test_a_profile_is_set_where_none_is():
    assert profile({}) == "fastdds.xml"
    assert profile({}, clouds=True) == "fastdds_points.xml"
    assert profile({FAST_DDS_2: ""}) == "fastdds.xml"


@pytest.mark.parametrize("variable", launching.PROFILES)
def test_a_profile_of_one_s_own_stays(variable, tmp_path):
    mine = tmp_path / "fastdds.xml"  # by its content, not by its name
    mine.write_text("<profiles/>")
    assert profile({variable: str(mine)}, clouds=True) is None
    assert profile({variable: str(tmp_path / "missing.xml")}) is None


@pytest.mark.parametrize("variable", launching.PROFILES)
def test_the_small_profile_that_the_environment_script_sets_makes_way_for_clouds(variable):
    ours = {variable: str(ROOT / "config" / "fastdds.xml")}
    assert profile(ours) == "fastdds.xml"
    assert profile(ours, clouds=True) == "fastdds_points.xml"


@pytest.mark.parametrize(
    ("middleware", "wanted"),
    [
        ("rmw_fastrtps_cpp", "fastdds.xml"),
        ("rmw_fastrtps_dynamic_cpp", "fastdds.xml"),
        ("", "fastdds.xml"),
        ("rmw_cyclonedds_cpp", None),
        ("rmw_zenoh_cpp", None),
    ],
)
def test_other_middleware_gets_none(middleware, wanted):
    assert profile({"RMW_IMPLEMENTATION": middleware}) == wanted


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (launching.as_bool, "Yes", True),
        (launching.as_bool, "off", False),
        (launching.as_rate, "5", 5.0),
        (launching.as_rate, "1000", 1000.0),
        (launching.as_count, "25", 25),
        (launching.as_log_level, "WARN", "warn"),
    ],
)
def test_arguments_that_can_be(read, text, value):
    assert read("argument", text) == value


@pytest.mark.parametrize(
    ("read", "text", "want"),
    [
        (launching.as_bool, "ture", "true or false"),
        (launching.as_rate, "fast", "a number of Hz above 0 and up to 1000"),
        (launching.as_rate, "1001", "a number of Hz above 0 and up to 1000"),
        (launching.as_rate, "inf", "a number of Hz"),
        (launching.as_count, "2.5", "a whole number, 1 or more"),
        (launching.as_log_level, "loud", "one of debug, info, warn, error, fatal"),
    ],
)
def test_arguments_that_cannot_be_are_named_with_what_is_wanted(read, text, want):
    with pytest.raises(ValueError, match=rf"^argument: expected {want}.*, got '{text}'$"):
        read("argument", text)


def test_rviz_is_wanted_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(launching, "get_package_prefix", lambda name: f"/opt/ros/{name}")
    assert launching.wants_rviz("rviz", "true") is True
    assert launching.wants_rviz("rviz", "false") is False


def test_rviz_that_is_not_installed_is_said_with_the_cure(monkeypatch):
    def missing(name):
        raise launching.PackageNotFoundError(name)

    monkeypatch.setattr(launching, "get_package_prefix", missing)
    assert launching.wants_rviz("rviz", "false") is False
    with pytest.raises(
        ValueError, match=r"^rviz: expected the package rviz2.*apt install ros-\$ROS_DISTRO-rviz2"
    ):
        launching.wants_rviz("rviz", "true")

"""Names of cameras: parts of topic names, each once, none of the node's own."""

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.camera_names import INPUTS, OUTPUTS, SHARED, check_camera_names
from ovseg_ros.ros.parameters.table import Settings

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("names", [(), ("",), ("front",), ("front", "left_2", "_x", "A")])
def test_good_names(names):
    check_camera_names(names)


@pytest.mark.parametrize(
    "name", ["front left", "front/left", "2nd", "", "größe", "a-b", "~", "{x}", "x" * 65]
)
def test_names_that_are_no_part_of_a_topic(name):
    with pytest.raises(ConfigError, match=r"letters, digits and _.*remap"):
        check_camera_names(("front", name))


def test_each_name_once():
    with pytest.raises(ConfigError, match="'front' 2 times"):
        check_camera_names(("front", "left", "front"))


@pytest.mark.parametrize("name", sorted(INPUTS | OUTPUTS | SHARED))
def test_names_of_the_nodes_own(name):
    with pytest.raises(ConfigError, match=f"call it {name}_camera"):
        check_camera_names((name,))


def test_settings_check_them_and_give_one_empty_name_where_there_is_none():
    assert Settings().camera_names == Settings(cameras=()).camera_names == ("",)
    assert Settings(cameras=("", "front")).camera_names == ("front",)
    with pytest.raises(ConfigError, match="parameter cameras"):
        Settings(cameras=("image",))

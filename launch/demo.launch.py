"""Play a bundled recording into the node: a robot's camera without the robot.

ros2 launch ovseg_ros demo.launch.py rviz:=true
ros2 topic pub --once /ovseg/query std_msgs/msg/String "{data: find teapot}"
"""

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from ovseg_ros.ros.launching import ENDING, as_count, as_rate, fast_dds

SHARE = Path(get_package_share_directory("ovseg_ros"))

# name, default, description; those after repeat are handed on to ovseg.launch.py
ARGUMENTS = (
    (
        "recording",
        "tabletop",
        "tabletop, garage, photographs, or the folder of another recording with the same topics",
    ),
    ("rate", "5.0", "frames per second that the player publishes"),
    ("repeat", "", "how often it publishes each frame; empty: 25 times for the photographs, else once"),
    (
        "preset",
        "",
        "as in ovseg.launch.py; empty: mini for the tabletop, lite for the real photographs",
    ),
    ("vocabulary", "", "words to look for; empty: some that are in the recording"),
    ("rviz", "false", "start RViz"),
    ("device", "", "as in ovseg.launch.py"),
    ("log_level", "info", "as in ovseg.launch.py"),
)
PRESETS = {"tabletop": "mini", "garage": "lite", "photographs": "lite"}
VOCABULARIES = {
    "tabletop": "teapot, mug, moka pot, bowl, plate, frying pan",
    "garage": "motorcycle, shelf, door",
    "photographs": "astronaut, camera, cat, cup, rocket",
}
REPEATS = {"photographs": "25"}


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The player and the node, for the arguments as they were given."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    name = given["recording"]
    folder = SHARE / "demo" / name if name in PRESETS else Path(name).expanduser()
    if not any((folder / file).is_file() for file in ("metadata.yaml", "classes.txt")):
        raise FileNotFoundError(
            f"recording: expected one of {', '.join(PRESETS)}, a rosbag2 folder or photographs in the layout "
            f"folder, but there is neither metadata.yaml nor classes.txt in {folder}"
        )
    rate = as_rate("rate", given["rate"])
    repeat = as_count("repeat", given["repeat"] or REPEATS.get(name, "1"))
    passed_on = {
        "preset": given["preset"] or PRESETS.get(name, ""),
        "vocabulary": given["vocabulary"] or VOCABULARIES.get(name, ""),
        "image_topic": "/camera/color/image_raw",
        # Photographs have none, and the node would warn of a topic that nobody publishes.
        "depth_topic": "/camera/depth/image_raw" if (folder / "metadata.yaml").is_file() else "",
        "camera_info_topic": "/camera/color/camera_info",
        **{key: given[key] for key in ("rviz", "device", "log_level")},
    }
    return [  # the node first: what its arguments lack ends the launch before anything runs
        IncludeLaunchDescription(
            PythonLaunchDescriptionSource(str(SHARE / "launch" / "ovseg.launch.py")),
            launch_arguments=passed_on.items(),
        ),
        Node(
            package="ovseg_ros",
            executable="player",
            name="player",
            arguments=[str(folder), "--rate", str(rate), "--repeat", str(repeat)],
            output="screen",
            additional_env=fast_dds(context.environment, SHARE, clouds=False),
            **ENDING,
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """The launch file's entry point."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])

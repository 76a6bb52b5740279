"""Start the lifecycle node `ovseg`, and RViz if asked.

    ros2 launch ovseg_ros ovseg.launch.py image_topic:=/head/rgb vocabulary:="teapot, red mug"

An argument left empty is not handed to the node, so that each default stands once: in the node's table of
parameters and in params_file. An argument that is given wins over params_file.
"""

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity

SHARE = Path(get_package_share_directory("ovseg_ros"))

# name, default, description
ARGUMENTS = (
    (
        "preset",
        "",
        "name of a bundled preset, path of a preset's YAML file, or auto: the best that is here and that the "
        "device can carry; empty: as in params_file (auto)",
    ),
    (
        "image_topic",
        "/camera/color/image_raw",
        "colour images; with image_transport:=compressed, without /compressed",
    ),
    (
        "depth_topic",
        "/camera/depth/image_raw",
        "depth registered to the colour images, 16UC1 mm or 32FC1 m, used where it comes; with "
        "depth_transport:=compressedDepth, without /compressedDepth; empty: none",
    ),
    ("camera_info_topic", "/camera/color/camera_info", "intrinsics of the colour images"),
    ("image_transport", "", "raw or compressed; empty: as in params_file (raw)"),
    ("depth_transport", "", "raw or compressedDepth; empty: as in params_file (raw)"),
    ("vocabulary", "", "words to look for from the start, with commas between; empty: as in params_file"),
    ("params_file", str(SHARE / "config" / "ovseg.yaml"), "YAML file of the node's parameters"),
    ("device", "", "cpu, cuda, cuda:1 or auto; empty: as in params_file (auto)"),
    (
        "target_frame",
        "",
        "frame for 3D, such as base_link or map, by TF; empty: as in params_file (the camera's)",
    ),
    ("weights_dir", "", "folder of downloaded weights; empty: as in params_file"),
    ("namespace", "", "namespace of the node; topics above that begin with / stay as they are"),
    ("rviz", "false", "start RViz with the camera, the overlay, the label image, the points and the markers"),
    ("autostart", "", "configure and activate the node by itself; empty: as in params_file (true)"),
    ("use_sim_time", "false", "take time from /clock"),
    ("log_level", "info", "log level of the node: debug, info, warn, error or fatal"),
)
PASSED_ON = (
    "preset",
    "image_transport",
    "depth_transport",
    "vocabulary",
    "device",
    "weights_dir",
    "target_frame",
)
SHOWN_IN_RVIZ = ("overlay", "label_image", "points", "markers")


def as_bool(name: str, text: str) -> bool:
    """The value of a yes-or-no argument; a misspelt one ends the launch."""
    if text.lower() in ("true", "1", "yes", "on"):
        return True
    if text.lower() in ("false", "0", "no", "off"):
        return False
    raise ValueError(f"{name}: want true or false, got {text!r}")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes, for the arguments as they were given."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    namespace = given["namespace"].strip("/")
    use_sim_time = as_bool("use_sim_time", given["use_sim_time"])

    if not Path(given["params_file"]).is_file():  # launch_ros would only warn and go on without it
        raise FileNotFoundError(f"params_file: there is no {given['params_file']}")

    # As strings, whatever they look like: launch_ros reads plain ones as YAML, where `1` and `no` are none.
    parameters: dict[str, Any] = {
        name: ParameterValue(given[name], value_type=str) for name in PASSED_ON if given[name]
    }
    if given["autostart"]:
        parameters["autostart"] = as_bool("autostart", given["autostart"])
    parameters["use_sim_time"] = use_sim_time

    topics = {
        "image": given["image_topic"],
        "image/compressed": given["image_topic"] + "/compressed",
        "depth": given["depth_topic"],  # empty: stays `depth`, which nobody publishes
        "camera_info": given["camera_info_topic"],
    }
    logger = ".".join([*filter(None, namespace.split("/")), "ovseg"])
    nodes: list[LaunchDescriptionEntity] = [
        LifecycleNode(
            package="ovseg_ros",
            executable="ovseg_node",
            name="ovseg",
            namespace=namespace,
            output="screen",
            emulate_tty=True,
            parameters=[given["params_file"], parameters],
            remappings=[(name, topic) for name, topic in topics.items() if topic],
            ros_arguments=["--log-level", f"{logger}:={given['log_level']}"],
        )
    ]
    if as_bool("rviz", given["rviz"]):
        root = f"/{namespace}/ovseg" if namespace else "/ovseg"
        remappings = [(f"/ovseg/{topic}", f"{root}/{topic}") for topic in SHOWN_IN_RVIZ if namespace]
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", str(SHARE / "config" / "ovseg.rviz")],
                parameters=[{"use_sim_time": use_sim_time}],
                remappings=[*remappings, ("/camera/color/image_raw", given["image_topic"])],
                output="log",
            )
        )
    return nodes


def generate_launch_description() -> LaunchDescription:
    """The launch file's entry point."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=description)
        for name, default, description in ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=start)])

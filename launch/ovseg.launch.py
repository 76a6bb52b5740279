"""Start the lifecycle node `ovseg`, and RViz if asked.

    ros2 launch ovseg_ros ovseg.launch.py image_topic:=/head/rgb vocabulary:="teapot, red mug"

An argument left empty is not handed to the node, so that each default stands once: in the node's table of
parameters and in params_file. An argument that is given wins over params_file. Where nothing is set that says
otherwise the processes get a Fast DDS profile that lets whole images through.
"""

from pathlib import Path
from typing import Any

from ament_index_python.packages import get_package_share_directory
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode, Node
from launch_ros.parameter_descriptions import ParameterValue

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from ovseg_ros.ros.launching import ENDING, as_bool, as_log_level, fast_dds, topic_of, wants_rviz
from ovseg_ros.ros.parameters.camera_names import check_camera_names

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
    (
        "cameras",
        "",
        "names of several cameras that share the model, with commas between, such as front, left; the topics "
        "above are then /{camera}/color/image_raw and so on, where {camera} stands for each name, and your "
        "own want {camera} in them too; empty: one camera, without a name",
    ),
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
    (
        "rviz",
        "false",
        "start RViz with the camera (of several the first), the overlay, the label image, the points "
        "and the markers; the node then takes 32 MB of shared memory for the points, unless a Fast DDS "
        "profile is set",
    ),
    ("autostart", "", "configure and activate the node by itself; empty: as in params_file (true)"),
    ("use_sim_time", "false", "take time from /clock"),
    ("log_level", "info", "log level of the node: debug, info, warn, error or fatal"),
)
PASSED_ON = (
    "preset",
    "cameras",
    "image_transport",
    "depth_transport",
    "vocabulary",
    "device",
    "weights_dir",
    "target_frame",
)
SHOWN_IN_RVIZ = ("overlay", "label_image", "points", "markers")


def start(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """The nodes, for the arguments as they were given."""
    given = {name: LaunchConfiguration(name).perform(context).strip() for name, _, _ in ARGUMENTS}
    namespace = given["namespace"].strip("/")
    use_sim_time = as_bool("use_sim_time", given["use_sim_time"])
    log_level = as_log_level("log_level", given["log_level"])
    rviz = wants_rviz("rviz", given["rviz"])  # before anything starts: launch would leave it running

    if not Path(given["params_file"]).is_file():  # launch_ros would only warn and go on without it
        raise FileNotFoundError(f"params_file: there is no {given['params_file']}")

    # As strings, whatever they look like: launch_ros reads plain ones as YAML, where `1` and `no` are none.
    parameters: dict[str, Any] = {
        name: ParameterValue(given[name], value_type=str) for name in PASSED_ON if given[name]
    }
    if given["autostart"]:
        parameters["autostart"] = as_bool("autostart", given["autostart"])
    parameters["use_sim_time"] = use_sim_time

    cameras = [name.strip() for name in given["cameras"].split(",")]
    check_camera_names(cameras)
    defaults = {name: default for name, default, _ in ARGUMENTS}
    topics = {}
    for camera in cameras:
        image, depth, info = (
            topic_of(name, given[name], defaults[name], camera)
            for name in ("image_topic", "depth_topic", "camera_info_topic")
        )
        inputs = f"{camera}/" if camera else ""
        topics[f"{inputs}image"] = image
        topics[f"{inputs}image/compressed"] = f"{image}/compressed"
        topics[f"{inputs}depth"] = depth  # empty: stays `depth`, which nobody publishes
        topics[f"{inputs}camera_info"] = info
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
            ros_arguments=["--log-level", f"{logger}:={log_level}"],
            additional_env=fast_dds(context.environment, SHARE, clouds=rviz),
            **ENDING,
        )
    ]
    if rviz:
        root = f"/{namespace}/ovseg" if namespace else "/ovseg"
        shown = f"{root}/{cameras[0]}" if cameras[0] else root  # of several the first
        remappings = [(f"/ovseg/{topic}", f"{shown}/{topic}") for topic in SHOWN_IN_RVIZ if shown != "/ovseg"]
        nodes.append(
            Node(
                package="rviz2",
                executable="rviz2",
                name="rviz2",
                arguments=["-d", str(SHARE / "config" / "ovseg.rviz")],
                parameters=[{"use_sim_time": use_sim_time}],
                remappings=[*remappings, (defaults["image_topic"], next(iter(topics.values())))],
                output="log",
                additional_env=fast_dds(context.environment, SHARE, clouds=False),
                **ENDING,
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

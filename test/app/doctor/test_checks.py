"""`ovseg doctor`: each check by itself, on what other machines showed."""

from __future__ import annotations

import dataclasses
import doctest

import pytest
from machines import CPU, CU130, JETSON, MACHINES

from ovseg_ros.app.doctor import look
from ovseg_ros.app.doctor.camera import check_camera
from ovseg_ros.app.doctor.check import ERROR, OK, WARN, Check, worst
from ovseg_ros.app.doctor.dds import check_dds
from ovseg_ros.app.doctor.gpu import Memory, check_gpu, check_memory, check_trial
from ovseg_ros.app.doctor.preset import Weights, check_preset, check_weights
from ovseg_ros.app.doctor.software import (
    CvBridge,
    Ros,
    check_cv_bridge,
    check_python,
    check_ros,
    check_torch,
)
from ovseg_ros.core.camera import CameraLook, Heard, InputState
from ovseg_ros.models.nvidia import Nvidia


def levels(checks):
    return {check.name: check.level for check in checks}


def test_examples():
    assert doctest.testmod(look)[0] == 0


def test_what_is_wrong_has_a_cure_and_the_worst_counts():
    with pytest.raises(AssertionError, match="a cure for what is wrong"):
        Check("a", "b", WARN, "found")
    with pytest.raises(AssertionError, match="and no other"):
        Check("a", "b", OK, "found", "cure")
    fine, warn = Check("a", "b", OK, "c"), Check("a", "b", WARN, "c", "d")
    assert [worst([]), worst([fine]), worst([fine, warn])] == [OK, OK, WARN]
    assert worst([warn, Check("a", "b", ERROR, "c", "d"), fine]) == ERROR


@pytest.mark.parametrize(
    ("version", "level"), [((3, 8, 10), ERROR), ((3, 10, 0), OK), ((3, 13, 9), OK), ((3, 14, 0), ERROR)]
)
def test_python(version, level):
    assert check_python(version, "python3").level == level


def test_torch():
    assert check_torch(CU130, "").found == "2.14.1+cu130 (CUDA 13.0)"
    assert check_torch(CPU, "").found == "2.14.1+cpu (no CUDA)"
    missing = check_torch(None, "cannot be imported: OSError: libcudss.so.0: cannot open shared object file")
    assert (missing.level, "libcudss" in missing.found) == (ERROR, True)
    other = check_torch(CU130, "expected torchvision as built for it, got 0.1; install both anew")
    assert (other.level, other.cure) == (ERROR, "install both anew")


@pytest.mark.parametrize(
    ("ros", "wanted", "level", "words"),
    [
        (Ros(), False, WARN, "for the node, install ROS 2"),
        (Ros(), True, ERROR, "for the node, install ROS 2"),
        (Ros(installed=("humble", "jazzy")), False, WARN, "source /opt/ros/jazzy/setup.bash"),
        (Ros("jazzy", has_rclpy=True), False, ERROR, "run colcon build in the workspace"),
        (
            Ros("jazzy", True, True, "ImportError: _rclpy_pybind11"),
            False,
            ERROR,
            "the Python that ROS was built",
        ),
        (Ros("foxy", True, True), False, WARN, "use one of humble, jazzy, kilted"),
        (Ros("", True, True), False, WARN, "source /opt/ros/DISTRO/setup.bash"),
    ],
)
def test_ros(ros, wanted, level, words):
    checks = check_ros(ros, is_wanted=wanted)
    assert worst(checks) == level
    assert words in " ".join(check.cure for check in checks)
    assert not ros.works or level == WARN


def test_ros_that_is_there():
    assert levels(check_ros(Ros("jazzy", True, True), is_wanted=True)) == {
        "distribution": OK,
        "interfaces": OK,
    }


def test_cv_bridge():
    assert check_cv_bridge(CvBridge()).level == OK
    assert check_cv_bridge(CvBridge(True, "", "1.26.4")).found == "works with numpy 1.26.4"
    broken = check_cv_bridge(CvBridge(True, "ImportError: numpy.core.multiarray failed to import", "2.2.6"))
    assert (broken.level, '"numpy<2"' in broken.cure) == (WARN, True)


@pytest.mark.parametrize(
    ("machine", "torch", "device", "level"),
    [
        ("no GPU", CU130, "auto", OK),
        ("no GPU", CPU, "auto", OK),
        ("no GPU", CU130, "cuda", ERROR),
        ("RTX 4090, driver 550", CU130, "auto", ERROR),
        ("RTX 4090, driver 550", CU130, "cpu", OK),
        ("GTX 1080, driver 580", CU130, "auto", ERROR),
        ("WSL2, RTX 3060", CU130, "auto", ERROR),
        ("WSL2, no NVIDIA", CU130, "auto", OK),
        ("Orin, JetPack 6", CPU, "auto", ERROR),
        ("Orin, JetPack 5", JETSON, "cpu", ERROR),  # its Python is too old, whatever the device
        ("Docker without --gpus", CU130, "auto", ERROR),
        ("nouveau", CU130, "auto", ERROR),
    ],
)
def test_a_gpu_that_is_not_seen_is_an_error(machine, torch, device, level, tmp_path):
    assert worst(check_gpu(MACHINES[machine].look(tmp_path), torch, device)) == level


def test_a_gpu_that_is_seen(tmp_path):
    ada = dataclasses.replace(CU130, sees=(("NVIDIA GeForce RTX 4090", (8, 9)),))
    checks = check_gpu(MACHINES["RTX 4090, driver 580"].look(tmp_path / "a"), ada, "auto")
    assert [check.found for check in checks] == ["torch sees NVIDIA GeForce RTX 4090 (8.9), driver 580.65.06"]
    orin = dataclasses.replace(JETSON, sees=(("Orin", (8, 7)),))
    assert levels(check_gpu(MACHINES["Orin, JetPack 6"].look(tmp_path / "b"), orin, "auto")) == {
        "Jetson": OK,
        "torch": OK,
    }
    pascal = dataclasses.replace(CU130, sees=(("NVIDIA GeForce GTX 1080", (6, 1)),))
    assert levels(check_gpu(Nvidia(driver="580.65"), pascal, "auto")) == {"torch": ERROR}
    assert [check_trial("").level, check_trial("RuntimeError: busy").level] == [OK, ERROR]


def memory(machine, device, needs, is_shared=False):
    checks = check_memory(machine, device, needs, preset="vitb16", is_shared=is_shared)
    return levels(checks)


def test_memory():
    pc, card = Memory(20, 32), Memory(7.5, 8)
    assert memory(pc, card, 5) == {"GPU": OK, "machine": OK}
    assert memory(Memory(2, 4), card, 5) == {"GPU": OK, "machine": OK}  # the card does the work
    assert memory(pc, Memory(3, 8), 5) == {"GPU": WARN, "machine": OK}
    assert memory(pc, Memory(3, 4), 5) == {"GPU": ERROR, "machine": OK}
    assert memory(Memory(4, 8), None, 5) == {"machine": WARN}
    assert memory(Memory(2, 4), None, 5) == {"machine": ERROR}
    assert memory(Memory(2, 4), None, None) == {"machine": OK}
    assert memory(Memory(4, 8), Memory(6, 8), 5, is_shared=True) == {"GPU": OK, "machine": WARN}
    assert memory(None, None, 5) == {}
    found = check_memory(Memory(4.25, 8), None, 5, preset="vitb16", is_shared=False)[0].found
    assert found == "4.2 of 8.0 GB are free, vitb16 needs 5"


def test_weights():
    gone = Weights("sam.pth", problem="it is not here", cure="run `ovseg download vitb16`")
    checks = check_weights(
        [gone, Weights("clip.bin", 375_042_383)], {"encoder lite": "expected a; run b", "c": ""}
    )
    assert [(check.name, check.level) for check in checks] == [
        ("sam.pth", ERROR),
        ("clip.bin", OK),
        ("encoder lite", ERROR),
        ("c", OK),
    ]
    assert checks[1].found == "here and whole (375 MB)"
    assert checks[2].cure == "run b"


def test_a_preset_that_is_too_slow_here():
    assert (
        check_preset("lite", "auto: nothing else is here", "").found == "auto is lite: nothing else is here"
    )
    slow = check_preset("vitb16", "asked for by name", "it runs on the CPU; take a GPU")
    assert (slow.level, slow.cure) == (WARN, "take a GPU")


PROFILE = "<segment_size>4194304</segment_size>"


@pytest.mark.parametrize(
    ("environment", "profiles", "level"),
    [
        ({}, {}, WARN),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/a.xml"}, {}, WARN),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": "/a.xml"}, {"/a.xml": PROFILE}, OK),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/a.xml"}, {"/a.xml": PROFILE}, OK),
        (
            {"FASTDDS_DEFAULT_PROFILES_FILE": "/a.xml"},
            {"/a.xml": "<segment_size>524288</segment_size>"},
            WARN,
        ),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": "/a.xml"}, {"/a.xml": "<dds/>"}, WARN),
        ({"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}, {}, OK),
    ],
)
def test_dds(environment, profiles, level):
    assert worst(check_dds(environment, profiles, (60_000_000, 64_000_000))) == level


def test_shared_memory_that_is_full():
    environment = {"FASTRTPS_DEFAULT_PROFILES_FILE": "/a.xml"}
    checks = check_dds(environment, {"/a.xml": PROFILE}, (4_000_000, 64_000_000))
    assert levels(checks) == {"profile": OK, "shared memory": WARN}


SECOND = 1_000_000_000


def state(name, **more):
    topics = {"image": "/camera/rgb", "depth": "/camera/depth", "camera_info": "/camera/info"}
    return InputState(**{"name": name, "topic": topics[name], "publishers": 1, "messages": 45, **more})


def camera(**more):
    given = {
        "inputs": {
            "image": Heard(state("image", stamp_ns=9 * SECOND), 15.0, "640x480 rgb8"),
            "depth": Heard(state("depth", stamp_ns=9 * SECOND), 15.0, "640x480 16UC1"),
            "camera_info": Heard(state("camera_info"), 15.0, "640x480"),
        },
        "tolerance_s": 0.02,
        "oldest_s": 1.0,
        "image_stamp_ns": 9 * SECOND,
        "age_s": 0.012,
        "known": 0.93,
    }
    return CameraLook(**{**given, **more})


def instead(**heard):
    return camera(inputs={**camera().inputs, **heard})


def test_a_camera_that_is_well():
    checks = check_camera(camera(), needs_depth=False)
    assert worst(checks) == OK
    assert [check.name for check in checks] == ["image", "stamps", "depth", "depth's values", "camera_info"]
    assert checks[0].found == "/camera/rgb: 15.0 Hz, 640x480 rgb8"
    assert checks[1].found == "images arrive 12 ms after their stamps"


@pytest.mark.parametrize(
    ("look", "name", "level", "found", "cure"),
    [
        (
            camera(inputs={"image": Heard(state("image", publishers=0, messages=0))}, image_stamp_ns=None),
            "image",
            ERROR,
            "image on /camera/rgb (0 publishers): nobody publishes it",
            "start the camera, or name another topic",
        ),
        (
            instead(
                image=Heard(state("image", problem="expected 3 channels, got 5; set another encoding"), 15.0)
            ),
            "image",
            ERROR,
            "expected 3 channels",
            "set another encoding",
        ),
        (
            instead(image=Heard(state("image"), 0.5)),
            "image",
            WARN,
            "0.5 Hz, which is slow",
            "raise the camera's",
        ),
        (
            instead(
                depth=Heard(state("depth", problem="expected the size of the image; use the other"), 15.0)
            ),
            "depth",
            WARN,
            "expected the size of the image",
            "use the other",
        ),
        (
            instead(depth=Heard(state("depth", stamp_ns=9 * SECOND + 33_000_000), 15.0)),
            "depth",
            WARN,
            "33 ms later, sync_tolerance is 20 ms",
            "raise sync_tolerance",
        ),
        (
            instead(
                camera_info=Heard(state("camera_info", problem="the camera was never calibrated; do so"))
            ),
            "camera_info",
            WARN,
            "the camera was never calibrated",
            "do so",
        ),
        (
            camera(doubt="the image's stamp is 2.00 s ahead of the node's clock: let the computers agree"),
            "stamps",
            ERROR,
            "the image's stamp is 2.00 s ahead of the node's clock",
            "let the computers agree",
        ),
        (camera(age_s=3.2), "stamps", ERROR, "arrive 3.2 s after their stamps", "let the computers agree"),
        (
            camera(remark="the nearest surface is 900 m away: is depth in another unit? Set depth_scale"),
            "depth's values",
            WARN,
            "is depth in another unit",
            "Set depth_scale",
        ),
        (camera(known=0.01), "depth's values", WARN, "1% of the pixels hold a distance", "covered"),
    ],
)
def test_a_camera_that_is_not(look, name, level, found, cure):
    check = next(check for check in check_camera(look, needs_depth=False) if check.name == name)
    assert check.level == level
    assert found in check.found
    assert cure in check.cure


def test_depth_that_the_preset_needs_is_an_error_where_it_is_missing():
    look = instead(depth=Heard(state("depth", messages=0, publishers=0)))
    assert levels(check_camera(look, needs_depth=False))["depth"] == WARN
    assert levels(check_camera(look, needs_depth=True))["depth"] == ERROR

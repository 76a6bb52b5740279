"""What is missing for an image, in the words of the node and of the command line."""

from __future__ import annotations

import pytest

from ovseg_ros.core.camera import InputState, missing_inputs

S = 1_000_000_000
IMAGE = InputState("image", "/color", 1, 5, 100 * S)
DEPTH = "depth on /d (1 publisher)"


def said(*states, image_ns=100 * S, tolerance_s=0.02):
    return missing_inputs(states, image_ns, tolerance_s, "sync_tolerance")


def test_nothing_is_missing():
    info = InputState("camera_info", "/info", 1, 1)  # its stamp is not looked at
    assert said(IMAGE, InputState("depth", "/d", 1, 9, 100 * S + 20_000_000), info) == ""
    assert said(IMAGE, InputState("depth", "/d", 1, 9, 100 * S - 20_000_000), info) == ""
    assert said() == ""
    assert said(InputState("depth", "/d", 1, 9, 5), image_ns=None) == ""  # the image is what is missing


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (InputState("depth", "", 0, 0), "depth: there is no such topic"),
        (
            InputState("depth", "", None, 0, cure="name it with --depth-topic"),
            "depth: there is no such topic; name it with --depth-topic",
        ),
        (
            InputState("image", "/ns/color", 0, 0),
            "image on /ns/color (0 publishers): nobody publishes it; start the camera, or name another topic",
        ),
        (
            InputState("depth", "/d", 2, 0),
            "depth on /d (2 publishers): no message of it has arrived; its QoS (reliability, durability) may "
            "not match; see `ros2 topic info -v /d`",
        ),
        (
            InputState("camera_info", "/i", None, 0),
            "camera_info on /i (0 messages): the recording holds no message of it",
        ),
        (
            InputState("camera_info", "/i", None, 1, problem="the camera was never calibrated (K is 0)"),
            "camera_info on /i (1 message): the camera was never calibrated (K is 0)",
        ),
        (
            InputState("depth", "/d", 1, 9, 100 * S + 33_300_000),
            f"{DEPTH}: the nearest to the image of 100.000 s is 33.3 ms later, sync_tolerance is 20 ms; "
            "raise sync_tolerance",
        ),
        (
            InputState("depth", "/d", 1, 9, 98 * S),
            f"{DEPTH}: the nearest to the image of 100.000 s is 2000 ms earlier, sync_tolerance is 20 ms; "
            "raise sync_tolerance",
        ),
        (
            InputState("depth", "/d", 1, 9, 161 * S),
            f"{DEPTH}: the nearest to the image of 100.000 s is 61 s later: the stamps are of two clocks; "
            "let one clock stamp both, or synchronise the computers",
        ),
        (
            InputState("depth", "/d", 1, 9, 0),
            f"{DEPTH}: depth comes without a stamp (0 s), so the two cannot be matched; let its driver set "
            "one",
        ),
    ],
)
def test_each_reason(state, words):
    assert said(IMAGE, state) == words


def test_an_image_without_stamp():
    words = said(InputState("depth", "/d", 1, 9, 7 * S), image_ns=0)
    assert words.startswith(f"{DEPTH}: the image comes without a stamp (0 s)")


def test_several_are_told_in_turn():
    words = said(IMAGE, InputState("depth", "/d", 0, 0, cure="a"), InputState("camera_info", "/i", None, 0))
    assert words == (
        "depth on /d (0 publishers): nobody publishes it; a. camera_info on /i (0 messages): the recording "
        "holds no message of it"
    )

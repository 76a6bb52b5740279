"""From messages to plain values and back: poses, points, limits, images; what JSON gets of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import fake_answers
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode, Segment, Segmentation

from ovseg_ros.core.intrinsics import CameraIntrinsics
from ovseg_ros.core.words import Quoted
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.ros.client import Limits, requests
from ovseg_ros.ros.client.answers import (
    reply_of_search,
    reply_of_segmentation,
    segment_of,
    sighting_of,
    thing_of,
)

pytestmark = pytest.mark.ros


def test_a_segment_becomes_a_thing_with_its_place():
    thing = segment_of(fake_answers.teapot(mask=True, points=True), "camera")
    assert (thing.label, thing.runner_up, thing.track_id, thing.area_px) == ("teapot", "kettle", 3, 12)
    assert (thing.score, thing.margin) == pytest.approx((0.96, 0.4))
    place = thing.place
    assert place.frame == "camera"
    assert place.centroid_m.tolist() == [0.12, -0.05, 0.62]
    assert place.covariance_m2.tolist() == np.diag([1e-6, 2e-6, 3e-6]).tolist()
    assert place.pose.position_m.tolist() == [0.12, -0.04, 0.65]
    assert place.pose.orientation_xyzw == pytest.approx([0.5**0.5, 0, 0, 0.5**0.5])
    assert place.size_m.tolist() == [0.14, 0.1, 0.09]
    assert place.distance_m == pytest.approx(0.634)
    np.testing.assert_array_equal(thing.points_m, fake_answers.POINTS)
    whole = thing.mask((6, 8))
    assert whole.sum() == 12
    assert whole[1:4, 2:6].all()


def test_what_is_remembered_becomes_a_thing_with_its_age_its_last_pose_and_its_confidence():
    thing = thing_of(fake_answers.mug())
    assert (thing.label, thing.key, thing.frame, thing.robot) == ("mug", "8e23", "map", "tidy")
    assert thing.confidence == pytest.approx(0.8)
    assert (thing.age_s, thing.first_seen_s, thing.last_seen_s) == (731.5, 1000.0, 2000.5)
    assert thing.pose.position_m.tolist() == [1.2, 0.4, 0.8]
    assert thing.pose.orientation_xyzw.tolist() == [0, 0, 0, 1]
    assert thing.size_m.tolist() == [0.12, 0.08, 0.1]
    assert thing.covariance_m2.tolist() == np.diag([1e-4, 2e-4, 3e-4]).tolist()
    assert (thing.times_seen, thing.times_looked, thing.times_missed) == (11, 12, 1)
    assert (thing.is_gone, thing.gone_since_s, thing.jpeg) == (False, None, b"")
    assert thing.names == {"mug": 9, "cup": 2}
    gone = fake_answers.mug(is_gone=True, confidence=0.0)
    gone.gone_since.sec, gone.crop.data = 2100, bytearray(b"jpeg")
    gone = thing_of(gone)
    assert (gone.is_gone, gone.gone_since_s, gone.confidence, gone.jpeg) == (True, 2100.0, 0, b"jpeg")
    told = json.loads(json.dumps(gone.as_dict()))
    assert (told["is_gone"], told["age_s"], told["pose"]["position_m"]) == (True, 731.5, [1.2, 0.4, 0.8])
    assert (told["names"], "jpeg" in told) == ({"mug": 9, "cup": 2}, False)


def test_what_is_remembered_is_never_found():
    result = FindObject.Result(code=ResultCode.REMEMBERED, remembered=[fake_answers.mug()])
    reply = reply_of_search(result, 0.0)
    assert (reply.found, reply.code_name, reply.best, reply.segments) == (False, "REMEMBERED", None, ())
    assert reply.remembered[0].label == "mug"
    assert json.loads(json.dumps(reply.as_dict()))["remembered"][0]["confidence"] == pytest.approx(0.8)


def test_a_thing_without_depth_has_no_place_and_one_without_its_mask_says_so():
    message = fake_answers.teapot()
    message.has_3d = False
    thing = segment_of(message, "camera")
    assert thing.place is None
    assert thing.points_m.shape == (0, 3)
    with pytest.raises(InvalidInputError, match="with_masks=True"):
        thing.mask((6, 8))


def test_points_of_either_order_of_bytes():
    cloud = fake_answers.cloud(fake_answers.POINTS)
    cloud.is_bigendian = True
    cloud.data = bytearray(np.frombuffer(cloud.data, "<f4").astype(">f4").tobytes())
    message = fake_answers.teapot()
    message.points = cloud
    np.testing.assert_array_equal(segment_of(message, "camera").points_m, fake_answers.POINTS)


def test_a_search_becomes_a_reply():
    result = FindObject.Result(code=ResultCode.FOUND, message="told so", header=fake_answers.header())
    result.segments, result.count, result.frame_id_3d = [fake_answers.teapot()], 4, "base_link"
    result.agreements, result.frames_seen, result.best_score = 2, 3, 0.96
    reply = reply_of_search(result, 0.0)
    assert (reply.found, reply.code_name, reply.message) == (True, "FOUND", "told so")
    assert (reply.stamp_ns, reply.frame, reply.frame_3d) == (7_000_000_000, "camera", "base_link")
    assert (reply.count, reply.agreements, reply.frames_seen) == (4, 2, 3)
    assert reply.best is reply.segments[0]
    assert reply.best.place.frame == "base_link"


def test_a_segmentation_becomes_a_reply_with_its_unlabelled_masks_aside():
    message = Segmentation(header=fake_answers.header(), height=6, width=8, vocabulary_version=5)
    message.segments, message.frame_id_3d = [fake_answers.teapot(), Segment()], "camera"
    reply = reply_of_segmentation(message, 0.0)
    assert (reply.code_name, reply.count, reply.vocabulary_version) == ("FOUND", 1, 5)
    assert [one.label for one in reply.masks] == ["teapot", ""]
    message.segments = [Segment()]
    assert reply_of_segmentation(message, 0.0).code_name == "NOT_FOUND"
    assert reply_of_segmentation(message, 0.0).best is None


def test_json_has_all_but_masks_and_points():
    result = FindObject.Result(code=ResultCode.FOUND, header=fake_answers.header(), best_score=float("nan"))
    result.segments = [fake_answers.teapot(mask=True, points=True)]
    said = json.loads(json.dumps(reply_of_search(result, 0.0).as_dict(), allow_nan=False))
    assert (said["code"], said["code_name"], said["best_score"]) == (0, "FOUND", None)
    (thing,) = said["segments"]
    assert thing["place"]["pose"]["position_m"] == [0.12, -0.04, 0.65]
    assert thing["place"]["covariance_m2"][2] == [0, 0, 3e-6]
    assert {"inside", "points_m"}.isdisjoint(thing)
    told = sighting_of(fake_answers.sighting(1)).as_dict()
    assert (told["stage"], told["segment"]["label"]) == ("FOLLOWING", "teapot")
    assert sighting_of(fake_answers.sighting(0)).as_dict()["segment"] is None


def test_limits_become_a_restriction():
    where = Limits(
        region=(1, 2, 30, 40), distance_m=(0.5, 2), size_m=(0, 0.25), box_m=((0, -1, 0), (1, 1, 0.5))
    )
    message = requests.restriction(where)
    region = message.region
    assert (region.x_offset, region.y_offset, region.width, region.height) == (1, 2, 30, 40)
    assert (message.min_distance_m, message.max_distance_m) == (0.5, 2)
    assert (message.min_size_m, message.max_size_m) == (0, 0.25)
    assert (message.box_min.y, message.box_max.z) == (-1, 0.5)
    assert requests.restriction(Limits()) == requests.restriction(None)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: requests.duration(-1.0), "seconds from 0"),
        (lambda: requests.duration(float("nan")), "got nan"),
        (lambda: requests.whole(-1, "max_results"), "max_results as a whole number"),
        (lambda: requests.whole(1.5, "max_results"), "got 1.5"),
        (lambda: requests.text(5, "query"), "query as text, got 5"),
        (lambda: requests.as_words(["mug", None]), "each word as text"),
        (lambda: requests.image_message(np.zeros((2, 2), np.uint8)), r"\(H, W, 3\) uint8"),
        (lambda: requests.depth_message(np.zeros((2, 2), np.int32)), "floats in metres"),
    ],
)
def test_what_no_request_can_carry_is_refused(make, said):
    with pytest.raises(InvalidInputError, match=said):
        make()


def test_images_and_intrinsics_become_messages():
    image = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    message = requests.image_message(image)
    assert (message.height, message.width, message.step, message.encoding) == (2, 3, 9, "rgb8")
    assert bytes(message.data) == image.tobytes()
    metres = requests.depth_message(np.ones((2, 3)))
    assert (metres.encoding, metres.step) == ("32FC1", 12)
    assert np.frombuffer(metres.data, "<f4").tolist() == [1.0] * 6
    assert requests.depth_message(np.full((2, 3), 1000, np.uint16)).encoding == "16UC1"
    info = requests.camera_info(CameraIntrinsics(30, 31, 16, 12, 32, 24))
    assert (info.width, info.k[0], info.k[4], info.k[2], info.k[5]) == (32, 30, 31, 16, 12)
    assert requests.camera_info(None).width == 0


def test_seconds_and_words():
    duration = requests.duration(2.25)
    assert (duration.sec, duration.nanosec) == (2, 250_000_000)
    assert requests.as_words("mug") == ["mug"]
    assert requests.as_words(["mug", Quoted("left mug")]) == ["mug", '"left mug"']

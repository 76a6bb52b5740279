"""`ovseg ask` against nodes over real DDS: what it says, how it ends, and what it writes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

import fake_answers
from fake_answers import FakeNode, mug, sighting
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import Recall
from ros_bench import Bench, fresh_domain, image_message, picture

from ovseg_ros.app.ask import command, sentences, terminal
from ovseg_ros.app.cli import main
from ovseg_ros.ros.client.answers import segment_of, thing_of
from ovseg_ros.ros.requests.answers import CODE_NAMES

pytestmark = pytest.mark.ros

FOLLOWING, HIDDEN = 1, 2
TEAPOT = (
    "teapot: 0.62 m ahead, 0.12 m to the right, 0.05 m up in frame camera, 9 cm tall, 14 cm by 10 cm, "
    "score 0.96"
)


@pytest.fixture
def node(monkeypatch):
    domain = fresh_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    with FakeNode(domain) as node:
        yield node


def ask(*arguments: str, **popen) -> subprocess.Popen:
    command = [sys.executable, "-m", "ovseg_ros.app.cli", "ask", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen)


def comes(condition: Callable[[], bool], within_s: float = 20.0) -> bool:
    """Whether it holds within that time."""
    over = time.monotonic() + within_s
    while not condition() and time.monotonic() < over:
        time.sleep(0.02)
    return condition()


def test_what_is_found_is_said_in_plain_english(node, capsys):
    assert main(["ask", "find teapot"]) == 0
    assert capsys.readouterr().out.splitlines() == [TEAPOT, "Found. (FOUND: 1 found)"]


def test_a_query_goes_to_the_node_as_it_stands_and_so_do_the_options(node, capsys):
    query = "the mug left of the teapot"
    options = ["--frame", "base_link", "--threshold", "0.4", "--timeout", "2.5", "--max", "3"]
    options += ["--camera", "front"]
    assert main(["ask", query, *options]) == 0
    (goal,) = node.goals
    assert (goal.query, goal.camera, goal.target_frame) == (query, "front", "base_link")
    assert goal.max_results == 3
    assert goal.threshold == pytest.approx(0.4)
    assert (goal.timeout.sec, goal.timeout.nanosec) == (2, 500_000_000)
    assert (goal.with_masks, goal.with_points) == (False, False)
    main(["ask", query, "--all"])
    assert node.goals[1].max_results == 0


def test_the_camera_that_showed_it_is_named(node, capsys):
    node.found.camera = "left"
    assert main(["ask", "find teapot"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "Found. (FOUND, camera left: 1 found)"
    assert main(["ask", "find teapot", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["camera"] == "left"


def test_more_than_is_told_is_counted(node, capsys):
    node.found.count = 7
    assert main(["ask", "teapots"]) == 0
    assert "and 6 more: --all tells of them" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("NOT_FOUND", 1),
        ("NO_DEPTH", 2),
        ("NO_IMAGE", 2),
        ("STALE_IMAGE", 2),
        ("INVALID_QUERY", 2),
        ("BUSY", 2),
        ("INACTIVE", 2),
        ("INTERNAL", 2),
    ],
)
def test_the_exit_status_tells_what_came_of_it(node, capsys, code, status):
    node.found.code, node.found.message = getattr(ResultCode, code), "told so"
    node.found.segments = []
    assert main(["ask", "teapot"]) == status
    assert capsys.readouterr().out.endswith(f" ({code}: told so)\n")


def test_what_is_there_without_a_place_is_there(node):
    node.found.code = ResultCode.NO_DEPTH
    assert main(["ask", "teapot"]) == 0


def test_json_is_one_line_and_nothing_else(node, capsys):
    assert main(["ask", "find teapot", "--json"]) == 0
    out = capsys.readouterr().out
    said = json.loads(out)
    assert out.count("\n") == 1
    assert (said["query"], said["code_name"], said["frame_3d"]) == ("find teapot", "FOUND", "camera")
    assert said["segments"][0]["place"]["distance_m"] == pytest.approx(0.634)


def test_no_node_is_an_error_that_says_what_to_look_at(monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(fresh_domain()))
    monkeypatch.setattr(command, "PATIENCE_S", 0.3)
    assert main(["ask", "teapot"]) == 2
    assert "no node /ovseg in domain" in capsys.readouterr().err


def test_options_that_make_no_sense_are_refused(capsys, tmp_path):
    assert main(["ask", "teapot", "--watch", "--save", str(tmp_path)]) == 2
    assert "leave one of them out" in capsys.readouterr().err
    assert main(["ask", "teapot", "--max", "-1"]) == 2
    assert main(["ask", "teapot", "--node", "ovseg"]) == 2


def test_where_ros_is_missing_it_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ovseg_ros.ros.client", None)
    assert main(["ask", "teapot"]) == 2
    assert "ovseg ask needs ROS" in capsys.readouterr().err


def test_neither_torch_nor_opencv_is_needed_to_ask(node):
    code = (
        "import sys\n"
        "for name in ('torch', 'cv2', 'PIL', 'scipy'): sys.modules[name] = None\n"
        "from ovseg_ros.app.cli import main; sys.exit(main(['ask', 'teapot']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, TEAPOT), done.stderr


def test_watching_tells_of_changes_and_ends_when_it_is_lost(node, capsys, monkeypatch):
    monkeypatch.setattr(command, "EVERY_S", 600.0)
    node.sightings = [sighting(0), *[sighting(FOLLOWING)] * 5, sighting(HIDDEN, age_s=1.5)]
    assert main(["ask", "teapot", "--watch", "--timeout", "3", "--frame", "base_link"]) == 1
    (goal,) = node.goals
    assert (goal.query, goal.lost_after.sec, goal.target_frame) == ("teapot", 3, "base_link")
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "not seen yet, 9 images searched"
    assert lines[1].startswith(
        "teapot: 0.12 m ahead, 0.05 m to the right, 0.62 m up in frame base_link, 9 cm tall"
    )
    assert lines[2].startswith("hidden for 1.5 s; last seen: teapot: ")
    assert lines[-1].startswith("Lost.")


def test_watching_in_json_is_a_line_an_image(node, capsys):
    node.sightings = [sighting(FOLLOWING)] * 3
    assert main(["ask", "teapot", "--watch", "--json"]) == 1
    *seen, end = map(json.loads, capsys.readouterr().out.splitlines())
    assert [one["stage"] for one in seen] == ["FOLLOWING"] * 3
    assert end["code"] == ResultCode.LOST


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_watch_and_the_node_is_told(node, number):
    node.sightings, node.lost = [sighting(FOLLOWING)], None
    process = ask("teapot", "--watch")
    assert process.stdout.readline().startswith("teapot: ")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out.splitlines()[-1][:6]) == (0, "Found."), err
    assert node.cancelled == 1
    assert "Traceback" not in err


def test_who_reads_on_no_longer_is_no_error(node):
    node.sightings, node.lost = [sighting(FOLLOWING)], None
    process = ask("teapot", "--watch", "--json")
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 0
    assert "Traceback" not in process.stderr.read()
    # It left without waiting for the node, which ends the goal between two feedbacks.
    assert comes(lambda: node.cancelled == 1), node.cancelled


@pytest.fixture
def camera(monkeypatch):
    """The node with the light model, and a camera of 10 Hz that shows a red patch."""
    bench = Bench()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(bench.context.get_domain_id()))
    bench.active()
    over = threading.Event()

    def show() -> None:
        while not over.wait(0.1):
            bench.images.publish(image_message(picture(height=48, width=64), stamp=bench.now()))

    thread = threading.Thread(target=show)
    thread.start()
    yield bench
    over.set()
    thread.join()
    bench.close()


def test_saving_writes_the_answer_the_picture_and_the_masks(camera, tmp_path, capsys):
    assert main(["ask", "find red", "--save", str(tmp_path / "out"), "--max", "1"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("red: at pixel (11, 8), 10 by 8 pixels, no depth there, score ")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["answer.json", "mask_01_red.png", "picture.png"]
    mask = np.asarray(Image.open(tmp_path / "out" / "mask_01_red.png")) > 0
    np.testing.assert_array_equal(mask, (picture(height=48, width=64) == (255, 0, 0)).all(axis=2))
    shown = np.asarray(Image.open(tmp_path / "out" / "picture.png"))
    assert shown.shape == (48, 64, 3)
    assert (shown != picture(height=48, width=64)).any()
    assert json.loads((tmp_path / "out" / "answer.json").read_text())["code_name"] == "FOUND"
    assert "written: " in told.err


def test_a_terminal_gets_the_picture_after_the_words(camera, capsys, monkeypatch):
    monkeypatch.setattr(terminal, "protocol", lambda: "blocks")
    assert main(["ask", "red"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("red: ")
    assert "▀" in out
    assert main(["ask", "red", "--no-picture"]) == 0
    assert "▀" not in capsys.readouterr().out
    assert main(["ask", "red", "--json"]) == 0
    assert "▀" not in capsys.readouterr().out


def test_every_code_has_its_sentence():
    assert set(CODE_NAMES) == set(sentences.CODES)


def place(frame, centroid):
    message = fake_answers.teapot()
    message.centroid.x, message.centroid.y, message.centroid.z = centroid
    return segment_of(message, frame).place


MUG = "Remembered, not seen now: mug, last seen 12 min ago at 1.20, 0.40, 0.80 in map, confidence 0.8"
MISSED = f"{MUG}; looked for there and missed once"


def remembers(node, *things):
    node.found = FindObject.Result(code=ResultCode.REMEMBERED, message="told so", remembered=things)


def test_what_is_only_remembered_is_said_so_and_is_not_there(node, capsys):
    remembers(node, mug(), mug(times_missed=0))
    assert main(["ask", "where is my mug?", "--memory"]) == 1
    assert node.goals[0].search_memory
    assert capsys.readouterr().out.splitlines() == [
        MISSED,
        MUG,
        "Remembered, which does not say that it is still there. (REMEMBERED: told so)",
    ]
    assert main(["ask", "mug", "--memory", "--max", "1"]) == 1
    assert "and 1 more: --all tells of them" in capsys.readouterr().out
    main(["ask", "mug"])
    assert not node.goals[-1].search_memory


def test_what_is_remembered_in_json(node, capsys):
    remembers(node, mug())
    assert main(["ask", "mug", "--memory", "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["code_name"], said["segments"]) == ("REMEMBERED", [])
    (thing,) = said["remembered"]
    assert (thing["age_s"], thing["pose"]["position_m"], thing["is_gone"]) == (731.5, [1.2, 0.4, 0.8], False)


def test_memory_alone_is_asked_as_people_ask_it(node, capsys):
    assert main(["ask", "--recall", "what is on the table?", "--max", "3"]) == 0
    (request,) = node.goals
    assert (request.query, request.max_results) == ("what is on the table?", 3)
    assert capsys.readouterr().out.splitlines() == [
        MISSED,
        "Remembered, which does not say that it is still there. (REMEMBERED: 1 of 1 remembered things)",
    ]
    node.recalled.count = 4
    main(["ask", "--recall", "on the table"])
    assert "and 3 more" in capsys.readouterr().out
    assert main(["ask", "--recall", "everything", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["query"], said["count"], said["things"][0]["label"]) == ("everything", 4, "mug")


@pytest.mark.parametrize(("code", "status"), [("NOT_FOUND", 1), ("INVALID_QUERY", 2), ("INTERNAL", 2)])
def test_nothing_remembered_and_what_stands_against_it(node, capsys, code, status):
    node.recalled = Recall.Response(code=getattr(ResultCode, code), message="no table is remembered")
    assert main(["ask", "--recall", "on the table"]) == status
    assert capsys.readouterr().out.endswith(f"({code}: no table is remembered)\n")


@pytest.mark.parametrize(
    "other", [["--watch", "--memory"], ["--recall", "--watch"], ["--recall", "--save", "x"]]
)
def test_what_memory_cannot_do_is_refused(capsys, other):
    assert main(["ask", "mug", *other]) == 2
    assert "leave" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"times_missed": 2}, "; looked for there and missed twice"),
        ({"times_missed": 7}, "; looked for there and missed 7 times"),
        ({"confidence": 0.04, "times_missed": 0}, ", confidence 0.04"),
        ({"label": "", "times_missed": 0, "age_s": 90000.0}, "a thing without a name, last seen 25 h ago"),
    ],
)
def test_what_is_remembered_in_words(given, said):
    assert said in sentences.remembered(thing_of(mug(**given)))


def test_what_is_gone_is_said_so():
    gone = mug(is_gone=True, confidence=0.0)
    gone.gone_since.sec = 2180  # it was seen last at 2000.5, 731.5 s ago
    assert sentences.remembered(thing_of(gone)).endswith(
        "confidence 0.00; gone: its place was seen to be free 9 min ago"
    )


@pytest.mark.parametrize(
    ("frame", "centroid", "said"),
    [
        ("camera", (0.0, 0.0, 0.62), "0.62 m ahead in frame camera"),
        ("camera", (-0.1, 0.2, 1.0), "1.00 m ahead, 0.10 m to the left, 0.20 m down in frame camera"),
        ("base_link", (0.5, 0.1, 0.3), "0.50 m ahead, 0.10 m to the left, 0.30 m up in frame base_link"),
        ("r1/base_footprint", (-0.5, 0, 0), "0.50 m behind in frame r1/base_footprint"),
        ("map", (1.0, -2.0, 0.5), "at x 1.00 m, y -2.00 m, z 0.50 m in frame map"),
        ("camera", (0, 0.001, 0), "at the origin in frame camera"),
    ],
)
def test_a_place_is_told_as_its_frame_has_it(frame, centroid, said):
    assert sentences.position(place(frame, centroid), "camera") == said


@pytest.mark.parametrize(("metres", "said"), [(1.234, "1.23 m"), (0.09, "9 cm"), (0.004, "4 mm")])
def test_lengths_have_the_unit_that_suits_them(metres, said):
    assert sentences.length(metres) == said


def test_a_close_runner_up_is_named():
    message = fake_answers.teapot()
    message.margin = 0.1
    assert sentences.thing(segment_of(message, "camera"), "camera").endswith(
        "score 0.96, or kettle with 0.56"
    )


def test_the_patience_of_the_first_image_is_not_endless(node, capsys, tmp_path, monkeypatch):
    """A node whose camera is silent: the answer comes, the picture does not."""
    monkeypatch.setattr(command, "FIRST_IMAGE_S", 0.3)
    begun_s = time.monotonic()
    assert main(["ask", "teapot", "--save", str(tmp_path)]) == 0
    assert time.monotonic() - begun_s < 20
    assert "no picture" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["answer.json"]

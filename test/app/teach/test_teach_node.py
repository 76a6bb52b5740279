"""`ovseg teach` against nodes over real DDS: what it tells them, what it says, and how it ends."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")
pytest.importorskip("sqlalchemy", reason="SQLAlchemy is not installed (the extra memory)")

import numpy as np
from PIL import Image
from ros_bench import Bench, fresh_domain, picture

from ovseg_ros.app.cli import main
from ovseg_ros.app.teach import node as teach_node
from ovseg_ros.memory.teaching import taught
from ovseg_ros.ros.client import NodeClient

pytestmark = pytest.mark.ros

BOX = "6,4,10,8"


@pytest.fixture
def node(monkeypatch, tmp_path):
    """A node that remembers, and knows names by made-up weights; no image has come yet."""
    plain = taught.Weights(-20, 10, 5, 15, 5, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(taught.WEIGHTS, "colours", (plain, plain))
    bench = Bench(
        remember=True,
        memory_url=str(tmp_path / "memory.db"),
        memory_frame="",
        vocabulary=["red"],
        max_frame_age=0.0,
    ).active()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(bench.context.get_domain_id()))
    yield bench
    bench.close()


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(picture(blue=True)).save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def test_a_picture_teaches_a_name_that_can_be_asked_for(node, photo, capsys):
    assert main(["teach", "my brick", "--image", photo, "--box", BOX]) == 0
    assert capsys.readouterr().out == "'my brick' has 1 example now\n"
    node.show()
    assert main(["ask", "find my brick", "--timeout", "0"]) == 0
    assert capsys.readouterr().out.startswith("my brick: at pixel (11, 8)")
    node.show(picture(red=False, blue=True))
    assert main(["ask", "find my brick", "--timeout", "0"]) == 1


def test_a_drawn_mask_teaches_and_so_do_several_pictures(node, photo, tmp_path, capsys):
    drawn = np.zeros((24, 32), np.uint8)
    drawn[14:20, 6:16] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    shown = ["--image", photo, "--mask", str(tmp_path / "mask.png")]
    assert main(["teach", "my tile", *shown, *shown]) == 0
    assert capsys.readouterr().out == "'my tile' has 2 examples now\n"
    node.show(picture(blue=True))
    assert main(["ask", "find my tile", "--timeout", "0"]) == 0
    assert capsys.readouterr().out.startswith("my tile: at pixel (11, 17)")


def test_a_track_teaches_and_names_are_listed_and_forgotten(node, capsys):
    node.show()
    track = node.find("red").segments[0].track_id
    assert main(["teach", "my brick", "--track", str(track)]) == 0
    assert main(["teach", "My Brick", "--track", str(track)]) == 2
    assert "the name 'my brick' is taken: it has 1 example" in capsys.readouterr().err
    assert main(["teach", "My Brick", "--track", str(track), "--add"]) == 0
    assert main(["teach", "--list"]) == 0
    assert capsys.readouterr().out.endswith("my brick: 2 examples\n")
    assert main(["teach", "my brick", "--track", "999", "--add"]) == 1
    assert "track 999 is not in the newest image; there: " in capsys.readouterr().err
    assert main(["teach", "my brick", "--forget"]) == 0
    assert main(["teach", "my brick", "--forget"]) == 1
    assert "no name was taught" in capsys.readouterr().err


def test_where_one_picture_of_several_shows_nothing_no_new_name_stays(node, photo, capsys):
    nothing = ["--image", photo, "--box", "20,4,10,8"]
    assert main(["teach", "my brick", "--image", photo, "--box", BOX, *nothing]) == 1
    assert f"{photo}: no mask fits this box" in capsys.readouterr().err
    assert main(["teach", "--list"]) == 0
    assert capsys.readouterr().out == "no name was taught\n"


def test_what_a_node_refuses_is_said_with_a_cure(node, capsys):
    assert main(["teach", "my brick", "--track", "1"]) == 2
    said = capsys.readouterr().err
    assert "NO_IMAGE" in said
    assert "or show a picture with --image" in said


def test_requests_that_no_command_sends(node):
    with NodeClient(domain_id=node.context.get_domain_id()) as client:
        reply = client.teach("my brick", picture(), track_id=3)
        assert (reply.code_name, "give a box or a mask" in reply.message) == ("INVALID_QUERY", True)
        reply = client.teach("my brick", picture(), box_xywh=(30, 0, 9, 9))
        assert (reply.code_name, "within the picture of 32x24" in reply.message) == ("INVALID_QUERY", True)
        reply = client.teach("my brick", picture(), mask=np.zeros((24, 32), bool))
        assert (reply.code_name, "nothing in it" in reply.message) == ("INVALID_QUERY", True)
        node.show()
        reply = client.teach("my brick", mask=np.ones((24, 32), bool))
        assert (reply.code_name, "expected the image of this mask" in reply.message) == (
            "INVALID_QUERY",
            True,
        )
        assert reply.names == {}


def test_a_node_without_memory_names_the_parameter(monkeypatch, photo, capsys):
    bench = Bench().active()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(bench.context.get_domain_id()))
    try:
        assert main(["teach", "my brick", "--image", photo, "--box", BOX]) == 2
        assert "set the parameter remember to true" in capsys.readouterr().err
    finally:
        bench.close()


def test_no_node_is_an_error_that_says_what_to_look_at(monkeypatch, capsys):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(fresh_domain()))
    monkeypatch.setattr(teach_node, "PATIENCE_S", 0.3)
    assert main(["teach", "my brick", "--track", "7"]) == 2
    assert "no node /ovseg in domain" in capsys.readouterr().err


def test_where_ros_is_missing_it_says_how_to_go_without(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ovseg_ros.ros.client", None)
    assert main(["teach", "my brick", "--track", "7"]) == 2
    assert "--memory FILE" in capsys.readouterr().err


def test_torch_is_not_needed_to_show_a_track(monkeypatch):
    monkeypatch.setenv("ROS_DOMAIN_ID", str(fresh_domain()))
    code = (
        "import sys\n"
        "for name in ('torch', 'cv2', 'PIL', 'scipy'): sys.modules[name] = None\n"
        "from ovseg_ros.app.teach import node; node.PATIENCE_S = 0.2\n"
        "from ovseg_ros.app.cli import main; sys.exit(main(['teach', 'my brick', '--track', '7']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "no node /ovseg in domain" in done.stderr, done.stderr

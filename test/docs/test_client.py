"""The snippets of docs/client.md run exactly as they are pasted, against the node over real DDS."""

from __future__ import annotations

import inspect
import re
import threading

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import Bench, image_message, picture

from ovseg_ros.app import cli
from ovseg_ros.ros import client

pytestmark = pytest.mark.ros

PAGE = (ROOT / "docs" / "client.md").read_text(encoding="utf-8")


def test_the_pages_snippets_run(monkeypatch, capsys):
    bench = Bench()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(bench.context.get_domain_id()))
    over = threading.Event()

    def show() -> None:
        while not over.wait(0.1):
            bench.images.publish(image_message(picture(height=480, width=640), stamp=bench.now()))

    thread = threading.Thread(target=show)
    try:
        bench.active()
        thread.start()
        names: dict[str, object] = {}
        for number, text in enumerate(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)):
            exec(compile(text, f"client.md, snippet {number}", "exec"), names)
    finally:
        over.set()
        thread.join()
        bench.close()
    said = capsys.readouterr().out
    assert said.startswith("FOUND ")
    assert "\nred " in said
    assert "no depth" in said
    assert names["mask"].sum() == 80
    assert '{"code_name": "FOUND"' in said
    assert "{'red': 'FOUND', 'green': 'NOT_FOUND'}" in said
    assert "there is /ovseg: say so with node_name" in said


def test_the_page_names_every_method_argument_and_field():
    public = [name for name in dir(client.NodeClient) if not name.startswith("_")]
    fields = [
        field
        for kind in (client.Reply, client.FoundSegment, client.Place, client.Pose)
        for field in kind.__dataclass_fields__
        if field not in ("inside", "masks", "vocabulary_version")
    ]
    limits = [name for name in inspect.signature(client.NodeClient.find).parameters if name != "self"]
    assert [name for name in (*public, *fields, *limits) if f"`{name}" not in PAGE and name not in PAGE] == []
    assert [name for name in client.Limits.__dataclass_fields__ if name not in PAGE] == []


def test_the_page_has_every_option_of_ask():
    commands = cli._parser()._subparsers._group_actions[0].choices
    options = [o for action in commands["ask"]._actions for o in action.option_strings if o.startswith("--")]
    assert [option for option in options if option != "--help" and f"`{option}" not in PAGE] == []

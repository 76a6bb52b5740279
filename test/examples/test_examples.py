"""The examples do what they say, over real DDS; the behaviour with the real py_trees."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import time

import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from fake_answers import FakeNode, mug, sighting
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ros_bench import Bench, fresh_domain, picture

from ovseg_ros.ros.client import NodeClient

pytestmark = pytest.mark.ros

PATIENCE_S = 60.0


def example(name: str):
    spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def node(monkeypatch):
    domain = fresh_domain()
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    with FakeNode(domain) as node:
        yield node


@pytest.fixture
def ovseg(node):
    with NodeClient(domain_id=node.context.get_domain_id()) as client:
        client.wait_for_node(PATIENCE_S)
        yield client


def test_the_planner_says_where_to_put_the_gripper(node, capsys):
    planner = example("planner")
    node.found.frame_id_3d = "base_link"
    assert planner.main("teapot") == 0
    (goal,) = node.goals
    assert (goal.query, goal.want_3d, goal.target_frame) == ("teapot", True, "base_link")
    assert capsys.readouterr().out == "above teapot: x 0.120, y -0.040, z 0.795 m in base_link\n"


@pytest.mark.parametrize("why", ["absent", "wrong frame"])
def test_the_planner_moves_nowhere_where_it_does_not_know(node, capsys, why):
    node.found.message = "told so"
    if why == "absent":
        node.found.code, node.found.segments = ResultCode.NOT_FOUND, []
    assert example("planner").main("teapot") == 1
    assert capsys.readouterr().out.endswith(": told so\n")


def test_the_planner_is_twenty_lines():
    body = (ROOT / "examples" / "planner.py").read_text().split('"""\n', 2)[1]
    assert len([line for line in body.splitlines() if line.strip() and '"""' not in line]) <= 20


# py_trees


@pytest.fixture
def tree():
    trees = pytest.importorskip("py_trees", reason="py_trees is not installed: pip install py_trees")
    trees.blackboard.Blackboard.clear()
    return trees


def ticked(behaviour, trees):
    deadline = time.monotonic() + PATIENCE_S
    while True:
        behaviour.tick_once()
        if behaviour.status != trees.common.Status.RUNNING:
            return behaviour.status
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_behaviour_finds_and_puts_what_it_found_on_the_blackboard(ovseg, tree):
    find = example("py_trees_find").Find(ovseg, "find teapot")
    assert ticked(find, tree) == tree.common.Status.SUCCESS
    assert tree.blackboard.Blackboard.get("found").label == "teapot"
    assert find.feedback_message == "FOUND: 1 found"


def test_the_behaviour_fails_where_it_is_not_there_or_not_in_its_frame(ovseg, node, tree):
    module = example("py_trees_find")
    assert ticked(module.Find(ovseg, "teapot", frame="base_link"), tree) == tree.common.Status.FAILURE
    assert node.goals[0].want_3d
    node.found.code, node.found.segments = ResultCode.NOT_FOUND, []
    assert ticked(module.Find(ovseg, "teapot"), tree) == tree.common.Status.FAILURE


def test_a_tree_that_goes_elsewhere_cancels_the_search(ovseg, node, tree):
    node.hold = True
    module = example("py_trees_find")
    find = module.Find(ovseg, "teapot", timeout_s=600.0)
    root = tree.composites.Selector("root", memory=False, children=[find])
    root.tick_once()
    assert find.status == tree.common.Status.RUNNING
    root.stop(tree.common.Status.INVALID)
    deadline = time.monotonic() + PATIENCE_S
    while node.cancelled != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_behaviour_fails_at_once_where_there_is_no_node(tree):
    with NodeClient(domain_id=fresh_domain()) as ovseg:
        find = example("py_trees_find").Find(ovseg, "teapot")
        assert ticked(find, tree) == tree.common.Status.FAILURE
    assert "no node /ovseg" in find.feedback_message


# A language model's tools


@pytest.fixture(scope="module")
def tools():
    return example("llm_tools")


def test_the_schemas_are_schemas_and_each_tool_is_carried_out(tools):
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is not installed")
    for tool in tools.anthropic_tools():
        jsonschema.Draft202012Validator.check_schema(tool["input_schema"])


def test_the_schemas_have_the_forms_that_models_take(tools):
    names = [tool["name"] for tool in tools.anthropic_tools()]
    assert names == list(tools.TOOLS) == ["find", "recall", "count", "describe_scene", "follow"]
    for tool, function in zip(tools.anthropic_tools(), tools.openai_tools(), strict=True):
        assert set(tool) == {"name", "description", "input_schema"}
        assert function["type"] == "function"
        assert function["function"]["parameters"] == tool["input_schema"]
        assert tool["input_schema"]["additionalProperties"] is False
        assert all(one["description"] for one in tool["input_schema"]["properties"].values())
        taken = tools.TOOLS[tool["name"]].__code__
        arguments = taken.co_varnames[1 : taken.co_argcount]
        assert set(arguments) == set(tool["input_schema"]["properties"]), tool["name"]


def test_find_tells_a_model_where_things_are(tools, ovseg, node):
    node.found.count = 3
    said = json.loads(
        tools.call(ovseg, "find", {"query": "the mug left of the teapot", "frame": "base_link"})
    )
    assert (node.goals[0].query, node.goals[0].target_frame) == ("the mug left of the teapot", "base_link")
    assert (said["answer"], said["count"]) == ("FOUND: 1 found", 3)
    assert said["things"] == [
        {
            "name": "teapot",
            "score": 0.96,
            "track_id": 3,
            "frame": "camera",
            "position_m": [0.12, -0.05, 0.62],
            "size_m": [0.14, 0.1, 0.09],
            "distance_m": 0.634,
        }
    ]
    assert json.loads(tools.call(ovseg, "count", '{"query": "teapots"}'))["count"] == 3


REMEMBERED = {
    "name": "mug",
    "seen_s_ago": 732,
    "confidence": 0.8,
    "frame": "map",
    "position_m": [1.2, 0.4, 0.8],
    "size_m": [0.12, 0.08, 0.1],
    "looked_for_there_in_vain": 1,
}


def test_what_is_remembered_is_told_apart_from_what_is_in_view(tools, ovseg, node):
    node.found = FindObject.Result(code=ResultCode.REMEMBERED, message="told so", remembered=[mug()])
    said = json.loads(tools.call(ovseg, "find", {"query": "mug", "search_memory": True}))
    assert node.goals[0].search_memory
    assert said == {"answer": "REMEMBERED: told so", "count": 0, "things": [], "remembered": [REMEMBERED]}


def test_recall_asks_memory_alone(tools, ovseg, node):
    asked = {"query": "what is on the table?", "kind": "container", "within_hours": 2, "max_results": 3}
    said = json.loads(tools.call(ovseg, "recall", asked))
    (request,) = node.goals
    assert (request.query, request.kind, request.max_results) == ("what is on the table?", "container", 3)
    assert 7100 < time.time() - request.seen_after.sec < 7300
    assert said == {
        "answer": "REMEMBERED: 1 of 1 remembered things",
        "count": 1,
        "remembered": [REMEMBERED],
    }


def test_follow_tells_a_model_what_became_of_it(tools, ovseg, node):
    moved = sighting(1)
    moved.segment.centroid.z += 0.3
    node.sightings = [sighting(1), moved, sighting(2)]
    said = json.loads(tools.call(ovseg, "follow", {"query": "teapot"}))
    assert (said["images"], said["images_that_show_it"], said["moved_m"]) == (3, 2, 0.3)
    assert said["answer"].endswith(": told so")
    assert said["last_seen"]["name"] == "teapot"


def test_following_ends_when_its_seconds_are_over(tools, ovseg, node):
    node.sightings, node.lost = [sighting(1)], None
    said = json.loads(tools.call(ovseg, "follow", {"query": "teapot", "seconds": 0.3}))
    assert said["answer"] == "FOUND: told so"
    assert node.cancelled == 1


@pytest.mark.parametrize(
    ("name", "arguments", "said"),
    [
        ("grasp", {}, "expected one of the tools find, recall, count, describe_scene, follow"),
        ("find", {}, "find takes query, frame, max_results, search_memory (needed: query)"),
        ("find", {"query": "mug", "colour": "red"}, "find takes query"),
        ("find", {"query": 5}, "wants query as string, got 5"),
        ("find", {"query": "mug", "max_results": True}, "wants max_results as integer"),
        ("find", {"query": "mug", "max_results": -2}, "0 or more"),
        ("find", {"query": "mug", "search_memory": 1}, "wants search_memory as boolean"),
        ("find", "{query", "Expecting property name"),
        ("count", "[1]", "count takes query"),
    ],
)
def test_a_models_mistakes_are_told_to_it(tools, ovseg, node, name, arguments, said):
    assert said in json.loads(tools.call(ovseg, name, arguments))["error"]
    assert node.goals == []


def test_the_scene_is_described_by_the_real_node(tools):
    bench = Bench(max_frame_age=600.0)
    try:
        bench.active()
        bench.show(picture(blue=True))
        with NodeClient(domain_id=bench.context.get_domain_id()) as ovseg:
            ovseg.wait_for_node(PATIENCE_S)
            said = json.loads(tools.call(ovseg, "describe_scene", {"words": ["red", "green", "blue"]}))
            assert sorted(one["name"] for one in said["things"]) == ["blue", "red"]
            assert said["answer"].startswith("FOUND")
    finally:
        bench.close()


def test_the_schemas_are_printed():
    for flag, field in (([], "input_schema"), (["--openai"], "function")):
        command = [sys.executable, str(ROOT / "examples" / "llm_tools.py"), *flag]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        assert all(field in tool for tool in json.loads(done.stdout))

"""Parameters of the running node: what is taken, what is said of a change, and the words in force."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ros_bench import Bench
from std_msgs.msg import String

pytestmark = pytest.mark.ros


@pytest.fixture
def bench():
    bench = Bench(vocabulary="red")
    yield bench
    bench.close()


def shown_words(bench):
    return list(bench.node.get_parameter("vocabulary").value)


@pytest.mark.parametrize(
    ("name", "given", "held"),
    [
        ("threshold", 1, 1.0),
        ("max_rate", 7, 7.0),
        ("vocabulary", "red, blue", ["red", "blue"]),
        ("vocabulary", [], []),
        ("background_labels", "wall", ["wall"]),
    ],
)
def test_a_service_call_is_coerced_to_the_type(bench, name, given, held):
    result = bench.active().set(**{name: given})
    assert (result.successful, result.reason) == (True, "")
    parameter = bench.node.get_parameter(name)
    assert parameter.value == held
    assert parameter.type_.name == ("DOUBLE" if isinstance(held, float) else "STRING_ARRAY")


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("threshold", "high", "parameter threshold: expected double, got 'high'"),
        ("threshold", 2, "parameter threshold: expected 0 to 1, got 2.0"),
        ("max_masks", 1.0, "parameter max_masks: expected integer, got 1.0"),
    ],
)
def test_a_service_call_that_cannot_be_is_refused_by_name(bench, name, given, said):
    before = bench.node.get_parameter(name).value
    result = bench.set(**{name: given})
    assert (result.successful, result.reason) == (False, said)
    assert bench.node.get_parameter(name).value == before


def test_what_waits_for_the_next_configure_says_so_where_there_is_a_model(bench, capfd):
    result = bench.active().set(preset="mini")
    assert (result.successful, result.reason) == (True, "preset: takes effect at the next configure")
    assert (
        "preset: takes effect at the next configure (ros2 lifecycle set /ovseg deactivate"
        in capfd.readouterr().err
    )
    assert bench.set(preset="mini").reason == ""  # it is so already
    assert bench.set(threshold=0.25).reason == ""
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    assert bench.set(preset="lite").reason == ""


def test_the_parameter_tells_the_words_in_force_whoever_set_them(bench):
    bench.active()
    assert shown_words(bench) == ["red"]
    version = bench.node.vocabulary.version
    bench.queries.publish(String(data="find the blue"))
    bench.until(lambda: shown_words(bench) == ["blue"], "for the parameter to follow")
    assert bench.node.vocabulary.version == version + 1  # once, not in circles
    bench.words("green", operation=1, thresholds=[0.25])
    assert shown_words(bench) == ["blue", "green"]
    assert bench.node.settings.vocabulary == ("blue", "green")
    assert [label.threshold for label in bench.node.vocabulary.labels] == [None, 0.25]
    ids = bench.node.vocabulary.ids
    assert bench.set(vocabulary=["blue", "green"]).successful  # as it is: numbers and thresholds stay
    assert bench.node.vocabulary.version == version + 2
    assert bench.node.vocabulary.ids == ids
    assert bench.set(vocabulary=["red"]).successful  # what the parameter had at first, and is a change now
    assert bench.node.vocabulary.names == ("red",)
    bench.queries.publish(String(data=""))
    bench.until(lambda: shown_words(bench) == [], "for no words")


def test_cleanup_leaves_the_parameter_what_it_was_given(bench):
    bench.active().words("blue")
    assert shown_words(bench) == ["blue"]
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    assert bench.node.vocabulary.names == ()
    assert shown_words(bench) == ["red"]
    assert bench.transition("configure")
    assert bench.node.vocabulary.names == ("red",)


def test_a_word_that_the_model_cannot_mean_is_not_told_as_in_force(bench):
    bench.active()
    assert bench.transition("deactivate")
    assert bench.transition("cleanup")
    bench.segmenter.refusal = lambda word: "what is that?" if word == "flurb" else ""
    assert bench.set(vocabulary=["flurb", "blue"]).successful  # there is no model to ask
    assert bench.transition("configure")
    assert bench.node.vocabulary.names == ("blue",)
    assert shown_words(bench) == ["blue"]

"""A camera without depth, or with depth that comes late or stops, and a model that takes what there is."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, ColourProposer, camera_info_message, colour_segmenter, image_message, picture

from ovseg_ros.proposals.depth.depth_clusters import DepthClusters
from ovseg_ros.proposals.union import UnionProposals
from ovseg_ros.ros.inference.diagnostics import facts, verdict

pytestmark = pytest.mark.ros
DEPTH_M = np.full((24, 32), 2.0, np.float32)


class LikeLite(Bench):
    """The bench with a union of colour and depth."""

    @property
    def proposer(self):
        return self.segmenter.proposer.members[0]


def like_lite(settings):
    segmenter = colour_segmenter()
    segmenter.proposer = UnionProposals([ColourProposer(), DepthClusters()])
    segmenter.reason = f"{settings.preset}: the best of the tests"
    return segmenter


def answer(bench, received, sent):
    """The red patch, found on the image that was sent."""
    message = bench.until(lambda: next((m for m in received if m.header == sent.header), None))
    assert "red" in [segment.label for segment in message.segments]


@pytest.fixture
def bench():
    bench = LikeLite(like_lite, max_frame_age=60.0)
    bench.active()
    bench.segmenter = bench.node.engine.segmenter
    yield bench
    bench.close()


def test_colour_alone_is_used_at_once_and_is_no_fault(bench, caplog):
    bench.words("red")
    bench.show()
    result = bench.find("red")
    assert result.code == ResultCode.FOUND
    assert not result.segments[0].has_3d
    assert bench.find("red", want_3d=True).code == ResultCode.NO_DEPTH
    assert bench.call(bench.segment, SegmentImage.Request(labels=["red"])).code == ResultCode.FOUND
    given = SegmentImage.Request(image=image_message(picture()), labels=["red"])
    assert bench.call(bench.segment, given).code == ResultCode.FOUND
    assert verdict(bench.node) == ("OK", "idle: nobody subscribes")
    assert bench.node.engine.source.counts.without_depth == 0
    assert not caplog.records
    told = facts(bench.node)
    assert (told["model"], told["model_reason"]) == ("colours", "auto: the best of the tests")


def test_depth_that_comes_is_used_and_late_or_stopped_depth_is_not_waited_for(bench, monkeypatch, caplog):
    bench.words("red")
    received = bench.segmentations()
    answer(bench, received, bench.show_with_depth(DEPTH_M))
    assert bench.find("red", want_3d=True).segments[0].centroid.z == pytest.approx(2.0)
    answer(bench, received, bench.show())  # while depth is alive; its own comes too late
    assert bench.proposer.frames[-1].depth_m is None
    assert bench.node.engine.source.counts.without_depth == 1
    assert caplog.messages == ["depth was there and is missing: DepthClusters left out of the union"]
    for name in ("DEPTH_ALIVE_S", "DEPTH_STOPPED_S"):  # as if these had passed
        monkeypatch.setattr(f"ovseg_ros.ros.io.frame_source.{name}", 0.0)
    answer(bench, received, bench.show())
    assert bench.node.engine.source.counts.without_depth == 1  # it did not wait
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert re.match(r"depth stopped \d+ s ago: images are used without it$", message)
    monkeypatch.undo()
    answer(bench, received, bench.show_with_depth(DEPTH_M))
    assert bench.find("red", want_3d=True).code == ResultCode.FOUND
    assert verdict(bench.node) == ("OK", "running")


def test_depth_that_cannot_be_used_costs_the_depth_alone(bench):
    bench.words("red")
    received = bench.segmentations()
    for depth, info in ((np.ones((12, 16), np.float32), None), (DEPTH_M, camera_info_message(focal=0.0))):
        answer(bench, received, bench.show_with_depth(depth, info=info))
        assert verdict(bench.node)[0] == "WARN"
    bench.node.engine.source.reset()
    for depth in (np.zeros((24, 32), np.float32), DEPTH_M * np.nan):  # all unknown
        answer(bench, received, bench.show_with_depth(depth))
        assert verdict(bench.node) == ("OK", "running")


def test_what_is_unwise_is_warned_of(bench):
    bench.segmenter.warning = "Segment Anything on a CPU"
    bench.show()
    bench.find("red")
    level, message = verdict(bench.node)
    assert level == "WARN"
    assert "Segment Anything on a CPU" in message

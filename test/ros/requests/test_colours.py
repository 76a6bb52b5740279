"""A mug of another colour than was asked for is not found, and the answer says which colour it has."""

from __future__ import annotations

import numpy as np
import pytest
import torch

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from ros_bench import COLOURS, Bench, ColourProposer

from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import Calibration, TrustModel
from ovseg_ros.core.words import SpellingMeanings

pytestmark = pytest.mark.ros
REMARK = "a mask looks like a mug, but it is red, not white"


class MugClip:
    """Knows a mug when it sees one, but not its colour, as CLIP often does: everything is a mug."""

    size, embedding_dim, logit_scale = 8, 2, 10.0

    def encode_regions(self, pixels, region_masks=None):
        return torch.tensor([[1.0, 0.0]]).repeat(len(pixels), 1)

    def encode_text(self, labels, templates=None):
        return torch.tensor([[1.0, 0.0] if label.endswith("mug") else [0.0, 1.0] for label in labels])


def mug(colour: str = "red") -> np.ndarray:
    """(48, 64, 3) uint8: a mug with a handle, of one colour, before grey."""
    image = np.full((48, 64, 3), 128, np.uint8)
    image[18:31, 36:48] = COLOURS[colour]  # the handle,
    image[22:27, 38:44] = 128  # what shows through it,
    image[10:40, 14:38] = COLOURS[colour]  # and the body
    return image


@pytest.fixture(scope="module", params=["trust", "softmax"])
def shared(request):
    options = SegmenterOptions(
        decision=request.param, background=("wall",), min_mask_pixels=1, colour_check=True
    )
    trust = TrustModel(("kettle", "lamp"), SpellingMeanings(), None, Calibration(odds=1.0, usual_masks=1.0))
    segmenter = OpenVocabularySegmenter(ColourProposer(), MugClip(), options, name="mugs", trust=trust)
    bench = Bench(lambda settings: segmenter, max_frame_age=60.0)
    bench.segmenter = segmenter
    yield bench.active()
    bench.close()


@pytest.fixture
def bench(shared):
    """The shared node, with no image yet."""
    shared.node.engine.source.reset()
    return shared


def test_a_red_mug_is_no_white_mug(bench):
    bench.show(mug())
    result = bench.find("white mug")
    assert result.code == ResultCode.NOT_FOUND
    assert len(result.segments) == 0
    assert result.best_score < 0.5
    assert result.message.endswith(f"; {REMARK}")


@pytest.mark.parametrize("query", ["red mug", "mug"])
def test_its_own_colour_and_none_are_found_without_a_remark(bench, query):
    bench.show(mug())
    result = bench.find(query)
    assert (result.code, result.message) == (ResultCode.FOUND, "1 found")
    assert result.segments[0].label == query
    assert result.segments[0].score > 0.9


def test_the_remark_names_what_is_seen(bench):
    bench.show(mug("blue"))
    result = bench.find("red mug")
    assert result.code == ResultCode.NOT_FOUND
    assert result.message.endswith("a mask looks like a mug, but it is blue, not red")


def test_segment_says_it_too(bench):
    bench.show(mug())
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["white mug"]))
    assert reply.message.endswith(f"0 of 1 masks labelled; {REMARK}")
    assert len(reply.segmentation.segments) == 0
    reply = bench.call(bench.segment, SegmentImage.Request(labels=["red mug"]))
    assert reply.message.endswith("1 of 1 masks labelled")
    assert [one.label for one in reply.segmentation.segments] == ["red mug"]

"""Which of several masks with one label keeps it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.core.regions import mask_boxes
from ovseg_ros.core.segmenter import EmbeddedFrame, Segmentation, SegmenterOptions
from ovseg_ros.core.trust import fragments
from ovseg_ros.core.trust.naming import without_fragments
from ovseg_ros.core.words import Vocabulary


def boxes(*rectangles):
    masks = torch.zeros(len(rectangles), 60, 80, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, rectangles, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


def gone(masks, label, ranking):
    return fragments(masks, mask_boxes(masks)[0], torch.tensor(label), torch.tensor(ranking)).tolist()


WHOLE, PART, AWAY = (10, 10, 50, 50), (12, 12, 30, 30), (55, 10, 75, 30)


def test_a_part_of_a_whole_goes():
    masks = boxes(WHOLE, PART, AWAY)
    assert gone(masks, [0, 0, 0], [0.5, 0.52, 0.4]) == [False, True, False], "a little better is not enough"
    assert gone(masks, [0, 1, 0], [0.5, 0.9, 0.4]) == [False, False, False], "another word is another thing"
    assert gone(masks, [-1, -1, -1], [0.5, 0.4, 0.4]) == [False, False, False]


def test_a_heap_goes_where_a_thing_in_it_is_better():
    masks = boxes(WHOLE, PART, (32, 32, 48, 48))
    assert gone(masks, [0, 0, 0], [0.3, 0.5, 0.4]) == [True, False, False]


def test_a_handle_beside_its_pot_goes():
    pot = (10, 10, 40, 40)
    assert gone(boxes(pot, (39, 20, 42, 30)), [0, 0], [0.5, 0.5]) == [False, True]
    assert gone(boxes(pot, (55, 20, 60, 30)), [0, 0], [0.5, 0.5]) == [False, False], "too far away"
    assert gone(boxes(pot, (41, 10, 43, 55)), [0, 0], [0.5, 0.5]) == [False, False], "it sticks out"


def test_one_always_stays():
    masks = boxes((0, 0, 40, 40), (0, 0, 38, 38), (0, 0, 36, 36))
    for ranking in ([1.0, 1.05, 1.15], [1.15, 1.05, 1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]):
        assert gone(masks, [0, 0, 0], ranking).count(False) == 1
    assert gone(masks, [0, 0, 0], [1.0, 1.0, 1.0]) == [False, True, True]


def test_equal_masks_and_empty_ones():
    twice = boxes(WHOLE, WHOLE, (0, 0, 0, 0))
    assert gone(twice, [0, 0, 0], [0.5, 0.6, 0.9]) == [False, False, False], (
        "copies are the proposer's to drop"
    )
    assert gone(boxes(), [], []) == []


@pytest.mark.parametrize("threshold", [0.9, 0.5, 0.05])
def test_a_fragment_has_no_label_at_any_threshold(threshold):
    masks = boxes(WHOLE, PART)
    embedded = EmbeddedFrame(
        Frame(np.zeros((60, 80, 3), np.uint8)), masks, torch.tensor([0.9, 0.8]), torch.eye(2)
    )
    words, _ = Vocabulary.empty().replace(["pot", "lid"], [threshold, 0.95])
    probs = torch.tensor([[0.94, 0.02], [0.92, 0.03]])
    named = without_fragments(Segmentation(embedded, words, probs, SegmenterOptions()))
    assert named.label_index.tolist() == [0, -1]
    assert named.remarks == ("", ""), "nothing is missing: its whole has the word"
    assert int(named.probs[1].argmax()) == 0, "its words stay in their order"

"""What came second: hand-worked rows, a loop over every classifier, the fields of a segmentation."""

import dataclasses
import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.classify import background_words, competing_probabilities
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.runners_up import RunnersUp, find_runners_up
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.errors import InvalidInputError

PROBS = torch.tensor([[0.5, 0.3, 0.1], [0.2, 0.2, 0.1], [0.05, 0.1, 0.0], [0.0, 0.0, 0.0]])
RIVALS = torch.tensor([[0.06, 0.04], [0.3, 0.2], [0.15, 0.7], [0.0, 0.0]])
LABELS = ("teapot", "kettle", "jug")


def segmentation(probs, labels=LABELS, **fields):
    masks = torch.zeros(len(probs), 6, 8, dtype=torch.bool)
    for i in range(len(probs)):
        masks[i, i, 1:5] = True
    frame = Frame(np.zeros((6, 8, 3), np.uint8))
    embedded = EmbeddedFrame(frame, masks, torch.ones(len(probs)), torch.zeros(len(probs), 4))
    return Segmentation(embedded, words(*labels), probs, SegmenterOptions(threshold=0.2), **fields)


def test_hand_worked():
    found = find_runners_up(PROBS, LABELS, RIVALS, ("wall", "floor"))
    # the first label wins a tie, so the equal second one comes after the wall; what nobody asked for may be
    # above the best label; nobody has an opinion on the last
    assert found.names == ("kettle", "wall", "floor", "")
    torch.testing.assert_close(found.scores, torch.tensor([0.3, 0.3, 0.7, 0.0]))
    alone = find_runners_up(PROBS, LABELS)
    assert alone.names == ("kettle", "kettle", "teapot", "")
    torch.testing.assert_close(alone.scores, torch.tensor([0.3, 0.2, 0.05, 0.0]))


@pytest.mark.parametrize(
    ("probs", "labels", "rivals", "expected"),
    [
        (torch.zeros(0, 2), ("a", "b"), (), ()),
        (torch.zeros(2, 0), (), (), ("", "")),
        (torch.zeros(2, 0), (), ("wall",), ("", "")),
        (torch.full((2, 1), 0.7), ("a",), (), ("", "")),
        (torch.full((2, 1), 0.7), ("a",), ("others",), ("others", "others")),
    ],
    ids=["no masks", "no labels", "rivals alone", "one label", "one label and others"],
)
def test_where_little_competes(probs, labels, rivals, expected):
    rest = torch.full((len(probs), len(rivals)), 0.3)
    found = find_runners_up(probs, labels, rest, rivals)
    assert found.names == expected
    assert found.scores.tolist() == pytest.approx([0.3 if name else 0.0 for name in expected])
    assert found.scores.dtype == torch.float32


def test_shapes_and_names_must_agree():
    with pytest.raises(InvalidInputError, match="expected 3 columns"):
        find_runners_up(PROBS, LABELS, RIVALS)
    with pytest.raises(InvalidInputError, match="expected 1 columns"):
        find_runners_up(torch.ones(1, 2), ("a",))
    with pytest.raises(InvalidInputError, match="expected 1 scores"):
        RunnersUp(("a",), torch.zeros(2))
    with pytest.raises(InvalidInputError, match="remarks of 4 masks, got 4 and 1"):
        segmentation(PROBS, remarks=("white",))
    with pytest.raises(InvalidInputError, match="runners-up and remarks of 4"):
        segmentation(PROBS, runners_up=RunnersUp(("a",), torch.zeros(1)))


def test_a_segmentation_says_how_sure_it_is():
    result = segmentation(PROBS, runners_up=find_runners_up(PROBS, LABELS, RIVALS, ("wall", "floor")))
    assert result.runner_up == ("kettle", "wall", "floor", "")
    torch.testing.assert_close(result.runner_up_score, torch.tensor([0.3, 0.3, 0.7, 0.0]))
    torch.testing.assert_close(result.margin, torch.tensor([0.2, -0.1, -0.6, 0.0]))
    assert result.remarks == ("", "", "", "")
    plain = segmentation(PROBS)
    assert plain.runner_up == ("kettle", "kettle", "teapot", "")
    torch.testing.assert_close(plain.margin, torch.tensor([0.2, 0.0, 0.05, 0.0]))
    single = segmentation(torch.tensor([[0.7]]), ("teapot",))
    assert single.runner_up == ("",)
    torch.testing.assert_close(single.margin, torch.tensor([0.7]))
    for probs, labels in ((torch.zeros(2, 0), ()), (torch.zeros(0, 3), LABELS)):
        empty = segmentation(probs, labels)
        assert empty.runner_up == ("",) * len(probs)
        assert empty.margin.tolist() == [0.0] * len(probs)
        assert empty.remarks == ("",) * len(probs)


@pytest.mark.parametrize("classifier", ["clip", "maskformer", "ensemble"])
@pytest.mark.parametrize("background", [(), ("floor", "wall", "sky")])
def test_against_a_loop_over_all_that_competes(classifier, background):
    generator = torch.Generator().manual_seed(5)

    def unit(*shape):
        return F.normalize(torch.randn(*shape, generator=generator), dim=-1)

    known = dict(zip((*LABELS, "floor", "wall", "sky"), unit(6, 7), strict=True))
    text = torch.stack([known[name] for name in LABELS])
    own, rows, none = unit(6, 7), unit(6, 7), unit(1, 7)
    seen = torch.tensor([True, True, False, True, True, True])
    rows[~seen] = 0
    frame = Frame(np.zeros((6, 8, 3), np.uint8))
    masks = torch.ones(6, 6, 8, dtype=torch.bool)
    embedded = EmbeddedFrame(
        frame, masks, torch.ones(6), rows, has_clip_embedding=seen, class_embeddings=own, non_object=none
    )
    options = SegmenterOptions(classifier=classifier, background=background, background_max_similarity=1.0)
    rivals, rival_rows = background_words(
        LABELS, text, options, lambda asked: torch.stack([known[name] for name in asked])
    )
    assert rivals == background
    probs, rest = competing_probabilities(embedded, text, rival_rows, options, logit_scale=3.0)
    found = find_runners_up(probs, LABELS, rest, rivals)
    for i in range(6):
        scores = {}
        sums = [
            sum(float((scale * row @ of).double().exp()) for row in [*text, *rival_rows, *extra])
            for of, scale, extra in ((own[i], 100.0, [*none]), (rows[i], 3.0, []))
        ]
        for name, row in zip((*LABELS, *rivals), [*text, *rival_rows], strict=True):
            p_mf = float((100.0 * row @ own[i]).double().exp()) / sums[0]
            p_clip = float((3.0 * row @ rows[i]).double().exp()) / sums[1] if seen[i] else 1.0
            scores[name] = {"clip": p_clip * bool(seen[i]), "maskformer": p_mf}.get(
                classifier, p_mf**0.3 * p_clip**0.7
            )
        best = max(LABELS, key=lambda name: scores[name])
        second = max((name for name in scores if name != best), key=lambda name: scores[name])
        assert found.names[i] == (second if seen[i] or classifier != "clip" else "")
        assert float(found.scores[i]) == pytest.approx(scores[second], abs=1e-5)


def test_the_chain_names_the_background_and_others():
    image = np.zeros((8, 12, 3), np.uint8)
    image[:, :4], image[:, 4:8] = (255, 0, 0), (200, 150, 0)
    masks = torch.zeros(2, 8, 12, dtype=torch.bool)
    masks[0, :, :4], masks[1, :, 4:8] = True, True
    base = SegmenterOptions(min_mask_pixels=1, threshold=0.3, background_max_similarity=1.0)
    for background, asked in itertools.product(((), ("green", "black")), (("red",), ("red", "blue"))):
        options = dataclasses.replace(base, background=background, others="blue")
        chain = OpenVocabularySegmenter(FixedProposer(masks), ColourEncoder(), options)
        result = chain.segment(Frame(image), words(*asked))
        expected = "green" if background else "blue"
        assert result.runner_up[1] == expected
        rest = result.scores + result.runner_up_score
        assert (rest <= 1 + 1e-5).all()
        torch.testing.assert_close(result.margin, result.scores - result.runner_up_score)

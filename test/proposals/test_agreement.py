"""How far the masks of two networks agree, on hand-worked ones."""

import types

import pytest
import torch

from ovseg_ros.proposals.agreement import Answer, check_masks

IMAGE = [torch.zeros(1)]
INSIDE, OUTSIDE = 8.0, -8.0


def answer(rows, scores=(0.9, 0.8), embeddings=None):
    """Masks of a row of ten pixels each: where "1" is, a mask is."""
    logits = torch.tensor([[INSIDE if c == "1" else OUTSIDE for c in row] for row in rows])
    return Answer(torch.tensor(scores), logits, embeddings)


def check(exact, other, least=0.995, **more):
    return check_masks(lambda _: (exact, other), IMAGE, what="it", least=least, **more)


def test_the_same_masks_agree():
    masks = answer(["1110000000", "0001110000"])
    report = check(masks, masks)
    assert (report.agreement, report.same, report.finite, report.agrees) == (1, 1, True, True)
    assert report.cosine == pytest.approx(1)


def test_a_pixel_counts_where_its_mask_is_another():
    exact = answer(["1110000000", "0001110000"])
    report = check(exact, answer(["1100000000", "0001110000"]))  # one of ten goes to none
    assert report.agreement == pytest.approx(0.9)
    assert not report.agrees
    report = check(exact, answer(["1100000000", "0011110000"]))  # or to another mask
    assert report.agreement == pytest.approx(0.9)
    assert check(exact, answer(["1110000000", "0001110000"]), 1).agrees


def test_masks_that_change_places_do_not_agree():
    exact = answer(["1110000000", "0001110000"])
    assert check(exact, answer(["0001110000", "1110000000"])).agreement == pytest.approx(0.4)


def test_ties_count_as_agreeing_but_not_as_the_same():
    rows = ["1111111111", "1111111111"]
    report = check(answer(rows, (0.80, 0.79)), answer(rows, (0.79, 0.80)))
    assert (report.agreement, report.same) == (1, 0)
    assert check(answer(rows, (0.80, 0.70)), answer(rows, (0.70, 0.80))).agreement == 0


def test_what_is_not_finite_does_not_agree():
    masks = answer(["1110000000", "0001110000"])
    for broken in (
        Answer(masks.scores, masks.logits.clone().fill_(float("nan"))),
        Answer(torch.tensor([0.9, float("inf")]), masks.logits),
        Answer(masks.scores, masks.logits, torch.full((2, 3), float("nan"))),
    ):
        report = check(masks, broken, 0)
        assert (report.finite, report.agrees) == (False, False)


def test_class_embeddings_count_where_fewer_of_them_stay():
    rows, units = ["1110000000", "0001110000"], torch.eye(2)
    report = check(answer(rows, embeddings=units), answer(rows, embeddings=units[[0, 0]]))
    assert report.agreement == 0.5
    near = torch.nn.functional.normalize(units + 0.01, dim=1)
    assert check(answer(rows, embeddings=units), answer(rows, embeddings=near)).agrees


def test_figures_are_kept_for_the_next_start():
    kept = {}
    store = types.SimpleNamespace(folder="", read=kept.get, write=kept.__setitem__)
    exact, other = answer(["1110000000", "0001110000"]), answer(["1100000000", "0001110000"])
    first = check(exact, other, store=store, name="a")
    assert check(exact, exact, store=store, name="a") == first  # not compared again
    assert check(exact, exact, store=store, name="b") != first

"""Names taught by example, on made-up embeddings: found, beaten by a rival, a twin, unknown sizes, errors."""

import dataclasses

import numpy as np
import pytest

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.memory.teaching import (
    Looks,
    Rivals,
    Weights,
    decide,
    features,
    find_like,
    find_taught,
    weights_of,
)

DIM, COLOURS = 32, 12


def unit(seed: int, dim: int = DIM) -> np.ndarray:
    row = np.random.default_rng(seed).normal(size=dim)
    return (row / np.linalg.norm(row)).astype(np.float32)


def near(row: np.ndarray, cosine: float, seed: int = 99) -> np.ndarray:
    """A unit row of this cosine with another."""
    other = unit(seed, len(row))
    other = other - (other @ row) * row
    return (cosine * row + (1 - cosine**2) ** 0.5 * other / np.linalg.norm(other)).astype(np.float32)


def looks(rows, palettes, sizes=None, scores=None, within=None, space="made up") -> Looks:
    count = len(rows)
    return Looks(
        space,
        np.stack(rows),
        np.stack(palettes),
        np.full(count, np.nan) if sizes is None else np.array(sizes, float),
        np.full(count, 0.9) if scores is None else np.array(scores, float),
        np.eye(count) if within is None else np.array(within, float),
    )


MUG, POT, BOWL = unit(1), unit(2), unit(3)
RED, BLUE, GREY = (np.eye(COLOURS, dtype=np.float32)[i] for i in range(3))
WEIGHTS = Weights(bias=-6, cosine=6, ahead=3, colour=4, colour_ahead=3, size=3, mask=0.2, examples=0.5,
                  usual_rival=0.3, usual_colour_rival=0.4, usual_size=0.4, threshold=0.7)  # fmt: skip


def mug_example(size=0.05):
    """The mug beside a pot."""
    return looks([MUG, POT], [RED, BLUE], [size, 0.09]).example(0, "my mug", 7.0)


def test_an_example_keeps_what_stood_beside_it_but_not_its_own_parts():
    seen = looks([MUG, near(MUG, 0.9), POT], [RED, RED, BLUE], [0.05, 0.03, 0.09],
                 within=[[1, 1, 0], [1, 1, 0], [0, 0, 1]])  # fmt: skip
    example = seen.example(0, "my mug", 7.0, crop=b"jpeg", key="k")
    assert (example.name, example.space, example.shown, example.crop, example.key) == (
        "my mug", "made up", 7.0, b"jpeg", "k",
    )  # fmt: skip
    assert example.size_m == 0.05
    assert np.array_equal(example.others, POT[None])
    assert np.array_equal(example.other_palettes, BLUE[None])


def test_only_the_most_alike_others_are_kept():
    rows = [MUG, *(near(MUG, c, seed) for seed, c in enumerate(np.linspace(0.1, 0.8, 30)))]
    example = looks(rows, [RED] * 31).example(0, "my mug", 0.0)
    assert len(example.others) == 16
    assert (example.others @ MUG).min() > 0.4


@pytest.mark.parametrize("region", [-1, 2])
def test_an_example_of_no_region_is_refused(region):
    with pytest.raises(InvalidInputError, match="expected a region that was embedded"):
        looks([MUG, POT], [RED, BLUE]).example(region, "my mug", 0.0)
    with pytest.raises(InvalidInputError, match="larger"):
        looks([MUG * 0], [RED]).example(0, "my mug", 0.0)


def test_the_thing_is_found_and_the_other_is_the_runner_up():
    frame = looks([POT, near(MUG, 0.8), BOWL], [BLUE, RED, GREY], [0.09, 0.055, 0.07])
    found = find_taught([mug_example()], frame, WEIGHTS)
    assert (found.region, found.found) == (1, True)
    assert found.runner_up in (0, 2)
    assert found.margin == pytest.approx(found.score - found.scores[found.runner_up])
    assert 0 <= found.scores.min() <= found.scores.sum() <= 1


def test_what_is_merely_alike_is_not_found():
    frame = looks([POT, near(MUG, 0.55), BOWL], [BLUE, BLUE, GREY], [0.09, 0.055, 0.07])
    found = find_taught([mug_example()], frame, WEIGHTS)
    assert (found.region, found.found) == (1, False)


def test_a_rival_that_is_more_alike_takes_it():
    weights = dataclasses.replace(WEIGHTS, threshold=0.93)
    frame = looks([near(MUG, 0.75)], [RED], [0.05])
    alone = find_taught([mug_example()], frame, weights)
    rival = Rivals(near(MUG, 0.75)[None])  # this very look is somebody else's
    beaten = find_taught([mug_example()], frame, weights, [rival])
    assert alone.found
    assert beaten.score < alone.score
    coloured = find_taught([mug_example()], frame, weights, [dataclasses.replace(rival, palettes=RED[None])])
    assert coloured.score < beaten.score
    assert not coloured.found


def test_of_two_that_are_alike_neither_is_sure_but_a_part_does_not_compete():
    twins = [near(MUG, 0.9), near(MUG, 0.9)], [RED, RED], [0.05, 0.05]
    assert find_taught([mug_example()], looks(*twins), WEIGHTS).score <= 0.5
    one_thing = looks(*twins, within=np.ones((2, 2)))
    assert find_taught([mug_example()], one_thing, WEIGHTS).found


def test_scores_are_what_a_loop_gives():
    fit, rng = np.array([1.2, -0.3, 0.8, -2.0]), np.random.default_rng(0)
    within = np.triu(rng.choice([0, 0.1, 0.5], (4, 4)), 1)
    frame = looks([MUG] * 4, [RED] * 4, within=within + within.T + np.eye(4))
    scores = decide(fit, frame, 0.5).scores
    for i in range(4):
        others = sum(np.exp(fit[j]) for j in range(4) if j != i and frame.within[i, j] < 0.2)
        assert scores[i] == pytest.approx(np.exp(fit[i]) / (1 + np.exp(fit[i]) + others))


def test_features_are_of_the_most_alike_example_and_rival():
    frame = looks([near(MUG, 0.8), BOWL], [RED, GREY], [0.1, 0.05], scores=[0.5, 0.999])
    other_side = looks([BOWL], [GREY], [0.05]).example(0, "my mug", 0.0)
    found = features([mug_example(), other_side], frame)
    assert found["cosine"] == pytest.approx([0.8, 1.0], abs=1e-5)
    assert found["colour"] == pytest.approx([1, 1])
    assert found["rival"] == pytest.approx(frame.embeddings @ POT, abs=1e-5)
    assert found["colour_rival"] == pytest.approx([0, 0])
    assert found["size"] == pytest.approx([np.log(2), 0])
    assert found["mask"] == pytest.approx([0, np.log(0.98 / 0.02)])


def test_what_is_not_known_counts_as_usual():
    frame = looks([near(MUG, 0.8)], [RED], [np.nan])
    lonely = looks([MUG], [RED]).example(0, "my mug", 0.0)
    assert lonely.size_m is None
    found = features([lonely], frame)
    assert np.isnan([found["size"][0], found["rival"][0], found["colour_rival"][0]]).all()
    fit = -6 + 6 * 0.8 + 3 * (0.8 - 0.3) + 4 + 3 * (1 - 0.4) - 3 * 0.4 + 0.2 * np.log(9)
    assert find_taught([lonely], frame, WEIGHTS).score == pytest.approx(1 / (1 + np.exp(-fit)), abs=1e-5)


def test_more_examples_raise_the_bar_where_they_show_nothing_new():
    frame, example = looks([near(MUG, 0.8)], [RED], [0.05]), mug_example()
    odds = [(lambda p: np.log(p / (1 - p)))(find_taught([example] * n, frame, WEIGHTS).score) for n in (1, 4)]
    assert odds[0] - odds[1] == pytest.approx(0.5 * np.log(4), abs=1e-3)


def test_no_region_and_regions_nobody_looked_at_are_not_found():
    none = looks([MUG], [RED])
    none = dataclasses.replace(none, embeddings=none.embeddings[:0], palettes=none.palettes[:0],
                               sizes_m=none.sizes_m[:0], mask_scores=none.mask_scores[:0],
                               within=np.zeros((0, 0)))  # fmt: skip
    for frame in (none, looks([MUG * 0], [RED])):
        found = find_taught([mug_example()], frame, WEIGHTS)
        assert (found.region, found.score, found.found, found.runner_up) == (-1, 0.0, False, -1)


def test_bad_examples_are_refused():
    frame, example = looks([MUG], [RED]), mug_example()
    for examples, words in (
        ([], "teach the name first"),
        ([example, dataclasses.replace(example, name="my pot")], "one name"),
        ([dataclasses.replace(example, space="another")], "teach it again with this model"),
        ([dataclasses.replace(example, palette=None)], "without colours"),
    ):
        with pytest.raises(InvalidInputError, match=words):
            find_taught(examples, frame, WEIGHTS)


def test_bad_weights_are_refused():
    with pytest.raises(ConfigError, match="finite"):
        dataclasses.replace(WEIGHTS, cosine=np.nan)
    with pytest.raises(ConfigError, match="threshold"):
        dataclasses.replace(WEIGHTS, threshold=1.0)
    with pytest.raises(ConfigError, match="'vitb16'"):
        weights_of("vitb16", sized=True)


def test_looks_that_do_not_belong_together_are_refused():
    with pytest.raises(InvalidInputError, match="all of N regions"):
        dataclasses.replace(looks([MUG, POT], [RED, BLUE]), sizes_m=np.zeros(1))


def test_find_like_ranks_by_embedding_and_by_colour_where_it_is_known():
    rows, palettes = np.stack([POT, near(MUG, 0.6), near(MUG, 0.7)]), np.stack([BLUE, RED, BLUE])
    example = mug_example()
    assert [i for i, _ in find_like([example], rows)] == [2, 1, 0]
    ranked = find_like([example], rows, palettes)
    assert [i for i, _ in ranked] == [1, 2, 0]
    assert ranked[0][1] == pytest.approx((0.6 + 1) / 2, abs=1e-5)
    assert find_like([example], rows[:0]) == []
    with pytest.raises(InvalidInputError, match="embeddings like its own"):
        find_like([example], rows[:, :3])

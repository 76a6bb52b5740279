"""The map learns what sets of classes do not know, keeps folds apart, and is written by the command."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adapted_fixtures import VECTORS, new_adapted, some_map
from PIL import Image
from pycocotools import mask as coco_mask

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.names import measure, train
from ovseg_ros.learn.names.examples import Examples, examples_of
from ovseg_ros.learn.names.fit import Recipe, fit_map
from ovseg_ros.learn.names.folds import answers, fold_of, held_out_names, in_fold, is_named, score
from ovseg_ros.models.bundled.names_map import unadapted

WORDS = ["asked", "dull", "colour"]


def made_up(count=90, pictures=9):
    """Features that say the word, but by another rule than the classifier's own."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.arange(count) % len(WORDS)
    crop = torch.randn(count, 5, generator=generator) + 4 * torch.eye(5)[truth]
    pooled = torch.randn(count, 5, generator=generator) + 4 * torch.eye(5)[truth + 2]
    return Examples(
        crop,
        pooled,
        tuple(WORDS[k] for k in truth.tolist()),
        torch.full((count,), 500),
        tuple(f"set/{n % pictures}.jpg" for n in range(count)),
        torch.zeros(count, dtype=torch.bool),
    )


def small():
    return Recipe(features=6, rank=3, decay=0.001, sharpness=20.0, strength=1.0, handicap=0.0)


def test_learns_what_the_classes_do_not_say():
    encoder, examples = new_adapted(), made_up()
    encoder.classifier.last.weight.mul_(0.05)  # it is not sure of what it says
    everything = torch.ones(len(examples), dtype=torch.bool)
    before = score(answers(encoder, unadapted(5, 6), examples, WORDS), examples, WORDS, everything)
    made = fit_map(encoder, examples, small())
    after = score(answers(encoder, made, examples, WORDS), examples, WORDS, everything)
    assert before.right < 0.6
    assert after.right > 0.95


def test_the_written_map_says_what_was_regressed():
    """Through standardising and back: scores of rows are S + strength · (z W + b) · t."""
    encoder, examples = new_adapted(), made_up()
    kept = {}
    for strength in (0.0, 0.5, 1.0):
        encoder.adapt(fit_map(encoder, examples, Recipe(features=6, rank=3, strength=strength, handicap=0.0)))
        adapted = encoder.adapted
        crop = examples.crop @ adapted.crop + adapted.crop_bias
        learned = (crop + examples.pooled @ adapted.pooled + adapted.pooled_bias) / 2
        kept[strength] = learned
    assert kept[1.0].abs().max() > 0
    torch.testing.assert_close(kept[0.5], kept[1.0] / 2, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(kept[0.0], torch.zeros_like(kept[1.0]), atol=1e-6, rtol=0)


def test_one_name_is_too_few():
    examples = made_up().take(is_named(made_up(), ["dull"]))
    with pytest.raises(InvalidInputError, match="two names or more"):
        fit_map(new_adapted(), examples, small())
    with pytest.raises(ConfigError, match="strength in"):
        Recipe(strength=1.5)


def test_scores_by_hand():
    examples = made_up(6)
    got = score(torch.tensor([0, 1, 2, 0, 0, 0]), examples, WORDS, torch.ones(6, dtype=torch.bool))
    assert (got.right, got.count) == (4 / 6, 6)
    assert got.mean == pytest.approx((1 + 0.5 + 0.5) / 3)
    only = score(torch.tensor([0, 1, 2, 0, 0, 0]), examples, WORDS, torch.arange(6) == 5)
    assert (only.right, only.mean, only.count) == (0.0, 0.0, 1)


def test_folds_are_of_pictures_and_cover_each_once():
    examples = made_up()
    folds = torch.stack([in_fold(examples, fold, 3) for fold in range(3)])
    assert (folds.sum(dim=0) == 1).all()
    assert [fold_of(name, 3) for name in examples.pictures] == folds.int().argmax(dim=0).tolist()


def test_names_kept_out_never_hold_the_commonest():
    names = [f"name {n}" for n in range(30)] + ["person"]
    draws = [held_out_names(names, seed) for seed in range(20)]
    assert all(len(set(draw)) == 16 and "person" not in draw for draw in draws)
    assert len(set(draws)) > 10
    assert held_out_names(names, 3) == draws[3]
    with pytest.raises(ConfigError, match="expected 1 to 2 names"):
        held_out_names(["person", "a", "b"], 0)


def test_left_out_pictures_and_names_are_not_trained_on():
    examples = made_up()
    taken, kept_out = train.chosen(examples, leave_out="0/2", held_out_seed=None)
    assert kept_out == ()
    assert {fold_of(name, 2) for name in taken.pictures} == {1}
    for wrong in ("2/2", "half", "1"):
        with pytest.raises(ConfigError, match="expected --leave-out K/N"):
            train.chosen(examples, leave_out=wrong, held_out_seed=None)
    many = [*WORDS, *(f"name {n}" for n in range(14))]
    taken, kept_out = train.chosen(examples, leave_out=None, held_out_seed=0, names=many)
    assert len(kept_out) == 16
    assert not set(taken.words) & set(kept_out)


@pytest.fixture
def dataset(tmp_path):
    """Two pictures of 24 x 24 with three squares and a group."""
    generator = np.random.default_rng(0)
    annotations = []
    for number in (1, 2):
        pixels = generator.integers(0, 255, (24, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
        for category, (x, y, side) in enumerate(((1, 1, 11), (12, 10, 12), (0, 20, 2)), start=1):
            mask = np.zeros((24, 24), np.uint8, order="F")
            mask[y : y + side, x : x + side] = 1
            rle = coco_mask.encode(mask)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "iscrowd": int(category == 2 and number == 2),
                    "segmentation": {"size": [24, 24], "counts": rle["counts"].decode()},
                }
            )
    content = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 24, "height": 24} for n in (1, 2)],
        "annotations": annotations,
        "categories": [
            {"id": k, "name": name} for k, name in enumerate(("asked", "Dull", "colour"), start=1)
        ],
    }
    path = tmp_path / "set.json"
    path.write_text(json.dumps(content))
    return path


def test_examples_of_a_file(dataset, tmp_path):
    encoder = new_adapted()
    got = examples_of(encoder, dataset, renamed={"Dull": "dull"}, cache=tmp_path / "cache")
    assert got.words == ("asked", "dull", "asked", "dull", "asked", "asked"), (
        "no group, none below 100 pixels"
    )
    assert got.mirrored.tolist() == [False, False, True, True, False, True]
    assert got.pixels.tolist() == [121, 144, 121, 144, 121, 121]
    assert got.pictures == ("set/1.png",) * 4 + ("set/2.png",) * 2
    image = np.asarray(Image.open(dataset.parent / "2.png"))
    mask = torch.zeros(1, 24, 24, dtype=torch.bool)
    mask[:, 1:12, 1:12] = True
    rows = encoder._pooled_head(got.pooled[4:5])
    torch.testing.assert_close(rows, encoder.encode_pooled(image, mask), atol=1e-5, rtol=0)
    calls = encoder.classifier.calls
    again = examples_of(encoder, dataset, mirrored=False, cache=tmp_path / "cache")
    assert encoder.classifier.calls == calls, "from the cache"
    assert again.words == ("asked", "Dull", "asked")
    shown = examples_of(encoder, dataset, blanked=False)
    assert not torch.allclose(shown.crop, got.crop, atol=1e-3)


def test_the_command_writes_a_map_that_says_how_it_was_made(dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(train, "untrained_lite", new_adapted)
    out = tmp_path / "out" / "names.safetensors"
    command = ["train", str(dataset), "-o", str(out), "--rename", "Dull=dull"]
    monkeypatch.setattr("sys.argv", command)
    train.main()
    assert "from 3 masks of 2 names" in capsys.readouterr().out
    notes = json.loads(out.with_suffix(".json").read_text())["notes"]
    assert notes["names"] == {"asked": 2, "dull": 1}
    assert notes["masks"] == {"set": 3}
    monkeypatch.setattr("sys.argv", [*command, "--rename", "nothing"])
    with pytest.raises(SystemExit, match="expected --rename NAME=WORD"):
        train.main()


def test_known_names_carry_the_handicap():
    """Of two words alike, the one trained on needs the better score."""
    encoder = new_adapted()
    rows = F.normalize(torch.stack([VECTORS["asked"]]), dim=-1)
    plain, handicapped = (
        encoder.word_rows(["asked"], rows)
        for encoder in (
            new_adapted(adapted=type(some_map())(**{**vars(some_map()), "handicap": torch.zeros(())})),
            encoder,
        )
    )
    assert (handicapped[:, :4] < plain[:, :4]).all()


def test_the_table_has_a_row_for_each_seed_and_two_for_each_draw(monkeypatch):
    encoder, examples = new_adapted(), made_up()
    monkeypatch.setattr(measure, "FEATURES", 5)
    monkeypatch.setattr(measure, "EMBEDDING_DIM", 6)
    monkeypatch.setattr(
        measure, "fit_map", lambda encoder, part, recipe=None: fit_map(encoder, part, small())
    )
    monkeypatch.setattr(measure, "held_out_names", lambda names, seed: (WORDS[seed],))
    rows = measure.table(encoder, examples, examples, WORDS, seeds=range(2), draws=range(1))
    everything = torch.ones(len(examples), dtype=torch.bool)
    plain = score(answers(encoder, unadapted(5, 6), examples, WORDS), examples, WORDS, everything)
    assert rows[0] == f"| not adapted | {100 * plain.right:.1f} / {100 * plain.mean:.1f} (90) |"
    assert [row.split("|")[1].strip() for row in rows[1:]] == [
        "adapted, seed 0",
        "adapted, seed 1",
        "draw 0, held-out names: not adapted, adapted",
        "draw 0, the others: not adapted, adapted",
    ]
    assert rows[3].count("(30)") == 2
    assert rows[4].count("(60)") == 2

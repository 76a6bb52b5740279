"""Training end to end, on four small pictures: it learns, stops, and goes on where it stopped."""

import json
import sys
from functools import partial

import cv2
import numpy as np
import pytest
import torch

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.colour import train as training
from ovseg_ros.learn.colour.compose import Composer, Composition
from ovseg_ros.learn.colour.pictures import read_pictures
from ovseg_ros.learn.colour.prepared import prepare, read_batch
from ovseg_ros.learn.colour.train import Recipe, train
from ovseg_ros.models.bundled.colour_masks import load_colour_masks
from ovseg_ros.models.bundled.lite import load_classifier
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions

BATCHES = 2


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Four pictures with a bright disc each; the path of their JSON."""
    folder, rng = tmp_path_factory.mktemp("discs"), np.random.default_rng(0)
    images, annotations = [], []
    for number in range(4):
        image = rng.integers(40, 80, (128, 128, 3), np.uint8)
        x, y = (int(v) for v in rng.integers(40, 88, 2))
        cv2.circle(image, (x, y), 30, (30, 60, 230), -1)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        ring = cv2.ellipse2Poly((x, y), (30, 30), 0, 0, 360, 10).reshape(-1).tolist()
        images.append({"id": number, "file_name": f"{number}.png", "width": 128, "height": 128})
        annotations.append({"id": number, "image_id": number, "segmentation": [ring]})
    path = folder / "discs.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


@pytest.fixture(scope="module")
def prepared(pictures, tmp_path_factory):
    """The folder of prepared batches of four pictures."""
    folder = tmp_path_factory.mktemp("prepared")
    composer = Composer([read_pictures(pictures)], [1], Composition(size=128, mosaic=0, paste=0))
    made = list(prepare(composer, load_classifier(), folder, range(BATCHES), size=4))
    assert made == [0, 1]
    return folder


def test_batches_that_are_there_are_not_made_again(prepared):
    def refuse(rng):
        raise AssertionError("nothing is to be composed")

    assert list(prepare(refuse, load_classifier(), prepared, range(BATCHES), size=4)) == [0, 1]


def test_a_batch_comes_back_as_it_was_written(prepared):
    batch = read_batch(prepared / "000000.pt")
    assert [tuple(m.shape[1:]) for m in batch.maps] == [(24, 32, 32), (48, 16, 16), (120, 8, 8), (352, 4, 4)]
    assert batch.pixels.shape == (4, 3, 128, 128)
    assert len(batch.targets) == 4
    for targets in batch.targets:
        assert targets.masks.shape[1:] == (32, 32)
        assert int((targets.owner >= 0).sum()) > 0


def test_a_damaged_batch_is_named(prepared, tmp_path):
    path = tmp_path / "000000.pt"
    path.write_bytes((prepared / "000000.pt").read_bytes()[:2000])
    with pytest.raises(InvalidInputError, match=r"000000\.pt is damaged; delete it"):
        read_batch(path)


def test_it_learns_where_the_discs_are(prepared, tmp_path):
    recipe = Recipe(steps=60, warm_up=5, learning_rate=2e-3, average=0.9)
    network = train(sorted(prepared.glob("*.pt")), recipe, tmp_path)
    (first,) = (json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines())
    assert first["step"] == 50
    batch = read_batch(prepared / "000001.pt")
    proposer = ColourMasks(load_classifier(), network, ColourMasksOptions(short_side=128))
    found = []
    for pixels, targets in zip(batch.pixels, batch.targets, strict=True):
        if not len(targets.masks):  # cut off
            continue
        proposals = proposer.propose(Frame(pixels.permute(1, 2, 0).contiguous().numpy()))
        true = targets.masks[0].numpy() > 0.5
        surest = proposals.masks[0].numpy().astype(np.float32)
        small = cv2.resize(surest, (32, 32), interpolation=cv2.INTER_AREA) > 0.5
        found.append((small & true).sum() / (small | true).sum())
    assert len(found) >= 3
    assert np.mean(found) > 0.6


def test_a_run_goes_on_where_it_stopped(prepared, tmp_path, monkeypatch):
    files = sorted(prepared.glob("*.pt"))
    recipe = Recipe(steps=6, warm_up=1)
    whole = train(files, recipe, tmp_path / "whole")
    monkeypatch.setattr(training, "_SAVE_EVERY", 3)
    seen = []

    def broken(path):
        seen.append(path)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return read_batch(path)

    monkeypatch.setattr(training, "read_batch", broken)
    with pytest.raises(KeyboardInterrupt):
        train(files, recipe, tmp_path / "parts")
    monkeypatch.setattr(training, "read_batch", read_batch)
    parts = train(files, recipe, tmp_path / "parts", resume=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(parts.state_dict()[name], value, atol=2e-3, rtol=2e-2, msg=name)


def test_another_run_is_not_written_over(prepared, tmp_path):
    files = sorted(prepared.glob("*.pt"))
    train(files, Recipe(steps=1), tmp_path)
    with pytest.raises(ConfigError, match="already holds a run; --resume"):
        train(files, Recipe(steps=1), tmp_path)
    with pytest.raises(ConfigError, match="trained by another recipe"):
        train(files, Recipe(steps=2), tmp_path, resume=True)
    with pytest.raises(InvalidInputError, match="at least one prepared batch"):
        train([], Recipe(steps=1), tmp_path / "empty")


def test_the_command_prepares_trains_and_writes_weights_that_load(pictures, tmp_path, monkeypatch, capsys):
    out = tmp_path / "run"
    command = [str(pictures), "--out", str(out), "--batches", "1", "--steps", "1", "--share", "discs=2"]
    monkeypatch.setattr(sys, "argv", ["train", *command])
    monkeypatch.setattr(training, "Composer", partial(Composer, options=Composition(size=128)))
    training.main()
    said = capsys.readouterr().out
    assert "discs 4" in said
    assert f"written: {out / 'colour_masks.safetensors'}" in said
    backbone, network = load_colour_masks(out / "colour_masks.safetensors")
    assert len(ColourMasks(backbone, network).propose(Frame(np.zeros((64, 64, 3), np.uint8)))) >= 0


def test_a_share_of_no_file_is_refused(pictures, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train", str(pictures), "--out", str(tmp_path), "--share", "disc=2"])
    with pytest.raises(SystemExit, match="disc"):
        training.main()

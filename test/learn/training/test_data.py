"""Pairs from disk to batches: every one once, the same for any number of workers and ranks, damage named."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from learn_fixtures import damage, write_pairs

from ovseg_ros.core.regions.crop import crop_regions
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.pairs.index import UnreadablePair, open_pairs
from ovseg_ros.learn.pairs.shards import KINDS
from ovseg_ros.learn.training import data as pair_data
from ovseg_ros.learn.training.augment_pairs import Augment
from ovseg_ros.learn.training.data import PairDataset, PairOrder, epoch_order, load_batches, split_by_image

STRONG = Augment(flip=0.5, colour=1.0, edges=1.0, coarse=0.5, scale=0.5, crop=(0.9, 1.0))


def test_every_pair_is_read_as_it_was_written(tmp_path):
    written = write_pairs(tmp_path, 25, per_shard=10)
    index = open_pairs(tmp_path)
    assert len(index) == 25
    assert index.problems == {}
    assert [stem.decode() for stem in index.stems] == [stem for stem, _ in written]
    for i, (_, pair) in enumerate(written):
        read = index.read(i)
        assert (read.noun, read.meta["caption"]) == (pair.noun, pair.meta["caption"])
        assert np.array_equal(read.image_rgb, pair.image_rgb)
        assert np.array_equal(read.mask, pair.mask)


@pytest.mark.parametrize("fill", ["mean", "none", "black", "grey"])
@pytest.mark.parametrize("expand_ratio", [1.0, 1.3])
def test_without_augmentation_a_view_is_what_crop_regions_gives(tmp_path, fill, expand_ratio):
    written = write_pairs(tmp_path, 6)
    augment = Augment(flip=0.5, edges=1.0, fills={fill: 1.0}, expand_ratio=expand_ratio)
    data = PairDataset(open_pairs(tmp_path), 37, augment.plain)
    for i, (_, pair) in enumerate(written):
        image = torch.from_numpy(pair.image_rgb).permute(2, 0, 1)
        want = crop_regions(
            image, torch.from_numpy(pair.mask)[None], size=37, fill=fill, expand_ratio=expand_ratio
        )
        got = data[0, i]
        assert torch.allclose(got.pixels, want.pixels[0], atol=1e-5)
        assert torch.equal(got.masks.float(), want.masks[0])
        assert got.nouns == [pair.noun]


def test_an_epoch_has_every_pair_once_and_the_next_another_order():
    shard = np.repeat(np.arange(5), 20)
    first, again, second = (epoch_order(shard, 7, epoch, 30) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(100))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
    assert not np.array_equal(first, epoch_order(shard, 8, 0, 30))


def test_pairs_stay_near_their_shard_and_are_mixed():
    shard = np.repeat(np.arange(50), 20)
    order = epoch_order(shard, 0, 0, 40)
    visits = shard[order]
    spread = [int(np.ptp(np.flatnonzero(visits == s))) for s in range(50)]
    assert max(spread) < 20 + 2 * 40
    assert min(spread) > 20
    assert list(dict.fromkeys(visits)) != sorted(set(visits))


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_each_batch_without_overlap(ranks):
    shard = np.zeros(53, np.int32)
    whole = list(PairOrder(shard, 8, seed=3))
    parts = [list(PairOrder(shard, 8, seed=3, rank=rank, ranks=ranks)) for rank in range(ranks)]
    for number, batch in enumerate(whole):
        assert [key for part in parts for key in part[number]] == batch
    keys = [key for batch in whole for key in batch]
    assert len(set(keys)) == len(keys) == 48


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_nothing(tmp_path, workers):
    write_pairs(tmp_path, 24)
    index = open_pairs(tmp_path)

    def batches(count: int) -> list:
        order = PairOrder(index.shard, 8, seed=5)
        return list(load_batches(PairDataset(index, 16, STRONG, seed=5), order, count))

    for alone, shared in zip(batches(0), batches(workers), strict=True):
        assert torch.equal(alone.pixels, shared.pixels)
        assert torch.equal(alone.masks, shared.masks)
        assert alone.nouns == shared.nouns


def test_the_next_epoch_shows_a_pair_otherwise(tmp_path):
    write_pairs(tmp_path, 4)
    data = PairDataset(open_pairs(tmp_path), 16, STRONG, seed=5)
    assert torch.equal(data[0, 1].pixels, data[0, 1].pixels)
    assert not torch.equal(data[0, 1].pixels, data[1, 1].pixels)


@pytest.mark.parametrize(
    ("batch", "ranks", "message"), [(0, 1, "1…10"), (11, 1, "1…10"), (9, 2, "2 processes can share")]
)
def test_batches_that_cannot_be_are_refused(batch, ranks, message):
    with pytest.raises(ConfigError, match=message):
        PairOrder(np.zeros(10, np.int32), batch, ranks=ranks)


@pytest.mark.parametrize("kind", KINDS)
def test_an_undecodable_pair_is_named_and_another_stands_in(tmp_path, kind):
    written = write_pairs(tmp_path, 6)
    name = damage(tmp_path, 2, kind)
    assert name == f"shard-00000.tar:{written[2][0]}"
    index = open_pairs(tmp_path)
    with pytest.raises(UnreadablePair, match=name):
        index.read(2)
    sample = PairDataset(index, 16, Augment())[0, 2]
    assert [said for said, _ in sample.skipped] == [name]
    assert sample.pixels.abs().sum() > 0
    assert PairDataset(index, 16, Augment())[0, 3].skipped == []
    (batch,) = load_batches(PairDataset(index, 16, Augment()), PairOrder(index.shard, 6), 0)
    assert len(batch.nouns) == len(batch.pixels) == len(batch.masks) == 6
    assert [said for said, _ in batch.skipped] == [name]


def test_nothing_readable_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(pair_data, "TRIES", 20)
    write_pairs(tmp_path, 3)
    for number in range(3):
        damage(tmp_path, number, "json")
    with pytest.raises(InvalidInputError, match="20 tried at random cannot, such as shard-00000"):
        PairDataset(open_pairs(tmp_path), 16, Augment())[0, 0]


@pytest.mark.parametrize(
    ("count", "spoil", "message"),
    [
        (30, lambda folder: (folder / "shard-00001.tar").unlink(), r"shard-00001\.tar is missing"),
        (3, lambda folder: (folder / "manifest.json").unlink(), r"manifest\.json cannot be read"),
        (3, lambda folder: rewrite_manifest(folder, shards={"file": "x"}), "expected a list of shards"),
        (0, lambda folder: None, "there are none"),
    ],
)
def test_what_is_no_data_set_is_refused(tmp_path, count, spoil, message):
    write_pairs(tmp_path, count, per_shard=10)
    spoil(tmp_path)
    with pytest.raises(InvalidInputError, match=message):
        open_pairs(tmp_path)


def rewrite_manifest(folder, **changes) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_cut_off_shard_gives_its_whole_pairs_and_says_so(tmp_path):
    written = write_pairs(tmp_path, 20, per_shard=10)
    last = open_pairs(tmp_path).places[9, 2]
    with (tmp_path / "shard-00000.tar").open("r+b") as file:
        file.truncate(int(last[0]) + 5)
    index = open_pairs(tmp_path)
    assert len(index) == 19
    assert written[9][0] not in [stem.decode() for stem in index.stems]
    assert index.problems["shard-00000.tar"] == "expected 10 pairs, 9 are whole"
    assert f"shard-00000.tar:{written[9][0]}" in index.problems


def test_images_are_held_out_whole(tmp_path):
    write_pairs(tmp_path, 200, per_shard=50)
    index = open_pairs(tmp_path)
    train, test = split_by_image(index, 0.25)
    assert len(train) + len(test) == 200
    assert 0.12 < len(test) / 200 < 0.4
    assert not set(train.images()) & set(test.images())
    assert len(split_by_image(index, 0.0)[1]) == 0
    assert train.read(0).meta["image"] == train.images()[0]

"""Pairs on disk: whole or not at all, through kills at any moment."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pair_fixtures import stored
from PIL import Image

from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError
from ovseg_ros.learn.pairs.store import Pair, PairWriter, iter_shard, read_manifest, verify

SETTINGS = {"source": "tests"}
NOUNS = ("mug", "bowl", "plate")


def pair(number: int, noun: str = "mug") -> Pair:
    """A small pair that nobody else has."""
    chance = np.random.default_rng(number)
    image = chance.integers(0, 256, (12 + number % 5, 20, 3), dtype=np.uint8)
    mask = np.zeros(image.shape[:2], bool)
    mask[2:9, 3 + number % 7 : 12] = True
    meta = {"noun": noun, "image": str(number), "caption": "A mug of café.", "score": 0.25, "area": 7}
    return Pair(noun, image, mask, meta)


def pairs_of(image: int) -> list[Pair]:
    """None of each fourth image, else one to three."""
    return [pair(10 * image + i, NOUNS[i]) for i in range(image % 4)]


def write(folder: Path, images: int, *, per_shard: int = 7, **changes) -> dict:
    with PairWriter(folder, SETTINGS, pairs_per_shard=per_shard, **changes) as writer:
        for image in range(images):
            if f"i{image}" not in writer:
                writer.add(f"i{image}", pairs_of(image))
        return writer.finish({})


def shards(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.glob("*shard-*")}


def test_pairs_come_back_as_they_were(tmp_path: Path) -> None:
    manifest = write(tmp_path, 10, per_shard=5)
    given = [pair for image in range(10) for pair in pairs_of(image)]
    back = stored(tmp_path)
    assert len(back) == len(given) == 13
    for one, other in zip(given, back, strict=True):
        assert one.noun == other.noun
        assert one.meta == other.meta
        assert np.array_equal(one.image_rgb, other.image_rgb)
        assert np.array_equal(one.mask, other.mask)
    assert manifest == read_manifest(tmp_path)
    assert manifest["counts"] == {"pairs": 13, "images": 10, "nouns": 3, "skipped": {}}
    assert manifest["nouns"] == {"mug": 7, "bowl": 4, "plate": 2}
    assert [shard["pairs"] for shard in manifest["shards"]] == [6, 6, 1]  # an image is never taken apart
    assert verify(tmp_path) == []


def test_other_readers_understand_the_shards(tmp_path: Path) -> None:
    write(tmp_path, 2)
    with tarfile.open(tmp_path / "shard-00000.tar") as tar:
        assert tar.getnames() == ["i1-0.png", "i1-0.mask.png", "i1-0.json"]
        image = Image.open(io.BytesIO(tar.extractfile("i1-0.png").read()))
        mask = Image.open(io.BytesIO(tar.extractfile("i1-0.mask.png").read()))
        assert (image.mode, mask.mode) == ("RGB", "L")
        assert np.array_equal(np.asarray(image), pair(10).image_rgb)
        assert np.array_equal(np.asarray(mask), pair(10).mask * np.uint8(255))
        assert json.load(tar.extractfile("i1-0.json"))["noun"] == "mug"


def test_texts_that_are_no_unicode_come_back(tmp_path: Path) -> None:
    odd = pair(1)
    odd.meta["caption"] = "A mug \ud800."
    with PairWriter(tmp_path, SETTINGS) as writer:
        writer.add("i1", [odd], {"skipped": [{"reason": "\udcff"}]})
        writer.finish({})
    assert stored(tmp_path)[0].meta["caption"] == "A mug \ud800."
    assert verify(tmp_path) == []


def test_without_a_pair_a_collection_is_not_complete(tmp_path: Path) -> None:
    assert write(tmp_path / "a", 0)["shards"] == []
    assert write(tmp_path / "b", 1)["counts"] == {"pairs": 0, "images": 1, "nouns": 0, "skipped": {}}
    assert shards(tmp_path / "b") == {}
    for folder in ("a", "b"):
        assert not read_manifest(tmp_path / folder)["complete"]
        assert "not finished" in verify(tmp_path / folder)[0]
    with PairWriter(tmp_path / "b", SETTINGS, pairs_per_shard=7, resume=True) as writer:
        assert "i0" in writer


def test_a_second_run_keeps_everything(tmp_path: Path) -> None:
    write(tmp_path, 10)
    before = shards(tmp_path)
    write(tmp_path, 10, resume=True)
    assert shards(tmp_path) == before
    write(tmp_path, 14, resume=True)
    assert len(stored(tmp_path)) == 13 + sum(len(pairs_of(image)) for image in range(10, 14))
    assert verify(tmp_path) == []


def killed_at(line: int, folder: Path) -> bool:
    """Whether a process that writes came to so many lines of the store, where it is ended as by kill -9."""
    left = line

    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.endswith("pairs/store.py"):
            return None
        left -= event == "line"
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return trace

    child = os.fork()
    if child == 0:
        try:
            sys.settrace(trace)
            write(folder, 12, resume=True)
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def test_nothing_is_lost_or_doubled_by_kills_at_any_moment(tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    write(whole, 12)
    line, kills = 1, 0
    while killed_at(line, killed := tmp_path / str(line)):
        kills += 1
        finished = {file: file.stat().st_ino for file in killed.glob("shard-*")}
        killed_at(line + 7, killed)
        write(killed, 12, resume=True)
        assert all(file.stat().st_ino == made for file, made in finished.items())  # not made again
        assert shards(killed) == shards(whole)
        assert (killed / "manifest.json").read_bytes() == (whole / "manifest.json").read_bytes()
        line += 31
    assert kills > 20
    assert verify(whole) == []


@pytest.mark.parametrize("torn", [0, 1, 5000])
@pytest.mark.parametrize("named", [True, False])
def test_every_state_a_kill_can_leave_is_mended(tmp_path: Path, torn: int, named: bool) -> None:
    """Also that of earlier versions, which noted each image at once: the journal is ahead of the shards."""
    write(tmp_path / "whole", 20)
    write(tmp_path / "killed", 12)
    last = max((tmp_path / "killed").glob("shard-*.tar"))
    content = last.read_bytes()
    last.unlink()
    last.with_name(f".{last.name}.part").write_bytes(content[: len(content) - torn])
    with (tmp_path / "killed" / "journal.jsonl").open("r+b") as journal:
        journal.truncate(journal.seek(0, os.SEEK_END) - (not named))
    (tmp_path / "killed" / ".journal.jsonl.part").write_bytes(b'{"sett')
    with PairWriter(tmp_path / "killed", SETTINGS, pairs_per_shard=7, resume=True) as writer:
        assert "i7" in writer
        assert "i11" not in writer
    write(tmp_path / "killed", 20, resume=True)
    assert shards(tmp_path / "killed") == shards(tmp_path / "whole")


def test_a_folder_in_use_is_not_written_to(tmp_path: Path) -> None:
    write(tmp_path / "a", 3)
    with pytest.raises(ConfigError, match="--resume goes on"):
        PairWriter(tmp_path / "a", SETTINGS)
    with pytest.raises(ConfigError, match=r"other settings .*source: 'tests' then, 'others' now"):
        PairWriter(tmp_path / "a", {"source": "others"}, pairs_per_shard=7, resume=True)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "thesis.txt").write_text("dear")
    for changes in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(ConfigError, match=r"no journal\.jsonl"):
            PairWriter(tmp_path / "b", SETTINGS, **changes)
    (tmp_path / "a" / "mine.txt").write_text("dear")
    assert len(write(tmp_path / "a", 1, overwrite=True)["shards"]) == 0
    assert (tmp_path / "a" / "mine.txt").exists()
    with pytest.raises(OvsegError, match="cannot write"):
        PairWriter(tmp_path / "b" / "thesis.txt" / "x", SETTINGS)
    with pytest.raises(ConfigError, match="at least 1"):
        PairWriter(tmp_path / "c", SETTINGS, pairs_per_shard=0)


def test_two_runs_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with PairWriter(tmp_path, SETTINGS):
        for changes in ({"resume": True}, {"overwrite": True}, {}):
            with pytest.raises(ConfigError, match="another run"):
                PairWriter(tmp_path, SETTINGS, **changes)
    PairWriter(tmp_path, SETTINGS, resume=True).close()


@pytest.mark.parametrize("image", ["", "a.b", "a/b", "../x", "i1"])
def test_ids_that_would_not_come_back_are_refused(tmp_path: Path, image: str) -> None:
    with PairWriter(tmp_path, SETTINGS) as writer:
        writer.add("i1", pairs_of(1))
        with pytest.raises(InvalidInputError, match="expected"):
            writer.add(image, pairs_of(1))


def test_a_resumed_run_refuses_a_damaged_shard_and_redoes_a_lost_one(tmp_path: Path) -> None:
    write(tmp_path, 20)
    given = sorted(pair.meta["image"] for pair in stored(tmp_path))
    first = tmp_path / "shard-00001.tar"
    first.write_bytes(first.read_bytes()[:-2000])
    with pytest.raises(InvalidInputError, match=r"shard-00001\.tar is truncated"):
        PairWriter(tmp_path, SETTINGS, pairs_per_shard=7, resume=True)
    first.unlink()
    write(tmp_path, 20, resume=True)
    assert sorted(pair.meta["image"] for pair in stored(tmp_path)) == given
    assert verify(tmp_path) == []


def flip(file: Path, position: int) -> None:
    content = bytearray(file.read_bytes())
    content[position] ^= 0xFF
    file.write_bytes(content)


def miscount(folder: Path) -> None:
    manifest = read_manifest(folder)
    manifest["counts"]["pairs"] = 12
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: (d / "shard-00001.tar").unlink(), "shard-00001.tar is missing"),
        (lambda d: flip(d / "shard-00000.tar", 700), "shard-00000.tar is altered"),
        (lambda d: os.truncate(d / "shard-00000.tar", 2100), "shard-00000.tar is altered or truncated"),
        (lambda d: os.truncate(d / "shard-00000.tar", 1024), "shard-00000.tar:i1-0: without .png"),
        (lambda d: (d / "shard-00007.tar").write_bytes(b""), "shard-00007.tar is not in the manifest"),
        (lambda d: (d / "manifest.json").unlink(), "manifest.json cannot be read"),
        (lambda d: (d / "manifest.json").write_text("{"), "manifest.json is damaged"),
        (lambda d: (d / "manifest.json").write_text("[]"), "expected a manifest of format"),
        (miscount, "the manifest counts 12 pairs, the shards hold 13"),
    ],
)
def test_damage_is_found_and_named(tmp_path: Path, damage, words: str) -> None:
    write(tmp_path, 10)
    damage(tmp_path)
    problems = verify(tmp_path)
    assert any(re.search(words, problem) for problem in problems), problems


@pytest.mark.parametrize(
    "damage", [lambda f: f.unlink(), lambda f: os.truncate(f, 5000), lambda f: flip(f, 515)]
)
def test_reading_a_damaged_shard_names_it(tmp_path: Path, damage) -> None:
    write(tmp_path, 3)
    damage(tmp_path / "shard-00000.tar")
    with pytest.raises(InvalidInputError, match=r"shard-00000\.tar"):
        list(iter_shard(tmp_path / "shard-00000.tar"))

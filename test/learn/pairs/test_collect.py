"""`ovseg learn pairs`: nouns meet masks, filters, bad input, kills, and the demo's frames for real."""

from __future__ import annotations

import argparse
import json
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pair_fixtures import ThingEncoder, boxes, coco, ovseg_pairs, stored, thing_segmenter, write_tabletop
from PIL import Image
from repository import ROOT
from segment_fixtures import BLUE, GREEN, GREEN_BOX, RED, RED_BOX, Blobs, picture, save

from ovseg_ros.app.learn import pairs as learn_pairs
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError, OvsegError
from ovseg_ros.evaluate.recordings.recording import RecordedFrame
from ovseg_ros.learn.pairs.captions import CaptionedImage
from ovseg_ros.learn.pairs.collect import PairOptions, collect, pairs_of
from ovseg_ros.learn.pairs.contact_sheet import TILE, draw_pair, draw_sheet, write_contact_sheet
from ovseg_ros.learn.pairs.crop import make_pair
from ovseg_ros.learn.pairs.nouns import NounFinder
from ovseg_ros.learn.pairs.store import Pair, PairWriter, read_manifest, verify
from ovseg_ros.models.presets import load_preset

FINDER = NounFinder()


def captioned(*captions: str, image: np.ndarray | None = None) -> CaptionedImage:
    frame = Frame(picture() if image is None else image)
    return CaptionedImage("x", captions, {"file": "x.png"}, lambda: frame)


def found(image: CaptionedImage, proposer=None, **changes) -> tuple[dict[str, Pair], dict[str, str]]:
    """Pairs and reasons by noun."""
    options = PairOptions(templates=("{}",), **changes)
    segmenter = OpenVocabularySegmenter(proposer or Blobs(), ThingEncoder(), options.of_segmenter())
    pairs, skipped = pairs_of(image, segmenter, FINDER, options)
    return {pair.noun: pair for pair in pairs}, {e.get("noun", ""): e["reason"] for e in skipped}


class Given:
    """Proposes the masks it was given."""

    def __init__(self, *masks: np.ndarray) -> None:
        self.masks = masks

    def propose(self, frame: Frame) -> Proposals:
        return Proposals(torch.from_numpy(np.stack(self.masks)), torch.linspace(1, 0.5, len(self.masks)))


def box(where, size_hw=(60, 80)) -> np.ndarray:
    mask = np.zeros(size_hw, bool)
    mask[where] = True
    return mask


def test_each_noun_gets_the_mask_it_fits_best() -> None:
    pairs, skipped = found(captioned("A mug and a bowl."))
    assert skipped == {}
    assert list(pairs) == ["mug", "bowl"]
    assert pairs["mug"].image_rgb[pairs["mug"].mask].tolist() == [list(RED)] * 625
    assert pairs["bowl"].image_rgb[pairs["bowl"].mask].tolist() == [list(GREEN)] * 625
    meta = pairs["mug"].meta
    assert meta["score"] > 0.9
    assert {**meta, "score": 0} == {
        "noun": "mug",
        "image": "x",
        "caption": "A mug and a bowl.",
        "score": 0,
        "mask_score": 1.0,
        "box_xyxy": [5, 5, 30, 30],  # a margin of 6, of which the image allows 5
        "image_box_xyxy": [5, 5, 30, 30],
        "area": 625,
        "source": {"file": "x.png"},
    }
    assert pairs["mug"].image_rgb.shape == (36, 36, 3)


def test_scores_are_the_best_cosines_over_all_masks() -> None:
    chance = np.random.default_rng(0)
    masks = [chance.random((60, 80)) < part for part in (0.01, 0.1, 0.5, 0.9)]
    image = chance.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    words = ("mug", "bowl", "plate", "table")
    pairs, _ = found(captioned("A mug, a bowl, a plate and a table.", image=image), Given(*masks))
    segmenter = OpenVocabularySegmenter(
        Given(*masks), ThingEncoder(), PairOptions(templates=("{}",)).of_segmenter()
    )
    rows = segmenter.embed(Frame(image)).embeddings
    for word in words:
        cosines = [float(row @ ThingEncoder().encode_text([word])[0]) for row in rows]
        assert pairs[word].meta["score"] == pytest.approx(max(cosines), abs=1e-5)
        assert pairs[word].meta["area"] == masks[int(np.argmax(cosines))].sum()


def test_all_nouns_are_kept_unless_filters_are_given() -> None:
    image = captioned("A mug, a cup, a bowl and a table.")
    assert list(found(image)[0]) == ["mug", "cup", "bowl", "table"]
    pairs, skipped = found(image, min_score=0.5)
    assert list(pairs) == ["mug", "cup", "bowl"]
    assert skipped == {"table": "score too low"}
    pairs, skipped = found(image, one_noun_per_mask=True)
    assert list(pairs) == ["mug", "bowl"]
    assert skipped == dict.fromkeys(("cup", "table"), "a better noun has the mask")
    assert found(image, min_area=0.14)[0] == {}
    assert len(found(image, min_area=0.13)[0]) == 4


def test_overlapping_masks_of_two_nouns() -> None:
    image = picture((RED_BOX, RED), ((slice(5, 30), slice(20, 30)), GREEN))
    masks = box((slice(5, 30), slice(5, 30))), box((slice(5, 30), slice(18, 30)))
    given = captioned("A bowl and a mug.", image=image)
    assert len(found(given, Given(*masks), max_overlap=0.49)[0]) == 2  # IoU 12/25
    pairs, skipped = found(given, Given(*masks), max_overlap=0.47)
    assert len(pairs) == 1
    assert list(skipped.values()) == ["mask overlaps that of a better noun"]


def test_what_has_no_pair_is_said_with_its_reason() -> None:
    assert found(captioned("Quickly, there!")) == ({}, {"": "caption without nouns"})
    assert found(captioned()) == found(captioned("  ")) == ({}, {"": "image without a caption"})
    grey = captioned("A mug.", image=picture((RED_BOX, (128, 128, 128))))
    assert found(grey) == ({}, {"mug": "no mask was proposed"})
    assert found(captioned("A mug."), Given(box(slice(0, 0)))) == ({}, {"mug": "no mask was proposed"})


def test_captions_of_one_image_share_their_nouns() -> None:
    pairs, skipped = found(captioned("A mug.", "There!", "Two mugs and a bowl."))
    assert {noun: pair.meta["caption"] for noun, pair in pairs.items()} == {
        "mug": "A mug.",
        "bowl": "Two mugs and a bowl.",
    }
    assert skipped == {"": "caption without nouns"}


def test_crops_are_scaled_down_with_their_mask_and_never_lose_it() -> None:
    image = np.random.default_rng(0).integers(0, 256, (400, 900, 3), dtype=np.uint8)
    made = make_pair(Frame(image), box((slice(100, 300), slice(100, 800)), (400, 900)), {"noun": "a"}, 256)
    assert made.image_rgb.shape == (85, 256, 3)  # 300 x 900 at most
    assert made.meta["box_xyxy"] == [28, 14, 228, 71]
    assert made.meta["area"] == 200 * 700
    thin = make_pair(Frame(image), box((slice(200, 201), slice(0, 900)), (400, 900)), {"noun": "a"}, 64)
    assert thin.mask.any()
    point = make_pair(Frame(image), box((slice(0, 1), slice(899, 900)), (400, 900)), {"noun": "a"}, 64)
    assert point.mask.tolist() == [[True]]
    with pytest.raises(InvalidInputError, match="empty"):
        make_pair(Frame(image), box(slice(0, 0), (400, 900)), {"noun": "a"}, 64)


@pytest.mark.parametrize(
    "changes", [{"min_score": 2}, {"min_area": -1}, {"max_overlap": 1.5}, {"crop_size": 4}, {"batch_size": 0}]
)
def test_options_out_of_range_are_refused(changes: dict) -> None:
    with pytest.raises(ConfigError, match=f"expected {next(iter(changes))}"):
        PairOptions(**changes)


def test_the_command_collects(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = boxes(tmp_path / "in", 4)
    out = tmp_path / "out"
    segmenter = thing_segmenter()
    arguments = ["--images", folder, "--out", out]
    assert ovseg_pairs(*arguments, segmenter=segmenter) == 0
    assert "8 pairs of 2 nouns from 4 images" in capsys.readouterr().err
    manifest = read_manifest(out)
    assert manifest["complete"]
    assert manifest["counts"] == {"pairs": 8, "images": 4, "nouns": 2, "skipped": {}}
    assert manifest["nouns"] == {"bowl": 4, "mug": 4}
    assert manifest["crop_size"] == 256
    assert manifest["proposals"] == manifest["clip"]["name"] == "mini"
    assert manifest["source"]["images"] == 4
    assert manifest["versions"]["python"]
    assert segmenter.clip.encoded.count("mug") == 4  # this fake has no cache; CLIP's own has
    assert [pair.meta["image"] for pair in stored(out)[::2]] == ["000", "001", "002", "003"]
    assert (out / "contact_sheet.png").read_bytes()[:4] == b"\x89PNG"
    assert ovseg_pairs("--check", out) == 0
    (out / "shard-00000.tar").unlink()
    assert ovseg_pairs("--check", out) == 2
    assert "shard-00000.tar is missing" in capsys.readouterr().out


def test_bad_images_are_named_counted_and_tried_again(tmp_path: Path, caplog) -> None:
    folder = boxes(tmp_path / "in", 4)
    (folder / "001.png").write_bytes(b"\x89PNG but not really")
    (folder / "002.png").unlink()
    save(folder / "003.png", (RED_BOX, (128, 128, 128)))
    out = tmp_path / "out"
    arguments = ["--images", folder, "--out", out]
    assert ovseg_pairs(*arguments) == 1
    assert read_manifest(out)["counts"] == {
        "pairs": 2,
        "images": 4,
        "nouns": 2,
        "skipped": {"image that cannot be used": 2, "no mask was proposed": 2},
    }
    assert "001 left out" in caplog.text
    assert "002 left out" in caplog.text
    journal = [json.loads(line) for line in (out / "journal.jsonl").read_text().splitlines()]
    assert {entry["image"] for entry in journal if "failed" in entry} == {"001", "002"}
    save(folder / "001.png")
    save(folder / "002.png")
    assert ovseg_pairs(*arguments, "--resume") == 0
    assert read_manifest(out)["counts"]["pairs"] == 6
    assert verify(out) == []


def test_a_source_that_breaks_off_and_a_device_that_is_full_end_nothing(tmp_path: Path) -> None:
    def source():
        yield captioned("A mug.")
        yield CaptionedImage("y", ("A bowl.",), {}, lambda: Frame(picture((GREEN_BOX, BLUE))))
        raise InvalidInputError("the recording breaks off")

    class Full(ThingEncoder):
        left = 2  # both tries of the first frame

        def encode_regions(self, pixels, region_masks=None):
            if self.left:
                self.left -= 1
                raise torch.OutOfMemoryError("full")
            return super().encode_regions(pixels)

    with PairWriter(tmp_path, {}) as writer:
        tally = collect(source(), Blobs(), Full(), FINDER, PairOptions(), writer)
        assert tally.pairs == 1
        assert [name for name, _ in tally.failures] == ["x", "(the rest)"]
        assert "memory" in tally.failures[0][1]
        assert tally.failures[1][1] == "the recording breaks off"


def test_depth_in_another_unit_is_said_once_and_read_by_its_scale(tmp_path: Path, caplog) -> None:
    folder = boxes(tmp_path / "images", 2)
    (tmp_path / "depth").mkdir()
    for picture_file in folder.glob("*.png"):
        cv2.imwrite(str(tmp_path / "depth" / picture_file.name), np.full((60, 80), 8000, np.uint16))
    arguments = ["--images", folder, "--depth", tmp_path / "depth", "--intrinsics", "70,70,39.5,29.5"]
    assert ovseg_pairs(*arguments, "--out", tmp_path / "a") == 0
    assert caplog.text.count("the nearest surface is 8 m away") == 1
    caplog.clear()
    segmenter = thing_segmenter()
    scale = ["--depth-scale", 0.0001]
    assert ovseg_pairs(*arguments, "--out", tmp_path / "b", *scale, segmenter=segmenter) == 0
    assert [float(frame.depth_m.max()) for frame in segmenter.proposer.frames] == pytest.approx([0.8, 0.8])
    assert not caplog.text
    with pytest.raises(ConfigError, match="other settings"):
        ovseg_pairs(*arguments, "--out", tmp_path / "b", "--resume", "--depth-scale", 0.0002)


def test_masks_of_zero_area_are_counted(tmp_path: Path) -> None:
    folder = boxes(tmp_path / "in", 2)
    segmenter = thing_segmenter()
    segmenter.proposer = Given(box(RED_BOX), box(slice(0, 0)), box(GREEN_BOX))
    arguments = ["--images", folder]
    assert ovseg_pairs(*arguments, "--out", tmp_path / "out", segmenter=segmenter) == 0
    assert read_manifest(tmp_path / "out")["counts"]["skipped"] == {"mask of zero area": 2}
    assert len(stored(tmp_path / "out")) == 4


@pytest.mark.parametrize("kind", ["no nouns", "no image", "no masks", "filtered"])
def test_success_is_never_said_when_everything_was_left_out(tmp_path: Path, kind: str, capsys) -> None:
    folder = boxes(tmp_path / "in", 2)
    more = []
    if kind == "no nouns":
        coco(folder / "captions.json", {"000.png": ["There!"], "001.png": []})
    for i in range(2):
        if kind == "no image":
            (folder / f"{i:03d}.png").write_bytes(b"")
        elif kind == "no masks":
            save(folder / f"{i:03d}.png", (RED_BOX, (128, 128, 128)))
        elif kind == "filtered":
            more = ["--min-area", "0.9"]
    arguments = ["--images", folder, *more]
    assert ovseg_pairs(*arguments, "--out", tmp_path / "out") == 2
    assert "everything was left out" in capsys.readouterr().err
    assert not read_manifest(tmp_path / "out")["complete"]
    assert not (tmp_path / "out" / "contact_sheet.png").exists()


ENDED = """
import os, sys
sys.path.insert(0, ".")
from pair_fixtures import ovseg_pairs, thing_segmenter
segmenter = thing_segmenter()
propose = segmenter.proposer.propose
def ended(frame):
    if len(segmenter.proposer.frames) == 3:
        os.kill(os.getpid(), int(sys.argv[1]))
    return propose(frame)
segmenter.proposer.propose = ended
sys.exit(ovseg_pairs(*sys.argv[2:], segmenter=segmenter))
"""


@pytest.mark.parametrize(("end", "status"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_a_run_that_was_ended_goes_on_with_the_shard_it_was_at(tmp_path: Path, end: int, status: int) -> None:
    folder, whole, out = boxes(tmp_path / "in", 5), tmp_path / "whole", tmp_path / "out"
    arguments = ["--images", folder, "--pairs-per-shard", 4]
    assert ovseg_pairs(*arguments, "--out", whole) == 0
    command = [sys.executable, "-c", ENDED, str(int(end)), *map(str, arguments), "--out", str(out)]
    done = subprocess.run(
        command, cwd=ROOT / "test" / "fixtures", capture_output=True, text=True, timeout=120
    )
    assert done.returncode == status, done.stderr
    assert [file.name for file in out.glob("shard-*")] == ["shard-00000.tar"]
    if end == signal.SIGINT:
        assert "4 pairs of 2 nouns from 2 images are in whole shards" in done.stderr
        manifest = read_manifest(out)
        assert not manifest["complete"]
        assert ([shard["pairs"] for shard in manifest["shards"]], manifest["counts"]["pairs"]) == ([4], 4)
    again = thing_segmenter()
    assert ovseg_pairs(*arguments, "--out", out, "--resume", segmenter=again) == 0
    assert len(again.proposer.frames) == 3
    names = {file.name for file in whole.iterdir()} - {"manifest.json"}  # which holds the command
    assert {"shard-00002.tar", "journal.jsonl", "contact_sheet.png"} <= names
    for name in names:
        assert (out / name).read_bytes() == (whole / name).read_bytes()
    assert verify(out) == []


def test_a_resumed_run_must_be_the_same(tmp_path: Path) -> None:
    folder = boxes(tmp_path / "in", 2)
    arguments = ["--images", folder, "--out", tmp_path / "o"]
    assert ovseg_pairs(*arguments) == 0
    with pytest.raises(ConfigError, match="expected an empty folder"):
        ovseg_pairs(*arguments)
    for changes in (["--min-score", "0.1"], ["--keep-adjectives"], ["--crop-size", "64"]):
        with pytest.raises(ConfigError, match="other settings"):
            ovseg_pairs(*arguments, "--resume", *changes)
    assert ovseg_pairs(*arguments, "--resume") == 0
    assert ovseg_pairs(*arguments, "--overwrite", "--min-score", "0.1") == 0


def test_lists_and_limits_of_the_command_line(tmp_path: Path) -> None:
    folder = boxes(tmp_path / "in", 3)
    (tmp_path / "s.yaml").write_text("beaker: [mug]")
    (tmp_path / "stop.txt").write_text("bowl")
    arguments = ["--images", folder, "--out", tmp_path / "o"]
    lists = ["--synonyms", tmp_path / "s.yaml", "--stop-words", tmp_path / "stop.txt"]
    assert ovseg_pairs(*arguments, *lists, "--limit", 2) == 0
    assert read_manifest(tmp_path / "o")["nouns"] == {"beaker": 2}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--limit", 0], "--limit at least 1"),
        (["--min-score", 3], "min_score"),
        (["--region-view", "sideways"], "region_view"),
        (["--templates", "poems"], "poems"),
        (["--synonyms", "none.yaml"], "none.yaml"),
        (["--captions", "none.json"], "none.json"),
        (["--depth-scale", 0], "depth scale > 0"),
        (["--depth-scale", 1000], r"units per metre are 0\.001"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_written(
    tmp_path: Path, changes: list, words: str
) -> None:
    folder = boxes(tmp_path / "in", 1)
    with pytest.raises(OvsegError, match=words):
        ovseg_pairs("--images", folder, "--out", tmp_path / "out", *changes)
    assert not (tmp_path / "out").exists()


def test_images_and_out_are_needed(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not there"):
        ovseg_pairs("--images", tmp_path / "none", "--out", tmp_path / "out")
    with pytest.raises(ConfigError, match="--out"):
        ovseg_pairs("--images", tmp_path)
    segmenter = thing_segmenter(needs_depth=True)
    folder = boxes(tmp_path / "in", 1)
    with pytest.raises(InvalidInputError, match="need depth"):
        ovseg_pairs("--images", folder, "--out", tmp_path / "out", segmenter=segmenter)


def test_the_contact_sheet_shows_as_many_nouns_as_it_can(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for i in range(6):
        save(folder / f"{i}.png", (RED_BOX, RED), (GREEN_BOX, (GREEN, BLUE)[i == 5]))
    captions = {f"{i}.png": ["A mug and a plate." if i == 5 else "A mug."] for i in range(6)}
    coco(folder / "captions.json", captions)
    assert ovseg_pairs("--images", folder, "--out", tmp_path / "out", "--sheet-pairs", 2) == 0
    sheet = np.asarray(Image.open(tmp_path / "out" / "contact_sheet.png"))
    assert (sheet == RED).all(axis=2).sum() > 1000
    assert (sheet == BLUE).all(axis=2).sum() > 1000  # one of two places, though mugs are more
    assert write_contact_sheet(tmp_path / "out", tmp_path / "all.png") == 7


def test_a_tile_shows_the_mask_bright_outlined_and_the_rest_dim() -> None:
    made = make_pair(Frame(picture()), box(RED_BOX), {"noun": "mug", "score": 0.5}, 256)
    tile = draw_pair(made)
    assert tile.shape == (TILE, TILE, 3)
    assert tile[TILE // 2, TILE // 2].tolist() == list(RED)
    assert np.ptp(tile[2, 2].astype(int)) == 0
    assert (tile == (255, 90, 0)).all(axis=2).sum() > 200
    long = Pair("a thing with a name that is much too long for this", made.image_rgb, made.mask, made.meta)
    assert draw_sheet([made, long]).size[0] < 2.2 * TILE


def test_the_documentation_names_every_option_and_no_other() -> None:
    text = (ROOT / "docs" / "pairs.md").read_text(encoding="utf-8")
    parser = argparse.ArgumentParser()
    learn_pairs.add_parser(parser.add_subparsers())
    pairs = parser._subparsers._group_actions[0].choices["pairs"]
    known = {option for action in pairs._actions for option in action.option_strings}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text))
    of_others = {"--device", "--weights-dir", "--download", "--max-masks", "--batch-size", "--help"}
    assert named <= known
    assert known - named <= of_others | {
        "-h", "--limit", "--overwrite", "--templates", "--sheet-pairs", "--image-topic", "--depth-topic",
        "--camera-info-topic",
    }  # fmt: skip
    for line in re.findall(r"^ovseg learn (pairs .*)$", text, re.MULTILINE):
        parser.parse_args(shlex.split(line))


def test_pairs_of_the_demo_are_right(tmp_path: Path) -> None:
    """The bundled mini on nine frames; what docs/pairs.md says is measured on all 45 in the same way."""
    frames = write_tabletop(tmp_path / "in", every=5, count=9)
    (tmp_path / "stop.txt").write_text("table")
    arguments = ["--images", tmp_path / "in" / "images", "--captions", tmp_path / "in" / "captions.json"]
    arguments += ["--out", tmp_path / "out", "--stop-words", tmp_path / "stop.txt", "--device", "cpu"]
    assert ovseg_pairs(*arguments, segmenter=load_preset("mini")) == 0
    right = total = 0
    for pair in stored(tmp_path / "out"):
        recorded = frames[int(pair.meta["image"])]
        total += 1
        right += is_right(pair, recorded)
    print(f"{right} of {total} pairs are right")
    assert total >= 50
    assert right / total >= 0.95


def is_right(pair: Pair, recorded: RecordedFrame) -> bool:
    """Whether the mask covers an instance of the noun's name, IoU 0.5 and more."""
    x0, y0, x1, y1 = pair.meta["image_box_xyxy"]
    grow_x, grow_y = round((x1 - x0) * 0.25), round((y1 - y0) * 0.25)
    window = slice(max(y0 - grow_y, 0), y1 + grow_y), slice(max(x0 - grow_x, 0), x1 + grow_x)
    for i, name in recorded.names.items():
        if pair.noun in FINDER.find(f"There is a {name}."):
            inside = recorded.mask(i)[window].astype(np.uint8)
            truth = cv2.resize(inside, pair.mask.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
            if (truth & pair.mask).sum() >= 0.5 * (truth | pair.mask).sum():
                return True
    return False

"""Calibrating on pictures and recordings whose truth is known: what is read, asked and printed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from adapted_fixtures import new_adapted
from core_fixtures import ColourEncoder
from evaluate_fixtures import BOXES, recorded
from photo_fixtures import BoxesOfColour, write_photos
from PIL import Image

from ovseg_ros.app.learn import trust as command
from ovseg_ros.app.learn.trust import report, true_frames
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.trust import Calibration, TrustModel
from ovseg_ros.core.words import SpellingMeanings
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.recording import RecordedFrame
from ovseg_ros.evaluate.recordings.writing import write_recording
from ovseg_ros.files.instances import read_instances
from ovseg_ros.learn.names.examples import examples_of
from ovseg_ros.learn.names.folds import fold_of
from ovseg_ros.learn.trust.fit import Answers
from ovseg_ros.models.trusted import build_calibration, read_reference

RIVALS = ("crimson", "teapot", "lamp", "chair")


def segmenter_of(number: int = 0, boxes: BoxesOfColour | None = None) -> OpenVocabularySegmenter:
    """Names boxes by their colour, and judges; `number` is its logit scale's."""
    encoder = ColourEncoder()
    encoder.logit_scale = 20.0 + number
    options = SegmenterOptions(decision="trust", min_mask_pixels=30)
    trust = TrustModel(RIVALS, SpellingMeanings(), None, Calibration())
    return OpenVocabularySegmenter(boxes or BoxesOfColour(), encoder, options, name="colours", trust=trust)


def numbered_photos(folder: Path, count: int, name: str = "many") -> Path:
    """A COCO file of `count` pictures, the number of each in its first pixel."""
    content = json.loads(write_photos(folder).read_text())
    own = [row for row in content["annotations"] if row["image_id"] == 0]
    images, annotations = [], []
    for number in range(count):
        pixels = np.array(Image.open(folder / "p0.png"))
        pixels[0, 0] = number
        Image.fromarray(pixels).save(folder / f"n{number}.png")
        images.append({**content["images"][0], "id": number, "file_name": f"n{number}.png"})
        annotations += [{**row, "id": 2 * number + i, "image_id": number} for i, row in enumerate(own)]
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**content, "images": images, "annotations": annotations}))
    return path


def numbers_of(frames) -> list[int]:
    return [int(one.frame.image_rgb[0, 0, 0]) for one in frames]


class Looks(BoxesOfColour):
    """Notes the number of each picture it sees."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def propose(self, frame):
        self.seen.append(int(frame.image_rgb[0, 0, 0]))
        return super().propose(frame)


@pytest.fixture
def calibrate(monkeypatch, capsys):
    """Runs the command on the model of colours; returns what it printed and who saw which pictures."""

    def run(*words, preset="mini"):
        seen = {}

        def load_preset(path, weights_dir=None):
            names = ""
            if isinstance(path, Path):
                content = yaml.safe_load(path.read_text())
                assert content["proposer"]["kind"] == "union"
                assert path.stem == "lite"
                names = Path(content["encoder"]["names"]).name
            looks = seen[names] = Looks()
            return segmenter_of(len(seen), looks)

        monkeypatch.setattr(command, "load_preset", load_preset)
        monkeypatch.setattr(sys, "argv", ["trust", preset, *(str(word) for word in words)])
        command.main()
        return capsys.readouterr().out, {names: looks.seen for names, looks in seen.items()}

    return run


def test_the_frames_of_a_coco_file(tmp_path):
    path = write_photos(tmp_path)
    frames = list(true_frames(path))
    assert [one.names for one in frames] == [
        (frozenset({"red"}), frozenset({"green"})),
        (frozenset({"green"}), frozenset({"blue"}), frozenset({"green"})),
        (frozenset({"red"}), frozenset({"blue"})),
    ]
    assert {one.words for one in frames} == {("red", "green", "blue")}, "of all pictures, in their order"
    assert frames[0].masks.dtype == bool
    assert frames[0].masks.shape == (2, 60, 90)
    # pycocotools rounds polygons to whole pixels, within one of the box's sides
    want = np.zeros((60, 90), bool)
    want[5:30, :25] = True
    assert (frames[0].masks[0] != want).sum() <= 25
    np.testing.assert_array_equal(frames[1].frame.image_rgb, np.array(Image.open(tmp_path / "p1.png")))


def test_pictures_not_wholly_labelled_are_left_out(tmp_path):
    path = write_photos(tmp_path)
    content = json.loads(path.read_text())
    content["images"][1]["complete"] = False
    path.write_text(json.dumps(content))
    assert [len(one.names) for one in true_frames(path)] == [2, 2]
    assert [len(one.names) for one in true_frames(path, complete=False)] == [2, 3, 2]


def test_a_picture_without_things_is_a_frame_all_the_same(tmp_path):
    path = write_photos(tmp_path)
    content = json.loads(path.read_text())
    content["annotations"] = [row for row in content["annotations"] if row["image_id"] != 1]
    path.write_text(json.dumps(content))
    bare = list(true_frames(path))[1]
    assert bare.masks.shape == (0, 60, 90)
    assert bare.names == ()
    assert bare.words == ("red", "green", "blue")


def test_the_frames_of_a_recording(tmp_path):
    write_recording(tmp_path / "bag", [recorded(0, (1, 3)), recorded(1, ()), recorded(2)])
    first, bare, last = true_frames(tmp_path / "bag")
    assert first.names == (frozenset({"red", "crimson"}), frozenset({"blue"}))
    for mask, box in zip(first.masks, (BOXES[1], BOXES[3]), strict=True):
        want = np.zeros_like(mask)
        want[box] = True
        np.testing.assert_array_equal(mask, want)
    assert bare.masks.shape == (0, 60, 80)
    assert last.names[1] == {"green", "blue", "scarlet"}
    assert first.words == bare.words == last.words == ("red", "green", "blue"), "in view or not"


@pytest.mark.parametrize("folds", [2, 3])
def test_folds_part_the_pictures_as_the_map_of_names_is_learned(tmp_path, folds):
    path = numbered_photos(tmp_path, 12)
    each = [numbers_of(true_frames(path, fold=(fold, folds))) for fold in range(folds)]
    assert sorted(number for numbers in each for number in numbers) == list(range(12))
    dataset = read_instances(path)
    learned = list(dict.fromkeys(examples_of(new_adapted(), path, mirrored=False).pictures))
    assert learned == [f"{dataset.name}/{picture.name}" for picture in dataset.pictures]
    for fold, numbers in enumerate(each):
        assert numbers, "a fold without a picture shows nothing"
        assert numbers == [n for n, name in enumerate(learned) if fold_of(name, folds) == fold]


def test_all_words_are_asked_in_every_fold(tmp_path):
    path = write_photos(tmp_path)
    frames = [one for fold in range(3) for one in true_frames(path, fold=(fold, 3))]
    assert [one.words for one in frames] == [("red", "green", "blue")] * 3


def test_data_without_truth_is_refused(tmp_path):
    plain = RecordedFrame(recorded(0).frame)
    write_recording(tmp_path / "plain", [plain])
    with pytest.raises(InvalidInputError, match="expected a recording with ground truth"):
        list(true_frames(tmp_path / "plain"))
    for name in ("nothing.json", "nothing"):
        with pytest.raises(InvalidInputError, match=name):
            list(true_frames(tmp_path / name))


def test_a_picture_of_another_size_is_refused(tmp_path):
    path = write_photos(tmp_path)
    Image.new("RGB", (45, 30)).save(tmp_path / "p2.png")
    with pytest.raises(InvalidInputError, match="as 90x60, as the masks are"):
        list(true_frames(path))


def test_the_report_by_hand():
    asked = Answers(
        odds=torch.zeros(6),
        past=torch.zeros(6),
        mask=torch.zeros(6),
        masks=torch.ones(6),
        right=torch.tensor([True, True, False, True, False, False]),
        weight=torch.ones(6, dtype=torch.float64),
        kind=("all",) * 4 + ("absent",) * 2,
    )
    p = torch.tensor([0.95, 0.85, 0.75, 0.65, 0.55, 0.05], dtype=torch.float64)
    lines = report(asked, p, 0.99)
    assert lines[0] == "# 6 answers, calibration error 0.317"  # (5 + 15 + 75 + 35 + 55 + 5) / 600
    assert lines[1] == "# least threshold for a precision of 0.99: 0.76"
    assert lines[2:] == [
        "#   all at 0.5: precision, recall 0.750, 1.000; given 1.000",
        "#   all at 0.7: precision, recall 0.667, 0.667; given 0.750",
        "#   all at 0.76: precision, recall 1.000, 0.667; given 0.500",
        "#   absent at 0.5: precision, recall 0.000, none; given 0.500",
        "#   absent at 0.7: precision, recall none, none; given 0.000",
        "#   absent at 0.76: precision, recall none, none; given 0.000",
    ]


def test_what_is_printed_is_a_part_of_a_preset(tmp_path, calibrate):
    printed, seen = calibrate(write_photos(tmp_path))
    content = yaml.safe_load(printed)
    assert list(content) == ["calibration"]
    calibration = build_calibration(tmp_path, content["calibration"])
    assert calibration.odds > 0
    assert (calibration.past, calibration.hub) == (0, 0), "nothing was seen before"
    assert calibration.usual_masks in (2, 3)
    assert seen == {"": [128] * 3}
    comments = [line for line in printed.splitlines() if line.startswith("#")]
    assert comments[0].startswith("# ")
    assert {line.split()[1] for line in comments[2:]} == {"all", "two", "even", "alone", "absent"}


def test_a_recording_and_pictures_together_and_a_limit_for_each(tmp_path, calibrate):
    write_recording(tmp_path / "bag", [recorded(n) for n in range(3)])
    photos = numbered_photos(tmp_path / "photos", 4)
    printed, seen = calibrate(photos, tmp_path / "bag", "--limit", 2)
    assert seen[""][:2] == [0, 1]
    assert len(seen[""]) == 4
    assert build_calibration(tmp_path, yaml.safe_load(printed)["calibration"])


def test_masks_seen_before_are_of_every_second_frame(tmp_path, calibrate, monkeypatch):
    fitted = spy_on_fit(monkeypatch)
    printed, seen = calibrate(numbered_photos(tmp_path, 6), "--write-reference", tmp_path / "new" / "r.st")
    content = yaml.safe_load(printed)
    assert content["reference"] == "r.st"
    assert build_calibration(tmp_path, content["calibration"])
    assert seen[""] == list(range(6))
    (part,) = fitted
    assert len(part.frames) == 3
    rows = read_reference(tmp_path / "new" / "r.st", 4)
    assert rows.shape == (6, 4), "two masks on each of three pictures"
    torch.testing.assert_close(rows.sort(dim=0)[0], part.trust.reference.sort(dim=0)[0], atol=1e-3, rtol=0)


def test_masks_seen_before_of_other_data(tmp_path, calibrate, monkeypatch):
    fitted = spy_on_fit(monkeypatch)
    data, others = numbered_photos(tmp_path / "a", 4), numbered_photos(tmp_path / "b", 9, "others")
    content = json.loads(others.read_text())
    for row in content["images"]:
        row["complete"] = False  # good enough to be seen
    others.write_text(json.dumps(content))
    file = tmp_path / "r.safetensors"
    words = ("--write-reference", file, "--limit-before", 5, "--most", 7, "--seen-before", others)
    _, seen = calibrate(data, *words)
    assert seen[""] == [0, 1, 2, 3, 0, 1, 2, 3, 4]
    assert len(fitted[0].frames) == 4
    assert read_reference(file, 4).shape == (7, 4)
    printed, seen = calibrate(data, "--reference", file)
    assert seen[""] == [0, 1, 2, 3]
    assert yaml.safe_load(printed)["reference"] == file.name
    torch.testing.assert_close(fitted[1].trust.reference, read_reference(file, 4))


def spy_on_fit(monkeypatch):
    """The list that gains what each call of `fit` is given."""
    given, fit = [], command.fit

    def spying(parts):
        given.extend(parts)
        return fit(parts)

    monkeypatch.setattr(command, "fit", spying)
    return given


def test_each_map_answers_about_the_fold_it_has_not_seen(tmp_path, calibrate, monkeypatch):
    fitted = spy_on_fit(monkeypatch)
    data, others = numbered_photos(tmp_path / "a", 10), numbered_photos(tmp_path / "b", 3, "others")
    maps = [tmp_path / f"without_{fold}.safetensors" for fold in range(2)]
    file = tmp_path / "r.safetensors"
    words = ("--maps", *maps, "--write-reference", file, "--seen-before", others)
    printed, seen = calibrate(data, *words, preset="lite")
    folds = [[n for n in range(10) if fold_of(f"many/n{n}.png", 2) == fold] for fold in range(2)]
    assert seen == {
        "without_0.safetensors": [*folds[0], 0, 1, 2],
        "without_1.safetensors": [*folds[1], 0, 1, 2],
        "": [0, 1, 2],  # the preset's own map makes the file that is kept
    }
    assert [len(part.frames) for part in fitted] == [len(fold) for fold in folds]
    assert [part.segmenter.clip.logit_scale for part in fitted] == [21, 22]
    assert read_reference(file, 4).shape == (6, 4)
    content = yaml.safe_load(printed)
    assert content["reference"] == file.name
    assert build_calibration(tmp_path, content["calibration"])


def refused(calibrate, *words, preset="mini"):
    """How the command ends."""
    with pytest.raises(SystemExit) as ended:
        calibrate(*words, preset=preset)
    return ended.value.code


def test_options_that_need_others_are_refused_first(tmp_path, calibrate, capsys):
    data, file = write_photos(tmp_path), tmp_path / "r.safetensors"
    assert refused(calibrate, data, "--seen-before", data) == 2
    assert "--seen-before needs --write-reference" in capsys.readouterr().err
    assert refused(calibrate, data, "--maps", file, "--write-reference", file, preset="lite") == 2
    assert "--maps with --write-reference needs --seen-before" in capsys.readouterr().err
    assert refused(calibrate, data, "--reference", file, "--write-reference", file) == 2
    assert "not allowed with" in capsys.readouterr().err


def test_errors_are_one_line(tmp_path, calibrate):
    assert "error: expected a COCO instance file" in refused(calibrate, tmp_path / "none.json")
    data, file = numbered_photos(tmp_path, 1), tmp_path / "r.safetensors"
    said = refused(calibrate, data, "--write-reference", file)
    assert said == "error: expected at least two masks seen before, got 0: give more DATA, or --seen-before"
    assert not file.exists()
    assert str(file) in refused(calibrate, data, "--reference", file)

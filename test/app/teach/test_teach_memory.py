"""`ovseg teach --memory`: a name shown on pictures, kept in a file, known to `ovseg segment`; no ROS."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")

from segment_fixtures import (
    BLUE,
    GREEN_BOX,
    RED,
    RED_BOX,
    blob_segmenter,
    ovseg_segment,
    save,
)

from ovseg_ros.app.cli import main
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.memory import open_store
from ovseg_ros.memory.teaching import taught
from ovseg_ros.models import presets

BOX = "5,5,25,25"  # around RED_BOX
PRESET = "blobs"


def segmenter() -> OpenVocabularySegmenter:
    made = blob_segmenter()
    made.name = PRESET
    return made


@pytest.fixture(autouse=True)
def model(monkeypatch):
    """A model that sees colours, and made-up weights: what is as red as the example is it."""
    plain = taught.Weights(-14, 0, 10, 0, 10, 0, 0, 0, 0.4, 0.7, 0, 0.9)
    monkeypatch.setitem(taught.WEIGHTS, PRESET, (plain, plain))
    monkeypatch.setattr(presets, "load_preset", lambda *_, **__: segmenter())


@pytest.fixture
def memory(tmp_path):
    return tmp_path / "names.db"


@pytest.fixture
def photo(tmp_path):
    return save(tmp_path / "photo.png", (RED_BOX, RED), (GREEN_BOX, BLUE))


def teach(memory, *arguments: object) -> int:
    return main(["teach", *map(str, arguments), "--memory", str(memory), "--preset", PRESET])


def examples(memory):
    with open_store(memory) as store:
        return store.examples()


def test_a_name_shown_in_a_box_is_found_by_segment_without_ros(memory, photo, tmp_path, capsys):
    assert teach(memory, "my brick", "--image", photo, "--box", BOX) == 0
    assert capsys.readouterr().out == "'my brick' has 1 example now\n"
    (example,) = examples(memory)
    assert (example.name, example.space.split()[0], example.crop[:2]) == ("my brick", PRESET, b"\xff\xd8")
    assert len(example.others) == 1  # the blue one stood beside it
    elsewhere = save(tmp_path / "in" / "a.png", (GREEN_BOX, RED), (RED_BOX, BLUE))
    out = tmp_path / "out"
    words = ("--labels", "find my brick and the blue", "--memory", memory, "--out", out)
    assert ovseg_segment(elsewhere, *words, segmenter=segmenter()) == 0
    found = {one["category_id"]: one for one in json.loads((out / "masks.json").read_text())["annotations"]}
    names = {c["id"]: c["name"] for c in json.loads((out / "masks.json").read_text())["categories"]}
    boxes = {names[label]: one["bbox"] for label, one in found.items()}
    assert boxes == {"my brick": [50, 30, 25, 25], "blue": [5, 5, 25, 25]}
    without = save(tmp_path / "in" / "b.png", (RED_BOX, BLUE))
    assert ovseg_segment(without, *words[:4], "--out", tmp_path / "other", segmenter=segmenter()) == 0
    assert "my brick in none" in capsys.readouterr().out


def test_several_pictures_are_several_examples_and_all_or_none_are_kept(memory, photo, tmp_path, capsys):
    empty = save(tmp_path / "empty.png", (GREEN_BOX, BLUE))
    shown = ("--image", photo, "--box", BOX)
    assert teach(memory, "my brick", *shown, "--image", empty, "--box", BOX) == 1
    assert f"{empty}: no mask fits this box" in capsys.readouterr().err
    assert examples(memory) == []
    assert teach(memory, "my brick", *shown, *shown) == 0
    assert len(examples(memory)) == 2


def test_a_drawn_mask_is_the_thing(memory, photo, tmp_path, capsys):
    drawn = np.zeros((60, 80), np.uint8)
    drawn[8:28, 8:28] = 255
    from PIL import Image

    Image.fromarray(drawn).save(tmp_path / "mask.png")
    assert teach(memory, "my brick", "--image", photo, "--mask", tmp_path / "mask.png", "--no-picture") == 0
    (example,) = examples(memory)
    assert example.crop is None
    np.testing.assert_allclose(
        example.embedding, segmenter().encode_masks(*_frame_and(photo, drawn > 0))[0], atol=1e-3
    )
    Image.fromarray(np.zeros((60, 80), np.uint8)).save(tmp_path / "nothing.png")
    given = ("--image", photo, "--mask", tmp_path / "nothing.png")
    assert teach(memory, "other", *given) == 2
    assert "nothing is in the mask" in capsys.readouterr().err
    Image.fromarray(np.full((6, 8), 255, np.uint8)).save(tmp_path / "small.png")
    assert teach(memory, "other", "--image", photo, "--mask", tmp_path / "small.png") == 2
    assert "expected a mask of the picture's size, 80x60, got 8x6" in capsys.readouterr().err


def _frame_and(photo, mask):
    import torch

    from ovseg_ros.files.frames import read_frame

    return read_frame(photo), torch.from_numpy(mask)[None]


def test_with_depth_the_size_is_known(memory, photo, tmp_path):
    depth = tmp_path / "depth.npy"
    np.save(depth, np.full((60, 80), 0.5, np.float32))
    shown = ("--image", photo, "--box", BOX, "--depth", depth)
    assert teach(memory, "my brick", *shown, "--intrinsics", "60,60,40,30") == 0
    (example,) = examples(memory)
    # Without its rim 23 pixels at 0.5 m under fx = 60: 0.192 m; a square's mean square distance is w² / 6.
    assert example.size_m == pytest.approx(0.192 / 6**0.5, rel=0.02)


def test_names_are_listed_and_forgotten_and_taken_ones_refused(memory, photo, capsys):
    shown = ("--image", photo, "--box", BOX)
    assert teach(memory, "My Brick", *shown) == 0
    assert teach(memory, "my brick", *shown) == 2
    said = capsys.readouterr().err
    assert "the name 'My Brick' is taken: it has 1 example; --add" in said
    assert teach(memory, "my brick", *shown, "--add") == 0
    capsys.readouterr()
    assert teach(memory, "--list") == 0
    assert capsys.readouterr().out == "My Brick: 2 examples\n"
    assert teach(memory, "--list", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"My Brick": 2}
    assert teach(memory, "your brick", "--forget") == 1
    assert "nothing of 'your brick' to forget; there is 'My Brick'" in capsys.readouterr().err
    assert teach(memory, "MY BRICK", "--forget") == 0
    assert capsys.readouterr().out == "2 examples of 'My Brick' forgotten\n"
    assert examples(memory) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["my brick"], "--image photo.png --box 210,130,60,70, or --track N"),
        (["my brick", "--image", "PHOTO"], "expected --box or --mask after --image"),
        (["my brick", "--image", "PHOTO", "--box", BOX, "--mask", "PHOTO"], "got both"),
        (["my brick", "--image", "PHOTO", "--box", "70,50,25,25"], "within the picture of 80x60 pixels"),
        (["my brick", "--image", "PHOTO", "--box", "7,5,0,25"], "a box with width and height, got 0x25"),
        (["my brick", "--image", "PHOTO", "--box", BOX, "--depth", "PHOTO"], "--intrinsics"),
        (["my brick", "--image", "none.png", "--box", BOX], "none.png"),
        (['my "brick"', "--image", "PHOTO", "--box", BOX], "without quotation marks"),
        (["x" * 129, "--image", "PHOTO", "--box", BOX], "got 129 bytes"),
        (["my brick", "--track", "3"], "--track is of a running node: leave --memory out"),
        (["my brick", "--list"], "leave 'my brick' out"),
        (["my brick", "--forget", "--image", "PHOTO", "--box", BOX], "leave --image out"),
        (["my brick", "--image", "PHOTO", "--box", BOX, "--preset", "vitb16"], "lite"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_cure(memory, photo, capsys, arguments, said):
    given = [str(photo) if one == "PHOTO" else one for one in arguments]
    assert main(["teach", "--memory", str(memory), "--preset", PRESET, *given]) == 2
    assert said in capsys.readouterr().err
    assert not memory.exists() or examples(memory) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--box", BOX, "--image", "a.png"], "belongs to the --image before it"),
        (["--image", "a.png", "--box", BOX, "--box", BOX], "stands twice after one --image"),
        (["--image", "a.png", "--box", "1,2,3"], "expected X,Y,W,H"),
        (["--track", "1", "--list"], "not allowed with"),
    ],
)
def test_options_that_do_not_belong_together(capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        main(["teach", "my brick", *arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_list_wants_a_memory_that_is_there(memory, capsys):
    assert teach(memory, "--list") == 2
    assert "there is no memory at" in capsys.readouterr().err
    assert not memory.exists()


def test_segment_says_what_a_memory_lacks(memory, photo, tmp_path, capsys):
    with open_store(memory):
        pass
    words = ("--labels", "my brick", "--memory", memory, "--out", tmp_path / "out")
    with pytest.raises(Exception, match=r"no name was taught in .*show one with `ovseg teach`"):
        ovseg_segment(photo, *words, segmenter=segmenter())
    assert teach(memory, "my brick", "--image", photo, "--box", BOX) == 0
    with open_store(memory) as store:
        (example,) = store.examples()
        store.forget_name("my brick")
        import dataclasses

        store.save_example(dataclasses.replace(example, space="another"))
    with pytest.raises(Exception, match="was taught to another model"):
        ovseg_segment(photo, *words, segmenter=segmenter())

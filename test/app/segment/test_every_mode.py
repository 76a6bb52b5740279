"""Acceptance: `ovseg segment` runs every kind of proposals with every mode of classification, on real files.

The networks are tiny and random: what they find means nothing, but the whole path has to run, and what comes
out of it has to have the documented form. The MaskFormers and CLIPs come from files in the released layout,
through `ovseg convert-checkpoint`.
"""

from __future__ import annotations

import itertools
import json
from functools import cache
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from tiny_presets import OPTIONS, SWIN, make_tiny_presets, write_preset

from ovseg_ros.app.cli import main
from ovseg_ros.app.segment import setup
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.models.presets import load_preset

HEIGHT, WIDTH = 120, 160
KINDS = (
    "depth_clusters",
    "sam",
    "maskformer",
    "mask2former",
    "ovseg_swin",
    "ovseg_resnet",
    "union",
)
CLASSIFYING = ("ovseg_swin", "ovseg_resnet")
REGIONS = [
    {"classifier": "clip", "region_view": view, "mask_prompts": prompts}
    for view, prompts in itertools.product(("masked", "context", "both"), ("true", "false"))
]
GENERATORS = [{"classifier": "maskformer"}, {"classifier": "ensemble", "clip_weight": "0.6"}]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small only wait for each other's threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


load_once = cache(load_preset)


@pytest.fixture(scope="module", autouse=True)
def networks_are_loaded_once():
    """By the first command that runs a preset; the others get a chain of their own with the same networks."""

    def load(*given, **named):
        return load_once(*given, **named).rebuilt()

    with mock.patch.object(setup, "load_preset", load):
        yield
    load_once.cache_clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def presets(folder) -> dict[str, Path]:
    return make_tiny_presets(folder)


@pytest.fixture(scope="module")
def picture(folder) -> list[str]:
    """A frame of the tabletop at a quarter of its size, as files, and the arguments that name them."""
    frame = next(iter(read_recording(recording_folder("demo/tabletop")))).frame
    small = cv2.resize(frame.image_rgb, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    depth = cv2.resize(frame.depth_m, (WIDTH, HEIGHT), interpolation=cv2.INTER_NEAREST)
    Image.fromarray(small).save(folder / "table.png")
    cv2.imwrite(str(folder / "depth.png"), np.rint(1000 * depth).astype(np.uint16))
    k = frame.intrinsics
    intrinsics = ",".join(str(value / 4) for value in (k.fx, k.fy, k.cx, k.cy))
    return [
        str(folder / "table.png"),
        "--depth",
        str(folder / "depth.png"),
        "--intrinsics",
        intrinsics,
    ]


def segment(picture, preset, out, labels="teapot, mug", **options) -> int:
    settings = [f"--set={name}={value}" for name, value in options.items()]
    return main(
        ["segment", *picture, "--labels", labels, "--preset", str(preset), "--out", str(out), *settings]
    )


def check_outputs(out: Path, names: tuple[str, ...]) -> int:
    """Shapes, kinds and ranges as documented; returns how many masks there are."""
    labels = np.array(Image.open(out / "labels" / "table.png"))
    instances = cv2.imread(str(out / "instances" / "table.png"), cv2.IMREAD_UNCHANGED)
    overlay = cv2.imread(str(out / "overlay" / "table.png"))
    assert (labels.shape, labels.dtype) == ((HEIGHT, WIDTH), np.uint8)
    assert (instances.shape, instances.dtype) == ((HEIGHT, WIDTH), np.uint16)
    assert overlay.shape == (HEIGHT, WIDTH, 3)
    assert set(np.unique(labels)) <= {*range(len(names)), 255}
    masks = json.loads((out / "masks.json").read_text())
    assert [category["name"] for category in masks["categories"]] == list(names)
    for one in masks["annotations"]:
        assert 0.0 <= one["score"] <= 1.0
        assert one["segmentation"]["size"] == [HEIGHT, WIDTH]
        assert one["area"] >= 1
    return len(masks["annotations"])


@pytest.mark.parametrize("mode", [*REGIONS, *GENERATORS], ids=lambda m: "-".join(m.values()))
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_in_every_mode(presets, picture, tmp_path, capsys, kind, mode):
    out = tmp_path / "out"
    status = segment(picture, presets[kind], out, **mode)
    said = capsys.readouterr().err
    if mode["classifier"] == "clip" or kind in CLASSIFYING:
        assert status == 0, said
        assert check_outputs(out, ("teapot", "mug")) > 0, "with a threshold of 0 each mask gets a word"
    else:
        assert status == 2
        assert "take the classifier clip" in said
        assert not (out / "masks.json").exists()


@pytest.mark.parametrize("templates", ["bare", "single", "vild", "imagenet"])
@pytest.mark.parametrize(("semantic", "granularity"), [("soft", 0), ("binary", 0.5), ("binary", 1)])
def test_templates_and_label_images(presets, picture, tmp_path, templates, semantic, granularity):
    options = {"templates": templates, "semantic": semantic, "granularity": granularity}
    assert segment(picture, presets["ovseg_swin"], tmp_path / "o", classifier="ensemble", **options) == 0
    assert check_outputs(tmp_path / "o", ("teapot", "mug")) > 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["mug", "teapot, mug, bowl"])
def test_one_word_and_background(presets, picture, tmp_path, kind, labels):
    names = tuple(labels.split(", "))
    assert segment(picture, presets[kind], tmp_path / "a", labels) == 0
    check_outputs(tmp_path / "a", names)
    assert segment(picture, presets[kind], tmp_path / "b", labels, background="[wall, floor]") == 0
    check_outputs(tmp_path / "b", names)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", [0, 1])
def test_no_mask_and_one_mask(presets, picture, tmp_path, kind, limit):
    settings = {"max_masks": 1} if limit else {"min_mask_pixels": 10**6}
    assert segment(picture, presets[kind], tmp_path / "o", **settings) == 0
    assert check_outputs(tmp_path / "o", ("teapot", "mug")) == limit


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "depth_clusters"])
@pytest.mark.parametrize("size", [(1, 1), (1, 500), (37, 2)])
def test_images_of_odd_sizes(presets, kind, size):
    result = load_once(presets[kind]).segment(
        Frame(np.full((*size, 3), 77, np.uint8)), Vocabulary.empty().replace(["mug"])[0]
    )
    assert result.masks.shape[1:] == size
    assert result.semantic()[0].shape == size


def test_a_union_of_classifying_generators_classifies(folder, presets, picture, tmp_path):
    member = {
        "kind": "ovseg_maskformer",
        "model": SWIN,
        "weights": "swin/proposals.safetensors",
        "non_object": "swin/non_object.safetensors",
    }
    members = [{**member, "options": {"mask_threshold": value}} for value in (0.3, 0.6)]
    clip = {"kind": "clip", "model": "", "weights": "swin/clip.safetensors"}
    clip["model"] = yaml.safe_load(presets["sam"].read_text())["encoder"]["model"]
    both = write_preset(folder, "twice", {"kind": "union", "members": members}, clip)
    assert segment(picture, both, tmp_path / "o", classifier="ensemble") == 0
    assert check_outputs(tmp_path / "o", ("teapot", "mug")) > 0


def test_the_presets_are_what_the_files_hold(presets):
    assert OPTIONS["threshold"] == 0.0
    swin = load_preset(presets["ovseg_swin"])
    assert swin.clip.mask_prompts.shape[0] == 3
    assert swin.proposer.classifies
    assert swin.clip.clip_model.visual.transformer.resblocks[0].mlp.gelu.__class__.__name__ == "QuickGELU"

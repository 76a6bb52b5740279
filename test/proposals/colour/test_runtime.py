"""The colour mask network by another runtime: the same masks, or torch."""

import logging

import numpy as np
import pytest
import torch

from ovseg_ros.core.engines import A_CAMERA, has_openvino, programs
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.bundled.colour_masks import load_colour_masks
from ovseg_ros.proposals.agreement import check_masks
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions, proposer
from ovseg_ros.proposals.colour.agreement import check_image, of_cells
from ovseg_ros.proposals.colour.proposer import network_input

pytestmark = pytest.mark.usefixtures("one_thread")
SMALL = {"short_side": 64, "precision": "fp32"}


@pytest.fixture(scope="module")
def parts():
    return load_colour_masks()


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
def test_cells_are_those_of_torch(parts):
    exact = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    fast = ColourMasks(
        *parts, ColourMasksOptions(**SMALL, runtime="openvino"), pictures=[check_image((70, 90))]
    )
    image = check_image((128, 192))
    wanted, found = exact.cells(image), fast.cells(image)
    assert fast.programs.runtime == "openvino"
    (report,) = fast.programs.reports.values()
    assert report.same > 0.999
    for name in ("scores", "boxes", "kernels", "pixels"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name), atol=1e-3, rtol=1e-3)


def test_other_masks_give_way_to_torch(parts, monkeypatch, caplog):
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    masks.programs.runtime = "openvino"

    def other(runtime, job, store, what):
        return lambda pixels: job.module(pixels.flip(2))

    monkeypatch.setattr(programs, "run_elsewhere", other)
    image = check_image((64, 64))
    with caplog.at_level(logging.WARNING):
        cells = masks.cells(image)
    assert masks.programs.runtime == "torch"
    assert "the colour mask network stays with torch: fp32 in openvino does not agree" in caplog.text
    with torch.no_grad():
        again = ColourMasks(*parts, ColourMasksOptions(**SMALL)).cells(image)
    torch.testing.assert_close(cells.scores, again.scores)


def test_a_program_is_made_once_for_each_shape(parts, monkeypatch):
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    masks.programs.runtime, shapes = "openvino", []

    def same(runtime, job, store, what):
        shapes.append(tuple(job.example[0].shape[2:]))
        return job.module

    monkeypatch.setattr(programs, "run_elsewhere", same)
    for width in (64, 96, 64):
        masks.cells(np.zeros((64, width, 3), np.uint8))
    assert shapes == [(64, 64), (64, 96)]


@pytest.mark.parametrize("prepared", [False, True])
def test_of_its_own_accord_it_takes_a_camera_for_that(parts, monkeypatch, prepared):
    """A program costs seconds: not for a folder of pictures of many shapes."""
    monkeypatch.setattr(programs, "choose_runtime", lambda *_: "openvino")
    made = []

    def same(runtime, job, store, what):
        made.append(tuple(job.example[0].shape[2:]))
        return job.module

    monkeypatch.setattr(programs, "run_elsewhere", same)
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL, runtime="auto"))
    if prepared:
        masks.prepare((64, 64))
    for n in range(A_CAMERA):
        masks.cells(np.zeros((64, 64 + 32 * (n + 1), 3), np.uint8))
        assert made == [(64, 64)] * prepared
        masks.cells(np.zeros((64, 64, 3), np.uint8))
    assert made == [(64, 64)]
    assert masks.programs.runtime == "openvino"


def test_what_is_not_finite_does_not_agree(parts):
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    pixels = network_input(check_image((64, 64)), 64)

    def broken(given):
        cells = masks._run(given, torch.float32)
        cells.pixels[0, 0, 0] = float("nan")
        return cells

    with torch.no_grad():
        report = check_masks(
            of_cells(lambda given: masks._run(given, torch.float32), broken), [pixels], what="it", least=0.9
        )
    assert not report.finite
    assert not report.agrees


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="expected runtime one of auto, torch"):
        ColourMasksOptions(runtime="onnx")
    with pytest.raises(ConfigError, match="min_agreement"):
        ColourMasksOptions(min_agreement=1.1)


def test_features_are_the_backbones_and_of_those_very_pixels(parts):
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    image = check_image((64, 96))
    pixels = network_input(image, 64)
    assert masks.features_of(pixels) is None
    masks.cells(image)
    with torch.no_grad():
        torch.testing.assert_close(masks.features_of(pixels.clone()), parts[0].forward_features(pixels))
    other = pixels.clone()
    other[0, 0, 0, 0] += 1e-3
    assert masks.features_of(other) is None
    for shade in range(proposer._LOOKED):
        masks.cells(np.full((64, 96, 3), shade, np.uint8))
    assert masks.features_of(pixels) is None  # others have been looked at since


def test_features_in_16_bits_are_not_given_out(parts, monkeypatch):
    masks = ColourMasks(*parts, ColourMasksOptions(**SMALL))
    masks.precision = "bf16"
    image = check_image((64, 64))
    with torch.no_grad():
        masks.cells(image)
    assert masks.features_of(network_input(image, 64)) is None


def test_another_runtime_has_float32_unless_16_bits_were_asked_for(parts):
    asked = {name: ColourMasks(*parts, ColourMasksOptions(precision=name)) for name in ("auto", "bf16")}
    assert [one.programs.precision for one in asked.values()] == ["fp32", "bf16"]

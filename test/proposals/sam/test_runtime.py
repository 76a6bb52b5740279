"""Segment Anything's image encoder by another runtime: the same masks, or torch."""

from __future__ import annotations

import logging
import types

import numpy as np
import pytest
import torch
from sam_fixtures import picture, tiny_options, tiny_sam

from ovseg_ros.core.engines import has_openvino, measured, onnx_runtime, programs
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError
from ovseg_ros.proposals.sam.precision import SamInPrecision, grid_answers
from ovseg_ros.proposals.sam.proposer import SamOptions, SamProposals

pytestmark = pytest.mark.usefixtures("one_thread")
NEEDS = {"openvino": ("openvino",), "onnxruntime": onnx_runtime.NEEDS}
BOXES = [[10.0, 10.0, 60.0, 70.0]]


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture(scope="module")
def frame():
    return Frame(picture())


@pytest.fixture
def calls(monkeypatch):
    """How often a made-up runtime ran the encoder; `change` is done to what it gives."""
    seen = types.SimpleNamespace(count=0, jobs=[], change=lambda features: features)

    def run_elsewhere(runtime, job, store, what):
        seen.jobs.append(job)

        def run(pixels):
            seen.count += 1
            with torch.no_grad():
                return seen.change(job.module(pixels))

        return run

    monkeypatch.setattr(programs, "choose_runtime", lambda asked, *_: asked)
    monkeypatch.setattr(programs, "run_elsewhere", run_elsewhere)
    return seen


def test_the_encoder_runs_elsewhere_and_the_masks_stay(sam, frame, calls):
    plain = SamProposals(sam, tiny_options())
    fast = SamProposals(sam, tiny_options(runtime="openvino"), pictures=[picture(40, 60)])
    (report,) = fast.programs.reports.values()
    assert (report.agreement, report.agrees) == (1, True)
    assert report.precision == "fp32 in openvino"
    side = sam.image_encoder.img_size
    assert [tuple(job.example[0].shape) for job in calls.jobs] == [(1, 3, side, side)]
    assert calls.count == 2  # a made-up picture and the photograph
    wanted, found = plain.propose(frame), fast.propose(frame)
    assert len(found) > 0
    assert torch.equal(found.masks, wanted.masks)
    boxed = [one.propose_at(frame, boxes_xyxy=BOXES) for one in (plain, fast)]
    assert torch.equal(boxed[0].masks, boxed[1].masks)
    assert calls.count == 4  # one for the grid, one for the box: no more than by torch


def test_other_masks_give_way_to_torch(sam, frame, calls, caplog):
    calls.change = lambda features: features.flip(2)
    with caplog.at_level(logging.WARNING):
        fast = SamProposals(sam, tiny_options(runtime="openvino"))
    assert fast.programs.runtime == "torch"
    (report,) = fast.programs.reports.values()
    assert report.agreement < 0.9
    assert f"Segment Anything's image encoder stays with torch: {report}" in caplog.text
    assert f"{100 * report.agreement:.2f} % of labels agree (expected 99.5 %)" in caplog.text
    count = calls.count
    assert torch.equal(fast.propose(frame).masks, SamProposals(sam, tiny_options()).propose(frame).masks)
    assert calls.count == count


def test_what_is_not_finite_later_is_computed_again_by_torch(sam, frame, calls, caplog):
    fast = SamProposals(sam, tiny_options(runtime="openvino"))
    calls.change = lambda features: features * float("nan")
    with caplog.at_level(logging.WARNING):
        found = fast.propose(frame)
    assert "overflowed in another runtime" in caplog.text
    assert torch.equal(found.masks, SamProposals(sam, tiny_options()).propose(frame).masks)


def test_auto_is_float32_elsewhere_and_made_at_the_start(sam, calls):
    fast = SamProposals(sam, tiny_options(runtime="auto", precision="auto"), check=False)
    assert [job.precision for job in calls.jobs] == ["fp32"]
    assert fast.programs.reports


def test_figures_are_anothers_with_another_decoder(calls, monkeypatch):
    """The program is the encoder's alone, what it is trusted for is not."""
    kept = {}
    store = types.SimpleNamespace(folder="", read=kept.get, write=kept.__setitem__)
    monkeypatch.setattr(measured.openvino_runtime, "version", lambda: ("1",))
    sam = tiny_sam()
    for names in (1, 1, 2):
        if names == 2:
            with torch.no_grad():
                sam.mask_decoder.iou_token.weight += 0.1
        SamProposals(sam, tiny_options(runtime="openvino"), store=store)
        assert len(kept) == names
    assert calls.count == 2


@pytest.mark.parametrize("runtime", NEEDS)
@pytest.mark.parametrize("image_size", [None, 96])
def test_features_are_those_of_torch(sam, frame, runtime, image_size):
    for package in NEEDS[runtime]:
        pytest.importorskip(package)
    plain = SamProposals(sam, tiny_options(image_size=image_size))
    fast = SamProposals(sam, tiny_options(image_size=image_size, runtime=runtime))
    assert fast.programs.runtime == runtime
    exact, found = (grid_answers(one._model, np.ascontiguousarray(frame.image_rgb)) for one in (plain, fast))
    for part, wanted in zip(found, exact, strict=True):
        torch.testing.assert_close(part, wanted, atol=1e-3, rtol=1e-3)


@pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")
def test_a_second_start_takes_what_was_kept(sam, monkeypatch):
    kept = {}
    store = types.SimpleNamespace(folder="", read=kept.get, write=kept.__setitem__)
    options = tiny_options(runtime="openvino")
    first = SamProposals(sam, options, store=store)
    assert sorted(name.rpartition(".")[2] for name in kept) == ["measured", "openvino"]
    monkeypatch.setattr(torch.jit, "trace", None)
    monkeypatch.setattr(SamInPrecision, "__init__", counted := _counted(SamInPrecision.__init__))
    again = SamProposals(sam, options, store=store)
    assert again.programs.reports == first.programs.reports
    assert counted.images == 0


def _counted(init):
    def counting(self, *args, **kwargs):
        init(self, *args, **kwargs)
        encode = self.image_encoder._call

        def call(*given):
            counting.images += 1
            return encode(*given)

        self.image_encoder._call = call

    counting.images = 0
    return counting


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="expected runtime one of auto, torch"):
        SamOptions(runtime="onnx")
    with pytest.raises(ConfigError, match="min_agreement"):
        SamOptions(min_agreement=1.1)

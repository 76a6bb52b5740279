"""SAM 2's image encoder by another runtime: the same masks and memory, or torch."""

from __future__ import annotations

import logging
import types

import pytest
import torch
from sam2_fixtures import tiny_options, tiny_sam2
from sam_fixtures import picture

from ovseg_ros.core.engines import onnx_runtime, programs
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError
from ovseg_ros.proposals.sam2.proposer import Sam2Options, Sam2Proposals

pytestmark = pytest.mark.usefixtures("one_thread")
NEEDS = {"openvino": ("openvino",), "onnxruntime": onnx_runtime.NEEDS}
BOXES = [[10.0, 10.0, 50.0, 60.0]]


@pytest.fixture
def elsewhere(monkeypatch):
    """A made-up runtime that runs each module as it is; `change` is done to what it gives."""
    seen = types.SimpleNamespace(count=0, change=lambda features: features)

    def run_elsewhere(runtime, job, store, what):
        def run(pixels):
            seen.count += 1
            with torch.no_grad():
                return tuple(map(seen.change, job.module(pixels)))

        return run

    monkeypatch.setattr(programs, "choose_runtime", lambda asked, *_: asked)
    monkeypatch.setattr(programs, "run_elsewhere", run_elsewhere)
    return seen


@pytest.mark.parametrize("kind", ["sam2", "sam2_video"])
def test_the_encoder_runs_elsewhere_and_the_masks_stay(kind, elsewhere):
    plain = Sam2Proposals(tiny_sam2(kind), tiny_options())
    fast = Sam2Proposals(tiny_sam2(kind), tiny_options(runtime="openvino"), pictures=[picture(40, 60)])
    (report,) = fast.programs.reports.values()
    assert (report.agreement, report.agrees, elsewhere.count) == (1, True, 2)
    frame = Frame(picture())
    wanted, found = (one.propose_at(frame, boxes_xyxy=BOXES, multimask="all") for one in (plain, fast))
    assert len(found) > 0
    assert torch.equal(found.masks, wanted.masks)
    assert elsewhere.count == 3


def test_other_masks_give_way_to_torch(elsewhere, caplog):
    elsewhere.change = lambda features: features.flip(-1)
    with caplog.at_level(logging.WARNING):
        fast = Sam2Proposals(tiny_sam2(), tiny_options(runtime="openvino"))
    assert fast.programs.runtime == "torch"
    (report,) = fast.programs.reports.values()
    assert f"the image encoder of Sam2Model stays with torch: {report}" in caplog.text
    elsewhere.count = 0
    frame, plain = Frame(picture()), Sam2Proposals(tiny_sam2(), tiny_options())
    found, wanted = (one.propose_at(frame, boxes_xyxy=BOXES) for one in (fast, plain))
    assert torch.equal(found.masks, wanted.masks)
    assert elsewhere.count == 0


def test_what_is_not_finite_later_is_computed_again_by_torch(elsewhere, caplog):
    fast = Sam2Proposals(tiny_sam2(), tiny_options(runtime="openvino"))
    elsewhere.change = lambda features: features * float("inf")
    frame = Frame(picture())
    with caplog.at_level(logging.WARNING):
        found = fast.propose_at(frame, boxes_xyxy=BOXES)
    assert "Sam2Model's image encoder overflowed in another runtime" in caplog.text
    wanted = Sam2Proposals(tiny_sam2(), tiny_options()).propose_at(frame, boxes_xyxy=BOXES)
    assert torch.equal(found.masks, wanted.masks)


@pytest.mark.slow
@pytest.mark.parametrize("runtime", NEEDS)
@pytest.mark.parametrize("kind", ["sam2", "sam2_video"])
def test_features_are_those_of_torch(kind, runtime):
    for package in NEEDS[runtime]:
        pytest.importorskip(package)
    model = tiny_sam2(kind)
    plain = Sam2Proposals(model, tiny_options())
    fast = Sam2Proposals(model, tiny_options(runtime=runtime))
    assert fast.programs.runtime == runtime
    image = picture()
    exact, found = plain.network.embed(image), fast.network.embed(image)
    for part, wanted in zip(found, exact, strict=True):
        torch.testing.assert_close(part, wanted, atol=1e-3, rtol=1e-3)


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="expected runtime one of auto, torch"):
        Sam2Options(runtime="onnx")
    with pytest.raises(ConfigError, match="min_agreement"):
        Sam2Options(min_agreement=-0.1)

"""A MaskFormer by another runtime: the same masks, embeddings and objectness, or torch."""

from __future__ import annotations

import logging
import types

import pytest
import torch
from maskformer_layout import TINY_RESNET, TINY_SWIN
from public_maskformer import tiny
from sam_fixtures import picture

from ovseg_ros.core.engines import A_CAMERA, onnx_runtime, programs
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.maskformer.config import OvsegMaskFormerConfig
from ovseg_ros.models.maskformer.network import build_ovseg_maskformer
from ovseg_ros.models.maskformer.public import PublicMaskFormer
from ovseg_ros.proposals.maskformer import MaskFormerOptions, MaskFormerProposals

pytestmark = pytest.mark.usefixtures("one_thread")
NEEDS = {"openvino": ("openvino",), "onnxruntime": onnx_runtime.NEEDS}
SIZE = {"short_side": 64, "long_side": 96}


def ovseg(sizes=TINY_SWIN):
    torch.manual_seed(0)
    config = OvsegMaskFormerConfig.from_mapping(sizes)
    network = build_ovseg_maskformer(config)
    network.set_non_object(torch.ones(1, config.embedding_dim))
    return network


def public(kind="maskformer", body="swin"):
    torch.manual_seed(0)
    return PublicMaskFormer(tiny(kind, body).eval().requires_grad_(False), {})


def masks(network, **options):
    return MaskFormerProposals(network, MaskFormerOptions(**SIZE, **options), pictures=[picture(40, 60)])


@pytest.fixture
def elsewhere(monkeypatch):
    """A made-up runtime that runs each module as it is; `change` is done to what it gives."""
    seen = types.SimpleNamespace(count=0, change=lambda parts: parts)

    def run_elsewhere(runtime, job, store, what):
        def run(pixels):
            seen.count += 1
            parts = seen.change(job.module(pixels))
            return parts if len(parts) > 1 else parts[0]  # as the runtimes give them

        return run

    monkeypatch.setattr(programs, "choose_runtime", lambda asked, *_: asked)
    monkeypatch.setattr(programs, "run_elsewhere", run_elsewhere)
    return seen


def same(found, wanted):
    assert torch.equal(found.masks, wanted.masks)
    for name in ("scores", "class_embeddings"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("build", [ovseg, public])
def test_all_that_the_network_says_arrives(build, elsewhere):
    network, frame = build(), Frame(picture())
    fast = masks(network, runtime="openvino")
    same(fast.propose(frame), masks(network).propose(frame))
    (report,) = fast.programs.reports.values()
    assert (report.agreement, elsewhere.count) == (1, 3)  # two pictures to be trusted, and the frame


def test_masks_alone_arrive_too(elsewhere):
    network = public()
    plain = network.forward
    network.forward = lambda pixels: type(plain(pixels))(plain(pixels).mask_logits)
    frame = Frame(picture())
    same(masks(network, runtime="openvino").propose(frame), masks(network).propose(frame))


@pytest.mark.parametrize("part", [0, 1])
def test_other_masks_or_embeddings_give_way_to_torch(part, elsewhere, caplog):
    elsewhere.change = lambda parts: tuple(
        -given if number == part else given for number, given in enumerate(parts)
    )
    network, frame = ovseg(), Frame(picture())
    fast = masks(network, runtime="openvino")
    with caplog.at_level(logging.WARNING):
        found = fast.propose(frame)
    assert fast.programs.runtime == "torch"
    (report,) = fast.programs.reports.values()
    assert not report.agrees
    assert f"MaskFormer stays with torch: {report}" in caplog.text
    same(found, masks(network).propose(frame))


def test_of_its_own_accord_it_takes_a_camera_for_that(elsewhere):
    fast, frame = masks(public(), runtime="auto"), Frame(picture())
    for _ in range(A_CAMERA - 1):
        fast.propose(frame)
    assert fast.programs.reports == {}
    fast.propose(frame)
    assert [tuple(shape) for shape in fast.programs.reports] == [(1, 3, 96, 64)]
    fast.prepare((64, 64))
    assert len(fast.programs.reports) == 2


@pytest.mark.slow
@pytest.mark.parametrize("runtime", NEEDS)
@pytest.mark.parametrize(
    "build",
    [ovseg, lambda: ovseg(TINY_RESNET), public, lambda: public("mask2former", "swin")],
    ids=["ovseg swin", "ovseg resnet", "maskformer", "mask2former"],
)
def test_it_gives_what_torch_gives(build, runtime):
    for package in NEEDS[runtime]:
        pytest.importorskip(package)
    network = build()
    fast = masks(network, runtime=runtime)
    fast.prepare((64, 96))
    assert fast.programs.runtime == runtime
    with torch.no_grad():
        pixels = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
        wanted, found = network(pixels), fast._output(pixels)
    for name in ("mask_logits", "class_embeddings", "objectness"):
        one, other = getattr(found, name), getattr(wanted, name)
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_options_that_cannot_be():
    with pytest.raises(ConfigError, match="expected runtime one of auto, torch"):
        MaskFormerOptions(runtime="onnx")
    with pytest.raises(ConfigError, match="min_agreement"):
        MaskFormerOptions(min_agreement=1.1)

"""SAM 2.1 and EdgeTAM in 16 bits: only where masks agree, and in 32 again where they overflow."""

from __future__ import annotations

import pytest
import torch
from sam2_fixtures import tiny_options, tiny_sam2
from sam_fixtures import picture

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError
from ovseg_ros.proposals.sam2.network import check_precision
from ovseg_ros.proposals.sam2.proposer import Sam2Proposals

BOXES = [[10.0, 10.0, 50.0, 60.0], [3.0, 70.0, 30.0, 90.0]]


@pytest.mark.parametrize("kind", ["sam2", "edgetam"])
def test_bf16_is_measured_against_fp32(kind):
    model = tiny_sam2(kind)
    report = check_precision(model, "bf16", picture(64, 64), tolerance=1.0)
    assert report.finite
    assert report.agrees
    assert 0 < report.logit_error < 0.5
    assert 0.5 < report.mask_iou <= 1
    same = check_precision(model, "fp32", picture(64, 64))
    assert (same.mask_iou, same.score_error, same.logit_error, same.changed_share) == (1, 0, 0, 0)
    with pytest.raises(ConfigError, match="expected tolerance >= 0"):
        check_precision(model, "bf16", picture(64, 64), tolerance=-1)


def test_the_network_runs_in_16_bits_and_its_prompts_in_32(caplog):
    model, seen = tiny_sam2(), {}

    def watch(name):
        def look(module, args, output):
            seen[name] = (output[0] if isinstance(output, tuple) else output).dtype

        return look

    for name in ("prompt_encoder.shared_embedding", "shared_image_embedding", "mask_decoder.upscale_conv2"):
        model.get_submodule(name).register_forward_hook(watch(name))
    model.vision_encoder.neck.convs[0].register_forward_hook(watch("neck"))
    with caplog.at_level("INFO"):
        proposals = Sam2Proposals(model, tiny_options(precision="bf16", precision_tolerance=1.0))
    assert "bf16 agrees with fp32" in caplog.text
    answer = proposals.propose_at(Frame(picture()), boxes_xyxy=BOXES)
    assert proposals.precision == "bf16"
    assert seen["neck"] == seen["mask_decoder.upscale_conv2"] == torch.bfloat16
    assert seen["prompt_encoder.shared_embedding"] == seen["shared_image_embedding"] == torch.float32
    assert answer.scores.dtype == torch.float32


def test_where_masks_do_not_agree_it_stays_with_32_bits(caplog):
    frame = Frame(picture())
    model = tiny_sam2()
    proposals = Sam2Proposals(model, tiny_options(precision="bf16", precision_tolerance=0.0))
    assert proposals.precision == "fp32"
    assert not proposals.precision_report.agrees
    assert "stays with fp32" in caplog.text
    exact = Sam2Proposals(tiny_sam2(), tiny_options())
    for one in (proposals, exact):
        with torch.autocast("cpu", torch.bfloat16):  # a caller's own changes nothing
            one.answer = one.propose_at(frame, boxes_xyxy=BOXES)
    assert torch.equal(proposals.answer.scores, exact.answer.scores)
    assert torch.equal(proposals.answer.masks, exact.answer.masks)


def test_what_overflows_is_computed_again_in_32_bits(caplog):
    model = tiny_sam2()
    proposals = Sam2Proposals(model, tiny_options(precision="bf16"), check=False)

    def overflow(module, args, output):
        return output * torch.inf if output.dtype == torch.bfloat16 else output

    for part in (model.vision_encoder.neck.convs[0], model.mask_decoder.upscale_conv2):
        part.register_forward_hook(overflow)
    answer = proposals.propose_at(Frame(picture()), boxes_xyxy=BOXES)
    exact = Sam2Proposals(tiny_sam2(), tiny_options()).propose_at(Frame(picture()), boxes_xyxy=BOXES)
    assert torch.equal(answer.masks, exact.masks)
    assert "image encoder overflowed in bf16" in caplog.text
    assert "mask decoder overflowed in bf16" in caplog.text


def test_a_cpu_has_no_fp16():
    with pytest.raises(ConfigError, match="fp32 or bf16 on a CPU, got fp16"):
        Sam2Proposals(tiny_sam2(), tiny_options(precision="fp16"))

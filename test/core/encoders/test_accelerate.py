"""An encoder in 16 bits or compiled, and what happens where that does not work."""

import copy
import dataclasses
import logging
import sys

import pytest
import torch
import torch.nn.functional as F
from core_fixtures import TINY_DIM, TINY_PATCHES, TINY_SIDE, TINY_WIDTH, tiny_clip, tiny_tokenizer

from ovseg_ros.core.device import precision
from ovseg_ros.core.device.precision import check_device, repaired, under_autocast
from ovseg_ros.core.encoders.accelerate import AcceleratedEncoder, AccelerateOptions, accelerate
from ovseg_ros.core.encoders.agreement import CHECK_WORDS, check_agreement, check_regions
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.errors import ConfigError, InvalidInputError

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
MODULE = sys.modules[AcceleratedEncoder.__module__]  # its name is also that of a function
BF16 = AccelerateOptions(precision="bf16", check_regions=0)


@pytest.fixture
def clip():
    prompts = torch.randn(3, TINY_PATCHES, TINY_WIDTH, generator=torch.Generator().manual_seed(2))
    return MaskPromptedClip(tiny_clip(), tiny_tokenizer, prompts).eval().requires_grad_(False)


def batch(count):
    return check_regions(count, TINY_SIDE)


@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("tower", [{}, {"qk_norm": True}, {"pool_type": "avg"}])
def test_sixteen_bits_are_near_thirty_two(tower, told):
    model = tiny_clip(**tower)
    clip = MaskPromptedClip(model, tiny_tokenizer, torch.randn(2, TINY_PATCHES, TINY_WIDTH)).eval()
    before = copy.deepcopy(clip.state_dict())
    fast = accelerate(clip, BF16, CPU)
    pixels, masks = batch(5)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks if told else None)
    rows = fast.encode_regions(pixels, masks if told else None)
    assert rows.dtype == torch.float32
    assert (rows * exact).sum(dim=1).min() > 0.999
    assert not torch.equal(rows, exact), "it did run in 16 bits"
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    for name, value in clip.state_dict().items():
        assert torch.equal(value, before[name]), "the encoder inside is not touched"


def test_rows_are_ordinary_tensors(clip):
    rows = accelerate(clip, BF16, CPU).encode_regions(*batch(2))
    assert not rows.is_inference()
    rows += 1  # would raise


def test_all_else_is_the_encoders_own(clip):
    fast = accelerate(clip, BF16, CPU)
    assert (fast.size, fast.embedding_dim, fast.logit_scale) == (TINY_SIDE, TINY_DIM, clip.logit_scale)
    assert torch.equal(fast.encode_text(["cup"]), clip.encode_text(["cup"]))
    assert not hasattr(fast, "encode_pooled")
    assert torch.equal(copy.deepcopy(fast).encode_regions(*batch(2)), fast.encode_regions(*batch(2)))


def test_empty_and_wrong_input(clip):
    fast = accelerate(clip, BF16, CPU)
    pixels, masks = batch(2)
    assert fast.encode_regions(pixels[:0], masks[:0]).shape == (0, TINY_DIM)
    with pytest.raises(InvalidInputError, match="pixels"):
        fast.encode_regions(pixels[:, :, :16])
    with pytest.raises(InvalidInputError, match="region_masks"):
        fast.encode_regions(pixels, masks[:1])


def test_nothing_asked_for_is_nothing_done(clip, monkeypatch):
    assert accelerate(clip, None, CPU) is clip
    assert accelerate(clip, AccelerateOptions(), CPU) is clip
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: False)
    assert accelerate(clip, AccelerateOptions(precision="auto"), CPU) is clip
    monkeypatch.setattr(precision, "cpu_has_bf16", lambda: True)
    assert accelerate(clip, AccelerateOptions(precision="auto", check_regions=0), CPU).precision == "bf16"


def test_a_precision_that_agrees_is_kept(clip):
    fast = accelerate(clip, AccelerateOptions(precision="bf16", check_regions=4), CPU)
    assert fast.precision == "bf16"
    assert fast.report.agrees
    assert "bf16 agrees with fp32" in str(fast.report)


def test_a_precision_that_does_not_agree_gives_way(clip, monkeypatch, caplog):
    right = MODULE._vit

    def wrong(visual, prompts, dtype):
        run = right(visual, prompts, dtype)
        return run if dtype == torch.float32 else lambda *arguments: -run(*arguments)

    monkeypatch.setattr(MODULE, "_vit", wrong)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, AccelerateOptions(precision="bf16", check_regions=4), CPU)
    assert fast.precision == "fp32"
    assert "stays with torch in fp32: bf16 does not agree" in caplog.text
    pixels, masks = batch(3)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks)
    torch.testing.assert_close(fast.encode_regions(pixels, masks), exact)


class Directions:
    """Words along the axes; a scale so large that labels are sure."""

    size, embedding_dim, logit_scale = 8, len(CHECK_WORDS), 100.0

    def encode_text(self, labels, templates=None):
        return torch.eye(len(labels))


def agreement(exact, short):
    report = check_agreement(
        Directions(),
        lambda *_: exact,
        lambda *_: short,
        precision="fp16",
        regions=[check_regions(len(exact), Directions.size)],
        least=0.995,
    )
    return report


def test_agreement_counts_labels():
    exact = F.normalize(torch.rand(6, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    assert agreement(exact, exact.clone()).agreement == agreement(exact, exact.clone()).same == 1
    wrong = exact.clone()
    wrong[0] = wrong[0].flip(0)
    report = agreement(exact, wrong)
    assert 5 / 6 <= report.agreement < 0.95
    assert not report.agrees
    assert "does not agree" in str(report)


def test_ties_are_no_disagreement_but_are_told():
    exact = torch.full((2, 16), 0.25)
    other = exact + 1e-5 * torch.arange(16)
    report = agreement(exact, other)
    assert report.agrees
    assert report.agreement == 1
    assert report.same < 0.9


def test_what_is_not_finite_does_not_agree():
    exact = F.normalize(torch.rand(3, 16), dim=1)
    broken = exact.clone()
    broken[1, 3] = float("nan")
    report = agreement(exact, broken)
    assert not report.finite
    assert not report.agrees
    assert "not finite" in str(report)


def test_overflow_is_done_again_in_full(clip, monkeypatch, caplog):
    short = torch.full((3, TINY_DIM), float("inf"))
    monkeypatch.setattr(MODULE, "_vit", lambda *_: lambda *_: short)
    fast = AcceleratedEncoder(clip, BF16, CPU)
    pixels, masks = batch(3)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(fast.encode_regions(pixels, masks), exact)
    assert caplog.text.count("the image tower overflowed in bf16") == 1


@pytest.mark.parametrize("broken", [0, 1])
def test_any_part_that_is_not_finite_is_done_again(broken):
    parts = [torch.ones(2), torch.ones(2)]
    parts[broken] = torch.tensor([1.0, float("nan")])
    exact = (torch.zeros(2), torch.zeros(2))
    assert repaired(lambda: tuple(parts), lambda: exact, name="it", precision="fp16")() is exact


@pytest.mark.parametrize("name", ["fp32", "bf16"])
def test_a_callers_autocast_changes_nothing(name):
    layer, seen = torch.nn.Linear(4, 4), []
    layer.register_forward_hook(lambda _, __, out: seen.append(out.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        out = under_autocast(layer, name, CPU)(torch.ones(1, 4))
    assert seen == [precision.DTYPES[name]]
    assert out.dtype == torch.float32
    assert not out.requires_grad


def test_running_out_of_memory_comes_through(clip, monkeypatch):
    def full(pixels, masks):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(MODULE, "_vit", lambda *_: full)
    with pytest.raises(torch.OutOfMemoryError):
        AcceleratedEncoder(clip, BF16, CPU).encode_regions(*batch(2))


def test_all_batches_share_two_programs(clip, monkeypatch):
    """What is traced; to make machine code of it takes minutes."""
    traced, programs = torch.compile, []

    def backend(program, _):
        programs.append(program)
        return program

    monkeypatch.setattr(torch, "compile", lambda run: traced(run, backend=backend))
    fast = accelerate(clip, AccelerateOptions(precision="bf16", compile=True, check_regions=0), CPU)
    assert fast.compiled
    made = len(programs)
    for count in (1, 2, 5, 9):
        pixels, masks = batch(count)
        with torch.no_grad():
            exact = clip.encode_regions(pixels, masks)
        assert (fast.encode_regions(pixels, masks) * exact).sum(dim=1).min() > 0.999
    assert made == len(programs) == 2


def test_without_a_compiler_it_goes_on(clip, monkeypatch, caplog):
    def compiled(pixels, masks):
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", lambda run: compiled)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, AccelerateOptions(compile=True, check_regions=0), CPU)
    assert not fast.compiled
    assert "going on without: no C++ compiler" in caplog.text
    assert fast.encode_regions(*batch(2)).shape == (2, TINY_DIM)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "int8"},
        {"runtime": "onnx"},
        {"runtime": "openvino", "compile": True},
        {"check_regions": -1},
        {"min_agreement": 1.1},
        {"min_agreement": float("nan")},
    ],
)
def test_options_refuse(change):
    with pytest.raises(ConfigError, match="expected"):
        dataclasses.replace(AccelerateOptions(), **change)


def test_devices_refuse(clip):
    with pytest.raises(ConfigError, match="got fp16; say precision: bf16"):
        check_device("fp16", CPU)
    with pytest.raises(ConfigError, match="fp32, bf16, fp16, got 'int8'"):
        check_device("int8", CPU)


@pytest.mark.parametrize(("capability", "auto"), [((7, 5), "fp16"), ((8, 0), "bf16")])
def test_graphics_cards(capability, auto, monkeypatch):
    cuda = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "T4")
    assert check_device("auto", cuda) == auto
    assert check_device("fp16", cuda) == "fp16"
    if auto == "fp16":  # bf16 is only emulated there
        with pytest.raises(ConfigError, match="T4 cannot do bf16; say precision: fp16 or fp32"):
            check_device("bf16", cuda)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_sixteen_bits_on_a_gpu(clip):
    pixels, masks = batch(7)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks)
    fast = accelerate(clip.cuda(), AccelerateOptions(precision="auto"), torch.device("cuda"))
    assert (fast.encode_regions(pixels, masks).cpu() * exact).sum(dim=1).min() > 0.999

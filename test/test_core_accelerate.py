"""An encoder in 16 bits, in fixed batches, and what happens where that does not work."""

import copy
import dataclasses
import logging

import pytest
import torch
import torch.nn.functional as F
from core_fixtures import TINY_DIM, TINY_PATCHES, TINY_SIDE, TINY_WIDTH, tiny_clip, tiny_tokenizer

from ovseg_ros.core import accelerate as module
from ovseg_ros.core.accelerate import AcceleratedEncoder, AccelerateOptions, accelerate, check_device
from ovseg_ros.core.agreement import CHECK_WORDS, check_agreement, check_regions
from ovseg_ros.core.batch_buckets import CudaGraphs, plan, run_in_buckets
from ovseg_ros.core.mask_clip import MaskPromptedClip
from ovseg_ros.errors import ConfigError, InvalidInputError

CPU = torch.device("cpu")
BF16 = AccelerateOptions(precision="bf16", check_regions=0)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clip():
    prompts = torch.randn(3, TINY_PATCHES, TINY_WIDTH, generator=torch.Generator().manual_seed(2))
    return MaskPromptedClip(tiny_clip(), tiny_tokenizer, prompts).eval().requires_grad_(False)


def batch(count):
    return check_regions(count, TINY_SIDE)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, []),
        (1, [(1, 1)]),
        (3, [(3, 4)]),  # a quarter of padding is fine
        (5, [(4, 4), (1, 1)]),  # three eighths are not
        (8, [(8, 8)]),
        (21, [(8, 8), (8, 8), (4, 4), (1, 1)]),
    ],
)
def test_plan(count, expected):
    assert plan(count, (1, 4, 8)) == expected


def test_a_batch_smaller_than_every_bucket_is_padded():
    assert plan(2, (8,)) == [(2, 8)]
    assert plan(17, (8,)) == [(8, 8), (8, 8), (1, 8)]


def test_every_plan_covers_its_batch():
    for buckets in ((1, 2, 4, 8, 16), (3,), (2, 7), (1,)):
        for count in range(60):
            parts = plan(count, buckets)
            assert sum(taken for taken, _ in parts) == count
            assert all(1 <= taken <= size and size in buckets for taken, size in parts)
            assert all(taken == size for taken, size in parts[:-1])


@pytest.mark.parametrize("told", [False, True])
def test_buckets_change_nothing(clip, told):
    pixels, masks = batch(11)
    sizes = []

    def run(pixels, masks):
        sizes.append(len(pixels))
        with torch.no_grad():
            return clip.encode_regions(pixels, masks)

    expected = run(pixels, masks if told else None)
    rows = run_in_buckets(run, pixels, masks if told else None, (2, 4))
    assert sizes == [11, 4, 4, 4]
    torch.testing.assert_close(rows, expected, atol=1e-5, rtol=1e-4)


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
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: False)
    assert accelerate(clip, AccelerateOptions(precision="auto"), CPU) is clip
    monkeypatch.setattr(module, "cpu_has_bf16", lambda: True)
    assert accelerate(clip, AccelerateOptions(precision="auto", check_regions=0), CPU).precision == "bf16"


def test_a_precision_that_agrees_is_kept(clip):
    fast = accelerate(clip, AccelerateOptions(precision="bf16", check_regions=4), CPU)
    assert fast.precision == "bf16"
    assert fast.report.agrees
    assert "bf16 agrees with fp32" in str(fast.report)


def test_a_precision_that_does_not_agree_gives_way(clip, monkeypatch, caplog):
    right = module._vit

    def wrong(visual, prompts, dtype):
        run = right(visual, prompts, dtype)
        return run if dtype == torch.float32 else lambda *arguments: -run(*arguments)

    monkeypatch.setattr(module, "_vit", wrong)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, AccelerateOptions(precision="bf16", check_regions=4), CPU)
    assert fast.precision == "fp32"
    assert "stays with fp32" in caplog.text
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
        Directions(), lambda *_: exact, lambda *_: short, precision="fp16", regions=len(exact), least=0.995
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


def test_overflow_is_done_again_in_full(clip, caplog):
    fast = AcceleratedEncoder(clip, BF16, CPU)
    fast._run = lambda pixels, masks: torch.full((len(pixels), TINY_DIM), float("inf"))
    pixels, masks = batch(3)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert torch.equal(fast.encode_regions(pixels, masks), exact)
    assert caplog.text.count("overflowed in bf16") == 1


def test_running_out_of_memory_comes_through_and_lets_recordings_go(clip):
    fast = AcceleratedEncoder(clip, BF16, CPU)
    fast._graphs = CudaGraphs(fast._run)
    fast._graphs._recordings["some"] = "recording"

    def full(pixels, masks):
        raise torch.OutOfMemoryError("full")

    fast._run = full
    with pytest.raises(torch.OutOfMemoryError):
        fast.encode_regions(*batch(2))
    assert len(fast._graphs) == 0


def test_compiled_runs_in_buckets(clip, monkeypatch):
    """The compiler itself takes a minute; what goes into it and comes out of it does not need it."""
    sizes = []

    def compiler(run, *, dynamic):
        assert dynamic is False

        def compiled(pixels, masks):
            sizes.append(len(pixels))
            return run(pixels, masks)

        return compiled

    monkeypatch.setattr(torch, "compile", compiler)
    options = AccelerateOptions(compile=True, batch_buckets=(2, 4), check_regions=0)
    fast = accelerate(clip, options, CPU)
    assert fast.compiled
    assert sizes == [2]
    pixels, masks = batch(7)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks)
    torch.testing.assert_close(fast.encode_regions(pixels, masks), exact, atol=1e-5, rtol=1e-4)
    assert sizes[1:] == [4, 4]


def test_without_a_compiler_it_goes_on(clip, monkeypatch, caplog):
    def compiled(pixels, masks):
        raise RuntimeError("no C++ compiler\nand more")

    monkeypatch.setattr(torch, "compile", lambda run, dynamic: compiled)
    with caplog.at_level(logging.WARNING):
        fast = accelerate(clip, AccelerateOptions(compile=True, check_regions=0), CPU)
    assert not fast.compiled
    assert "going on without: no C++ compiler" in caplog.text
    assert fast.encode_regions(*batch(2)).shape == (2, TINY_DIM)


@pytest.mark.parametrize(
    "change",
    [
        {"precision": "int8"},
        {"batch_buckets": ()},
        {"batch_buckets": (4, 2)},
        {"batch_buckets": (2, 2)},
        {"batch_buckets": (0, 2)},
        {"batch_buckets": (1.5,)},
        {"check_regions": -1},
        {"min_agreement": 1.1},
        {"min_agreement": float("nan")},
    ],
)
def test_options_refuse(change):
    with pytest.raises(ConfigError, match="want"):
        dataclasses.replace(AccelerateOptions(), **change)


def test_devices_refuse(clip):
    with pytest.raises(ConfigError, match="fp16"):
        check_device("fp16", CPU)
    with pytest.raises(ConfigError, match="GPU"):
        accelerate(clip, AccelerateOptions(cuda_graphs=True), CPU)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_graphs_on_a_gpu(clip):
    pixels, masks = batch(7)
    with torch.no_grad():
        exact = clip.encode_regions(pixels, masks), clip.encode_regions(pixels)
    options = AccelerateOptions(precision="auto", cuda_graphs=True, batch_buckets=(2, 4), check_regions=0)
    fast = accelerate(clip.cuda(), options, torch.device("cuda"))
    for _ in range(2):
        for told, expected in zip((masks, None), exact, strict=True):
            rows = fast.encode_regions(pixels, told).cpu()
            assert (rows * expected).sum(dim=1).min() > 0.999
    assert len(fast._graphs) == 2  # one size, with and without masks

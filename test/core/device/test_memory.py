"""Out of memory, wherever it happens: half at once, one more try, then the error; the next frame works."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from adapted_fixtures import new_adapted as new_pooled
from core_fixtures import ColourEncoder, FixedProposer, words
from sam_fixtures import picture, tiny_options, tiny_sam

from ovseg_ros.core import naming, within_memory
from ovseg_ros.core.device.memory import ran_out, retry_on_oom
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.gather import crop_bytes
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import OutOfMemoryError
from ovseg_ros.proposals.sam.proposer import SamProposals

pytestmark = pytest.mark.usefixtures("one_thread")
CPU = torch.device("cpu")
HEIGHT, WIDTH, COUNT = 40, 60, 5
FULL = "CUDA out of memory. Tried to allocate 20.00 MiB"


class Failing:
    """Calls something, after it has failed for as many times as `left` says; notes what it was asked for."""

    def __init__(self, work, amount=lambda *args, **kwargs: None):
        self.work, self.amount, self.left, self.asked = work, amount, 0, []

    def __call__(self, *args, **kwargs):
        self.asked.append(self.amount(*args, **kwargs))
        if self.left:
            self.left -= 1
            raise torch.OutOfMemoryError(FULL)
        return self.work(*args, **kwargs)


@pytest.fixture
def frame():
    return Frame(np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))


@pytest.fixture
def masks():
    return torch.rand(COUNT, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(0)) > 0.5


# ---- the rule itself ----


@pytest.mark.parametrize(("batch", "half"), [(5, 3), (1, 1)])
def test_half_is_tried_once(batch, half):
    work = Failing(lambda n: n, lambda n: n)
    assert retry_on_oom(work, batch, CPU, stage="trying") == batch
    work.left, work.asked = 1, []
    assert retry_on_oom(work, batch, CPU, stage="trying") == half
    assert work.asked == [batch, half]
    work.left, work.asked = 2, []
    with pytest.raises(OutOfMemoryError, match=r"cpu ran out .* while trying; eat less") as caught:
        retry_on_oom(work, batch, CPU, stage="trying", hint="eat less")
    assert isinstance(caught.value.__cause__, torch.OutOfMemoryError)
    assert work.asked == [batch, half]
    assert retry_on_oom(work, batch, CPU, stage="trying") == batch


def test_a_cpu_says_it_in_its_own_words():
    """What really comes from torch's and NumPy's allocators when there is not so much."""
    for work in (lambda _: torch.empty(1 << 55, dtype=torch.uint8), lambda _: np.empty(1 << 55, np.uint8)):
        with pytest.raises(OutOfMemoryError, match="twice"):
            retry_on_oom(work, 2, CPU, stage="trying")


def test_other_errors_are_not_taken_for_it():
    cublas = "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"
    for error in (torch.OutOfMemoryError(FULL), MemoryError(), RuntimeError(FULL), RuntimeError(cublas)):
        assert ran_out(error)
    other = RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert not ran_out(other)
    assert not ran_out(ValueError("out of memory"))
    calls = []

    def work(_):
        calls.append(1)
        raise other

    with pytest.raises(RuntimeError, match="mat1"):
        retry_on_oom(work, 4, CPU, stage="trying")
    assert len(calls) == 1


def test_what_the_failed_work_held_is_let_go_of():
    """Before the second try; and after it, though the error with its traceback is kept."""
    held = []

    def work(_):
        gc.collect()
        assert all(tensor() is None for tensor in held)
        large = torch.zeros(100)
        held.append(weakref.ref(large))
        raise torch.OutOfMemoryError(FULL)

    with pytest.raises(OutOfMemoryError) as caught:
        retry_on_oom(work, 2, CPU, stage="trying")
    assert len(held) == 2
    assert caught.value.__cause__.__traceback__ is not None
    assert [tensor() for tensor in held] == [None, None]


# ---- at every place of a frame ----


def chain(place, monkeypatch, masks):
    """(segmenter, what fails there, amounts at first and when halved)."""
    options = SegmenterOptions(min_mask_pixels=1, threshold=0.0)
    encoder, proposer = ColourEncoder(), FixedProposer(masks)
    if place == "pooled":
        options = SegmenterOptions(min_mask_pixels=1, threshold=0.0, classifier="pooled", templates=("{}",))
        encoder = new_pooled()
        bytes_of = 4 * masks.numel()
        failing = Failing(encoder.encode_pooled, lambda *_, memory_budget: memory_budget)
        encoder.encode_pooled = failing
        amounts = [bytes_of, bytes_of // 2]
    elif place == "encode":
        failing = Failing(encoder.encode_regions, lambda pixels, _=None: len(pixels))
        encoder.encode_regions = failing
        amounts = [5, 3, 2]
    elif place == "crop":
        failing = Failing(within_memory.region_views, lambda *args: args[4])
        monkeypatch.setattr(within_memory, "region_views", failing)
        amounts = [crop_bytes(5, 8), crop_bytes(5, 8) // 2]
    elif place == "words":
        failing = Failing(encoder.encode_text, lambda labels, _: len(labels))
        encoder.encode_text = failing
        amounts = [3, 2, 1]
    elif place == "propose":
        failing = Failing(proposer.propose)
        proposer.propose = failing
        amounts = [None, None]
    segmenter = OpenVocabularySegmenter(proposer, encoder, options)
    if place == "label":
        failing = Failing(naming.competing_probabilities)
        monkeypatch.setattr(naming, "competing_probabilities", failing)
        amounts = [None, None]
    return segmenter, failing, amounts


@pytest.mark.parametrize("place", ["propose", "crop", "encode", "pooled", "words", "label"])
def test_once_is_survived_twice_is_said_and_the_next_frame_works(place, monkeypatch, frame, masks):
    segmenter, failing, amounts = chain(place, monkeypatch, masks)
    asked = words("asked", "dull", "drab") if place == "pooled" else words("red", "green", "blue")
    plain = segmenter.segment(frame, asked)
    failing.left, failing.asked = 1, []
    once = segmenter.segment(frame, asked)
    assert failing.asked == amounts
    torch.testing.assert_close(once.embeddings, plain.embeddings, atol=1e-5, rtol=0)
    torch.testing.assert_close(once.probs, plain.probs, atol=1e-4, rtol=0)
    failing.left = 2
    with pytest.raises(OutOfMemoryError, match=r"ran out of memory twice while .*; (lower|ask for fewer)"):
        segmenter.segment(frame, asked)
    after = segmenter.segment(frame, asked)
    torch.testing.assert_close(after.probs, plain.probs, atol=1e-5, rtol=0)
    assert len(after) == COUNT


def test_the_one_pass_itself_is_not_made_smaller(frame, masks):
    """Its size decides what things are called; so the error names the option."""
    encoder, sizes = new_pooled(), []
    options = SegmenterOptions(min_mask_pixels=1, classifier="pooled", templates=("{}",))
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), encoder, options)
    network = encoder.classifier
    network.forward_features = Failing(network.forward_features, lambda pixels: sizes.append(pixels.shape))
    network.forward_features.left = 2
    with pytest.raises(OutOfMemoryError, match="while pooling; lower the preset's pooled_side, or"):
        segmenter.embed(frame)
    assert len(sizes) == 2
    assert len(set(sizes)) == 1


# ---- proposals that hold many prompts at once ----


def halving_sam():
    """A SAM, and how many prompts its decoder was given each time; it fails above a number of them."""
    sam = tiny_sam()
    seen = []
    limit = [64]

    def note(_, inputs, keywords):
        prompts = len(keywords["sparse_prompt_embeddings"])
        seen.append(prompts)
        if prompts > limit[0]:
            raise torch.OutOfMemoryError(FULL)

    sam.mask_decoder.register_forward_pre_hook(note, with_kwargs=True)
    return sam, seen, limit


BOXES = torch.tensor([[4.0 * i, 5, 4 * i + 30, 60] for i in range(6)])


@pytest.mark.parametrize(
    "call",
    [
        lambda sam, frame: sam.propose(frame),
        lambda sam, frame: sam.propose_video(frame, BOXES, points_per_side=0),
    ],
    ids=["grid", "video"],
)
def test_sam_decodes_half_as_many_prompts_when_asked_again(call):
    sam, seen, limit = halving_sam()
    proposer = SamProposals(sam, tiny_options(points_per_batch=6, points_per_side=3))
    frame = Frame(picture())
    asked = SimpleNamespace(propose=lambda frame: call(proposer, frame))
    segmenter = OpenVocabularySegmenter(asked, ColourEncoder(), SegmenterOptions(min_mask_pixels=1))

    def propose():
        return segmenter.propose(frame).proposals

    wanted = propose()
    assert max(seen) == 6
    limit[0] = 3
    seen.clear()
    got = propose()
    assert seen[:2] == [6, 3]
    assert max(seen[1:]) == 3
    assert torch.equal(got.masks, wanted.masks)
    limit[0] = 2
    with pytest.raises(OutOfMemoryError, match="while proposing masks; lower points_per_batch"):
        propose()
    limit[0] = 64
    propose()
    seen.clear()
    assert torch.equal(propose().masks, wanted.masks)
    assert max(seen) == 6, "all at once again after a call that went well"

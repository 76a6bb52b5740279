"""The chain on one frame, with a proposer and an encoder whose answers are known."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, tiny_clip, tiny_tokenizer, words

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals, Proposer, RegionEncoder, as_proposer
from ovseg_ros.core.segmenter import (
    EmbeddedFrame,
    OpenVocabularySegmenter,
    Segmentation,
    SegmenterOptions,
)
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError

HEIGHT, WIDTH = 40, 60
SQUARES = {"red": (0, 0), "green": (0, 20), "blue": (20, 40)}


@pytest.fixture
def frame():
    image = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    for channel, (y, x) in enumerate(SQUARES.values()):
        image[y : y + 20, x : x + 20] = 20
        image[y : y + 20, x : x + 20, channel] = 230
    image.setflags(write=False)  # as the node's images may be
    return Frame(image, stamp_ns=7, frame_id="camera")


@pytest.fixture
def masks():
    masks = torch.zeros(3, HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (y, x) in zip(masks, SQUARES.values(), strict=True):
        mask[y : y + 20, x : x + 20] = True
    return masks


@pytest.fixture
def segmenter(masks):
    return OpenVocabularySegmenter(FixedProposer(masks, torch.tensor([0.9, 0.8, 0.7])), ColourEncoder())


def test_the_stand_ins_fit_the_protocols():
    model = tiny_clip()
    assert isinstance(ColourEncoder(), RegionEncoder)
    assert isinstance(MaskPromptedClip(model, tiny_tokenizer), RegionEncoder)


def test_a_generator_needs_no_more_than_propose(masks, frame):
    plain = FixedProposer(masks)
    assert not isinstance(plain, Proposer)
    adapted = as_proposer(plain)
    assert isinstance(adapted, Proposer)
    assert as_proposer(adapted) is adapted
    assert (adapted.needs_depth, adapted.classifies, adapted.grid_points) == (False, False, None)
    for hints in (NO_HINTS, Hints(torch.zeros(1, 4), 3)):
        assert adapted.propose(frame, hints) is plain.proposals
    plain.needs_depth = plain.classifies = True
    assert (as_proposer(plain).needs_depth, as_proposer(plain).classifies) == (True, True)
    assert OpenVocabularySegmenter(plain, ColourEncoder()).needs_depth


def test_names_the_right_masks(segmenter, frame, masks):
    vocabulary = words("blue", "red")
    result = segmenter.segment(frame, vocabulary, SegmenterOptions(background=("other",)))
    assert result.frame is frame
    assert result.vocabulary is vocabulary
    assert torch.equal(result.masks, masks)
    assert result.label_index.tolist() == [1, -1, 0]
    assert result.label_ids.tolist() == [1, 255, 0]
    assert (result.probs.shape, result.embeddings.shape) == ((3, 2), (3, 4))
    assert result.found("red") == [0]
    assert result.best("BLUE") == (2, pytest.approx(1.0, abs=1e-3))
    assert [result.name_of(i) for i in range(3)] == ["red", "", "blue"]
    assert set(result.timings) == {"propose", "crop", "encode", "text", "classify"}
    assert min(result.timings.values()) >= 0


def test_maps(segmenter, frame, masks):
    result = segmenter.segment(frame, words("blue", "red"), SegmenterOptions(background=("other",)))
    labels, confidence = result.semantic()
    expected = np.full((HEIGHT, WIDTH), 255)
    expected[masks[0]], expected[masks[2]] = 1, 0
    np.testing.assert_array_equal(labels, expected)
    assert (labels.dtype, confidence.dtype) == (np.uint8, np.float32)
    assert confidence[masks[0]].min() > 0.9
    assert confidence[expected == 255].max() == 0
    instances = result.instances()
    assert instances.dtype == np.uint16
    np.testing.assert_array_equal(instances, (masks * torch.tensor([1, 2, 3])[:, None, None]).sum(dim=0))


def test_labelled_masks_lie_on_top(frame, masks):
    everything = torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool)
    segmenter = OpenVocabularySegmenter(FixedProposer(torch.cat([everything, masks])), ColourEncoder())
    result = segmenter.segment(
        frame, words("red", thresholds=[0.99]), SegmenterOptions(background=("other",))
    )
    assert result.label_index.tolist() == [-1, 0, -1, -1]
    assert result.instances()[5, 5] == 2
    assert result.instances()[39, 0] == 1


def test_best_of_several_and_near_misses(frame, masks):
    reds = masks[:1].repeat(3, 1, 1)
    reds[0, 20:30, 40:] = True  # a third on the blue square
    segmenter = OpenVocabularySegmenter(FixedProposer(reds), ColourEncoder())
    segmenter.clip.logit_scale = 4.0  # so that no probability rounds to 1
    result = segmenter.segment(frame, words("red", "blue"))
    assert result.found("red") == [1, 2, 0]
    mask, score = result.best("blue")
    assert mask is None
    assert score == pytest.approx(float(result.probs[:, 1].max()))
    with pytest.raises(InvalidInputError, match="not in the vocabulary"):
        result.found("green")


def test_labelling_again_embeds_nothing(segmenter, frame):
    embedded = segmenter.embed(frame)
    batches = list(segmenter.clip.batches)
    assert segmenter.label(embedded, words("red")).found("red") == [0]
    assert segmenter.label(embedded, words("green", "red", "blue")).found("green") == [1]
    assert segmenter.clip.batches == batches == [3]


def test_no_masks(frame):
    none = Proposals.empty(HEIGHT, WIDTH)
    segmenter = OpenVocabularySegmenter(FixedProposer(none.masks, none.scores), ColourEncoder())
    for vocabulary in (Vocabulary.empty(), words("red"), words("red", "blue")):
        result = segmenter.segment(frame, vocabulary)
        assert len(result) == 0
        assert result.probs.shape == (0, len(vocabulary))
        assert result.semantic()[0].min() == 255
        assert result.instances().max() == 0
    assert result.found("red") == []
    assert result.best("red") == (None, 0.0)


def test_no_words(segmenter, frame):
    result = segmenter.segment(frame, Vocabulary.empty())
    assert result.label_ids.tolist() == [255, 255, 255]
    assert result.scores.tolist() == [0.0, 0.0, 0.0]
    assert result.semantic()[0].min() == 255


def test_a_lone_word_has_a_rival(segmenter, frame):
    assert segmenter.segment(frame, words("cloud")).scores.max() < 1.0, "softmax over one word is always 1"
    assert "others" in segmenter.clip.encoded
    segmenter.clip.encoded.clear()
    segmenter.segment(frame, words("red", "blue"))
    segmenter.segment(frame, words("red"), SegmenterOptions(background=("cloud",)))
    assert "others" not in segmenter.clip.encoded


def test_background_words_take_their_share_and_step_aside(segmenter, frame):
    options = SegmenterOptions(background=("green", "crimson"), threshold=0.4)
    assert segmenter.segment(frame, words("red", "blue"), options).label_ids.tolist() == [0, 255, 1]
    rival = dataclasses.replace(options, background_max_similarity=1.0, background=("green", "Red"))
    asked = segmenter.segment(frame, words("red", "GREEN"), rival)
    assert asked.best("red")[1] == pytest.approx(1.0, abs=1e-3), "the same word in another case is no rival"
    far = dataclasses.replace(options, background=("green",), background_max_similarity=-1.0)
    assert float(segmenter.segment(frame, words("red", "blue"), far).probs[1].sum()) == pytest.approx(1.0)


def test_thresholds_of_labels_come_before_the_default(segmenter, frame):
    options = SegmenterOptions(threshold=1.0, background=("other",))
    segmenter.clip.logit_scale = 4.0  # so that no probability rounds to 1
    result = segmenter.segment(frame, words("red", "blue", thresholds=[0.5, None]), options)
    assert result.label_ids.tolist() == [0, 255, 255]


def test_small_and_surplus_masks_are_dropped(frame, masks):
    small = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.bool)
    small[0, 30:33, 0:3] = True
    proposer = FixedProposer(torch.cat([small, masks]), torch.tensor([1.0, 0.3, 0.9, 0.8]))
    segmenter = OpenVocabularySegmenter(proposer, ColourEncoder())
    embedded = segmenter.embed(frame, SegmenterOptions(max_masks=2, min_mask_pixels=10))
    assert torch.equal(embedded.masks, masks[1:])
    torch.testing.assert_close(embedded.mask_scores, torch.tensor([0.9, 0.8]))
    assert len(segmenter.embed(frame, SegmenterOptions(min_mask_pixels=9))) == 4


def test_batches(segmenter, frame):
    whole = segmenter.embed(frame).embeddings
    torch.testing.assert_close(segmenter.embed(frame, SegmenterOptions(batch_size=2)).embeddings, whole)
    assert segmenter.clip.batches == [3, 2, 1]


def test_proposals_of_another_size_are_refused(frame, masks):
    segmenter = OpenVocabularySegmenter(FixedProposer(masks[:, :-1]), ColourEncoder())
    with pytest.raises(InvalidInputError, match="expected proposals of size"):
        segmenter.embed(frame)


@pytest.mark.parametrize(
    "options",
    [
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"clip_weight": -0.1},
        {"granularity": 1.01},
        {"classifier": "clip+"},
        {"region_view": "crop"},
        {"semantic": "hard"},
        {"background": "wall"},
        {"background_max_similarity": 2.0},
        {"templates": ()},
        {"templates": ("a photo",)},
        {"fill": "pink"},
        {"expand_ratio": 0.5},
        {"max_masks": 0},
        {"min_mask_pixels": 0},
        {"batch_size": 0},
    ],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match="expected"):
        SegmenterOptions(**options)


def test_with_a_real_tower(frame, masks):
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer, new_mask_prompts(model, 3))
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), clip, name="tiny")
    segmenter.warm_up()
    result = segmenter.segment(frame, words("red", "blue"), SegmenterOptions(threshold=0.0))
    assert result.embeddings.shape == (3, 16)
    assert not result.embeddings.requires_grad
    torch.testing.assert_close(result.probs.sum(dim=1), torch.ones(3))
    assert segmenter.encode_text(["red"]).shape == (1, 16)


class Watching:
    """A generator that keeps what it is shown."""

    needs_depth, classifies, grid_points = False, False, None

    def __init__(self, error=None, **declared):
        self.frames, self.error = [], error
        vars(self).update(declared)

    def propose(self, frame, hints=NO_HINTS):
        self.frames.append(frame)
        if self.error is not None:
            raise self.error
        return Proposals.empty(*frame.size_hw)


def test_warming_up_runs_the_generator_too():
    proposer, encoder = Watching(), ColourEncoder()
    OpenVocabularySegmenter(proposer, encoder).warm_up()
    (seen,) = proposer.frames
    assert (seen.size_hw, seen.depth_m) == ((480, 640), None)
    assert len(np.unique(seen.image_rgb)) > 100
    assert encoder.batches == [1]


def test_a_generator_that_needs_depth_is_warmed_with_some():
    proposer = Watching(needs_depth=True)
    OpenVocabularySegmenter(proposer, ColourEncoder()).warm_up()
    assert proposer.frames[0].depth_m.shape == (480, 640)
    assert proposer.frames[0].intrinsics.width == 640


def test_a_generator_with_a_warming_up_of_its_own_is_asked_for_that():
    own = []
    proposer = Watching(warm_up=own.append)
    OpenVocabularySegmenter(proposer, ColourEncoder()).warm_up()
    assert (len(own), proposer.frames) == (1, [])


def test_a_generator_of_frames_of_its_own_is_left_in_peace(segmenter):
    asked = []
    segmenter.proposer.propose = asked.append
    segmenter.warm_up()
    assert asked == []


def test_what_stands_against_warming_up():
    """A picture that is not for a generator says nothing of it; all else is found out before the start."""
    refusing = Watching(InvalidInputError("expected another camera"))
    OpenVocabularySegmenter(refusing, ColourEncoder()).warm_up()
    assert len(refusing.frames) == 1
    with pytest.raises(ZeroDivisionError):
        OpenVocabularySegmenter(Watching(ZeroDivisionError()), ColourEncoder()).warm_up()
    with pytest.raises(OutOfMemoryError, match="while proposing masks"):
        OpenVocabularySegmenter(Watching(MemoryError()), ColourEncoder()).warm_up()


def test_one_thread_embeds_while_others_label(frame, masks):
    model = tiny_clip()
    clip = MaskPromptedClip(model, tiny_tokenizer, new_mask_prompts(model, 2))
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), clip)
    embedded = segmenter.embed(frame)
    expected = segmenter.label(embedded, words("cup", "mug")).probs
    wrong = []

    def label(thread):
        for turn in range(5):
            segmenter.label(embedded, words(f"word {thread} {turn}"))
            if not torch.allclose(segmenter.label(embedded, words("cup", "mug")).probs, expected, atol=1e-5):
                wrong.append((thread, turn))

    threads = [threading.Thread(target=label, args=(i,)) for i in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        torch.testing.assert_close(segmenter.embed(frame).embeddings, embedded.embeddings)
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_fragment_that_looks_the_part_ranks_behind_the_whole():
    vocabulary, _ = Vocabulary.empty().replace(["pot"])
    masks = torch.zeros((2, 4, 4), dtype=torch.bool)
    masks[0, 0, 0], masks[1, 1:] = True, True
    frame = Frame(np.zeros((4, 4, 3), np.uint8))
    embedded = EmbeddedFrame(frame, masks, torch.tensor([0.4, 0.9]), torch.zeros(2, 3))
    segmentation = Segmentation(embedded, vocabulary, torch.tensor([[0.95], [0.90]]))
    assert segmentation.found("pot") == [1, 0]
    mask, score = segmentation.best("pot")
    assert mask == 1
    assert score == pytest.approx(0.90)
    alike = dataclasses.replace(embedded, mask_scores=torch.tensor([0.9, 0.9]))
    assert dataclasses.replace(segmentation, embedded=alike).found("pot") == [0, 1]
    saturated = Segmentation(alike, vocabulary, torch.ones(2, 1), similarities=torch.tensor([[0.5], [0.6]]))
    assert saturated.found("pot") == [1, 0]

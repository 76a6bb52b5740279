"""Every classification mode against its formula in float64 loops, and the absence of the released bugs."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import FixedProposer, tiny_clip, tiny_tokenizer, words

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.options import CLASSIFIERS, REGION_VIEWS
from ovseg_ros.core.regions.crop import crop_regions
from ovseg_ros.core.segmenter import EmbeddedFrame, OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.errors import ConfigError, InvalidInputError

HEIGHT, WIDTH, QUERIES, DIM = 24, 36, 5, 16
OPEN = SegmenterOptions(threshold=0.0, min_mask_pixels=1, templates=("{}",))


class ClassifyingProposer:
    """What a MaskFormer gives: soft masks, some of them empty once cut, and class embeddings."""

    classifies = True

    def __init__(self, count: int = QUERIES, *, empty: tuple[int, ...] = (2,), seed: int = 3) -> None:
        generator = torch.Generator().manual_seed(seed)
        logits = 3 * torch.randn(count, 8, 10, generator=generator)
        for i in empty:
            if i < count:
                logits[i] = -4 - logits[i].abs()
        self.soft = SoftMasks(logits, padded_hw=(32, 40), valid_hw=(24, 36))
        self.own = torch.randn(count, DIM, generator=generator)
        self.non_object = F.normalize(torch.randn(1, DIM, generator=generator), dim=-1)
        self.scores = torch.rand(count, generator=generator)

    def propose(self, frame: Frame) -> Proposals:
        masks = self.soft.probabilities(frame.size_hw) > 0.4
        return Proposals(masks, self.scores, self.soft, self.own, self.non_object)


@pytest.fixture(scope="module")
def clip():
    model = tiny_clip()
    prompts = new_mask_prompts(model, 3, generator=torch.Generator().manual_seed(1)) * 30
    return MaskPromptedClip(model, tiny_tokenizer, prompts, logit_scale=20.0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def frame():
    return Frame(np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))


def softmax(values: list[float]) -> list[float]:
    top = max(values)
    powers = [math.exp(v - top) for v in values]
    return [p / sum(powers) for p in powers]


def naive_probabilities(clip, proposer, frame, names, options):
    """One mask at a time, one word at a time."""
    proposals = proposer.propose(frame)
    image = torch.from_numpy(frame.image_rgb).permute(2, 0, 1).float()
    rivals = list(options.background) or (["others"] if len(names) == 1 else [])
    text = clip.encode_text([*names, *rivals], options.templates).double()
    rows = []
    for i in range(len(proposals)):
        mask, p_clip = proposals.masks[i : i + 1], [1.0] * len(names)
        if mask.any():
            masked = crop_regions(image, mask, size=clip.size, fill=options.fill)
            context = crop_regions(image, mask, size=clip.size, fill="none")
            views = []
            if options.region_view in ("masked", "both"):
                tell = masked.masks if options.mask_prompts else None
                views.append(clip.encode_regions(masked.pixels, tell)[0].double())
            if options.region_view in ("context", "both"):
                views.append(clip.encode_regions(context.pixels)[0].double())
            region = sum(views) / len(views)
            region = region / region.norm()
            p_clip = softmax([clip.logit_scale * float(region @ t) for t in text])[: len(names)]
        own = proposer.own[i].double() / proposer.own[i].double().norm()
        against = [*text, proposer.non_object[0].double()]
        p_own = softmax([100.0 * float(own @ t) for t in against])[: len(names)]
        lam = options.clip_weight
        rows.append(
            {
                "clip": p_clip,
                "maskformer": p_own,
                "ensemble": [m ** (1 - lam) * c**lam for m, c in zip(p_own, p_clip, strict=True)],
            }[options.classifier]
        )
    return torch.tensor(rows)


ON_CROPS = [name for name in CLASSIFIERS if name not in ("pooled", "combined")]  # those: test_pooled_clip.py
MODES = list(itertools.product(ON_CROPS, REGION_VIEWS, (True, False), ((), ("sky", "wall"))))


@pytest.mark.parametrize(("classifier", "view", "prompts", "background"), MODES)
@pytest.mark.parametrize("names", [("cat",), ("cat", "dog", "tree")])
def test_probabilities_are_those_of_the_formulas(clip, frame, classifier, view, prompts, background, names):
    options = dataclasses.replace(
        OPEN,
        classifier=classifier,
        region_view=view,
        mask_prompts=prompts,
        background=background,
        background_max_similarity=1.0,
        clip_weight=0.6,
    )
    proposer = ClassifyingProposer()
    result = OpenVocabularySegmenter(proposer, clip, options).segment(frame, words(*names))
    want = naive_probabilities(clip, proposer, frame, names, options)
    if classifier == "clip":  # an empty mask is dropped where CLIP alone decides
        want = want[[i for i in range(QUERIES) if i != 2]]
    torch.testing.assert_close(result.probs.double(), want.double(), rtol=1e-4, atol=1e-5)
    assert result.probs.dtype == torch.float32
    assert float(result.probs.min()) >= 0
    assert float(result.probs.max()) <= 1


def test_the_modes_differ(clip, frame):
    def probs(**changes):
        options = dataclasses.replace(OPEN, min_mask_pixels=1, **changes)
        return OpenVocabularySegmenter(ClassifyingProposer(empty=()), clip, options).segment(
            frame, words("cat", "dog")
        ).probs  # fmt: skip

    kinds = [
        probs(),
        probs(mask_prompts=False),
        probs(region_view="context"),
        probs(region_view="both"),
        probs(classifier="maskformer"),
        probs(classifier="ensemble"),
        probs(classifier="ensemble", clip_weight=0.2),
        probs(templates=("a photo of a {}.",)),
    ]
    for a, b in itertools.combinations(kinds, 2):
        assert (a - b).abs().max() > 1e-4


@pytest.mark.parametrize("classifier", ON_CROPS)
@pytest.mark.parametrize("count", [0, 1])
@pytest.mark.parametrize("names", [(), ("cat",), ("cat", "dog")])
@pytest.mark.parametrize(("semantic", "granularity"), [("binary", 0.0), ("binary", 1.0), ("soft", 0.5)])
def test_zero_and_one_mask(clip, frame, classifier, count, names, semantic, granularity):
    options = dataclasses.replace(OPEN, classifier=classifier, semantic=semantic, granularity=granularity)
    segmenter = OpenVocabularySegmenter(ClassifyingProposer(count), clip, options)
    result = segmenter.segment(frame, words(*names))
    assert result.probs.shape == (count, len(names))
    labels, confidence = result.semantic()
    assert labels.shape == confidence.shape == (HEIGHT, WIDTH)
    assert labels.dtype == np.uint8
    assert confidence.dtype == np.float32
    if count == 0 or not names:
        assert (labels == 255).all()
        assert (confidence == 0).all()
    else:
        assert (labels != 255).any()


@pytest.mark.parametrize("classifier", ON_CROPS)
def test_only_empty_masks(clip, frame, classifier):
    options = dataclasses.replace(OPEN, classifier=classifier)
    segmenter = OpenVocabularySegmenter(ClassifyingProposer(3, empty=(0, 1, 2)), clip, options)
    result = segmenter.segment(frame, words("cat", "dog"))
    assert result.found("cat") == result.found("dog") == []  # nothing to point at
    assert (result.semantic()[0] == 255).all()
    assert len(result) == (0 if classifier == "clip" else 3)


def test_soft_semantic_map_is_the_evaluation_s_formula(clip, frame):
    options = dataclasses.replace(OPEN, classifier="ensemble", semantic="soft", threshold=0.9)
    proposer = ClassifyingProposer()
    result = OpenVocabularySegmenter(proposer, clip, options).segment(frame, words("cat", "dog", "tree"))
    probs, soft = result.probs.double().numpy(), proposer.soft.probabilities((HEIGHT, WIDTH)).double().numpy()
    scores = np.zeros((3, HEIGHT, WIDTH))
    for q, c in itertools.product(range(QUERIES), range(3)):
        scores[c] += probs[q, c] * soft[q]  # einsum("qc,qhw->chw"), every mask, thresholds or not
    labels, confidence = result.semantic()
    first, second = np.sort(scores, axis=0)[-1], np.sort(scores, axis=0)[-2]
    clear = first - second > 1e-6
    assert clear.mean() > 0.99
    assert (labels == scores.argmax(axis=0))[clear].all()
    np.testing.assert_allclose(confidence, first / soft.sum(axis=0), rtol=1e-4)


# What the released code does wrong


def test_a_lone_word_has_another_rival_or_none(clip, frame):
    lone = words("cat")
    segmenter = OpenVocabularySegmenter(ClassifyingProposer(empty=()), clip, OPEN)
    assert float(segmenter.segment(frame, lone).probs.max()) < 1.0
    alone = segmenter.segment(frame, lone, dataclasses.replace(OPEN, others=""))
    assert alone.probs.eq(1).all()
    dog = segmenter.segment(frame, lone, dataclasses.replace(OPEN, others="dog"))
    torch.testing.assert_close(dog.probs[:, 0], segmenter.segment(frame, words("cat", "dog")).probs[:, 0])


# Refusals


@pytest.mark.parametrize("classifier", ["maskformer", "ensemble"])
def test_a_generator_that_does_not_classify_is_refused(clip, frame, classifier):
    options = dataclasses.replace(OPEN, classifier=classifier)
    proposer = FixedProposer(torch.ones(1, HEIGHT, WIDTH, dtype=torch.bool))
    with pytest.raises(ConfigError, match=r"FixedProposer have none.*take the classifier clip"):
        OpenVocabularySegmenter(proposer, clip, options)
    segmenter = OpenVocabularySegmenter(proposer, clip, OPEN)
    for work in (segmenter.embed, lambda f, o: segmenter.segment(f, words("cat"), o)):
        with pytest.raises(ConfigError, match="class embedding"):
            work(frame, options)


def test_class_embeddings_of_another_width_are_refused(clip, frame):
    proposer = ClassifyingProposer()
    proposer.own, proposer.non_object = torch.randn(QUERIES, 8), torch.randn(1, 8)
    options = dataclasses.replace(OPEN, classifier="maskformer")
    with pytest.raises(ConfigError, match=r"as wide as the text's 16, got 8.*Swin-B goes with ViT-L/14"):
        OpenVocabularySegmenter(proposer, clip, options).segment(frame, words("cat"))


def test_a_frame_embedded_for_another_classifier_is_refused(clip, frame):
    segmenter = OpenVocabularySegmenter(ClassifyingProposer(), clip, OPEN)
    embedded = segmenter.embed(frame, dataclasses.replace(OPEN, classifier="maskformer"))
    assert not embedded.has_clip_embedding.any()
    assert embedded.timings["encode"] < 1.0
    with pytest.raises(InvalidInputError, match="embed it again"):
        segmenter.label(embedded, words("cat"), OPEN)


def test_masks_clip_has_not_seen_have_no_embedding(clip, frame):
    options = dataclasses.replace(OPEN, classifier="ensemble")
    embedded = OpenVocabularySegmenter(ClassifyingProposer(), clip, options).embed(frame)
    assert embedded.has_clip_embedding.tolist() == [True, True, False, True, True]
    torch.testing.assert_close(embedded.embeddings.norm(dim=1), embedded.has_clip_embedding.float())


def test_embedding_keys():
    key = OPEN.embedding_key
    for same in ({"threshold": 0.9}, {"granularity": 0.5}, {"templates": ("a {}",)}, {"batch_size": 3}):
        assert dataclasses.replace(OPEN, **same).embedding_key == key
    for other in (
        {"region_view": "both"},
        {"mask_prompts": False},
        {"max_masks": 3},
        {"classifier": "maskformer"},
        {"classifier": "pooled"},
    ):
        assert dataclasses.replace(OPEN, **other).embedding_key != key


def test_soft_masks_check_themselves():
    for logits, padded, valid in (
        (torch.zeros(2, 3), (4, 4), (4, 4)),
        (torch.zeros(1, 2, 2, dtype=torch.int64), (4, 4), (4, 4)),
        (torch.zeros(1, 2, 2), (4, 4), (5, 4)),
        (torch.zeros(1, 2, 2), (4, 4), (0, 4)),
    ):
        with pytest.raises(InvalidInputError):
            SoftMasks(logits, padded, valid)


def test_soft_masks_are_resized_as_published():
    logits = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
    soft = SoftMasks(logits, (16, 20), (13, 17))
    wide = F.interpolate(logits[None].double(), size=(16, 20), mode="bilinear", align_corners=False)
    want = F.interpolate(wide[:, :, :13, :17], size=(30, 41), mode="bilinear", align_corners=False)
    got = soft.probabilities((30, 41))
    torch.testing.assert_close(got.double(), want[0].sigmoid(), rtol=1e-5, atol=1e-5)
    assert got.dtype == torch.float32
    assert soft.take(torch.tensor([False, False])).probabilities((3, 4)).shape == (0, 3, 4)
    torch.testing.assert_close(soft.take(torch.tensor([1])).probabilities((30, 41))[0], got[1])


def test_proposals_check_what_belongs_to_them():
    masks, scores = torch.zeros(2, 3, 4, dtype=torch.bool), torch.zeros(2)
    soft = SoftMasks(torch.zeros(1, 2, 2), (3, 4), (3, 4))
    for extra in (
        {"soft": soft},
        {"class_embeddings": torch.zeros(3, 8)},
        {"class_embeddings": torch.zeros(2, 8), "non_object": torch.zeros(1, 9)},
        {"non_object": torch.zeros(1, 8)},
    ):
        with pytest.raises(InvalidInputError):
            Proposals(masks, scores, **extra)
    whole = Proposals(
        masks, torch.tensor([0.1, 0.2]), None, torch.arange(4.0).reshape(2, 2), torch.ones(1, 2)
    )
    one = whole.take(torch.tensor([1]))
    assert (one.scores.tolist(), one.class_embeddings.tolist()) == ([pytest.approx(0.2)], [[2.0, 3.0]])
    assert one.non_object is whole.non_object


def test_an_embedded_frame_has_seen_all_its_masks_unless_said(frame):
    masks = torch.zeros(2, HEIGHT, WIDTH, dtype=torch.bool)
    assert EmbeddedFrame(frame, masks, torch.zeros(2), torch.zeros(2, 4)).has_clip_embedding.all()

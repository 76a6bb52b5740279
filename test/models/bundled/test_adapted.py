"""The adapted classifier against its formula written as loops, and as a drop-in for MaskPromptedClip."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from adapted_fixtures import NAMES, VECTORS, WORDS, Cells, FakeText, fake_tokenizer, new_adapted, some_map
from core_fixtures import FixedProposer
from torch import nn

from ovseg_ros.core.encoders.pooled_clip import dense_size
from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.crop import CLIP_MEAN, CLIP_STD
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.errors import ConfigError, InvalidInputError, WeightsError
from ovseg_ros.models.bundled.adapted import APPEARANCE, SCORE_PER_COSINE, AdaptedClassifier
from ovseg_ros.models.bundled.class_sets import ClassSets, read_words
from ovseg_ros.models.bundled.names_map import load_names_map, save_names_map

ASKED = ["asked", "dull", "colour"]
WIDTH = 4 + 2 + APPEARANCE + 6


def crops(count=3):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(4))


def own_normalisation(pixels):
    """CLIP-normalised -> as the classifier wants it, by way of RGB."""
    mean, std, own, own_std = (
        torch.tensor(v)[:, None, None] for v in (CLIP_MEAN, CLIP_STD, (0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
    )
    return (pixels * std + mean - own) / own_std


def unit(vector):
    vector = np.asarray(vector, np.float64)
    return vector / math.sqrt(sum(v * v for v in vector))


def naive_set(word):
    """What a word means, class by class."""
    asked = unit(VECTORS[word])
    likest = [max(float(asked @ unit(VECTORS[name])) for name in row) for row in NAMES]
    soft = [math.exp((cosine - max(likest)) / 0.05) for cosine in likest]
    soft = [0.2 * s / sum(soft) for s in soft]
    if word != "colour":
        return [s / 0.2 for s in soft]
    exact = [1.0, 1.0, 1.0, 0.5]
    return [s + 0.8 * e / 3.5 for s, e in zip(soft, exact, strict=True)]


def naive_score(features, word, view):
    """p · w + h · t, less the handicap."""
    encoder, adapted = new_adapted(), some_map()
    last = encoder.classifier.last
    logits = (last.weight.double().numpy() @ features + last.bias.double().numpy()) / 2.0
    probs = [math.exp(v) / sum(math.exp(u) for u in logits) for v in logits]
    learned = (
        features @ getattr(adapted, view).double().numpy() + getattr(adapted, f"{view}_bias").double().numpy()
    )
    asked = unit(VECTORS[word])
    text = unit(asked - 0.1) @ adapted.text.double().numpy()
    likeness = float(asked @ unit(VECTORS["asked"]))
    handicap = 0.02 * max(0.0, 2 * likeness - 1)
    return sum(p * w for p, w in zip(probs, naive_set(word), strict=True)) + learned @ text - handicap


def test_scores_of_crops_are_those_of_the_formula():
    encoder, pixels = new_adapted(), crops()
    got = encoder.encode_regions(pixels) @ encoder.encode_text(ASKED).T * SCORE_PER_COSINE
    features = (
        encoder.classifier.forward_features(own_normalisation(pixels)).mean(dim=(2, 3)).double().numpy()
    )
    want = [[naive_score(row, word, "crop") for word in ASKED] for row in features]
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5)
    assert np.ptp(want, axis=1).min() > 0.01, "the words differ"


def test_all_rows_are_of_unit_length():
    encoder = new_adapted()
    for rows in (encoder.encode_regions(30 * crops()), encoder.encode_text([*ASKED, "scarlet"])):
        assert rows.shape[1] == encoder.embedding_dim == WIDTH
        torch.testing.assert_close(rows.norm(dim=1), torch.ones(len(rows)))


def test_the_learned_part_never_outgrows_its_place():
    """However large the map: then the row holds its direction."""
    encoder = new_adapted(adapted=some_map(scale=1e4))
    rows = encoder.encode_regions(crops())
    learned = rows[:, 4:6] * math.sqrt(2.0)
    torch.testing.assert_close(learned.norm(dim=1), torch.ones(3), atol=1e-4, rtol=0)


def test_off_the_region_and_its_rim_all_is_the_classifiers_mean():
    mask = torch.zeros(1, 1, 8, 8)
    mask[:, :, 3:5, 3:5] = 1.0
    pixels = crops(1)
    kept = torch.zeros(1, 1, 8, 8)
    kept[:, :, 2:6, 2:6] = 1.0
    encoder = new_adapted(rim=1)
    got = encoder.crop_features(pixels, mask)
    want = encoder.classifier.forward_features(own_normalisation(pixels) * kept).mean(dim=(2, 3))
    torch.testing.assert_close(got, want, atol=1e-5, rtol=0)
    assert not torch.allclose(got, encoder.crop_features(pixels), atol=1e-3)


def test_a_word_is_a_set_of_classes():
    encoder = new_adapted()
    rows = F.normalize(torch.stack([VECTORS[word] for word in ASKED]), dim=-1)
    got = encoder.sets.weights(ASKED, rows)
    np.testing.assert_allclose(got.numpy(), [naive_set(word) for word in ASKED], atol=1e-5)
    torch.testing.assert_close(got.sum(dim=1), torch.ones(3))
    again = encoder.sets.weights(["  Colour "], rows[2:])
    torch.testing.assert_close(again, got[2:])


def test_a_classs_row_is_the_mean_of_its_names():
    sets = ClassSets({}, [["a", "b"], ["c"]], torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    torch.testing.assert_close(sets.class_rows(), torch.tensor([[0.5**0.5, 0.5**0.5], [0.6, 0.8]]))


def test_same_interface_as_mask_prompted_clip():
    encoder = new_adapted()
    assert isinstance(encoder, RegionEncoder)
    assert (encoder.size, encoder.logit_scale) == (8, 20.0)
    torch.testing.assert_close(encoder.encode_regions(crops(), torch.ones(3, 1, 8, 8)), encoder(crops()))
    assert encoder.encode_regions(crops()[:0]).shape == encoder.encode_text([]).shape == (0, WIDTH)


def test_words_are_encoded_once():
    encoder = new_adapted()
    first = encoder.encode_text(["asked"])
    calls = encoder.text_tower.calls
    torch.testing.assert_close(encoder.encode_text(["asked", "asked"], ["{}"]), first.expand(2, -1))
    assert encoder.text_tower.calls == calls
    assert not torch.allclose(encoder.encode_text(["asked"], ["a {}!"]), first)


def test_another_map_forgets_the_words_of_the_one_before():
    encoder = new_adapted()
    before = encoder.encode_text(["asked"])
    encoder.adapt(some_map(0.0))
    assert encoder.encode_text(["asked"]).shape == before.shape
    learned = encoder.encode_regions(crops())[:, 4:6]
    torch.testing.assert_close(learned, learned[:1].expand(3, -1), msg="only the bias is left")


def test_refusals():
    with pytest.raises(InvalidInputError, match=r"expected pixels \(N,3,8,8\), got \(1, 3, 9, 8\)"):
        new_adapted().encode_regions(torch.zeros(1, 3, 9, 8))
    with pytest.raises(InvalidInputError, match=r"expected region_masks \(1,1,8,8\), got \(2, 1, 8, 8\)"):
        new_adapted().encode_regions(torch.zeros(1, 3, 8, 8), torch.zeros(2, 1, 8, 8))
    for wrong in ({"temperature": 0.0}, {"rim": -1}):
        with pytest.raises(ConfigError, match="expected temperature > 0 and rim >= 0"):
            new_adapted(**wrong)
    with pytest.raises(ConfigError, match="expected pooled_side"):
        new_adapted(0)
    settings = {"size": 8, "logit_scale": 1.0, "pooled_side": 16, "stride": 4}
    with pytest.raises(ConfigError, match=r"forward_features and forward_head.*got Linear"):
        AdaptedClassifier(nn.Linear(1, 1), NAMES, WORDS, FakeText(), fake_tokenizer, some_map(), **settings)
    with pytest.raises(ConfigError, match="at least one name"):
        AdaptedClassifier(Cells(), [["a"], []], {}, FakeText(), fake_tokenizer, some_map(), **settings)


# ---- one pass for all masks, and both together ----


def photograph(height, width):
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (height // 4 + 1, width // 4 + 1, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((4, 4, 1), np.uint8))[1 : height + 1, 2 : width + 2])


def some_masks(height, width):
    """A half, one pixel, all, a ragged one, and an empty one."""
    masks = torch.zeros(5, height, width, dtype=torch.bool)
    masks[0, :, : width // 2] = True
    masks[1, 5, 6] = True
    masks[2] = True
    masks[3] = torch.rand(height, width, generator=torch.Generator().manual_seed(5)) > 0.7
    return masks


def dense(encoder, image):
    """(1, 5, h, w) features of an image as it is looked at."""
    height, width = dense_size(image.shape[:2], encoder.pooled_side, 4)
    pixels = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    if (height, width) != image.shape[:2]:
        pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True)
    mean, std = (torch.tensor(values)[:, None, None] for values in ((0.5, 0.4, 0.3), (0.2, 0.3, 0.4)))
    return encoder.classifier.forward_features((pixels / 255 - mean) / std)


@pytest.mark.parametrize("size", [(16, 16), (16, 28), (32, 16)])
def test_pooled_scores_are_those_of_a_loop_over_pixels(size):
    encoder, image, masks = new_adapted(), photograph(*size), some_masks(*size)
    rows = encoder.encode_pooled(image, masks)
    assert (rows[4] == 0).all(), "an empty mask"
    torch.testing.assert_close(rows[:4].norm(dim=1), torch.ones(4))
    features = dense(encoder, image)[0].double().numpy()
    want = []
    for mask in masks[:4]:
        places = mask.nonzero().tolist()
        mean = sum(features[:, y // 4, x // 4] for y, x in places) / len(places)
        want.append([naive_score(mean, word, "pooled") for word in ASKED])
    got = rows[:4] @ encoder.encode_text(ASKED).T * SCORE_PER_COSINE
    np.testing.assert_allclose(got.numpy(), want, atol=2e-5)
    torch.testing.assert_close(encoder.encode_pooled(image, masks, memory_budget=1), rows, atol=1e-6, rtol=0)


@pytest.mark.parametrize(("size", "side"), [((24, 41), 16), ((10, 13), 32)])
def test_pooled_over_everything_is_the_networks_own_average(size, side):
    encoder, image = new_adapted(side), photograph(*size)
    got = encoder.encode_pooled(image, torch.ones(1, *size, dtype=torch.bool))
    probs = encoder.probabilities(dense(encoder, image).mean(dim=(2, 3)))
    torch.testing.assert_close(got[:, :4] * 2**0.5, probs, atol=2e-5, rtol=0)


def asked_of(encoder, classifier, image, masks):
    options = SegmenterOptions(classifier=classifier, threshold=0.0, min_mask_pixels=1, templates=("{}",))
    segmenter = OpenVocabularySegmenter(FixedProposer(masks), encoder, options)
    return segmenter.segment(Frame(image), Vocabulary.empty().replace(["asked", "dull"])[0])


def test_the_chain_pools_and_cuts_no_region(monkeypatch):
    monkeypatch.setattr("ovseg_ros.core.within_memory.region_views", None)
    image, masks, encoder = photograph(16, 28), some_masks(16, 28), new_adapted()
    result = asked_of(encoder, "pooled", image, masks)
    rows = encoder.encode_pooled(image, masks[:4])
    want = (20.0 * rows @ encoder.encode_text(["asked", "dull"]).T).softmax(dim=1)
    torch.testing.assert_close(result.probs, want, atol=1e-5, rtol=0)


def test_combined_is_the_mean_of_crops_and_pooling():
    image, masks, encoder = photograph(16, 28), some_masks(16, 28)[:4], new_adapted()
    apart = [asked_of(encoder, name, image, masks).embeddings for name in ("clip", "pooled")]
    got = asked_of(encoder, "combined", image, masks).embeddings
    torch.testing.assert_close(got, F.normalize(apart[0] + apart[1], dim=-1), atol=1e-6, rtol=0)
    assert (apart[0] * apart[1]).sum(dim=1).max() < 0.999


def test_rows_of_features_are_those_of_the_chain():
    image, masks, encoder = photograph(16, 16), torch.ones(1, 16, 16, dtype=torch.bool), new_adapted()
    pooled = dense(encoder, image).mean(dim=(2, 3))
    crop = torch.randn(1, 5)
    both = F.normalize(
        encoder._rows(crop, encoder._crop, encoder._crop_bias) + encoder.encode_pooled(image, masks), dim=-1
    )
    torch.testing.assert_close(encoder.rows_of(crop, pooled), both, atol=1e-5, rtol=0)


# ---- files ----


def test_a_map_survives_its_file(tmp_path):
    path = save_names_map(tmp_path / "map.safetensors", some_map(), {"made": "here"})
    for name, value in vars(load_names_map(path)).items():
        torch.testing.assert_close(value, getattr(some_map(), name), atol=1e-3, rtol=1e-3)


def test_damaged_maps_are_refused(tmp_path):
    path = save_names_map(tmp_path / "map.safetensors", some_map())
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(WeightsError, match=r"SHA-256.*restore lite_names.safetensors"):
        load_names_map(path)
    with pytest.raises(WeightsError, match="does not exist; restore"):
        load_names_map(tmp_path / "none.safetensors")
    odd = some_map()
    wrong = save_names_map(
        tmp_path / "odd.safetensors", type(odd)(**{**vars(odd), "crop_bias": torch.zeros(3)})
    )
    with pytest.raises(WeightsError, match="holds no map to words"):
        load_names_map(wrong)


def test_the_table_of_words(tmp_path):
    path = tmp_path / "words.json"
    path.write_text('{"words": {"dog": [[1, 2], []]}}')
    assert read_words(path) == {"dog": [[1, 2], []]}
    for text in ("{}", "nothing"):
        path.write_text(text)
        with pytest.raises(WeightsError, match=r"expected ImageNet's words .*restore"):
            read_words(path)

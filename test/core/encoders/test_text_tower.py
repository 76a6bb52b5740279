"""The text tower without what is behind the longest sentence gives what the whole one gives."""

from __future__ import annotations

import pytest
import torch
from core_fixtures import TINY_DIM, tiny_clip, tiny_tokenizer

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.encoders.text_tower import encode_sentences

SENTENCES = ["a", "a mug", "a photo of a very large mug"]


def custom(**text):
    """An open_clip model whose text tower is a module of its own."""
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg, CustomTextCLIP

    torch.manual_seed(0)
    vision = CLIPVisionCfg(layers=1, width=24, head_width=12, patch_size=8, image_size=16)
    sizes = {"context_length": 12, "vocab_size": 300, "width": 16, "heads": 2, "layers": 2}
    return CustomTextCLIP(TINY_DIM, vision, CLIPTextCfg(**(sizes | text))).eval()


def lengths(tower) -> list[int]:
    """Fills itself with how many tokens the transformer is given, call by call."""
    seen = []
    tower.transformer.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[1]))
    return seen


@pytest.mark.parametrize("make", [tiny_clip, custom])
def test_same_embeddings_from_fewer_tokens(make):
    model = make()
    seen = lengths(getattr(model, "text", model))
    with torch.no_grad():
        for count in (1, 2, 3):
            ids = tiny_tokenizer(SENTENCES[:count])
            wanted, found = model.encode_text(ids), encode_sentences(model, ids)
            assert torch.allclose(wanted, found, atol=1e-5)
    assert seen == [12, 3, 12, 7, 12, 12]


def test_a_word_does_not_depend_on_those_beside_it():
    clips = [MaskPromptedClip(tiny_clip(), tiny_tokenizer) for _ in range(3)]
    templates = ("a {}", "{}", "a {}!")
    alone = clips[0].encode_text(["mug"], templates)[0]
    for clip, words in zip(clips[1:], (["a longer word", "mug", "b"], ["x", "mug"]), strict=True):
        assert torch.allclose(clip.encode_text(words, templates)[1], alone, atol=1e-6)


@pytest.mark.parametrize("text", [{"pool_type": "last"}, {"no_causal_mask": True}, {"embed_cls": True}])
def test_other_towers_run_as_they_are(text):
    model = custom(**text)
    seen = lengths(model.text)
    ids = tiny_tokenizer(["a mug"])
    with torch.no_grad():
        assert torch.equal(model.encode_text(ids), encode_sentences(model, ids))
    assert seen[0] == seen[1] >= 12

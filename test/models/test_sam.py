"""Segment Anything's networks: built as published, filled exactly, wrong files named."""

from __future__ import annotations

import pytest
import torch
from sam_fixtures import TINY_SAM, picture, save_tiny_sam, tiny_options, tiny_sam

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import sam as module
from ovseg_ros.models.sam import FILES, MODELS, build_sam, describe_state, load_sam
from ovseg_ros.proposals.sam.proposer import SamOptions, SamProposals


def published(name: str) -> dict[str, torch.Tensor]:
    """The names and shapes of a published checkpoint, without its gigabytes."""
    import segment_anything

    with torch.device("meta"):
        return dict(segment_anything.sam_model_registry[name]().state_dict())


def test_a_checkpoint_fills_the_network(tmp_path):
    path = save_tiny_sam(tmp_path / "sam.pth", seed=3)
    loaded = load_sam(TINY_SAM, path)
    wanted = tiny_sam(seed=3).state_dict()
    torch.save({"state_dict": {f"net.{key}": value for key, value in wanted.items()}}, tmp_path / "net.ckpt")
    again = load_sam(TINY_SAM, tmp_path / "net.ckpt").state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in again.items())
    assert loaded.state_dict().keys() == wanted.keys()
    assert all(torch.equal(value, wanted[key]) for key, value in loaded.state_dict().items())
    assert not loaded.training
    frame = Frame(picture())
    assert torch.equal(
        SamProposals(loaded, tiny_options()).propose(frame).masks,
        SamProposals(tiny_sam(seed=3), tiny_options()).propose(frame).masks,
    )


@pytest.mark.parametrize("name", MODELS)
def test_the_defaults_of_our_architecture_are_the_published_ones(name):
    """Built from numbers, and by segment-anything's builder: the same names and shapes."""
    heads = {"vit_b": 12, "vit_l": 16, "vit_h": 16}[name]
    width, depth = MODELS[name]
    step = depth // 4
    with torch.device("meta"):
        ours = build_sam(
            {
                "embed_dim": width,
                "depth": depth,
                "heads": heads,
                "global_attn_indexes": list(range(step - 1, depth, step)),
            }
        )
        theirs = build_sam(name)
    assert {k: v.shape for k, v in ours.state_dict().items()} == {
        k: v.shape for k, v in theirs.state_dict().items()
    }
    assert str(ours) == str(theirs)
    assert [b.window_size for b in ours.image_encoder.blocks] == [
        b.window_size for b in theirs.image_encoder.blocks
    ]
    assert describe_state(theirs.state_dict()) == name


@pytest.mark.parametrize(("wanted", "given"), [("vit_b", "vit_l"), ("vit_l", "vit_h"), ("vit_h", "vit_b")])
def test_the_file_of_another_size_is_recognised(tmp_path, monkeypatch, wanted, given):
    monkeypatch.setattr(module, "read_weights", lambda *_, **__: (published(given), {}))
    with torch.device("meta"), pytest.raises(WeightsError) as caught:
        load_sam(wanted, tmp_path / "file.pth")
    width, depth = MODELS[given]
    message = str(caught.value)
    assert f"looks like {given} (embed_dim {width}, depth {depth})" in message
    assert f"say model: {given}" in message
    assert FILES[wanted] in message
    assert "image_encoder.pos_embed" in message


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("image_encoder.patch_embed.seq.0.c.weight", "MobileSAM"),
        ("image_encoder.trunk.patch_embed.proj.weight", "SAM 2"),
        ("mask_decoder.hf_token.weight", "HQ-SAM"),
        ("vision_encoder.pos_embed", "transformers"),
    ],
)
def test_relatives_are_named(tmp_path, key, name):
    torch.save({**tiny_sam().state_dict(), key: torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=name):
        load_sam(TINY_SAM, tmp_path / "other.pth")


def test_another_architecture_lists_its_keys(tmp_path):
    path = save_tiny_sam(tmp_path / "sam.pth")
    with pytest.raises(WeightsError, match=r"missing.*image_encoder.blocks.2.*size that was not published"):
        load_sam({**TINY_SAM, "depth": 3}, path)
    with pytest.raises(WeightsError, match=r"unexpected.*image_encoder.blocks.1"):
        load_sam({**TINY_SAM, "depth": 1, "global_attn_indexes": [0]}, path)
    with pytest.raises(WeightsError, match=r"other shape.*embed_dim 32, depth 2"):
        load_sam({**TINY_SAM, "embed_dim": 64}, path)
    torch.save({"weight": torch.zeros(2)}, tmp_path / "not_sam.pth")
    with pytest.raises(WeightsError, match="does not look like SAM"):
        load_sam(TINY_SAM, tmp_path / "not_sam.pth")


def test_a_missing_file_says_where_to_get_it(tmp_path):
    with pytest.raises(WeightsError, match=r"sam_vit_b_01ec64\.pth from https://github.com"):
        load_sam("vit_b", tmp_path / "nothing.pth")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("vit_g", "vit_b, vit_l, vit_h"),
        ({**TINY_SAM, "width": 3}, "does not know width"),
        ({"embed_dim": 32, "heads": 2}, "expected depth, global_attn_indexes"),
        ({**TINY_SAM, "global_attn_indexes": 1}, "as a list"),
        ({**TINY_SAM, "global_attn_indexes": [2]}, "from 0 to 1"),
        ({**TINY_SAM, "image_size": 100}, "divisible by 16"),
        ({**TINY_SAM, "heads": 3}, "embed_dim divisible by heads"),
        ({**TINY_SAM, "depth": 0}, "depth as a whole number"),
        ({**TINY_SAM, "depth": 2.0}, "depth as a whole number"),
        ({**TINY_SAM, "prompt_embed_dim": 36}, "prompt_embed_dim divisible by 8"),
        ({**TINY_SAM, "prompt_embed_dim": 40, "decoder_heads": 8}, "twice decoder_heads"),
    ],
)
def test_bad_architectures_are_refused(tmp_path, model, message):
    with pytest.raises(ConfigError, match=message):
        build_sam(model)
    if isinstance(model, str):
        with pytest.raises(ConfigError, match=message):
            load_sam(model, tmp_path / "nothing.pth")


@pytest.mark.slow
def test_vit_b_at_full_size(tmp_path):
    torch.manual_seed(0)
    built = build_sam("vit_b")
    torch.save(built.state_dict(), tmp_path / FILES["vit_b"])
    sam = load_sam("vit_b", tmp_path / FILES["vit_b"])
    options = SamOptions(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    proposals = SamProposals(sam, options).propose(Frame(picture(480, 640)))
    assert proposals.masks.shape[1:] == (480, 640)
    assert ((proposals.scores >= 0) & (proposals.scores <= 1)).all()

"""CLIP from files: one network whatever the names, the right activation or none, and refusals by name."""

from __future__ import annotations

import json

import pytest
import torch
from clip_layout import (
    TINY,
    VIT_B_16,
    VIT_L_14,
    ClipShape,
    openai_extras,
    openai_layout,
    random_clip,
    random_prompts,
)
from no_network import forbid_network
from safetensors.torch import save_file

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models import clip as clip_module
from ovseg_ros.models.clip import OVSEG_PREFIX, activation_of, load_clip
from ovseg_ros.models.downloads.files import KnownFile
from ovseg_ros.models.downloads.verify import sha256_of

open_clip = clip_module.open_clip  # not imported by itself: `ovseg_ros.models` has to come first
MODEL = TINY.as_open_clip()


@pytest.fixture
def save(tmp_path):
    """save(state, name, metadata) -> path; the ending chooses the format."""

    def write(state, name="clip.safetensors", metadata=None):
        path = tmp_path / name
        if path.suffix == ".safetensors":
            save_file({key: value.contiguous().clone() for key, value in state.items()}, path, metadata)
        else:
            torch.save(state, path)
        return path

    return write


@pytest.fixture
def pixels():
    return torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def region_masks():
    masks = torch.zeros(2, 1, 32, 32)
    masks[0, :, 3:20, :9] = 1
    masks[1, :, 30, 30] = 1
    return masks


def blocks_of(clip):
    return {
        type(block.mlp.gelu).__name__
        for tower in (clip.clip_model.visual.transformer, clip.clip_model.transformer)
        for block in tower.resblocks
    }


@pytest.mark.parametrize(
    ("name", "shape"), [("ViT-L-14", VIT_L_14), ("ViT-B-16", VIT_B_16)], ids=["ViT-L-14", "ViT-B-16"]
)
def test_openai_layout_is_open_clips_at_full_width(name, shape):
    """Names and shapes of the released models against the networks they go into, without memory for them."""
    with torch.device("meta"):
        network = clip_module.build_network(open_clip.get_model_config(f"{name}-quickgelu"), name)
    assert {key: tuple(value.shape) for key, value in network.state_dict().items()} == openai_layout(shape)
    clip_module.MaskPromptedClip(
        network, print, torch.zeros(3, shape.patches, shape.width), logit_scale=100.0
    )  # FACTS: (3, 256, 1024) and (3, 196, 768)
    assert (shape.patches, shape.width) in ((256, 1024), (196, 768))


def test_openai_file_with_prompts(save, pixels, region_masks):
    state = random_clip() | openai_extras(TINY) | {"visual.mask_embedding": random_prompts()}
    clip = load_clip(MODEL, save(state, "clip.pth"))
    assert (clip.size, clip.embedding_dim) == (32, 12)
    assert clip.logit_scale == pytest.approx(100.0, rel=1e-5)
    assert torch.equal(clip.mask_prompts, random_prompts())
    assert blocks_of(clip) == {"QuickGELU"}
    assert not clip.training
    assert not any(parameter.requires_grad for parameter in clip.parameters())
    for key, value in random_clip().items():
        assert torch.equal(clip.clip_model.state_dict()[key], value), key
    assert (clip(pixels, region_masks) - clip(pixels)).abs().max() > 1e-3
    assert clip.encode_text(["teapot", "red mug"]).shape == (2, 12)
    assert clip(pixels[:0]).shape == (0, 12)


BEGINNINGS = {
    "lightning": "model.",
    "net": "net.",
    "compiled": "_orig_mod.",
    "both": "module._orig_mod.model.",
}


@pytest.mark.parametrize(
    "wrapping", ["model", "state_dict", "module", "ovseg", "nested", "inside", "half", "buffers", *BEGINNINGS]
)
def test_the_same_network_however_it_was_saved(save, pixels, wrapping):
    plain = random_clip()
    expected = load_clip(MODEL, save(plain), activation="quick_gelu")(pixels)
    if wrapping in ("model", "state_dict"):
        state = {wrapping: plain, "epoch": 5, "optimizer": {"lr": 0.1}}
    elif wrapping == "module":
        state = {"state_dict": {f"module.{key}": value for key, value in plain.items()}}
    elif wrapping == "ovseg":
        state = {"model": {f"{OVSEG_PREFIX}{key}": value for key, value in plain.items()}}
        state["model"] |= {"backbone.norm.weight": torch.ones(3)}
    elif wrapping == "nested":
        state = {"state_dict": {f"model.{OVSEG_PREFIX}{key}": value for key, value in plain.items()}}
        state["state_dict"] |= {"model.backbone.norm.weight": torch.ones(3)}
    elif wrapping == "inside":
        state = {key.replace("visual.", "visual._orig_mod."): value for key, value in plain.items()}
    elif wrapping in BEGINNINGS:
        state = {"state_dict": {f"{BEGINNINGS[wrapping]}{key}": value for key, value in plain.items()}}
    elif wrapping == "half":
        state = {key: value.half() for key, value in plain.items()}
    else:
        state = plain | {"attn_mask": torch.zeros(77, 77), "visual.mask_embedding": torch.zeros(0, 16, 16)}
    clip = load_clip(MODEL, save(state, "wrapped.pth"), activation="quick_gelu")
    assert clip.mask_prompts is None
    assert {parameter.dtype for parameter in clip.parameters()} == {torch.float32}
    torch.testing.assert_close(clip(pixels), expected, atol=0 if wrapping != "half" else 5e-3, rtol=0)


@pytest.mark.parametrize("custom", [False, True])
@pytest.mark.parametrize("prefixed", [False, True])
def test_names_with_and_without_text_before_the_text_tower(save, custom, prefixed):
    plain = random_clip()
    parts = ("token_embedding", "positional_embedding", "transformer.", "ln_final", "text_projection")
    state = {f"text.{k}" if prefixed and k.startswith(parts) else k: v for k, v in plain.items()}
    clip = load_clip(MODEL | {"custom_text": custom}, save(state), activation="gelu")
    reference = load_clip(MODEL, save(plain, "plain.pth"), activation="gelu")
    assert torch.equal(clip.encode_text(["a cup"]), reference.encode_text(["a cup"]))
    assert isinstance(clip.clip_model, open_clip.CustomTextCLIP if custom else open_clip.CLIP)


@pytest.mark.parametrize(
    ("extra", "metadata", "expected"),
    [
        ("openai", None, "QuickGELU"),
        ("ovseg", None, "QuickGELU"),
        (None, {"activation": "quick_gelu"}, "QuickGELU"),
        (None, {"activation": "gelu"}, "GELU"),
        ("openai", {"activation": "gelu"}, "GELU"),  # what was said on purpose goes first
    ],
)
def test_activation_from_where_the_weights_come_from(save, extra, metadata, expected):
    state = random_clip() | (openai_extras(TINY) if extra == "openai" else {})
    if extra == "ovseg":
        state = {f"{OVSEG_PREFIX}{key}": value for key, value in state.items()}
    assert blocks_of(load_clip(MODEL, save(state, metadata=metadata))) == {expected}


@pytest.mark.parametrize("how", ["table", "record"])
def test_activation_of_known_files(save, how, monkeypatch):
    path = save(random_clip(), "known.safetensors")
    digest = sha256_of(path)
    row = KnownFile(path.name, activation="quick_gelu", sha256=digest, note="made up")
    if how == "table":
        monkeypatch.setattr(clip_module, "known_by_sha256", lambda sha: row if sha == digest else None)
    else:
        monkeypatch.setattr(clip_module, "known_file", lambda name: row if name == path.name else None)
        with pytest.raises(WeightsError, match="nothing in it tells"):
            load_clip(MODEL, path)  # the name alone says nothing
        (path.parent / f"{path.name}.sha256").write_text(f"{digest}  {path.name}\n")
    assert blocks_of(load_clip(MODEL, path)) == {"QuickGELU"}
    with pytest.raises(WeightsError, match=r"known.safetensors was trained with quick_gelu \(it is known"):
        load_clip(MODEL, path, activation="gelu")


def test_unknown_activation_has_to_be_stated(save):
    path = save(random_clip())
    with pytest.raises(WeightsError, match=r"GELU or QuickGELU.*say activation quick_gelu \(OpenAI"):
        load_clip(MODEL, path)
    assert blocks_of(load_clip(MODEL, path, activation="quick_gelu")) == {"QuickGELU"}
    assert blocks_of(load_clip(MODEL, path, activation="gelu")) == {"GELU"}
    assert blocks_of(load_clip(MODEL | {"quick_gelu": True}, path)) == {"QuickGELU"}
    assert blocks_of(load_clip(MODEL | {"quick_gelu": False}, path)) == {"GELU"}
    with pytest.raises(ConfigError, match="expected activation auto, gelu or quick_gelu, got 'relu'"):
        load_clip(MODEL, path, activation="relu")


def test_contradictions_about_the_activation_are_refused(save):
    says_gelu = save(random_clip(), metadata={"activation": "gelu"})
    with pytest.raises(WeightsError, match=r"was trained with gelu \(its metadata says so\), got quick_gelu"):
        load_clip(MODEL, says_gelu, activation="quick_gelu")
    with pytest.raises(WeightsError, match=r"trained with gelu .*for ViT-L-14-quickgelu"):
        load_clip("ViT-L-14-quickgelu", says_gelu)
    openai = save(random_clip() | openai_extras(TINY), "openai.pth")
    with pytest.raises(WeightsError, match=r"trained with quick_gelu \(it has the names of OpenAI"):
        load_clip(MODEL, openai, activation="gelu")
    with pytest.raises(ConfigError, match="got gelu beside the architecture ViT-L-14-quickgelu"):
        load_clip("ViT-L-14-quickgelu", openai, activation="gelu")
    odd = save(random_clip(), "odd.safetensors", {"activation": "relu"})
    with pytest.raises(WeightsError, match="gelu or quick_gelu, got 'relu'"):
        load_clip(MODEL, odd)
    assert activation_of(openai, {"x": torch.ones(1)}, {}) is None


@pytest.mark.parametrize(
    "key",
    ["mask_prompts", "visual.mask_embedding", OVSEG_PREFIX + "visual.mask_embedding", "model.mask_prompts"],
)
def test_prompts_from_a_file_of_their_own_go_first(save, key):
    weights = save(random_clip() | {"visual.mask_embedding": random_prompts(seed=5)})
    prompts = save({key: random_prompts(depth=2).half()}, "prompts.safetensors")
    clip = load_clip(MODEL, weights, prompts=prompts, activation="gelu")
    assert clip.mask_prompts.dtype == torch.float32
    assert torch.equal(clip.mask_prompts, random_prompts(depth=2).half().float())


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        (
            {"mask_prompts": torch.zeros(3, 9, 16)},
            r"prompts.pth does not fit.*expected mask_prompts \(1…4,16,16\)",
        ),
        ({"mask_prompts": torch.zeros(5, 16, 16)}, r"got \(5, 16, 16\)"),
        ({"mask_prompts": torch.full((3, 16, 16), torch.nan)}, r"finite weights in .*prompts.pth"),
        (
            {"other": torch.zeros(1)},
            r"expected mask prompts in .*prompts.pth as 'mask_prompts'.*got " r"\['other'\]",
        ),
    ],
)
def test_prompts_that_do_not_fit(save, prompts, message):
    with pytest.raises(WeightsError, match=message):
        load_clip(MODEL, save(random_clip()), prompts=save(prompts, "prompts.pth"), activation="gelu")


def test_wrong_architectures_are_refused(save):
    deeper = random_clip(ClipShape(32, 8, 16, 5, 12, 8, 2, heads=2, text_heads=2))
    with pytest.raises(
        WeightsError, match=r"unexpected \['visual.transformer.resblocks.4.*and 2 more.*fetch the file again"
    ):
        load_clip(MODEL, save(deeper), activation="gelu")
    wider = random_clip(ClipShape(32, 8, 24, 4, 12, 8, 2, heads=2, text_heads=2))
    with pytest.raises(WeightsError, match=r"visual.class_embedding \(24,\) instead of \(16,\)"):
        load_clip(MODEL, save(wider), activation="gelu")
    less = {key: value for key, value in random_clip().items() if key != "visual.proj"}
    with pytest.raises(
        WeightsError, match=r"clip.safetensors does not hold CLIP of the.*missing \['visual.proj'\]"
    ):
        load_clip(MODEL, save(less), activation="gelu")
    larger = random_clip(ClipShape(48, 8, 16, 4, 12, 8, 2, heads=2, text_heads=2))
    with pytest.raises(WeightsError, match=r"of 4x4 patches \(32 pixels\), got 6x6 \(48 pixels\)"):
        load_clip(MODEL, save(larger), activation="gelu")
    for key, value in (("input_resolution", 224), ("context_length", 64), ("vocab_size", 7)):
        with pytest.raises(WeightsError, match=rf"expected {key} \d+, got {value}"):
            load_clip(MODEL, save(random_clip() | openai_extras(TINY) | {key: torch.tensor(value)}))
    for part in ("token_embedding.weight", "visual.conv1.weight"):
        with pytest.raises(WeightsError, match=rf"NaN or infinity in \['{part}'\]"):
            load_clip(MODEL, save(random_clip() | {part: random_clip()[part] * torch.inf}), activation="gelu")


def test_metadata_names_the_architecture(save):
    path = save(random_clip(), metadata={"activation": "quick_gelu", "architecture": "ViT-B-16-quickgelu"})
    with pytest.raises(WeightsError, match=r"expected CLIP ViT-L-14 in .*, it holds CLIP ViT-B-16"):
        load_clip("ViT-L-14", path)
    with pytest.raises(WeightsError, match="does not hold CLIP ViT-B-16"):  # past that check, by its shapes
        load_clip("ViT-B/16", path)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("ViT-L-15", "expected an architecture of open_clip, got 'ViT-L-15'; it knows .*ViT-L-14"),
        ("hf-hub:laion/CLIP", "expected an architecture of open_clip"),
        ("ViT-B-16-SigLIP", "not supported"),
        ("roberta-ViT-B-32", "from a hub"),
        ("ViT-H-14-CLIPA", "not supported"),
        ("coca_ViT-B-32", r"not known \['multimodal_cfg'\]"),
        ("ViT-B-16-SigLIP2", "say tokenizer: siglip2_tokenizer.json"),
        ({"embed_dim": 8}, "missing"),
        (MODEL | {"colour": 1}, r"not known \['colour'\]"),
        (MODEL | {"vision_cfg": 3}, "as mappings"),
        (MODEL | {"vision_cfg": {"depth": 3}}, "open_clip cannot build"),
        (MODEL | {"text_cfg": {"vocab_size": 100}}, "expected vocab_size 49408"),
        (
            MODEL | {"vision_cfg": {"timm_model_name": "resnet50", "timm_model_pretrained": True}},
            "from a hub",
        ),
    ],
)
def test_architectures_that_cannot_be_used(save, model, message):
    with pytest.raises(ConfigError, match=message):
        load_clip(model, save(random_clip()), activation="auto" if isinstance(model, str) else "gelu")


def test_damaged_missing_and_other_files(save, tmp_path):
    path = save(random_clip())
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(WeightsError, match=r"clip.safetensors.*fetch the file again"):
        load_clip(MODEL, path, activation="gelu")
    with pytest.raises(WeightsError, match="does not exist"):
        load_clip(MODEL, tmp_path / "none.pth", activation="gelu")


def test_torchscript_as_openai_publishes_it(tmp_path, pixels):
    """Its tensors come out by their names, and none of its code runs."""
    holder = torch.nn.Module()
    for key, value in (random_clip() | openai_extras(TINY)).items():
        module = holder
        *folders, last = key.split(".")
        for folder in folders:
            if not hasattr(module, folder):
                module.add_module(folder, torch.nn.Module())
            module = getattr(module, folder)
        module.register_buffer(last, value.half() if value.is_floating_point() else value)
    torch.jit.save(torch.jit.script(holder), tmp_path / "ViT-tiny.pt")
    clip = load_clip(MODEL, tmp_path / "ViT-tiny.pt")
    assert blocks_of(clip) == {"QuickGELU"}
    assert torch.equal(clip.clip_model.visual.proj, random_clip()["visual.proj"].half().float())


def test_nothing_touches_the_network(save, monkeypatch):
    forbid_network(monkeypatch)
    clip = load_clip(MODEL, save(random_clip()), activation="gelu")
    clip.encode_text(["teapot"])


def test_tokenizer_is_the_one_of_open_clip(save):
    clip = load_clip(MODEL, save(random_clip()), activation="gelu")
    texts = ["a photo of a red teapot.", "tasse à café", "word " * 100]
    assert torch.equal(clip.tokenizer(texts), open_clip.get_tokenizer("ViT-L-14")(texts))


def test_configurations_are_not_shared(save):
    """Loading must not change open_clip's own table, nor the caller's mapping."""
    before = json.dumps(open_clip.get_model_config("ViT-B-16")), json.dumps(MODEL)
    load_clip(MODEL, save(random_clip()), activation="quick_gelu")
    clip_module.architecture("ViT-B-16")[0]["quick_gelu"] = True
    assert (json.dumps(open_clip.get_model_config("ViT-B-16")), json.dumps(MODEL)) == before

"""OVSeg's checkpoints taken apart: every layout that was released, and refusals that name what is wrong."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch
from clip_layout import TINY, VIT_B_16, VIT_L_14, ClipShape, openai_extras, random_clip, random_prompts
from ovseg_files import CLIP, full_model, tiny_config, tiny_model
from safetensors.torch import load_file, save_file

from ovseg_ros.errors import ConfigError, WeightsError
from ovseg_ros.models.checkpoints import convert as convert_module
from ovseg_ros.models.checkpoints.checkpoint import read_weights
from ovseg_ros.models.checkpoints.convert import convert_checkpoint, default_folder, read_metadata
from ovseg_ros.models.checkpoints.ovseg_parts import take_apart
from ovseg_ros.models.clip import load_clip
from ovseg_ros.models.downloads.files import KnownFile
from ovseg_ros.models.downloads.verify import sha256_of
from ovseg_ros.models.maskformer.network import load_ovseg_maskformer

FULL = {
    "ovseg_swinbase_vitL14_ft_mpt.pth": ("swin_base", VIT_L_14, "ViT-L-14"),
    "ovseg_R101c_vitB16_ft_mpt.pth": ("r101c", VIT_B_16, "ViT-B-16"),
    "ovseg_swinbase_vitL14_mpt_only.pt": ("swin_base", VIT_L_14, "ViT-L-14"),
}


class Said:
    """Collects what `convert_checkpoint` reports and warns of."""

    def __init__(self):
        self.reports, self.warnings = [], []

    def __call__(self, source, out=None, **options):
        return convert_checkpoint(
            source, out, report=self.reports.append, warn=self.warnings.append, **options
        )


@pytest.fixture
def said():
    return Said()


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": tiny_model(), "iteration": 7, "__author__": "tests"}, path)
    return path


@pytest.mark.parametrize("beginning", ["", "_orig_mod.", "model."])
@pytest.mark.parametrize("kind", ["swin", "resnet"])
def test_a_split_checkpoint_loads(kind, beginning, tmp_path, said):
    model = tiny_model(kind)
    source = tmp_path / "own.pth"
    torch.save({"model": {f"{beginning}{key}": value for key, value in model.items()}}, source)
    files = said(source, tmp_path / "parts")
    names = ["proposals", "clip", "prompts", "non_object"]
    assert [file.name for file in files] == [f"{name}.safetensors" for name in names]
    assert sorted(os.listdir(tmp_path / "parts")) == sorted(file.name for file in files)
    proposals, clip, prompts, non_object = files
    for file, prefix in ((proposals, ""), (clip, CLIP)):
        for key, value in load_file(file).items():
            assert torch.equal(value, model[prefix + key]), key
    assert len(load_file(proposals)) + len(load_file(clip)) + 5 == len(model)
    if beginning:
        for file in (proposals, non_object):
            save_file({f"{beginning}{key}": value for key, value in load_file(file).items()}, file)
    network = load_ovseg_maskformer(tiny_config(kind), proposals, non_object)
    row = model["clip_adapter.non_object_embedding"]
    torch.testing.assert_close(network.non_object, row / row.norm())
    loaded = load_clip(TINY.as_open_clip(), clip, prompts=prompts)
    assert torch.equal(loaded.mask_prompts, random_prompts())
    assert type(loaded.clip_model.visual.transformer.resblocks[0].mlp.gelu).__name__ == "QuickGELU"
    assert said.warnings == []


def test_metadata(source, tmp_path, said):
    for file in said(source, tmp_path / "parts"):
        part = file.stem
        assert read_metadata(file) == {
            "format": "pt",
            "part": part,
            "source_name": "checkpoint.pth",
            "source_sha256": sha256_of(source),
            "activation": "quick_gelu",
            "architecture": "custom",
            "licence": "CC-BY-NC-4.0",
        }


@pytest.mark.parametrize("name", FULL)
def test_released_layouts_at_full_width(name, tmp_path):
    backbone, clip, architecture = FULL[name]
    path = tmp_path / "renamed.pth"
    torch.save({"model": full_model(backbone, clip)}, path)
    tensors, _ = read_weights(path)
    checkpoint = take_apart(tensors, path)
    assert checkpoint.missing == ()
    assert checkpoint.architectures == {
        "proposals": backbone,
        "clip": f"{architecture}-quickgelu",
        "prompts": f"{architecture}-quickgelu",
        "non_object": backbone,
    }
    assert checkpoint.parts["prompts"]["mask_prompts"].shape == (3, clip.patches, clip.width)
    assert sum(len(part) for part in checkpoint.parts.values()) == len(tensors) - 3


@pytest.mark.parametrize("backbone", ["swin_base", "r101c"])
def test_a_released_width_has_to_be_complete(backbone, tmp_path):
    model = full_model(backbone, VIT_L_14 if backbone == "swin_base" else VIT_B_16)
    for key, message in (
        ("sem_seg_head.predictor.query_embed.weight", f"MaskFormer {backbone}: missing"),
        (f"{CLIP}visual.ln_post.bias", r"CLIP ViT-\w-\d+: missing \['visual.ln_post.bias'\]"),
    ):
        less = {name: value for name, value in model.items() if name != key}
        with pytest.raises(WeightsError, match=message):
            take_apart(less, tmp_path / "less.pth")
        with pytest.raises(WeightsError, match=r"other shape .* \(1, 2\) instead of"):
            take_apart(model | {key: torch.zeros(1, 2)}, tmp_path / "other.pth")
    extra = model | {"backbone.surprise": torch.zeros(1)}
    with pytest.raises(WeightsError, match=r"unexpected \['backbone.surprise'\]"):
        take_apart(extra, tmp_path / "extra.pth")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_file_with_clip_alone(tmp_path, said, wrapped):
    state = random_clip() | {"visual.mask_embedding": random_prompts()}
    if wrapped:
        state = {f"{CLIP}{key}": value for key, value in state.items()}
    torch.save(state, tmp_path / "clip_only.pth")
    clip, prompts = said(tmp_path / "clip_only.pth", tmp_path / "parts")
    assert (clip.name, prompts.name) == ("clip.safetensors", "prompts.safetensors")
    load_clip(TINY.as_open_clip(), clip, prompts=prompts)
    assert [warning.split(":")[0] for warning in said.warnings] == [
        "clip_only.pth holds no proposals",
        "clip_only.pth holds no non_object",
    ]
    assert "ovseg_sam" in said.warnings[0]


def test_a_plain_clip_has_to_show_that_it_is_ovsegs(tmp_path, said):
    """One trained with GELU must not come out labelled as QuickGELU."""
    plain = tmp_path / "open_clip.pth"
    torch.save(random_clip() | openai_extras(TINY), plain)
    with pytest.raises(WeightsError, match=r"open_clip.pth holds a plain CLIP.*--activation quick_gelu"):
        said(plain, tmp_path / "parts")
    (clip,) = said(plain, tmp_path / "parts", activation="gelu")
    assert read_metadata(clip)["activation"] == "gelu"
    assert not load_file(clip).keys() & openai_extras(TINY).keys()
    plain.rename(tmp_path / "ovseg_clip_l_9a1909.pth")
    (clip,) = said(tmp_path / "ovseg_clip_l_9a1909.pth", tmp_path / "released")
    assert read_metadata(clip)["activation"] == "quick_gelu"
    with pytest.raises(WeightsError, match=r"finetuned from OpenAI's weights with QuickGELU, got gelu"):
        said(tmp_path / "ovseg_clip_l_9a1909.pth", tmp_path, activation="gelu")
    with pytest.raises(ConfigError, match="expected activation auto, gelu or quick_gelu, got 'relu'"):
        said(tmp_path / "ovseg_clip_l_9a1909.pth", tmp_path, activation="relu")


def test_parts_that_are_missing_are_named_with_what_still_works(tmp_path, said):
    model = {key: value for key, value in tiny_model().items() if "non_object" not in key}
    model[f"{CLIP}visual.mask_embedding"] = torch.zeros(0, TINY.patches, TINY.width)
    torch.save({"model": model}, tmp_path / "less.pth")
    assert [file.stem for file in said(tmp_path / "less.pth", tmp_path)] == ["proposals", "clip"]
    assert said.warnings == [
        "less.pth holds no prompts: CLIP runs without mask prompts",
        "less.pth holds no non_object: MaskFormer's own classes and the ensemble cannot run; CLIP alone can",
    ]
    torch.save({"model": {k: v for k, v in model.items() if not k.startswith(CLIP)}}, tmp_path / "few.pth")
    assert [file.stem for file in said(tmp_path / "few.pth", tmp_path / "few")] == ["proposals"]
    assert "words cannot be compared with masks" in said.warnings[2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"surprise.weight": torch.zeros(1)}, r"unexpected \['surprise.weight'\]; name one of the files"),
        ({f"extra.{i}": torch.zeros(1) for i in range(13)}, r"'extra.6'\] and 3 more"),
        ({"clip_adapter.pixel_mean": torch.full((1, 3, 1, 1), 127.5)}, r"expected clip_adapter.pixel_mean"),
        ({"clip_adapter.pixel_std": torch.ones(4)}, r"expected clip_adapter.pixel_std \[68.501"),
        ({"clip_adapter.non_object_embedding": torch.zeros(1, 5)}, r"embedding \(1,12\) in .* got \(1, 5\)"),
        ({f"{CLIP}visual.mask_embedding": torch.zeros(3, 9, 16)}, r"prompts \(depth,16,16\) .*\(3, 9, 16\)"),
        ({f"{CLIP}visual.proj": torch.full((16, 12), torch.nan)}, r"NaN or infinity in \['visual.proj'\]"),
        ({"backbone.stem.conv3.weight": torch.zeros(8, 8, 3, 3)}, "expected MaskFormer with Swin or ResNet"),
        ({f"{CLIP}text_projection": None}, r"expected CLIP with a ViT in .*missing \['text_projection'\]"),
    ],
)  # fmt: skip
def test_what_does_not_belong_there_is_refused(change, message, tmp_path, said):
    model = {key: value for key, value in (tiny_model() | change).items() if value is not None}
    torch.save({"model": model}, tmp_path / "bad.pth")
    with pytest.raises(WeightsError, match=message) as caught:
        said(tmp_path / "bad.pth", tmp_path / "parts")
    assert "bad.pth" in str(caught.value)
    assert not (tmp_path / "parts").exists()


def test_files_that_are_no_checkpoints(tmp_path, said):
    torch.save({"model": {"conv.weight": torch.zeros(1)}}, tmp_path / "resnet.pth")
    with pytest.raises(WeightsError, match=r"not a checkpoint of OVSeg: unexpected \['conv.weight'\]"):
        said(tmp_path / "resnet.pth", tmp_path)
    torch.save({"model": {"criterion.empty_weight": torch.zeros(1)}}, tmp_path / "little.pth")
    with pytest.raises(WeightsError, match="not a checkpoint of OVSeg"):
        said(tmp_path / "little.pth", tmp_path)
    with pytest.raises(WeightsError, match=r"none.pth, it does not exist; name one of the files"):
        said(tmp_path / "none.pth", tmp_path)
    torch.save({"model": tiny_model(), "hook": os.system}, tmp_path / "code.pth")
    with pytest.raises(WeightsError, match="code or objects other than tensors"):
        said(tmp_path / "code.pth", tmp_path)


def test_nothing_is_overwritten_unless_forced(source, tmp_path, said):
    files = said(source, tmp_path / "parts")
    times = [file.stat().st_mtime_ns for file in files]
    assert said(source, tmp_path / "parts") == files
    assert [file.stat().st_mtime_ns for file in files] == times, "the same content is left alone"
    assert sum("is there already" in line for line in said.reports) == 4
    model = tiny_model()
    model["clip_adapter.non_object_embedding"] = torch.ones(1, TINY.embed_dim)
    torch.save({"model": model}, source)
    with pytest.raises(WeightsError, match=r"proposals.safetensors.*other content.*--out.*--force"):
        said(source, tmp_path / "parts")
    assert [file.stat().st_mtime_ns for file in files] == times
    said(source, tmp_path / "parts", force=True)
    assert load_file(files[3])["non_object_embedding"].tolist() == [[1.0] * TINY.embed_dim]
    files[0].write_bytes(b"damaged")
    with pytest.raises(WeightsError, match=r"other content"):
        said(source, tmp_path / "parts")


def test_no_half_a_file_is_left(source, tmp_path, said, monkeypatch):
    def fail(tensors, path, metadata):
        path.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(convert_module, "save_file", fail)
    with pytest.raises(WeightsError, match=r"cannot write .*proposals.safetensors: No space.*--out"):
        said(source, tmp_path / "parts")
    assert os.listdir(tmp_path / "parts") == []


def test_space_is_checked_first(source, tmp_path, said, monkeypatch):
    full = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(convert_module.shutil, "disk_usage", lambda folder: full)
    with pytest.raises(WeightsError, match=r"GB of space in .*parts, there are 0.0; name another folder"):
        said(source, tmp_path / "parts")
    (tmp_path / "file").write_text("")
    with pytest.raises(WeightsError, match="cannot make the folder"):
        said(source, tmp_path / "file" / "parts")


def test_md5_as_published_or_a_warning(source, tmp_path, said, monkeypatch):
    md5 = hashlib.md5(source.read_bytes()).hexdigest()
    released = "ovseg_swinbase_vitL14_ft_mpt.pth"
    said(source, tmp_path / "a")
    assert any("none of those published (2dd495, 526080, c746f4)" in line for line in said.reports)
    source = source.rename(tmp_path / released)
    said(source, tmp_path / "b")
    assert said.warnings == [
        f"expected {released} with an MD5 that begins 526080, as published, got {md5}: saved anew, or not "
        f"the "
        "released file"
    ]
    rows = (KnownFile(released, md5_prefix=md5[:6]),)
    monkeypatch.setattr(convert_module, "known_files", lambda: rows)
    said(source, tmp_path / "c")
    assert f"MD5 {md5[:6]}…: as published for {released}" in said.reports
    assert len(said.warnings) == 1


def test_tensors_that_share_memory_or_are_pieces(tmp_path, said):
    model = tiny_model()
    shared = torch.randn(2, TINY.width)
    model[f"{CLIP}visual.ln_pre.bias"] = model[f"{CLIP}visual.ln_post.bias"] = shared[0]
    model[f"{CLIP}visual.class_embedding"] = shared[1]
    model[f"{CLIP}visual.proj"] = torch.randn(TINY.embed_dim, TINY.width).T
    torch.save({"model": model}, tmp_path / "shared.pth")
    clip = load_file(said(tmp_path / "shared.pth", tmp_path)[1])
    for key in ("ln_pre.bias", "ln_post.bias", "class_embedding", "proj"):
        assert torch.equal(clip[f"visual.{key}"], model[f"{CLIP}visual.{key}"])


@pytest.mark.parametrize(
    "name", ["ovseg_R101c_vitB16_ft_mpt.pth", "ovseg_R101c_vitB16_ft_mpt.pth.pt", "ovseg_R101c_vitB16_ft_mpt"]
)
def test_default_folder(name, tmp_path, monkeypatch, said):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "ovseg" / "ovseg_R101c_vitB16_ft_mpt"
    assert default_folder(tmp_path / name) == folder
    torch.save({"model": tiny_model("resnet")}, tmp_path / name)
    assert {file.parent for file in said(tmp_path / name)} == {folder}


def test_metadata_of_other_files(tmp_path):
    with pytest.raises(WeightsError, match="does not exist; run `ovseg convert-checkpoint`"):
        read_metadata(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"bad")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_metadata(tmp_path / "bad.safetensors")
    (tmp_path / "x.pth").write_bytes(b"bad")
    assert read_metadata(tmp_path / "x.pth") == {}


def test_own_clip_sizes_are_custom(tmp_path):
    wide = ClipShape(32, 8, 24, 4, 12, 8, 2, heads=2, text_heads=2)
    state = random_clip(wide) | {"visual.mask_embedding": random_prompts(wide)}
    checkpoint = take_apart(state, tmp_path / "x.pth")
    assert checkpoint.architectures == {"clip": "custom", "prompts": "custom"}


@pytest.mark.slow
def test_full_width_is_converted_and_loads(tmp_path, said):
    """Swin-B + ViT-L/14 in half precision: 1.1 GB of parts, each loaded into the network it is for."""
    source = tmp_path / "ovseg_swinbase_vitL14_ft_mpt.pth"
    torch.save({"model": full_model("swin_base", VIT_L_14)}, source)
    assert source.stat().st_size < 50e6
    proposals, clip, prompts, non_object = said(source, tmp_path / "parts")
    assert read_metadata(clip)["architecture"] == "ViT-L-14-quickgelu"
    assert clip.stat().st_size == pytest.approx(2 * 427.6e6, rel=0.01)
    network = load_ovseg_maskformer("swin_base", proposals, non_object)
    assert network.non_object.shape == (1, 768)
    loaded = load_clip("ViT-L-14", clip, prompts=prompts)
    assert loaded.mask_prompts.shape == (3, 256, 1024)
    assert (loaded.size, loaded.embedding_dim) == (224, 768)

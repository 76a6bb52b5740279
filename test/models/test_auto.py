"""Which preset `auto` is: decided from what is here and what the device is, and said."""

from __future__ import annotations

import pytest
import torch
from colour_alone import save_untrained_colour_masks
from repository import ROOT
from sam_fixtures import LENIENT, TINY_SAM, save_tiny_sam
from tiny_presets import write_preset

from ovseg_ros.core import encoders
from ovseg_ros.errors import ConfigError
from ovseg_ros.models import presets
from ovseg_ros.models.auto import RANKING, Candidate, Choice, Gpu, choose
from ovseg_ros.models.bundled import lite
from ovseg_ros.models.downloads.files import files_of
from ovseg_ros.models.preset_parts import uses_sam

BEST, LARGE, SMALL = Candidate("best", (), 6.0), Candidate("large", (), 8.0), Candidate("small", (), 4.0)
GONE = Candidate("gone", ("gone.pth",), 1.0)


@pytest.mark.parametrize(
    ("candidates", "gpu", "preset", "reason"),
    [
        ([], None, "lite", ""),
        ([GONE], None, "lite", "the weights of the larger presets (gone) are not here"),
        ([GONE], Gpu("cuda", 80.0), "lite", "are not here"),
        ([BEST, SMALL], None, "lite", "best, small would be too slow on a CPU"),
        ([BEST, SMALL], Gpu("cuda", 6.0), "best", "it needs 6 GB of cuda, 6.0 are free"),
        ([BEST, LARGE, SMALL], Gpu("cuda:1", 5.9), "small", "it needs 4 GB of cuda:1, 5.9 are free"),
        ([GONE, LARGE], Gpu("cuda", 80.0), "large", "the best whose weights are here"),
        ([BEST, LARGE], Gpu("mps", 2.0), "lite", "mps has 2.0 GB free, best needs 6"),
        ([BEST], Gpu("xpu", None), "lite", "how much memory xpu has for best is not known"),
    ],
)
def test_the_choice_and_its_reason(candidates, gpu, preset, reason):
    choice = choose(candidates, gpu)
    assert choice.preset == preset
    assert choice.reason.startswith("auto: ")
    assert reason in choice.reason


def test_every_preset_that_anyone_may_use_is_ranked():
    free = {
        name
        for name in presets.list_presets()
        if files_of(name) and all(file.url and not file.non_commercial for file in files_of(name))
    }
    of_one_stage = {"owlv2", "sam3"}
    newer = {"siglip2", "pecore", "sam2_tiny", "sam2_large", "edgetam"}  # untried with their weights
    assert set(RANKING) == free - of_one_stage - newer


def test_what_they_need_of_a_gpu_is_documented():
    page = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    for name in RANKING:
        needs = presets.read_preset(presets.preset_path(name), part_options=False)["gpu_memory_gb"]
        assert any(
            line.startswith(f"| `{name}`") and line.endswith(f" {needs} GB |") for line in page.splitlines()
        )


def put_weights(folder, *names):
    for name in names:
        for file in presets.preset_weights(name):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).touch()


@pytest.fixture
def gpu(monkeypatch):
    """Stands for a GPU with 5.5 GB free; says how often it was asked."""
    asked = []
    monkeypatch.setattr(presets, "_device", torch.device)
    monkeypatch.setattr(presets, "_gpu", lambda device: asked.append(device) or Gpu(str(device), 5.5))
    return asked


def test_this_machines_files_and_device_decide(tmp_path, monkeypatch, gpu):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    mine = tmp_path / "mine"
    assert presets.resolve_preset("auto", "cuda", mine).preset == "lite"
    put_weights(mine, "ovseg_sam")  # of a licence that not everyone may use: by name alone
    assert presets.resolve_preset("auto", "cuda", mine).preset == "lite"
    assert gpu == []  # no GPU is woken for nothing
    put_weights(mine, "vitb16", "convnext")
    assert presets.resolve_preset("auto", "cuda", mine).preset == "vitb16"  # convnext needs more
    assert presets.resolve_preset("auto", "cuda").preset == "lite"  # they are not in the cache
    put_weights(tmp_path / "cache" / "ovseg", "vitb16")
    assert presets.resolve_preset("auto", "cuda").preset == "vitb16"
    assert presets.resolve_preset("mini", "cuda", mine) == Choice("mini", "asked for by name")


def test_a_cpu_gets_lite_and_a_wrong_device_is_refused(tmp_path):
    put_weights(tmp_path, *RANKING)
    choice = presets.resolve_preset("auto", "cpu", tmp_path)
    assert choice == Choice("lite", "auto: convnext, vitl14, vitb16 would be too slow on a CPU")
    with pytest.raises(ConfigError, match="device 'gpu' cannot be used"):
        presets.resolve_preset("auto", "gpu", tmp_path)


def test_memory_is_asked_of_torch(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (7_500_000_000, 8_000_000_000))
    monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda: 12_000_000_000)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 2_000_000_000)
    assert presets._gpu(torch.device("cuda:1")) == Gpu("cuda:1", 7.5)
    assert presets._gpu(torch.device("mps")) == Gpu("mps", 10.0)
    assert presets._gpu(torch.device("xpu")) == Gpu("xpu", None)
    assert presets._gpu(torch.device("cpu")) is None


def test_what_was_taken_and_why_is_logged_once_and_kept(tmp_path, monkeypatch, caplog, lite_segmenter):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(lite, "load_lite", lambda *_: lite_segmenter.clip)
    monkeypatch.setattr(encoders, "accelerate", lambda encoder, *_: encoder)
    save_untrained_colour_masks(tmp_path)
    why = "auto: the weights of the larger presets (convnext, vitl14, vitb16) are not here"
    with caplog.at_level("INFO"):
        segmenter = presets.load_preset("auto", weights_dir=tmp_path)
    assert (segmenter.name, segmenter.reason, segmenter.warning) == ("lite", why, "")
    assert [m for m in caplog.messages if m.startswith("preset")] == [f"preset lite loaded on cpu; {why}"]
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_only_where_one_preset_is_meant_is_auto_refused():
    for call in (presets.preset_path, presets.preset_weights):
        with pytest.raises(ConfigError, match="'auto' stands for any of several: convnext, edgetam, lite"):
            call("auto")


def test_segment_anything_on_a_cpu_is_warned_of(tmp_path, caplog):
    save_tiny_sam(tmp_path / "sam.pth")
    sam = {"kind": "sam", "model": TINY_SAM, "weights": "sam.pth", "options": LENIENT}
    encoder = {"kind": "mini"}
    direct = write_preset(tmp_path, "direct", sam, encoder)
    members = [{"kind": "depth_clusters"}, sam]
    union = write_preset(tmp_path, "both", {"kind": "union", "members": members}, encoder)
    for path, proposals_from, named in (
        (direct, None, "direct"),
        (union, None, "both"),
        ("mini", direct, "direct"),
    ):
        caplog.clear()
        segmenter = presets.load_preset(path, proposals_from=proposals_from)
        assert segmenter.warning.startswith(
            f"the proposals of {named} are Segment Anything's and run on the CPU"
        )
        assert "take a GPU (device cuda), or the preset lite" in segmenter.warning
        assert caplog.messages == [segmenter.warning]
    caplog.clear()
    mine = presets.load_preset(direct, proposals_from="mini")
    assert (mine.reason, mine.warning) == ("asked for by name", "")
    assert not caplog.records
    assert not uses_sam({"kind": "union", "members": [{"kind": "depth_clusters"}]})

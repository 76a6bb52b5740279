"""`ovseg bench`: the baseline computes what the method says, clocks and tables tell what happened."""

from __future__ import annotations

import json
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_fixtures import FixedProposer, tiny_clip, tiny_tokenizer

from ovseg_ros.app.bench.baseline import Baseline, in_torch_32
from ovseg_ros.app.bench.cases import labelled_alike, least_cosine, our_frame, vocabulary_of
from ovseg_ros.app.bench.clock import Timing, interleave, memory_bytes, peak_memory, ratios, spread
from ovseg_ros.app.bench.scene import made_up_frame, made_up_masks
from ovseg_ros.app.cli import main
from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.bundled.colour_masks import load_colour_masks
from ovseg_ros.models.presets import load_preset
from ovseg_ros.proposals.colour import ColourMasks, ColourMasksOptions
from ovseg_ros.proposals.union import UnionProposals

CPU = torch.device("cpu")
SIZE_HW = (40, 56)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def segmenter(masks: torch.Tensor, prompts: bool = True, **options) -> OpenVocabularySegmenter:
    network = tiny_clip()
    rows = 10 * new_mask_prompts(network, 3, generator=torch.Generator().manual_seed(1)) if prompts else None
    clip = MaskPromptedClip(network, tiny_tokenizer, rows).eval().requires_grad_(False)
    chosen = SegmenterOptions(
        **{"threshold": 0.0, "min_mask_pixels": 1, "others": "", "templates": ("{}",), **options}
    )
    return OpenVocabularySegmenter(FixedProposer(masks), clip, chosen)


@pytest.mark.parametrize("prompts", [True, False])
def test_baseline_and_ours_find_the_same(prompts):
    frame, masks = made_up_frame(SIZE_HW), made_up_masks(6, SIZE_HW)
    ours = segmenter(masks, prompts, background=("wall", "floor"), background_max_similarity=1.0)
    names = ["mug", "plate", "xylophone", "zz", "kettle", "A", "0123456789"]
    baseline, stages = Baseline(ours).frame(frame, names)
    segmentation, our_stages = our_frame(ours, frame, vocabulary_of(names))
    assert least_cosine(baseline.embeddings, segmentation.embeddings) > 0.99999
    assert torch.allclose(baseline.probs, segmentation.probs, atol=1e-4)
    assert list(stages) == ["propose", "crop", "encode", "text", "classify", "compose"]
    assert set(our_stages) == {*stages, "track"}
    labels = torch.from_numpy(segmentation.semantic()[0]).long()
    assert (labels == baseline.label_map).float().mean() > 0.999
    assert len(baseline.probs.argmax(dim=1).unique()) > 1


@pytest.mark.parametrize("count", [0, 2])
def test_baseline_without_masks_and_with_empty_ones(count):
    masks = torch.zeros((count, *SIZE_HW), dtype=torch.bool)
    found, _ = Baseline(segmenter(masks)).frame(made_up_frame(SIZE_HW), ["mug", "plate"])
    assert found.probs.shape == (0, 2)
    assert (found.label_map == 255).all()


@pytest.mark.parametrize(("words_anew", "encoded"), [(False, 3), (True, 6)])
def test_words_are_kept_or_encoded_anew(words_anew, encoded, monkeypatch):
    baseline = Baseline(segmenter(made_up_masks(1, SIZE_HW), background=("wall",)))
    calls, encode = [], baseline.clip_model.encode_text
    monkeypatch.setattr(baseline.clip_model, "encode_text", lambda ids: calls.append(len(ids)) or encode(ids))
    for _ in range(2):
        baseline.frame(made_up_frame(SIZE_HW), ["mug", "plate"], words_anew=words_anew)
    assert calls == [1] * encoded


def test_baseline_has_weights_of_its_own():
    ours = segmenter(made_up_masks(1, SIZE_HW))
    baseline = Baseline(ours)
    ours.clip.to(torch.bfloat16)
    assert {p.dtype for p in baseline.clip_model.parameters()} == {torch.float32}
    assert baseline.prompts.dtype == torch.float32


def test_what_the_baseline_cannot_run_is_said():
    ours = segmenter(made_up_masks(1, SIZE_HW))
    ours.clip = object()
    with pytest.raises(ConfigError, match=r"got object.*mini"):
        Baseline(ours)
    with pytest.raises(ConfigError, match="not taken"):
        vocabulary_of(["mug", "mug"])


def test_variants_are_interleaved_frame_by_frame_in_rotating_order():
    order, resets = [], []
    variants = {name: lambda frame, name=name: order.append(name + frame) or {"crop": 0.5} for name in "ab"}
    timings = interleave(variants, "01", rounds=2, device=CPU, reset=lambda: resets.append(len(order)))
    assert " ".join(order) == "a0 b0 a1 b1 " + "a0 b0 b1 a1 " + "b0 a0 a1 b1"
    assert resets == [0, 4, 8]
    assert len(timings["a"].seconds) == len(timings["a"].processor_s) == 4  # the first round only warms up
    assert timings["a"].stages == {"crop": [0.5] * 4}


def test_sleeping_takes_time_and_no_processor():
    timing = interleave({"a": lambda _: time.sleep(0.03) or {}}, [None], rounds=1, device=CPU)["a"]
    assert timing.seconds[0] >= 0.03 > 0.02 > timing.processor_s[0]
    assert timing.figures()["ms"]["median"] == pytest.approx(1000 * timing.seconds[0])


def test_spread_and_ratio():
    assert spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0, "count": 1}
    five = spread([5, 1, 4, 2, 3], 10)
    assert (five["low"], five["median"], five["high"], five["count"]) == (20, 30, 40, 5)
    slow, fast = Timing([4.0, 8.0, 60.0], [8.0] * 3), Timing([2.0, 4.0, 20.0], [2.0] * 3)
    assert ratios(slow, fast)["median"] == 2.0
    assert ratios(slow, fast)["processor"] == 4.0
    rounds = ratios(Timing([9.0, 1.0] * 2, [1.0] * 4), Timing([1.0, 1.0] * 2, [1.0] * 4), frames=2)
    assert (rounds["median"], rounds["count"]) == (5.0, 2)  # of whole rounds, not of frames


@pytest.mark.skipif(memory_bytes("VmHWM") is None, reason="no /proc here")
def test_memory_that_was_freed_in_between_is_seen():
    assert 60 << 20 < peak_memory(lambda: np.ones(64 << 20, dtype=np.uint8).sum(), CPU) < 90 << 20
    assert peak_memory(lambda: None, CPU) < 8 << 20


def test_made_up_masks_are_never_empty_and_of_many_sizes():
    masks = made_up_masks(60, (48, 64))
    areas = masks.flatten(1).sum(dim=1)
    assert masks.shape == (60, 48, 64)
    assert 0 < areas.min() < 40 < 200 < areas.max()
    assert torch.equal(masks, made_up_masks(60, (48, 64)))


def test_labels_are_compared_mask_by_mask_whatever_their_order():
    frame, masks = made_up_frame((16, 16)), torch.zeros((3, 16, 16), dtype=torch.bool)
    for i in range(3):
        masks[i, 5 * i : 5 * i + 4] = True
    vocabulary = vocabulary_of(["mug", "plate", "spoon"])

    def labelled(index, used=masks):
        ours = segmenter(used)
        found = ours.label(ours.embed(frame), vocabulary)
        return replace(found, probs=torch.eye(3)[index].reshape(-1, 3))

    one = labelled([0, 1, 2])
    assert labelled_alike(one, labelled([2, 1, 0], masks.flip(0))) == 3
    assert labelled_alike(one, labelled([0, 1, 0])) == 2
    assert (
        labelled_alike(labelled([0, 1, 0]), labelled([0, 1], masks[:2])) == 2
    )  # the third has no counterpart
    assert labelled_alike(one, labelled([], masks[:0])) == 0
    assert labelled_alike(labelled([], masks[:0]), one) == 0


def test_quick_run_measures_everything(tmp_path, capsys):
    pytest.importorskip("skimage", reason="the photographs come with scikit-image")
    arguments = ["--quick", "--threads", "1", "--colour-preset", "mini", "--out", str(tmp_path)]
    assert main(["bench", *arguments]) == 0
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["cases"]) == ["cold", "query", "video", "colour", "colour_video"]
    assert torch.__version__.startswith(result["made_with"]["versions"]["torch"])
    cold, query, video, colour, colour_video = result["cases"].values()
    stages = {"propose", "crop", "encode", "text", "classify", "compose"}
    assert stages < set(cold["variants"]["ours"]["stages_ms"])
    assert cold["times_reference"]["ours"]["median"] == 1
    assert cold["least_cosine"]["ours"] > 0.9999
    assert all(cosine > 0.99 for cosine in cold["least_cosine"].values())
    assert query["times_reference"]["words asked before"]["median"] < 1
    assert video["times_reference"]["baseline, words anew"]["processor"] > 1
    assert video["labels_equal"]["ours"] > 0.9
    assert "ours, every frame anew" in video["labels_equal"]
    assert 0 < video["share_encoded"]["ours"] < 1
    assert 0 < colour["masks"] <= 50
    assert all(cosine > 0.9999 for cosine in colour["cosine_with_reference"].values())
    assert colour_video["frames"] == 2
    assert 0 < colour_video["share_encoded"]["crops in torch, tracks"] < 1
    assert colour_video["variants"]["crops in torch, tracks"]["frames_per_s"] > 0
    assert (tmp_path / "result.md").read_text() in shown
    assert "quick run" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["warm"], "expected cases of cold, query, video, colour, colour_video, got warm"),
        (["cold", "--rounds", "0"], "expected rounds at least 1, got 0"),
        (["cold", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (["cold", "--model", "ViT-Z-9"], "expected an architecture of open_clip"),
        (["cold", "--labels", "256"], "expected labels at most 255, got 256"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, said, capsys, tmp_path):
    assert main(["bench", *arguments, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("size", ["640", "0x480", "axb"])
def test_a_size_that_is_none_is_refused(size, capsys):
    with pytest.raises(SystemExit):
        main(["bench", "--size", size])
    assert f"expected WIDTHxHEIGHT such as 640x480, got '{size}'" in capsys.readouterr().err


def test_the_baseline_of_lite_embeds_as_its_crops_are():
    ours = load_preset("lite", runtime="torch")
    ours = ours.rebuilt(
        proposer=FixedProposer(made_up_masks(3, (96, 128))),
        options=replace(ours.options, classifier="clip", min_mask_pixels=1),
    )
    frame, baseline = made_up_frame((96, 128)), Baseline(ours)
    found, stages = baseline.frame(frame, ["mug", "plate"])
    assert least_cosine(found.embeddings, ours.embed(frame).embeddings) > 0.9999
    assert found.probs.shape == (3, 2)
    assert "encode" in stages
    with pytest.raises(ConfigError, match="expected a CLIP to encode words anew"):
        baseline.frame(frame, ["mug"], words_anew=True)


def test_the_baseline_has_all_networks_in_torch_in_float32():
    colour = ColourMasks(*load_colour_masks(), ColourMasksOptions(short_side=64))
    colour.programs.runtime = "openvino"
    plain = in_torch_32(UnionProposals([colour, FixedProposer(made_up_masks(1, SIZE_HW))]))
    assert (plain.members[0].programs.runtime, plain.members[0].precision) == ("torch", "fp32")
    assert plain.members[0].network is colour.network
    assert isinstance(plain.members[1], FixedProposer)

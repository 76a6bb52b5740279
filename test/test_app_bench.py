"""`ovseg bench`: the plain way computes what the method says, clocks and tables tell what happened."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from core_fixtures import TINY_SIDE, FixedProposer, tiny_clip, tiny_tokenizer

from ovseg_ros.app import bench_naive
from ovseg_ros.app.bench_chart import draw
from ovseg_ros.app.bench_clock import PeakMemory, Timing, Watch, alternate, memory_bytes, ratios, spread
from ovseg_ros.app.bench_cuda import cuda, encode_rate, operations
from ovseg_ros.app.bench_paths import cosines, equal_labels, naive_of, our_frame, vocabulary_of
from ovseg_ros.app.bench_scene import TINY, know_words, made_up_frame, made_up_masks, random_clip, words
from ovseg_ros.app.bench_targets import TARGETS, Target, verdicts
from ovseg_ros.app.cli import main
from ovseg_ros.core.compose import semantic_map
from ovseg_ros.core.mask_clip import MaskPromptedClip, new_mask_prompts
from ovseg_ros.core.regions import crop_regions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.errors import ConfigError

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


def test_plain_crops_are_those_of_the_core():
    frame, masks = made_up_frame(SIZE_HW), made_up_masks(5, SIZE_HW)
    pixels, region_masks = bench_naive.crop(frame, masks, TINY_SIDE)
    image = torch.from_numpy(frame.image_rgb).permute(2, 0, 1)
    regions = crop_regions(image, masks, size=TINY_SIDE)
    assert torch.allclose(pixels, regions.pixels, atol=1e-3)
    assert torch.equal(region_masks, regions.masks)
    assert bench_naive.crop(frame, masks[:0], 8)[0].shape == (0, 3, 8, 8)


@pytest.mark.parametrize("prompts", [True, False])
def test_plain_way_and_ours_find_the_same(prompts):
    frame, masks = made_up_frame(SIZE_HW), made_up_masks(6, SIZE_HW)
    ours = segmenter(masks, prompts, background=("wall", "floor"), background_max_similarity=1.0)
    names = ["mug", "plate", "xylophone", "zz", "kettle", "A", "0123456789"]
    plain, stages = naive_of(ours).frame(frame, names)
    segmentation, embedded, our_stages = our_frame(ours, frame, vocabulary_of(names))
    assert cosines(plain.embeddings, embedded.embeddings)["min"] > 0.99999
    assert torch.allclose(plain.probs, segmentation.probs, atol=1e-4)
    assert list(stages) == ["propose", "crop", "encode", "text", "label", "compose"]
    assert set(our_stages) - {"track"} == set(stages)
    labels = torch.from_numpy(segmentation.semantic()[0]).long()
    assert (labels == plain.label_map).float().mean() > 0.999
    assert len(plain.probs.argmax(dim=1).unique()) > 1


def test_prompts_change_what_the_plain_way_sees():
    frame, masks = made_up_frame(SIZE_HW), made_up_masks(3, SIZE_HW)
    one, other = (naive_of(segmenter(masks, prompts)).frame(frame, ["mug"])[0] for prompts in (True, False))
    assert cosines(one.embeddings, other.embeddings)["min"] < 0.999


def test_plain_composition_is_the_argmax_over_all_classes():
    masks, probs = made_up_masks(7, SIZE_HW, seed=2), torch.rand(7, 4).softmax(dim=1)
    found = bench_naive.compose(masks, probs)
    covered = masks.any(dim=0)
    assert torch.equal(found[covered], semantic_map(masks.float(), probs).argmax(dim=0)[covered])
    assert (found[~covered] == 255).all()
    for nothing in (bench_naive.compose(masks[:0], probs[:0]), bench_naive.compose(masks, probs[:, :0])):
        assert (nothing == 255).all()


def test_plain_way_without_masks_and_with_empty_ones():
    frame = made_up_frame(SIZE_HW)
    for masks in (torch.zeros((0, *SIZE_HW), dtype=torch.bool), torch.zeros((2, *SIZE_HW), dtype=torch.bool)):
        found, _ = naive_of(segmenter(masks)).frame(frame, ["mug", "plate"])
        assert found.probs.shape == (0, 2)
        assert (found.label_map == 255).all()


@pytest.mark.parametrize(("text", "encoded"), [("cached", 3), ("anew", 6)])
def test_words_are_kept_or_encoded_anew(text, encoded, monkeypatch):
    path = naive_of(segmenter(made_up_masks(1, SIZE_HW), background=("wall",)), text=text)
    calls, encode = [], path.clip_model.encode_text
    monkeypatch.setattr(path.clip_model, "encode_text", lambda ids: calls.append(len(ids)) or encode(ids))
    for _ in range(2):
        path.frame(made_up_frame(SIZE_HW), ["mug", "plate"])
    assert calls == [1] * encoded


def test_plain_way_has_weights_of_its_own():
    ours = segmenter(made_up_masks(1, SIZE_HW))
    path = naive_of(ours)
    ours.clip.to(torch.bfloat16)
    assert {p.dtype for p in path.clip_model.parameters()} == {torch.float32}
    assert path.prompts.dtype == torch.float32


def test_plain_way_wants_a_clip():
    ours = segmenter(made_up_masks(1, SIZE_HW))
    ours.clip = object()
    with pytest.raises(ConfigError, match=r"got object.*mini"):
        naive_of(ours)
    with pytest.raises(ConfigError, match="not taken"):
        vocabulary_of(["mug", "mug"])


def test_ways_take_turns_and_their_order_too():
    order = []
    ways = {name: lambda name=name: order.append(name) or {"crop": 0.5} for name in "ab"}
    timings = alternate(ways, runs=3, device=CPU)
    assert "".join(order) == "ab" + "ab" + "ba" + "ab"
    assert len(timings["a"].seconds) == 3
    assert timings["a"].stages == {"crop": [0.5, 0.5, 0.5]}


def test_no_round_is_begun_that_would_end_after_the_budget():
    timings = alternate(
        {"a": lambda: time.sleep(0.02) or {}}, runs=100, device=CPU, budget_s=0.15, warm_ups=0
    )
    assert 2 <= len(timings["a"].seconds) <= 8
    timings = alternate({"a": lambda: time.sleep(0.02) or {}}, runs=9, device=CPU, budget_s=0.0)
    assert len(timings["a"].seconds) == 2


def test_spread_and_ratio():
    assert spread([3.0]) == {"median": 3.0, "low": 3.0, "high": 3.0, "min": 3.0, "max": 3.0, "count": 1}
    five = spread([5, 1, 4, 2, 3], 10)
    assert (five["low"], five["median"], five["high"], five["count"]) == (20, 30, 40, 5)
    slow, fast = Timing([4.0, 8.0, 60.0]), Timing([2.0, 4.0, 20.0])
    assert ratios(slow, fast)["median"] == 2.0
    assert Timing([1.0, 2.0, 4.0], stages={"encode": [0.5, 1.5, 1.0]}).without("encode") == 0.5


@pytest.mark.skipif(memory_bytes("VmHWM") is None, reason="no /proc here")
def test_memory_that_was_freed_in_between_is_seen():
    peak = PeakMemory(CPU)
    big = np.ones(64 << 20, dtype=np.uint8)
    del big
    host, card = peak.extra()
    assert 60 << 20 < host < 90 << 20
    assert card is None
    assert PeakMemory(CPU).extra()[0] < 8 << 20


def test_watch_adds_up_stages_of_one_name():
    watch = Watch(CPU)
    for name in ("crop", "encode", "crop"):
        time.sleep(0.01)
        watch(name)
    assert watch.stages["crop"] > 0.018 > 0.009 < watch.stages["encode"]


def test_made_up_masks_are_never_empty_and_of_many_sizes():
    masks = made_up_masks(60, (48, 64))
    areas = masks.flatten(1).sum(dim=1)
    assert masks.shape == (60, 48, 64)
    assert 0 < areas.min() < 40 < 200 < areas.max()
    assert torch.equal(masks, made_up_masks(60, (48, 64)))
    assert made_up_masks(0, (4, 4)).shape == (0, 4, 4)


def test_known_words_need_no_text_tower(monkeypatch):
    clip = random_clip(TINY)
    know_words(clip, words(20), ("{}",))
    monkeypatch.setattr(clip.clip_model, "encode_text", None)
    rows = clip.encode_text(words(20), ("{}",))
    assert torch.allclose(rows.norm(dim=1), torch.ones(20))


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
    assert equal_labels(one, labelled([2, 1, 0], masks.flip(0))) == (3, 3)
    assert equal_labels(one, labelled([0, 1, 0])) == (2, 3)
    assert equal_labels(one, labelled([0, 1], masks[:2])) == (2, 3)
    assert equal_labels(labelled([0, 1, 0]), labelled([0, 1], masks[:2])) == (2, 3)  # none is there for one
    assert equal_labels(one, labelled([], masks[:0])) == (0, 3)
    assert equal_labels(labelled([], masks[:0]), one) == (0, 0)


def test_targets_are_reached_missed_or_not_measured():
    more = Target("speed", "x", 1.5, True, ("a", "b"))
    less = Target("cost", "%", 5.0, False, ("a", "b"), 100.0)
    assert [more.verdict({"a": {"b": at}})["met"] for at in (1.5, 1.4)] == [True, False]
    assert [less.verdict({"a": {"b": at}})["met"] for at in (0.05, 0.06)] == [True, False]
    none = more.verdict({"a": {}})
    assert (none["met"], none["measured"], none["wanted"]) == (None, None, ">= 1.5 x")
    assert all(one["met"] is None for one in verdicts({}))
    added = verdicts({"labels": {"added": 0.04}})
    assert [one["measured"] for one in added if one["met"]] == ["4.00 %"]
    assert len(added) == len(TARGETS)


def test_quick_run_measures_everything_on_made_up_frames(tmp_path, capsys):
    cases = ["cold", "query", "masks", "labels", "size", "cuda"]
    assert main(["bench", *cases, "--quick", "--threads", "1", "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["cases"]) == ["cold", "query", "masks", "labels", "size", "cuda"]
    assert result["made_with"]["versions"]["torch"] == torch.__version__
    cold = result["cases"]["cold"]
    assert {"propose", "crop", "encode", "text", "label", "compose"} <= set(cold["ways"]["ours"]["stages_ms"])
    assert cold["cosine"]["ours"]["min"] > 0.9999
    assert all(one["min"] > 0.99 for one in cold["cosine"].values())
    assert [point["at"] for point in result["cases"]["labels"]["points"]] == [1, 300]
    assert [point["size"] for point in result["cases"]["size"]["points"]] == ["32x24", "64x48"]
    assert len(result["targets"]) == len(TARGETS)
    assert "cold frame: naive / ours" in shown
    assert "quick run" in shown
    assert (tmp_path / "result.md").read_text() in shown
    assert (tmp_path / "cost.png").read_bytes()[:4] == b"\x89PNG"


def test_cases_measured_before_are_kept_beside_those_of_now(tmp_path, capsys):
    quick = ["--quick", "--threads", "1", "--out", str(tmp_path)]
    for arguments in (["masks", "size"], ["query", "--add"], ["size", "--add"]):
        assert main(["bench", *arguments, *quick]) == 0
    result = json.loads((tmp_path / "result.json").read_text())
    assert list(result["cases"]) == ["query", "masks", "size"]
    made = result["made_with"]
    assert [made["cases"], *(run["cases"] for run in made["earlier"])] == [["size"], ["query"], ["masks"]]
    assert all("earlier" not in run for run in made["earlier"])
    queried = next(one for one in result["targets"] if one["text"].startswith("query"))
    assert queried["measured"]
    assert "masks: `ovseg" in (tmp_path / "result.md").read_text()
    capsys.readouterr()
    assert main(["bench", "query", "--add", *quick[:1], "--threads", "2", *quick[3:]]) == 2
    assert "threads 1 and now 2; take another --out" in capsys.readouterr().err


@pytest.mark.parametrize("text", [None, "[]", "{}", "no JSON"])
def test_nothing_to_add_to_is_said_before_anything_is_measured(tmp_path, capsys, text):
    if text is not None:
        (tmp_path / "result.json").write_text(text)
    assert main(["bench", "cold", "--add", "--out", str(tmp_path)]) == 2
    assert "--add wants an earlier result in" in capsys.readouterr().err


def test_no_figure_without_a_sweep(tmp_path):
    assert draw(tmp_path / "cost.png", {"cold": {}}, "") is False
    assert not (tmp_path / "cost.png").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["warm"], "want cases of cold, query"),
        (["cold", "--runs", "0"], "want runs at least 1, got 0"),
        (["cold", "--device", "cuda:77"], "device 'cuda:77' cannot be used"),
        (["cold", "--model", "ViT-Z-9"], "want an architecture of open_clip"),
    ],
)
def test_what_cannot_be_measured_is_said(arguments, said, capsys, tmp_path):
    assert main(["bench", *arguments, "--out", str(tmp_path)]) == 2
    assert said in capsys.readouterr().err


def test_parser_waits_for_nothing_heavy():
    code = (
        "import sys, argparse\nfrom ovseg_ros.app import bench\n"
        "bench.add_parser(argparse.ArgumentParser().add_subparsers())\n"
        "print([name for name in ('torch', 'cv2', 'numpy', 'matplotlib', 'rclpy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_operations_are_those_torch_counts():
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    clip = random_clip(TINY)
    pixels = torch.randn(2, 3, clip.size, clip.size)
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # fused kernels are not counted
    try:
        with FlopCounterMode(display=False) as counter, torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            clip.clip_model.encode_image(pixels)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
    assert counter.get_total_flops() == pytest.approx(2 * operations(clip), rel=0.01)


def test_rate_of_the_encoder_beside_a_matrix_product_runs_on_any_device():
    found = encode_rate(CPU, TINY, batch=2, side=32, labels=3)
    assert found["share"] == pytest.approx(found["encode_tflops"] / found["matrix_tflops"])
    assert 0 <= found["labels_equal"] <= 1
    if not torch.cuda.is_available():
        assert "no CUDA device" in cuda(None, print)["none"]


@pytest.mark.ros
def test_messages_are_made_and_sent():
    pytest.importorskip("rclpy")
    from ovseg_ros.ros.stage_times import StageTimes

    ours = segmenter(made_up_masks(3, SIZE_HW))
    segmentation, _, _ = our_frame(ours, made_up_frame(SIZE_HW), vocabulary_of(["mug"]))
    times = StageTimes()
    try:
        assert all(publisher.get_subscription_count() for publisher in times._publishers.values())
        seconds = times(segmentation)
    finally:
        times.close()
    assert set(seconds) == {"convert", "publish"}
    assert min(seconds.values()) > 0

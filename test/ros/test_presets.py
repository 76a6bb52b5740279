"""The node over DDS with real networks of every kind, tiny and random: what a user with weights gets."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from adapted_fixtures import new_adapted as new_pooled
from ovseg_ros.action import FindObject
from ovseg_ros.msg import ResultCode
from ovseg_ros.srv import SegmentImage
from ros_bench import Bench, image_message
from tiny_presets import make_tiny_presets

from ovseg_ros.ros.inference.loading import load_segmenter

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield make_tiny_presets(tmp_path_factory.mktemp("tiny"))
    torch.set_num_threads(threads)


@pytest.fixture
def bench_of():
    benches = []

    def make(**parameters):
        benches.append(Bench(load_segmenter, device="cpu", **parameters))
        return benches[-1]

    yield make
    for bench in benches:
        bench.close()


def ask(bench: Bench, *labels: str) -> SegmentImage.Response:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    request = SegmentImage.Request(labels=list(labels), image=image_message(pixels, stamp=bench.now()))
    return bench.call(bench.segment, request)


@pytest.mark.parametrize(
    "kind", ["sam", "maskformer", "ovseg_swin", "ovseg_resnet", "union", "owlv2", "sam3"]
)
def test_the_node_runs_every_kind(bench_of, presets, kind):
    bench = bench_of(preset=str(presets[kind])).active()
    reply = ask(bench, "teapot", "mug")
    assert reply.code == ResultCode.FOUND, reply.message
    assert reply.segmentation.segments
    for segment in reply.segmentation.segments:
        assert segment.label in ("teapot", "mug")
        assert 0.0 <= segment.score <= 1.0


@pytest.mark.parametrize("kind", ["owlv2", "sam3"])
def test_one_stage_finds_what_two_images_agree_on(bench_of, presets, kind):
    bench = bench_of(preset=str(presets[kind]), find_confirm=2, find_confirm_of=3, max_frame_age=60.0)
    bench.active()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    feedback: list[FindObject.Feedback] = []
    goal = bench.begin_find("mug", lambda message: feedback.append(message.feedback), timeout=30.0)
    bench.show(pixels)
    bench.until(lambda: feedback and feedback[-1].frames_seen == 1)
    assert feedback[-1].stage == FindObject.Feedback.CONFIRMING
    bench.show(pixels)
    result, _ = bench.result_of(goal)
    assert (result.code, result.frames_seen, result.agreements) == (ResultCode.FOUND, 2, 2), result.message
    # masks that are found by words are not tracked before: they agree by where they are
    assert bool(result.segments[0].track_id) == (kind == "owlv2")
    assert bench.set(threshold=1.0).successful
    bench.show(pixels)
    assert bench.find("mug", timeout=1.0).code == ResultCode.NOT_FOUND
    refused = bench.set(classifier="clip")
    assert not refused.successful
    assert "take the classifier maskformer" in refused.reason


def test_modes_change_live(bench_of, presets):
    bench = bench_of(preset=str(presets["ovseg_swin"])).active()

    def scores() -> list[float]:
        return sorted(segment.score for segment in ask(bench, "teapot", "mug").segmentation.segments)

    seen = [scores()]
    for values in (
        {"classifier": "maskformer"},
        {"classifier": "ensemble", "clip_weight": 0.5},
        {"clip_weight": 0.9},
        {"classifier": "clip", "region_view": "context"},
        {"region_view": "both", "mask_prompts": "off"},
        {"templates": "bare"},
    ):
        assert bench.set(**values).successful, values
        seen.append(scores())
    assert all(a != b for a, b in itertools.pairwise(seen))


def test_a_classifier_that_the_masks_do_not_serve_is_refused(bench_of, presets):
    bench = bench_of(preset=str(presets["sam"])).active()
    result = bench.set(classifier="ensemble")
    assert not result.successful
    assert "take the classifier clip" in result.reason
    assert bench.node.settings.classifier == "preset"
    assert ask(bench, "mug").code == ResultCode.FOUND


def test_another_presets_proposals_and_pooling_where_it_can_be(bench_of, presets, tmp_path, monkeypatch):
    encoder = new_pooled()
    encoder.logit_scale = 1.0  # so that no score is 1
    encoder.tokenizer = lambda texts: torch.tensor([[len(text) % 6] for text in texts])
    monkeypatch.setattr("ovseg_ros.models.bundled.lite.load_lite", lambda *_: encoder)
    path = tmp_path / "adapted.yaml"
    path.write_text("proposer: {kind: depth_clusters}\nencoder: {kind: lite}\noptions: {templates: bare}\n")
    bench = bench_of(preset=str(path), proposals=str(presets["sam"])).active()
    assert type(bench.node.engine.segmenter.proposer).__name__ == "SamProposals"

    def scores() -> list[float]:
        return sorted(segment.score for segment in ask(bench, "asked", "dull").segmentation.segments)

    cropped = scores()
    assert bench.set(classifier="pooled").successful
    monkeypatch.setattr(encoder, "encode_regions", None)
    pooled = scores()
    assert pooled
    assert pooled != cropped
    assert not bench_of(preset=str(presets["sam"])).set(classifier="pooled").successful


def test_missing_weights_fail_configure_with_the_cure(bench_of, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    bench = bench_of(preset="vitb16", autostart=False)
    bench.until(lambda: bench.change_state.service_is_ready())
    assert not bench.transition("configure")
    said = capfd.readouterr().err
    assert "sam_vit_b_01ec64.pth" in said
    assert "ovseg download vitb16" in said

"""The bundled weights on the bundled recording: what the repository ships must work as it is shipped."""

from __future__ import annotations

import pytest
from repository import ROOT

from ovseg_ros.core.maps.mask_overlap import mask_iou
from ovseg_ros.core.words.vocabulary import Vocabulary
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER
from ovseg_ros.models.presets import load_preset


def alone(word: str) -> Vocabulary:
    return Vocabulary.empty().replace([word])[0]


@pytest.fixture(scope="module")
def segmenter():
    return load_preset("mini")


@pytest.fixture(scope="module")
def frames():
    """The first frame of each scene."""
    return list(read_recording(recording_folder("demo/tabletop")))[::15]


def test_files_keep_to_their_sizes():
    assert (WEIGHTS_FOLDER / "mini.safetensors").stat().st_size <= 16e6
    recordings = list((ROOT / "demo").rglob("*.mcap"))
    assert len(recordings) == 2
    assert sum(file.stat().st_size for file in recordings) <= 10e6


def test_the_tower_is_small_and_its_prompts_are_trained(segmenter):
    clip = segmenter.clip
    assert 5e6 <= sum(p.numel() for p in clip.clip_model.visual.parameters()) <= 8e6
    assert clip.mask_prompts.shape[1:] == (49, 256)
    assert clip.mask_prompts.std() > 0.03  # they begin at 0.02, known to 0.0002


@pytest.mark.parametrize("scene", [0, 1, 2])
def test_a_teapot_is_found_and_a_giraffe_is_not(segmenter, frames, scene):
    recorded = frames[scene]
    embedded = segmenter.embed(recorded.frame)
    best, score = segmenter.label(embedded, alone("teapot")).best("teapot")
    truth = recorded.mask(next(i for i, name in recorded.names.items() if name == "teapot"))
    assert best is not None
    assert mask_iou(embedded.masks[best : best + 1], truth[None])[0, 0] >= 0.75
    assert score > 0.2
    assert segmenter.label(embedded, alone("giraffe")).best("giraffe")[0] is None


def test_every_thing_of_a_scene_gets_its_name(segmenter, frames):
    recorded = frames[0]
    words, rejected = Vocabulary.empty().replace(sorted(set(recorded.names.values())))
    assert not rejected
    found = segmenter.segment(recorded.frame, words)
    for instance, name in recorded.names.items():
        best, _ = found.best(name)
        assert best is not None, name
        iou = mask_iou(found.masks[best : best + 1], recorded.mask(instance)[None])[0, 0]
        assert iou >= 0.75, (name, iou)

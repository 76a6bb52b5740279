"""The garage recording: real depth, hand-drawn truth."""

from __future__ import annotations

import json

import numpy as np
import pytest
from repository import ROOT

from ovseg_ros.evaluate.recordings.recording import read_recording

GARAGE = ROOT / "demo" / "garage"


@pytest.fixture(scope="module")
def garage():
    (recorded,) = read_recording(GARAGE)
    return recorded


def test_depth_follows_from_the_published_calibration(garage):
    data = pytest.importorskip("skimage.data", reason="the source images come with scikit-image")
    _, _, disparity = data.stereo_motorcycle()
    known = np.isfinite(disparity)
    wanted = 994.978 * 0.193001 / (disparity[known] + 31.086)
    np.testing.assert_allclose(garage.frame.depth_m[known], wanted, atol=0.00051)
    assert (garage.frame.depth_m[~known] == 0).all()
    assert 2.0 < garage.frame.depth_m[known].min() < garage.frame.depth_m[known].max() < 5.1


def test_truth_names_and_places(garage):
    assert set(garage.names.values()) >= {"motorcycle", "shelf", "door"}
    masks = {name: garage.mask(key) for key, name in garage.names.items()}
    assert masks["motorcycle"][300, 390]  # engine
    assert not masks["motorcycle"][460, 100]  # floor
    assert masks["door"][40, 230]
    assert masks["shelf"][60, 570]
    assert not masks["shelf"][300, 390]  # the motorcycle stands in front
    truth = json.loads((GARAGE / "ground_truth.json").read_text())
    assert [thing["name"] for thing in truth["objects"]] == [garage.names[k] for k in sorted(garage.names)]


def test_recording_is_small():
    assert sum(file.stat().st_size for file in GARAGE.iterdir()) < 1_000_000

"""Seconds of a stage on a device that returns before it is done."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer, words

from ovseg_ros.core.device import clock
from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.tracking import VideoSegmenter

SECONDS = {"propose": 1.0, "encode": 10.0, "text": 100.0}


@dataclasses.dataclass
class Card:
    """A card that is given work and does it only when it is waited for; its clock is its own."""

    pending: float = 0.0
    time: float = 0.0

    def wait_for(self, device: torch.device) -> None:
        self.time, self.pending = self.time + self.pending, 0.0


class Lazy(ColourEncoder):
    def __init__(self, card):
        super().__init__()
        self.card = card

    def encode_regions(self, pixels, region_masks=None):
        self.card.pending += SECONDS["encode"]
        return super().encode_regions(pixels, region_masks)

    def encode_text(self, labels, templates=None):
        self.card.pending += SECONDS["text"]
        return super().encode_text(labels, templates)


class LazyProposer(FixedProposer):
    card: Card

    def propose(self, frame: Frame) -> Proposals:
        self.card.pending += SECONDS["propose"]
        return super().propose(frame)


@pytest.fixture
def card(monkeypatch):
    card = Card()
    monkeypatch.setattr(clock, "wait_for", card.wait_for)
    monkeypatch.setattr(clock.time, "perf_counter", lambda: card.time)
    return card


@pytest.fixture
def segmenter(card):
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, :20, :20] = masks[1, 20:, 30:] = True
    proposer = LazyProposer(masks)
    proposer.card = card
    return OpenVocabularySegmenter(proposer, Lazy(card), SegmenterOptions(others=""))


@pytest.mark.parametrize("video", [False, True])
def test_each_stage_is_waited_for(card, segmenter, video):
    frame = Frame(np.full((40, 60, 3), 90, np.uint8), stamp_ns=1)
    card.pending = 1000.0  # of whoever had the card before
    embedded = (VideoSegmenter(segmenter) if video else segmenter).embed(frame)
    stages = dict(embedded.timings)
    assert stages.pop("track", 0.0) == 0.0
    assert stages == {"propose": 1.0, "crop": 0.0, "encode": 10.0}
    named = segmenter.label(embedded, words("red"))
    assert (named.timings["text"], named.timings["classify"]) == (100.0, 0.0)


def test_which_devices_are_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: waited.append(str(device)))
    monkeypatch.setattr(torch.mps, "synchronize", lambda: waited.append("mps"))
    times = [clock.now(torch.device(name)) for name in ("cpu", "cuda:1", "mps")]
    assert waited == ["cuda:1", "mps"]
    assert times == sorted(times)

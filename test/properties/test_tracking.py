"""Things followed over frames that come in any order, of any camera, with any masks: numbers stay true."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from core_fixtures import ColourEncoder, words
from hostile import seeds
from hypothesis import strategies as st
from property_cases import cases

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import Budget, Confirmation, Sighting, TrackOptions, VideoSegmenter
from ovseg_ros.core.tracking.association import assign


@cases(150, st.tuples(*[st.integers(0, 4)] * 2), seeds, st.sampled_from([0.0, 0.3, 0.5]))
def test_the_assignment_is_the_best_there_is(shape, seed, least):
    rng = np.random.default_rng(seed)
    scores = rng.choice([-np.inf, 0.0, 0.25, 0.5, 0.75, 1.0], shape).astype(np.float32)
    pairs = assign(scores, least)
    assert all(len({pair[side] for pair in pairs}) == len(pairs) for side in (0, 1))
    assert all(scores[pair] >= least for pair in pairs)

    def worth(pairs):  # as documented: the largest sum of what is above `least`, more pairs on ties
        return round(sum(float(scores[pair]) - least + 1e-6 for pair in pairs), 7)

    few, many = sorted(shape)
    best = 0.0
    for order in itertools.permutations(range(many), few):
        candidate = [(i, j) if shape[0] <= shape[1] else (j, i) for i, j in enumerate(order)]
        best = max(best, worth([pair for pair in candidate if scores[pair] >= least]))
    assert abs(worth(pairs) - best) < 1e-5


class AnyMasks:
    """Proposes whatever it is told to."""

    masks: torch.Tensor

    def propose(self, frame: Frame) -> Proposals:
        return Proposals(self.masks, torch.linspace(0.9, 0.1, len(self.masks)))


@cases(30, seeds)
def test_numbers_of_tracks_are_never_given_twice(seed):
    rng = np.random.default_rng(seed)
    proposer = AnyMasks()
    options = SegmenterOptions(min_mask_pixels=1, max_masks=5)
    segmenter = OpenVocabularySegmenter(proposer, ColourEncoder(), options)
    video = VideoSegmenter(segmenter, TrackOptions(max_cameras=2))
    vocabulary, stamp = words("red", "green"), 0
    seen: dict[int, str] = {}  # number -> camera
    highest = 0
    for _ in range(int(rng.integers(1, 9))):
        stamp += int(rng.choice([0, 1, 10**8, 10**10, -(10**9)]))
        size = (16, 24) if rng.random() < 0.8 else (9, 7)
        image = rng.integers(0, 256, (4, 6, 3), np.uint8).repeat(size[0] // 4, 0).repeat(size[1] // 6, 1)
        image = np.zeros((*size, 3), np.uint8) if rng.random() < 0.2 else np.resize(image, (*size, 3))
        masks = np.zeros((int(rng.integers(0, 7)), *size), np.bool_)
        for mask in masks:
            y, x = rng.integers(0, size)
            mask[y : y + rng.integers(1, 9), x : x + rng.integers(1, 9)] = rng.random() < 0.95
        proposer.masks = torch.from_numpy(masks)
        camera = str(rng.choice(["left", "right", ""]))
        frame = Frame(image, stamp_ns=max(stamp, 0), frame_id=camera)
        budget = Budget(new_embeddings=int(rng.integers(1, 4))) if rng.random() < 0.3 else None
        result = video.segment(frame, vocabulary, budget=budget)
        ids = [number for number in result.track_ids.tolist() if number]
        assert len({*ids}) == len(ids)
        assert torch.isfinite(result.probs).all()
        assert result.label_image().shape == size
        new = [number for number in ids if number not in seen]
        assert all(number > highest for number in new), "a number that was given up came back"
        assert all(seen[number] == camera for number in ids if number in seen), "a thing changed its camera"
        seen.update(dict.fromkeys(new, camera))
        highest = max([highest, *new])


@cases(80, seeds, st.integers(1, 4), st.integers(0, 3))
def test_what_is_confirmed_was_seen_so_often(seed, wanted, more):
    rng = np.random.default_rng(seed)
    confirmation = Confirmation(wanted, wanted + more)
    shown: list[set[int]] = []
    for _ in range(int(rng.integers(1, 9))):
        tracks = [int(track) for track in np.flatnonzero(rng.random(4) < 0.5) + 1]
        shown.append({*tracks})
        agreements = confirmation.add([Sighting("mug", track, None) for track in tracks])
        for track, count in zip(tracks, agreements, strict=True):
            assert count == sum(track in frame for frame in shown[-(wanted + more) :])

"""Things followed over frames: numbers, reuse, budgets, smoothing, resets."""

from __future__ import annotations

import dataclasses
import itertools

import cv2
import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, words

from ovseg_ros.core.frame import NO_HINTS, Frame, Hints, Proposals
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions.crop import mask_boxes
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.tracks import TrackOptions
from ovseg_ros.core.tracking.video import VideoReport, VideoSegmenter, label_certainty
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError

H, W, SIDE = 120, 160, 24
RED, GREEN, BLUE = (220, 20, 20), (20, 220, 20), (20, 20, 220)
PERIOD_NS = 100_000_000
_rng = np.random.default_rng(0)
BACKGROUND = cv2.resize(_rng.integers(60, 140, (12, 16, 3)).astype(np.uint8), (W, H))
OTHER_PLACE = cv2.resize(_rng.integers(60, 140, (12, 16, 3)).astype(np.uint8)[::-1], (W, H))


@dataclasses.dataclass
class World:
    """Coloured squares before a background; proposes exactly the squares that are in view."""

    things: dict[str, tuple[tuple[int, int], tuple[int, int, int]]]
    background: np.ndarray = dataclasses.field(default_factory=lambda: BACKGROUND)
    hidden: set[str] = dataclasses.field(default_factory=set)
    noise: float = 0.0
    light: float = 1.0
    asked: int = 0
    clock: itertools.count = dataclasses.field(default_factory=lambda: itertools.count(1))

    def frame(self, **changes) -> Frame:
        image = self.background.astype(np.float32)
        for name, ((x, y), colour) in self.things.items():
            if name not in self.hidden:
                image[y : y + SIDE, x : x + SIDE] = colour
        image = image * self.light + _rng.normal(0, 1, image.shape) * self.noise
        given = {"stamp_ns": next(self.clock) * PERIOD_NS, "frame_id": "camera"} | changes
        return Frame(image.clip(0, 255).astype(np.uint8), **given)

    def seen(self) -> list[str]:
        return [name for name in self.things if name not in self.hidden]

    def propose(self, frame: Frame) -> Proposals:
        self.asked += 1
        masks = torch.zeros((len(self.seen()), *frame.size_hw), dtype=torch.bool)
        for mask, name in zip(masks, self.seen(), strict=True):
            x, y = self.things[name][0]
            mask[y : y + SIDE, x : x + SIDE] = True
        return Proposals(masks, torch.linspace(0.9, 0.5, len(masks)))


@pytest.fixture
def world():
    return World({"red": ((20, 20), RED), "green": ((70, 60), GREEN), "blue": ((120, 20), BLUE)})


def follow(world: World, segmenter_options: SegmenterOptions | None = None, **options) -> VideoSegmenter:
    return VideoSegmenter(
        OpenVocabularySegmenter(world, ColourEncoder(), segmenter_options), TrackOptions(**options)
    )


def ids(embedded) -> list[int]:
    return embedded.track_ids.tolist()


def test_masks_are_fetched_from_a_device_once(world, monkeypatch):
    fetched, own = [], torch.Tensor.cpu

    def cpu(tensor, *args, **kwargs):
        if tensor.ndim == 3:
            fetched.append(len(tensor))
        return own(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.Tensor, "cpu", cpu)
    follow(world).embed(world.frame())
    assert fetched == [3]


def test_a_scene_at_rest_is_encoded_once(world):
    video = follow(world)
    first = video.embed(world.frame())
    assert ids(first) == [1, 2, 3]
    assert video.last == VideoReport(tracks=3, births=3, encoded=3)
    for _ in range(5):
        again = video.embed(world.frame())
        assert ids(again) == [1, 2, 3]
        torch.testing.assert_close(again.embeddings, first.embeddings)
        assert video.last == VideoReport(tracks=3, reused=3)
        assert set(again.timings) == {"propose", "crop", "encode", "track"}
    assert video.segmenter.clip.batches == [3]


class Pooling(ColourEncoder):
    """Beside crops it has one pass over the frame: a mask's share of it and the pass's number."""

    passes = 0

    def encode_pooled(self, image_rgb, masks, *, memory_budget) -> torch.Tensor:
        self.passes += 1
        rows = torch.zeros(len(masks), 4)
        rows[:, 3] = 0.1 * self.passes
        rows[:, 0] = masks.float().mean(dim=(1, 2))
        return torch.nn.functional.normalize(rows, dim=1)


def test_what_is_pooled_is_as_new_for_all_masks_as_the_newest_crop(world):
    """Of "combined" the half that one pass gives for all is kept only where nothing is due."""
    encoder, options = Pooling(), SegmenterOptions(classifier="combined", min_mask_pixels=1)
    video = VideoSegmenter(OpenVocabularySegmenter(world, encoder, options), TrackOptions())
    frame = world.frame()
    first = video.embed(frame)
    encoder.passes = 0
    torch.testing.assert_close(first.embeddings, video.segmenter.embed(frame).embeddings)
    at_rest = video.embed(world.frame())
    torch.testing.assert_close(at_rest.embeddings, first.embeddings)
    assert (encoder.passes, encoder.batches) == (1, [3, 3])
    world.things["red"] = (world.things["red"][0], BLUE)
    frame = world.frame()
    changed = video.embed(frame)
    assert (encoder.passes, encoder.batches, video.last.encoded) == (2, [3, 3, 1], 1)
    encoder.passes = 1
    anew = video.segmenter.embed(frame).embeddings
    torch.testing.assert_close(changed.embeddings[1:], anew[1:])
    assert not torch.allclose(changed.embeddings[1:], first.embeddings[1:], atol=1e-3)


def test_the_first_frame_is_the_plain_segmenters(world):
    frame = world.frame()
    video = follow(world)
    plain, ours = (
        video.segmenter.segment(frame, words("red", "blue")),
        video.segment(frame, words("red", "blue")),
    )
    assert torch.equal(plain.label_index, ours.label_index)
    torch.testing.assert_close(plain.probs, ours.probs)
    assert plain.track_ids.tolist() == [0, 0, 0]
    assert ours.track_ids.tolist() == [1, 2, 3]


def test_numbers_follow_what_moves_and_order_does_not_matter(world):
    video = follow(world)
    video.embed(world.frame())
    x, y = 20, 20
    for _ in range(5):
        x, y = x + 4, y + 3
        world.things["red"] = ((x, y), RED)
        world.things = dict(reversed(world.things.items()))
        result = video.segment(world.frame(), words("red", "green", "blue"))
        named = {result.name_of(i): int(result.track_ids[i]) for i in range(3)}
        assert named == {"red": 1, "green": 2, "blue": 3}
    assert video.segmenter.clip.batches == [3], "none of them looks different"


def test_the_camera_turns_past_things_that_look_alike(world):
    video = follow(world)
    video.segmenter.proposer = given = Given(torch.zeros((4, H, W), dtype=torch.bool))
    for turn in range(4):  # by 8 pixels: nearer to where its neighbour was than to where it was itself
        image = np.roll(BACKGROUND, 8 * turn, axis=1)
        given.masks = torch.zeros((4, H, W), dtype=torch.bool)
        for i in range(4):
            x = 20 + 14 * i + 8 * turn
            image[50:80, x : x + 12] = RED
            given.masks[i, 50:80, x : x + 12] = True
        result = video.embed(Frame(image, stamp_ns=(turn + 1) * PERIOD_NS))
        assert ids(result) == [1, 2, 3, 4]


def test_noise_and_slow_light_encode_nothing(world):
    world.noise = 8.0
    video = follow(world, refresh_after_s=100.0)
    video.embed(world.frame())
    for light in np.linspace(1, 0.8, 10):
        world.light = light
        video.embed(world.frame())
        assert video.last.encoded == 0


def test_a_thing_that_changes_is_encoded_again_and_keeps_its_number(world):
    video = follow(world, half_life_s=0.1, other_embedding=0.0)
    video.embed(world.frame())
    (x, y), _ = world.things["red"]
    world.things["red"] = ((x, y), (220, 20, 160))  # still rather red
    result = video.embed(world.frame())
    assert ids(result) == [1, 2, 3]
    assert video.last.encoded == 1
    torch.testing.assert_close(
        result.embeddings, video.segmenter.embed(world.frame()).embeddings, atol=5e-3, rtol=0
    )


def test_another_thing_in_its_place_gets_another_number(world):
    video = follow(world, half_life_s=10.0)
    video.embed(world.frame())
    world.things["red"] = (world.things["red"][0], GREEN)
    result = video.segment(world.frame(), words("red", "green", "blue"))
    assert result.track_ids.tolist() == [4, 2, 3]
    assert [result.name_of(i) for i in range(3)] == ["green", "green", "blue"], (
        "nothing of the red one is left"
    )


def test_two_things_that_change_places_keep_their_numbers(world):
    video = follow(world, reach=4.0)
    video.embed(world.frame())
    red, green = world.things["red"], world.things["green"]
    world.things["red"], world.things["green"] = (green[0], RED), (red[0], GREEN)
    result = video.segment(world.frame(), words("red", "green", "blue"))
    named = {result.name_of(i): int(result.track_ids[i]) for i in range(3)}
    assert named == {"red": 1, "green": 2, "blue": 3}


def test_found_again_after_a_short_gap_and_not_after_a_long_one(world):
    video = follow(world, max_gap_s=0.55)
    video.embed(world.frame())
    world.hidden = {"green"}
    for _ in range(4):
        assert ids(video.embed(world.frame())) == [1, 3]
        assert video.last.tracks == 3
    world.hidden = set()
    assert ids(video.embed(world.frame())) == [1, 2, 3]
    world.hidden = {"green"}
    deaths = 0
    for _ in range(6):
        video.embed(world.frame())
        deaths += video.last.deaths
    assert deaths == 1
    world.hidden = set()
    assert ids(video.embed(world.frame())) == [1, 4, 3]
    assert video.last.births == 1


def test_found_again_elsewhere_by_its_embedding(world):
    video = follow(world, reach=3.0)
    video.embed(world.frame())
    world.hidden = {"red"}
    video.embed(world.frame())
    world.hidden, world.things["red"] = set(), ((20, 90), RED)
    assert ids(video.embed(world.frame())) == [1, 2, 3]
    assert video.last.encoded == 1
    assert video.last.births == 0


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"stamp_ns": 1}, "time went back"),
        ({"stamp_ns": 60 * PERIOD_NS}, "time jumped"),
    ],
)
def test_time_that_jumps_forgets(world, changes, reason):
    video = follow(world)
    for _ in range(3):
        video.embed(world.frame())
    result = video.embed(world.frame(**changes))
    assert video.last == VideoReport(tracks=3, births=3, deaths=3, encoded=3, reset_reason=reason)
    assert ids(result) == [4, 5, 6], "numbers are never used again"


def test_a_cut_and_another_size_forget(world):
    video = follow(world)
    video.embed(world.frame())
    world.background = OTHER_PLACE
    world.things = {"green": ((100, 80), GREEN)}
    assert ids(video.embed(world.frame())) == [4]
    assert video.last.reset_reason == "the scene cut"
    small = world.frame()
    video.embed(Frame(small.image_rgb[:-8], stamp_ns=small.stamp_ns, frame_id="camera"))
    assert video.last.reset_reason == "the image's size changed"


def test_a_black_frame_is_no_cut(world):
    video = follow(world)
    video.embed(world.frame())
    world.hidden, world.light = {"red", "green", "blue"}, 0.0
    video.embed(world.frame())
    world.hidden, world.light = set(), 1.0
    assert ids(video.embed(world.frame())) == [1, 2, 3]


def test_the_same_moment_twice_and_unknown_times(world):
    video = follow(world)
    frame = world.frame()
    assert ids(video.embed(frame)) == ids(video.embed(frame)) == [1, 2, 3]
    for _ in range(3):
        assert ids(video.embed(world.frame(stamp_ns=0))) == [1, 2, 3]
        assert not video.last.reset_reason


def test_two_cameras_in_turn(world):
    other = World({"blue": ((10, 80), BLUE)}, background=OTHER_PLACE)
    video = follow(world)
    for turn in range(4):
        video.segmenter.proposer = world
        assert ids(video.embed(world.frame(frame_id="left"))) == [1, 2, 3]
        assert not video.last.reset_reason
        video.segmenter.proposer = other
        assert ids(video.embed(other.frame(frame_id="right"))) == [4]
        assert video.last.encoded == (turn == 0)


def test_of_too_many_cameras_the_one_unused_longest_is_forgotten(world):
    video = follow(world, max_cameras=2)
    for name, expected in (("a", 1), ("b", 4), ("a", 1), ("c", 7), ("a", 1), ("b", 10)):
        assert ids(video.embed(world.frame(frame_id=name)))[0] == expected, name


def test_reset(world):
    video = follow(world)
    video.embed(world.frame())
    video.reset()
    assert ids(video.embed(world.frame())) == [4, 5, 6]


def test_a_budget_is_kept_and_everything_has_its_turn(world):
    video = follow(world)
    expected = video.segmenter.embed(world.frame()).embeddings
    for done in range(1, 4):
        result = video.embed(world.frame(), budget=Budget(new_embeddings=0))
        assert ids(result) == [1, 2, 3]
        assert result.has_clip_embedding.tolist() == [i < done for i in range(3)], "surest first"
        assert (video.last.encoded, video.last.unseen) == (1, 3 - done)
        torch.testing.assert_close(result.embeddings[:done], expected[:done])
        labelled = video.label(result, words("red", "green", "blue"), SegmenterOptions(threshold=0.0))
        assert [labelled.name_of(i) for i in range(3)] == ["red", "green", "blue"][:done] + [""] * (3 - done)
        assert labelled.probs[done:].sum() == 0


def test_old_embeddings_are_refreshed_one_at_a_time(world):
    video = follow(world, refresh_after_s=0.25, refresh=1)
    video.embed(world.frame())
    encoded = []
    for _ in range(8):
        video.embed(world.frame())
        encoded.append(video.last.encoded)
    assert encoded == [0, 0, 1, 1, 1, 1, 1, 1]
    assert video.segmenter.clip.batches == [3, 1, 1, 1, 1, 1, 1]


class Forgetful(ColourEncoder):
    """Sees red at first and blue ever after, whatever there is."""

    def encode_regions(self, pixels, region_masks=None):
        self.batches.append(len(pixels))
        return self.encode_text(["red" if len(self.batches) == 1 else "blue"] * len(pixels))


def test_a_second_look_is_named_by_the_second_embedding_alone(world):
    for look_again, name in ((True, "blue"), (False, "red")):
        video = follow(world, refresh_after_s=0.1, half_life_s=10.0)
        video.segmenter.clip = Forgetful()
        video.segment(world.frame(), words("red", "blue"))
        if look_again:
            video.look_again([1, 2])
        result = video.segment(world.frame(), words("red", "blue"))
        assert video.last.encoded == 3, "the third by its age"
        assert [result.name_of(i) for i in range(3)] == [name, name, "red"]
        if look_again:
            blue = video.segmenter.encode_text(["blue"])[0]
            torch.testing.assert_close(result.embedded.embeddings[:2], blue.expand(2, 4))


def test_a_second_look_comes_before_new_things_and_old_ones(world):
    video = follow(world, refresh_after_s=0.1)
    video.embed(world.frame())
    world.things["more"] = ((20, 80), RED)
    video.look_again([2])
    encoded = []
    for _ in range(2):
        before = {track.id: track.encoded_s for track in video._cameras["camera"].tracks}
        video.embed(world.frame(), budget=Budget(new_embeddings=1))
        now = {track.id: track.encoded_s for track in video._cameras["camera"].tracks}
        encoded += [number for number in now if now[number] != before.get(number, 0.0)]
    assert encoded == [2, 4]


def test_uncertain_labels_are_looked_at_sooner(world):
    video = follow(world, refresh_after_s=2.0, refresh=1)
    video.segmenter.clip.logit_scale = 1.0  # so that all are uncertain
    for _ in range(5):
        result = video.segment(world.frame(), words("red", "green", "blue"))
    assert video.last.encoded == 1, "after a fifth of the time"
    assert float((result.probs.max(dim=1).values - 0.5).abs().max()) < 0.2


def test_a_question_in_between_changes_nothing_that_follows(world):
    told = []
    for asked in ((), ("cloud", "stone")):
        world.clock = itertools.count(1)
        video = follow(world, refresh_after_s=1.0, refresh=1)
        for _ in range(8):
            embedded = video.embed(world.frame())
            video.note(video.label(embedded, words("red", "green", "blue")))
            if asked:
                result = video.label(embedded, words(*asked), SegmenterOptions(threshold=0.5))
                assert label_certainty(result.probs, result.label_index, 0.5).min() < 0.1
            told.append(video.last)
    assert told[:8] == told[8:]


class Turned(ColourEncoder):
    """Sees colours as another encoder would, from a moment on; the pixels stay as they are."""

    turned = False

    def encode_regions(self, pixels, region_masks=None):
        rows = super().encode_regions(pixels, region_masks)
        return rows.roll(1, dims=1) if self.turned else rows


def test_half_of_what_is_new_after_a_half_life(world):
    video = follow(world, half_life_s=0.1, other_embedding=0.0, refresh_after_s=0.1)
    video.segmenter.clip = Turned()
    old = video.embed(world.frame()).embeddings[0]
    video.segmenter.clip.turned = True
    new = video.segmenter.embed(world.frame()).embeddings[0]
    world.clock = itertools.count(2)
    angles = [float((video.embed(world.frame()).embeddings[0] @ new).clamp(-1, 1).acos()) for _ in range(5)]
    whole = float((old @ new).acos())
    for before, after in itertools.pairwise([whole, *angles]):
        assert after / before == pytest.approx(0.5, abs=0.06)


class Restless(ColourEncoder):
    """Sees another colour every second time."""

    def encode_regions(self, pixels, region_masks=None):
        rows = super().encode_regions(pixels, region_masks)
        return rows if len(self.batches) % 2 else rows.roll(1, dims=1)


def test_labels_do_not_flicker(world):
    plain = OpenVocabularySegmenter(world, Restless())
    video = follow(world, refresh_after_s=0.15, refresh=1)
    video.segmenter.clip = Restless()
    vocabulary = words("red", "green", "blue")
    flips = {"plain": 0, "video": 0}
    last: dict[str, str] = {}
    for _ in range(12):
        frame = world.frame()
        for way, segmenter in (("plain", plain), ("video", video)):
            now = segmenter.segment(frame, vocabulary).name_of(0)
            flips[way] += last.get(way, now) != now
            last[way] = now
    assert flips["plain"] >= 10
    assert flips["video"] <= 5


def test_no_masks_and_masks_that_come_later(world):
    world.hidden = {"red", "green", "blue"}
    video = follow(world)
    for _ in range(2):
        assert len(video.embed(world.frame())) == 0
        assert video.last == VideoReport()
    world.hidden = {"green", "blue"}
    assert ids(video.embed(world.frame())) == [1]
    world.hidden = {"red", "green", "blue"}
    assert len(video.embed(world.frame())) == 0


class Given:
    """Proposes given masks, and remembers the hints it was given."""

    needs_depth = classifies = False
    grid_points = None

    def __init__(self, masks):
        self.masks, self.hints = masks, []

    def propose(self, frame, hints=NO_HINTS):
        self.hints.append(hints)
        return Proposals(self.masks, torch.ones(len(self.masks)))


class Knowing(World):
    """Knows the things itself: the same number for each, wherever it is; remembers where it kept what."""

    grid_points, needs_depth, classifies = None, False, False

    def propose(self, frame, hints=NO_HINTS):
        self.memories.append(hints.memory)
        hints.memory[self.asked] = "something"
        found = super().propose(frame)
        return dataclasses.replace(
            found, object_ids=torch.tensor([self.numbers.get(name, 0) for name in self.seen()])
        )


def knowing(world):
    world = Knowing(dict(world.things))
    world.numbers, world.memories = {"red": 7, "green": 3, "blue": 5}, []
    return world


def test_numbers_follow_the_generators_own(world):
    world = knowing(world)
    video = follow(world)
    first = ids(video.embed(world.frame()))
    places = [place for place, _ in world.things.values()][::-1]
    world.things = {
        name: (place, colour) for place, (name, (_, colour)) in zip(places, world.things.items(), strict=True)
    }
    assert ids(video.embed(world.frame())) == first, "though red is where blue was"
    world.things["red"] = ((4, 90), RED)
    world.hidden = {"green"}
    assert ids(video.embed(world.frame())) == [first[0], first[2]], "though it jumped"
    world.hidden = set()
    assert ids(video.embed(world.frame())) == first
    world.numbers = {}
    assert ids(video.embed(world.frame())) == first, "by overlap where the generator does not say"
    world.numbers = {"red": 8, "green": 3, "blue": 5}
    assert ids(video.embed(world.frame())) == first, "and where it says another number than before"


def test_a_generators_memory_is_of_one_camera_and_ends_with_a_cut(world):
    world = knowing(world)
    video = follow(world)
    for camera in ("left", "right", "left", "left"):
        video.embed(world.frame(frame_id=camera))
    left, right, again, _ = world.memories
    assert left is again
    assert left is not right
    assert sorted(left) == [0, 2, 3]
    assert sorted(right) == [1]
    world.background, world.things = OTHER_PLACE, {"green": ((100, 80), GREEN)}
    video.embed(world.frame(frame_id="left"))
    assert video.last.reset_reason == "the scene cut"
    assert world.memories[-1] is not left
    assert sorted(world.memories[-1]) == [4]
    video.reset()
    video.embed(world.frame(frame_id="right"))
    assert sorted(world.memories[-1]) == [5]


def test_boxes_and_empty_masks(world):
    masks = torch.zeros((3, H, W), dtype=torch.bool)
    masks[0, 10:30, 5:25] = masks[2, 50:90, 60:150] = True
    given = Given(masks)
    given.classifies = True
    video = follow(given, SegmenterOptions(classifier="maskformer"))
    result = video.embed(world.frame())
    assert ids(result) == [1, 0, 2], "an empty mask is nothing to follow"
    assert torch.equal(result.boxes_xyxy, mask_boxes(masks)[0])
    assert result.filled.tolist() == [True, False, True]


def test_two_thousand_masks(world):
    masks = torch.zeros((2000, H, W), dtype=torch.bool)
    for i, mask in enumerate(masks):
        y, x = divmod(i, 50)
        mask[y * 2 : y * 2 + 9, x * 3 : x * 3 + 9] = True
    options = SegmenterOptions(max_masks=2000)
    video = follow(world, options)
    video.segmenter.proposer = Given(masks)
    first = video.embed(world.frame())
    assert sorted(ids(first)) == list(range(1, 2001))
    assert ids(video.embed(world.frame())) == ids(first)


def test_the_generator_is_asked_at_the_tracks_boxes(world):
    video = follow(world)
    given = Given(world.propose(world.frame()).masks)
    video.segmenter.proposer = given
    video.embed(world.frame())
    assert given.hints == [Hints(memory={})], "nothing is known yet"
    video.embed(world.frame(), budget=Budget(points_per_side=4))
    expected = [[20, 20, 44, 44], [70, 60, 94, 84], [120, 20, 144, 44]]
    boxes = given.hints[1].boxes_xyxy
    assert boxes.tolist() == expected
    assert boxes.dtype == torch.float32
    assert given.hints[1].points_per_side == 4
    follow(given).embed(world.frame(), budget=Budget(points_per_side=4))
    assert given.hints[2] == Hints(None, 4, memory={}), "of the first frame too"


def test_other_options_embed_anew_and_keep_the_numbers(world):
    video = follow(world)
    video.embed(world.frame())
    result = video.embed(world.frame(), SegmenterOptions(fill="grey"))
    assert ids(result) == [1, 2, 3]
    assert video.last.encoded == 3


class Classifying(World):
    """Names its masks itself, with class embeddings that change with every frame."""

    classifies = True

    def propose(self, frame):
        plain = super().propose(frame)
        angle = torch.tensor(0.2 * self.asked)
        own = torch.stack([angle.cos(), angle.sin(), angle * 0, angle * 0])[None].repeat(len(plain), 1)
        return dataclasses.replace(plain, class_embeddings=3 * own)


def test_class_embeddings_are_smoothed_too():
    world = Classifying({"red": ((20, 20), RED)})
    video = follow(world, SegmenterOptions(classifier="maskformer"), half_life_s=0.1)
    first, second = (video.embed(world.frame()) for _ in range(2))
    assert video.last.encoded == video.last.reused == 0
    assert not second.has_clip_embedding.any()
    assert ids(second) == [1]
    turned = [float(torch.atan2(e.class_embeddings[0, 1], e.class_embeddings[0, 0])) for e in (first, second)]
    assert turned == pytest.approx([0.2, 0.3], abs=1e-3)
    video.look_again([1])
    third, fourth = (video.embed(world.frame()) for _ in range(2))
    turned = [float(torch.atan2(e.class_embeddings[0, 1], e.class_embeddings[0, 0])) for e in (third, fourth)]
    assert turned == pytest.approx([0.6, 0.7], abs=1e-3), "asked about once, then smoothed again"
    assert video.segment(world.frame(), words("red")).track_ids.tolist() == [1]


class Failing(ColourEncoder):
    fails = False

    def encode_regions(self, pixels, region_masks=None):
        if self.fails:
            raise torch.OutOfMemoryError("full")
        return super().encode_regions(pixels, region_masks)


def test_a_frame_that_fails_costs_no_track(world):
    video = follow(world)
    video.segmenter.clip = Failing()
    video.embed(world.frame())
    world.things["more"] = ((70, 10), RED)
    video.segmenter.clip.fails = True
    with pytest.raises(OutOfMemoryError):
        video.embed(world.frame())
    video.segmenter.clip.fails = False
    assert ids(video.embed(world.frame())) == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match="class embedding"):
        video.embed(world.frame(), SegmenterOptions(classifier="maskformer"))
    video.segmenter.proposer = Given(torch.zeros((1, 3, 3), dtype=torch.bool))
    with pytest.raises(InvalidInputError, match="size"):
        video.embed(world.frame())
    video.segmenter.proposer = world
    assert ids(video.embed(world.frame())) == [1, 2, 3, 4]

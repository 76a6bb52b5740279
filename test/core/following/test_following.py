"""One thing followed through hand-made views: hidden, shown again, swapped, with a twin, lost."""

from __future__ import annotations

import ast
import dataclasses
import re

import numpy as np
import pytest
import torch
from core_fixtures import words
from repository import ROOT

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.following import Following, FollowOptions, State, View, Whereabouts
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.errors import ConfigError

H, W, SIDE = 60, 160, 12
MUG, BOWL, POT = (np.eye(6, dtype=np.float32)[i] for i in range(3))
_rng = np.random.default_rng(0)


def like(look: np.ndarray, cosine: float, towards: int = 5) -> np.ndarray:
    """A unit row of this cosine with a look."""
    row = cosine * look
    row[towards] += np.sqrt(1 - cosine**2)
    return row.astype(np.float32)


@dataclasses.dataclass
class Thing:
    """A square in the image: column, track, look; grey level or colour; metres; whether it has the word."""

    x: int
    track: int
    look: np.ndarray
    grey: int | tuple[float, ...] = 200
    at_m: tuple[float, float, float] | None = None
    named: bool = True
    side: int = SIDE


class Camera:
    """Views of things at 10 Hz. Embeddings differ a little from frame to frame, as fresh ones do."""

    def __init__(self, noise: float = 1e-4) -> None:
        self.time_s, self.noise = 100.0, noise

    def view(self, *things: Thing, after_s: float = 0.1, **changes) -> View:
        self.time_s += after_s
        image = np.full((H, W, 3), 90, np.uint8)
        masks = np.zeros((len(things), H, W), bool)
        rows = np.zeros((len(things), 6), np.float32)
        for mask, row, thing in zip(masks, rows, things, strict=True):
            image[20 : 20 + thing.side, thing.x : thing.x + thing.side] = thing.grey
            mask[20 : 20 + thing.side, thing.x : thing.x + thing.side] = True
            if thing.look.any():
                noisy = thing.look + _rng.normal(0, 1, 6) * self.noise
                row[:] = noisy / np.linalg.norm(noisy)
        places = [None if t.at_m is None else np.array(t.at_m) for t in things]
        given = {
            "image_rgb": image,
            "masks": boxed_masks(masks),
            "track_ids": [t.track for t in things],
            "embeddings": rows,
            "may_be": [t.named for t in things],
            "time_s": self.time_s,
            "centroid": lambda n: places[n],
        }
        return View(**given | changes)


@pytest.fixture
def camera():
    return Camera()


def states(following: Following, camera: Camera, *frames: list[Thing]) -> list[int | None]:
    return [following.see(camera.view(*things)).index for things in frames]


def mug(x=20, track=1, look=MUG, **of) -> Thing:
    return Thing(x, track, look, **of)


def bowl(x=100, track=2, look=BOWL, **of) -> Thing:
    return Thing(x, track, look, **of)


def test_where_its_track_goes_on_it_is(camera):
    following = Following(camera.view(mug(), bowl()), 0)
    assert following.see(camera.view(bowl(), mug(26))) == Whereabouts(State.FOLLOWING, 1, 0.0, (1,))
    assert following.see(camera.view(mug(30))) == Whereabouts(State.FOLLOWING, 0, 0.0, (1,))


def test_it_keeps_its_track_while_its_look_turns_into_another_one(camera):
    """Views from all around: each is like the one before, the last not like the first."""
    following = Following(camera.view(mug(), bowl()), 0)
    for angle in np.linspace(0, np.pi / 2, 12):
        look = (np.cos(angle) * MUG + np.sin(angle) * POT).astype(np.float32)
        assert following.see(camera.view(mug(look=look), bowl())).state is State.FOLLOWING
    # And from the side it was seen from first it is known again.
    assert states(following, camera, [bowl()], [mug(track=9), bowl()]) == [None, 0]


def test_hidden_then_back_in_its_place_under_another_track(camera):
    following = Following(camera.view(mug(), bowl()), 0)
    hidden = following.see(camera.view(bowl()))
    assert (hidden.state, hidden.index, hidden.look_again) == (State.HIDDEN, None, ())
    assert hidden.age_s == pytest.approx(0.1)
    assert following.see(camera.view(bowl(), after_s=0.4)).age_s == pytest.approx(0.5)
    back = following.see(camera.view(bowl(), mug(22, track=7)))
    assert back == Whereabouts(State.FOLLOWING, 1, 0.0, (7,))
    assert following.see(camera.view(mug(22, track=7))).index == 0


def test_elsewhere_two_frames_have_to_agree(camera):
    following = Following(camera.view(mug(), bowl()), 0)
    following.see(camera.view(bowl()))
    first = following.see(camera.view(bowl(), mug(40, track=7)))
    assert (first.state, first.look_again) == (State.HIDDEN, (7,))
    assert following.see(camera.view(mug(40, track=7), bowl())).index == 0


@pytest.mark.parametrize("between", [[bowl()], [mug(40, track=7, look=like(MUG, 0.8)), bowl()]])
def test_two_frames_that_do_not_run_do_not_agree(camera, between):
    following = Following(camera.view(mug(), bowl()), 0)
    seen = [bowl()], [mug(40, track=7), bowl()], between, [mug(40, track=7), bowl()], [mug(41, track=7)]
    assert states(following, camera, *seen) == [None, None, None, None, 0]


def test_without_tracks_place_and_look_tell(camera):
    following = Following(camera.view(mug(track=0), bowl(track=0)), 0)
    seen = [mug(22, track=0), bowl(track=0)], [bowl(track=0)], [bowl(track=0), mug(25, track=0)]
    assert states(following, camera, *seen) == [0, None, 1]


@pytest.mark.parametrize(
    "wrong",
    [
        mug(30, 7, like(MUG, 0.88)),  # not like it enough
        mug(30, 7, named=False),  # not what was asked for
        mug(145, 7),  # it cannot be there so soon
        mug(30, 7, np.zeros(6, np.float32)),  # nobody has looked at it
        mug(30, 2),  # its track is another thing's, which looked otherwise: it may be either
    ],
)
def test_what_is_not_taken_for_it(camera, wrong):
    following = Following(camera.view(mug(), bowl()), 0)
    if wrong.track == 2:
        wrong = dataclasses.replace(wrong, look=like(BOWL, 0.99))
    seen = [[], *[[wrong]] * 4]
    assert states(following, camera, *seen) == [None] * 5


def test_the_farther_the_longer_it_was_hidden(camera):
    following = Following(camera.view(mug()), 0)
    far = mug(145, track=7)
    assert states(following, camera, [], [far], [far]) == [None] * 3
    following.see(camera.view(after_s=1.5))
    assert states(following, camera, [far], [far]) == [None, 0]


@pytest.mark.parametrize(("apart_m", "after_s", "found"), [(0.5, 0.1, False), (0.5, 0.6, True)])
def test_distance_in_metres_where_depth_is_known(camera, apart_m, after_s, found):
    """Though in the image it is far off, or near."""
    following = Following(camera.view(mug(at_m=(0.0, 0.0, 1.0))), 0)
    following.see(camera.view(after_s=after_s))
    there = mug(35, track=7, at_m=(apart_m, 0.0, 1.0))
    assert (states(following, camera, [there], [there])[-1] == 0) == found
    near = Following(camera.view(mug(at_m=(0.0, 0.0, 1.0))), 0)
    assert states(near, camera, [], [mug(145, track=7, at_m=(0.05, 0.0, 1.0))]) == [None, 0]


def test_a_track_that_goes_over_to_another_thing_is_not_followed(camera):
    """What the tracker takes for the mug is what hides it, or the bowl beside it."""
    for look in (POT, like(MUG, 0.8), BOWL):
        following = Following(camera.view(mug(), bowl()), 0)
        seen = [mug(look=look)], [mug(look=look)], [mug(track=8)]
        assert states(following, camera, *seen) == [None, None, 0]


def test_swapped_tracks_are_seen_through(camera):
    following = Following(camera.view(mug(20), bowl(50)), 0)
    assert states(following, camera, [mug(20, track=2), bowl(50, track=1)]) == [0]
    assert states(following, camera, [mug(21, track=2), bowl(50, track=1)]) == [0]


def test_swapped_tracks_of_things_that_look_much_alike(camera):
    other = like(MUG, 0.93)
    following = Following(camera.view(mug(20), bowl(60, look=other)), 0)
    seen = [bowl(60, track=1, look=other), mug(20, track=2)]
    assert states(following, camera, seen, seen) == [1, 1]


@pytest.mark.parametrize("track", [1, 7])
def test_what_looks_like_it_but_has_another_colour_is_another(camera, track):
    """To an encoder a red teapot may be much like a blue one, also where its track goes over to that."""
    following = Following(camera.view(mug(grey=(200, 60, 40)), bowl()), 0)
    assert states(following, camera, [mug(grey=(180, 60, 45)), bowl()]) == [0]
    if track != 1:
        assert states(following, camera, [bowl()]) == [None]
    blue, red = mug(track=track, grey=(20, 90, 120)), mug(track=9, grey=(170, 50, 40))
    assert states(following, camera, [blue, bowl()], [blue, bowl()], [red, bowl()]) == [None, None, 0]


def test_colours_that_light_changes_step_by_step_are_its_own(camera):
    following = Following(camera.view(mug(grey=(200, 60, 40)), bowl()), 0)
    for part in np.linspace(0, 1, 12):
        colour = tuple((1 - part) * np.array([200, 60, 40]) + part * np.array([20, 90, 120]))
        assert following.see(camera.view(mug(grey=colour), bowl())).state is State.FOLLOWING
    assert states(following, camera, [bowl()], [mug(track=9, grey=(200, 60, 40)), bowl()]) == [None, 0]


def test_a_twin_in_view_is_not_the_thing(camera):
    following = Following(camera.view(mug(20), mug(60, track=2)), 0)
    seen = [[mug(60, track=2)]] * 3 + [[mug(40, track=2)]] * 3  # it even comes nearer
    assert states(following, camera, *seen) == [None] * 6
    # Beside the twin that is seen all along, the same look in the same place is the thing again …
    assert states(following, camera, [mug(40, track=2), mug(21, track=9)]) == [1]


def test_of_twins_one_alone_elsewhere_is_none(camera):
    following = Following(camera.view(mug(20), mug(60, track=2)), 0)
    elsewhere = [mug(60, track=2), mug(42, track=9)]
    assert states(following, camera, [mug(60, track=2)], *[elsewhere] * 3) == [None] * 4


def test_of_twins_that_were_both_hidden_none_is_taken(camera):
    following = Following(camera.view(mug(20), mug(60, track=2)), 0)
    one, both = [mug(22, track=9)], [mug(22, track=9), mug(60, track=10)]
    assert states(following, camera, [], one, one, both, both) == [None] * 5


def test_a_track_does_not_go_over_to_a_twin_whose_own_track_ended(camera):
    following = Following(camera.view(mug(20), mug(60, track=2)), 0)
    assert states(following, camera, [mug(60, track=1)], [mug(60, track=1)]) == [None, None]


def test_two_that_come_into_view_and_look_like_it_are_none(camera):
    following = Following(camera.view(mug(20), bowl()), 0)
    two = [mug(18, track=8), mug(36, track=9), bowl()]
    assert states(following, camera, [bowl()], two, two) == [None] * 3
    assert states(following, camera, [mug(20, track=8), bowl()]) == [0]


def test_parts_of_it_are_no_other_things(camera):
    """A mask of a part, or of it and what it stands on, is there in one frame and gone in the next."""
    part = Thing(22, 5, like(MUG, 0.99), side=6)
    whole = Thing(12, 6, like(MUG, 0.98), side=30)
    following = Following(camera.view(mug(20), part, whole), 0)
    assert states(following, camera, [mug(20), part, whole], [], [mug(22, track=9), part]) == [0, None, 0]


def test_lost_by_time(camera):
    following = Following(camera.view(mug(), bowl()), 0, FollowOptions(lost_after_s=1.0))
    seen = [following.see(camera.view(bowl(), after_s=0.3)) for _ in range(4)]
    assert [s.state for s in seen] == [State.HIDDEN] * 3 + [State.LOST]
    assert seen[-1].age_s == pytest.approx(1.2)


def test_it_is_not_lost_where_a_late_frame_shows_it(camera):
    following = Following(camera.view(mug(), bowl()), 0, FollowOptions(lost_after_s=1.0))
    assert following.see(camera.view(mug(track=8), bowl(track=9), after_s=30.0)).index == 0


def test_time_that_goes_back_or_stands_makes_nothing_older(camera):
    following = Following(camera.view(mug(), bowl()), 0, FollowOptions(lost_after_s=1.0))
    following.see(camera.view(bowl(), after_s=0.5))
    ages = [following.see(camera.view(bowl(), after_s=s)).age_s for s in (-50.0, 0.0, 0.2)]
    assert ages == pytest.approx([0.5, 0.5, 0.7])
    # A recording that begins anew has other tracks; the thing is known by its look.
    assert following.see(camera.view(bowl(track=12), mug(track=13), after_s=-50.0)).index == 1


def test_empty_frames_hide_it(camera):
    following = Following(camera.view(mug()), 0)
    empty = camera.view()
    assert following.see(empty).state is State.HIDDEN
    blank = dataclasses.replace(
        camera.view(mug()), masks=boxed_masks(np.zeros((1, H, W), bool)), track_ids=[1]
    )
    assert following.see(blank).state is State.HIDDEN
    assert following.see(camera.view(mug(track=4))).index == 0


def test_an_embedding_from_before_counts_while_the_mask_looks_the_same():
    """Where a rate is to be held a track may keep its embedding though it became another thing."""
    camera = Camera(noise=0.0)
    following = Following(camera.view(mug(), bowl()), 0)
    seen = [mug(22)], [mug(24, grey=60)], [mug(24, grey=60)], [mug(26)]
    assert states(following, camera, *seen) == [0, None, None, 0]


def test_a_thing_not_encoded_yet_is_followed_by_its_track_until_it_is(camera):
    unseen = np.zeros(6, np.float32)
    following = Following(camera.view(mug(look=unseen), bowl()), 0)
    seen = [mug(look=unseen), bowl()], [mug(), bowl()], [bowl()], [mug(track=9), bowl()]
    assert states(following, camera, *seen) == [0, 0, None, 0]


def test_embeddings_of_other_options_are_not_compared(camera):
    following = Following(camera.view(mug(), bowl(), embedding_key="masked"), 0)
    now = {"embedding_key": "context"}
    look = like(MUG, 0.2)
    assert following.see(camera.view(mug(look=look), bowl(), **now)).index == 0  # its track goes on
    following.see(camera.view(bowl(), **now))
    assert following.see(camera.view(bowl(), mug(look=look, track=9), **now)).index == 1
    following.see(camera.view(bowl(), **now))
    hidden = [following.see(camera.view(mug(track=9), bowl())) for _ in range(3)]
    assert [s.index for s in hidden] == [None] * 3


def test_memory_has_its_limits(camera):
    """An hour of new views and new things."""
    following = Following(camera.view(mug(), bowl()), 0)
    for number in range(200):
        look = like(MUG, 0.9, towards=3 + number % 3)
        new = Thing(100, 100 + number, _rng.normal(size=6).astype(np.float32))
        assert following.see(camera.view(mug(look=look), new)).index == 0
    assert len(following._others._looks) <= 64
    assert len(following._looks._rows) <= 16
    assert states(following, camera, [bowl(track=999)], [mug(track=998)]) == [None, 0]


def test_a_view_of_a_labelled_frame():
    masks = torch.zeros((2, 4, 8), dtype=torch.bool)
    masks[0, :2, :2] = masks[1, 2:, 4:] = True
    frame = Frame(np.zeros((4, 8, 3), np.uint8), stamp_ns=2_500_000_000)
    embedded = EmbeddedFrame(
        frame, masks, torch.ones(2), torch.eye(2), track_ids=torch.tensor([3, 0]), embedding_key=("k",)
    )
    segmentation = Segmentation(embedded, words("mug"), torch.tensor([[0.9], [0.1]]))
    view = View.of(segmentation)
    assert (view.may_be, view.track_ids, view.time_s) == ([True, False], [3, 0], 2.5)
    assert ([m.area for m in view.masks], view.embedding_key) == ([4, 8], ("k",))
    assert np.array_equal(view.embeddings, np.eye(2, dtype=np.float32))
    assert view.centroid(0) is None
    assert View.of(segmentation, may_be=[False, True], time_s=7.0).may_be == [False, True]
    # A generator that names masks itself
    own = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    unseen = dataclasses.replace(
        embedded,
        embeddings=torch.zeros(2, 2),
        has_clip_embedding=torch.zeros(2, dtype=torch.bool),
        class_embeddings=own,
    )
    rows = View.of(dataclasses.replace(segmentation, embedded=unseen)).embeddings
    assert rows == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))


@pytest.mark.parametrize(
    "options",
    [
        {"lost_after_s": 0.0},
        {"near_m": float("nan")},
        {"same": 0.95},
        {"again": 1.5},
        {"colour": 0.0},
        {"apart": 1.0},
        {"confirm": 0},
        {"margin": 0.0},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(ConfigError, match="expected "):
        FollowOptions(**options)


def test_the_document_has_every_option_with_its_default():
    text = (ROOT / "docs" / "tracking.md").read_text(encoding="utf-8")
    section = text[text.index("\n## Following one thing") : text.index("\n## When everything")]
    rows = re.findall(r"^\| `(\w+)` \| (\S+) \|", section, re.MULTILINE)
    options = {name: ast.literal_eval(default) for name, default in rows}
    assert options == dataclasses.asdict(FollowOptions())

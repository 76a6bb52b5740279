"""Newest frame wins, depth belongs to its own image, and time may jump: on hand-made stamps, without DDS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovseg_ros.ros.io.frame_source import FrameSource, Seen


def message(seconds: float):
    nanoseconds = round(seconds * 1e9)
    stamp = SimpleNamespace(sec=nanoseconds // 10**9, nanosec=nanoseconds % 10**9)
    return SimpleNamespace(header=SimpleNamespace(stamp=stamp))


class Rig:
    def __init__(self, **options):
        self.time, self.filled = 100.0, 0
        self.source = FrameSource(
            sync_tolerance_s=0.02,
            depth_wait_s=0.2,
            on_images=lambda: setattr(self, "filled", self.filled + 1),
            clock=lambda: self.time,
            **options,
        )


@pytest.fixture
def rig():
    return Rig()


def test_nothing_yet(rig):
    assert rig.source.newest() is None
    assert rig.source.newest_seq() == 0
    assert not rig.source.waits_for_depth


def test_newest_wins_and_unused_ones_are_drops(rig):
    images = [message(t) for t in (1.0, 1.1, 1.2)]
    for image in images:
        rig.source.add_image(image)
    newest = rig.source.newest()
    assert newest.image is images[2]
    assert newest.seq == 3
    assert rig.filled == 3
    assert rig.source.counts.images == 3
    assert rig.source.counts.dropped == 2
    assert rig.source.newest() is newest  # it stays, for the next question
    rig.source.add_image(message(1.3))
    assert rig.source.counts.dropped == 2  # the one before was used
    assert rig.source.peek() is not None  # which uses nothing
    rig.source.add_image(message(1.4))
    assert rig.source.counts.dropped == 3


def test_images_that_nobody_wanted_are_no_drops():
    wanted = [False]
    rig = Rig(is_wanted=lambda: wanted[0])
    for t in (1.0, 1.1, 1.2):
        rig.source.add_image(message(t))
    assert (rig.source.counts.dropped, rig.source.counts.unwanted) == (0, 2)
    wanted[0] = True
    rig.source.add_image(message(1.3))
    assert (rig.source.counts.dropped, rig.source.counts.unwanted) == (1, 2)


@pytest.mark.parametrize("depth_first", [True, False])
def test_depth_of_the_same_time_is_paired(rig, depth_first):
    rig.source.add_depth(message(0.9))  # depth is alive
    image, depth = message(1.0), message(1.015)
    steps = [lambda: rig.source.add_image(image), lambda: rig.source.add_depth(depth)]
    for step in reversed(steps) if depth_first else steps:
        step()
    newest = rig.source.newest()
    assert newest.image is image
    assert newest.depth is depth
    assert rig.filled == 1


def test_image_waits_for_depth_then_goes_without(rig):
    rig.source.add_depth(message(0.9))
    rig.source.add_image(message(1.0))
    assert rig.source.newest() is None
    rig.time += 0.25
    newest = rig.source.newest()
    assert newest.depth is None
    assert rig.source.counts.without_depth == 1


def test_images_do_not_wait_when_no_depth_arrives(rig):
    rig.source.add_image(message(1.0))
    assert rig.source.newest().depth is None
    assert rig.source.counts.without_depth == 0
    rig.source.add_depth(message(1.0))
    rig.time += 2.0  # the depth camera died
    rig.source.add_image(message(3.0))
    assert rig.source.newest_seq() == 2


def test_depth_that_stopped_is_told_from_none_and_from_slow(rig):
    rig.source.add_image(message(1.0))
    rig.time += 100.0
    assert rig.source.depth_stopped_s == 0  # there never was any
    rig.source.add_depth(message(1.0))
    for seconds, told in ((3.0, 0), (7.0, 10.0)):
        rig.time += seconds
        rig.source.add_image(message(rig.time))
        assert rig.source.depth_stopped_s == told
    rig.source.add_depth(message(rig.time))
    assert rig.source.depth_stopped_s == 0
    rig.time += 10.0
    assert rig.source.depth_stopped_s == 0  # both did: a recording that is paused
    rig.source.add_image(message(rig.time))
    assert rig.source.depth_stopped_s == 10.0
    rig.source.reset()
    assert rig.source.depth_stopped_s == 0


def test_a_slower_depth_camera_picks_its_images(rig):
    rig.source.add_depth(message(0.9))
    images = [message(t) for t in (1.0, 1.033, 1.066)]
    for image in images:
        rig.source.add_image(image)
    rig.source.add_depth(message(1.034))
    assert rig.source.newest().image is images[1]
    assert rig.source.counts.dropped == 1  # the one before it; the one after still waits
    rig.source.add_depth(message(1.066))
    assert rig.source.newest().image is images[2]


def test_needed_depth_is_never_left_out(rig):
    rig.source.needs_depth = True
    rig.source.add_image(message(1.0))
    rig.time += 5
    assert rig.source.newest() is None
    assert rig.source.waits_for_depth
    rig.source.add_depth(message(1.0))
    assert rig.source.newest() is None  # intrinsics are needed as well
    info = message(0)
    rig.source.add_camera_info(info)
    newest = rig.source.newest()
    assert newest.depth is not None
    assert newest.camera_info is info
    assert not rig.source.waits_for_depth


def test_time_jump_back_forgets_all_but_intrinsics(rig):
    info = message(0)
    rig.source.add_camera_info(info)
    rig.source.add_depth(message(50.0))
    rig.source.add_image(message(50.0))
    before = rig.source.newest().generation
    rig.source.add_image(message(1.0))
    newest = rig.source.newest()
    assert newest.generation == rig.source.generation == before + 1
    assert rig.source.counts.time_jumps == 1
    assert newest.seq == 2
    assert newest.depth is None
    assert newest.camera_info is info


@pytest.mark.parametrize(("seconds", "taken", "out_of_order"), [(49.9, 1, 1), (0, 2, 0)])
def test_out_of_order_is_not_used_and_stamp_zero_is_no_jump(rig, seconds, taken, out_of_order):
    rig.source.add_image(message(50.0))
    rig.source.add_image(message(seconds))
    assert rig.source.newest_seq() == taken
    assert (rig.source.counts.out_of_order, rig.source.counts.time_jumps) == (out_of_order, 0)


def test_arrival_is_of_the_clock_that_never_jumps(rig):
    rig.source.add_image(message(1.0))
    rig.time += 2.5
    newest = rig.source.newest()
    assert newest.arrival_s == 100.0
    assert rig.source.age_s(newest.arrival_s) == 2.5


def test_intrinsics_have_no_time(rig):
    """A latched camera_info comes once."""
    info = message(0)
    rig.source.add_camera_info(info)
    rig.source.reset()
    rig.source.add_image(message(1.0))
    assert rig.source.newest().camera_info is info


def test_what_has_come_is_told_beside_the_image_in_question(rig):
    source = rig.source
    assert source.seen() == {"image": Seen(), "depth": Seen(), "camera_info": Seen()}
    for stamp in (0.9, 0.95, 1.033):  # depth is 33 ms late
        source.add_depth(message(stamp))
    source.add_image(message(1.0))
    assert source.newest() is None
    assert source.seen()["image"] == Seen(1, 1_000_000_000)
    assert source.seen()["depth"] == Seen(3, 1_033_000_000)
    rig.time += 0.25
    assert source.newest().depth is None
    source.add_image(message(1.1))  # waits; what was used last is told of
    assert source.seen()["image"] == Seen(2, 1_000_000_000)
    source.add_depth(message(1.1))
    assert source.seen()["image"].stamp_ns == source.seen()["depth"].stamp_ns == 1_100_000_000
    for number in range(20):  # more than are kept
        source.add_depth(message(2.0 + number))
    assert source.seen()["depth"] == Seen(24, 1_100_000_000)
    source.add_camera_info(message(0))
    source.reset()
    assert source.seen() == {"image": Seen(), "depth": Seen(), "camera_info": Seen(1, 0)}


def test_needed_depth_that_stopped_is_what_is_waited_for(rig):
    source = rig.source
    source.needs_depth = True
    source.add_camera_info(message(0))
    source.add_depth(message(1.0))
    source.add_image(message(1.0))
    assert source.newest().depth is not None
    rig.time += 3.0
    assert not source.waits_for_depth  # the colour camera is silent as well
    source.add_image(message(4.0))
    assert source.waits_for_depth
    assert source.seen()["image"].stamp_ns == 4_000_000_000
    rig.time += 3.0
    assert not source.waits_for_depth


def test_waiting_images_are_bounded(rig):
    rig.source.needs_depth = True
    for number in range(50):
        rig.source.add_image(message(1 + number / 30))
    assert len(rig.source._images) == 8
    assert rig.source.counts.dropped == 42

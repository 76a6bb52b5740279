"""Newest frame wins, depth belongs to its own image, and time may jump: on hand-made stamps, without DDS."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovseg_ros.ros.io.frame_source import FrameSource


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
        assert rig.source.depth_stopped_s == told
    rig.source.add_depth(message(2.0))
    assert rig.source.depth_stopped_s == 0
    rig.time += 10.0
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


def test_waiting_images_are_bounded(rig):
    rig.source.needs_depth = True
    for number in range(50):
        rig.source.add_image(message(1 + number / 30))
    assert len(rig.source._images) == 8
    assert rig.source.counts.dropped == 42

"""Cameras take turns: by a clock that only work moves, so that what each waits is exact."""

from __future__ import annotations

import math

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed")
pytest.importorskip("ovseg_ros.msg", reason="the interfaces are not built (colcon build)")

from ovseg_ros.ros.inference.turns import Turns

pytestmark = pytest.mark.ros


class World:
    """The time, which goes on by what frames cost."""

    now = 0.0


class FakeCamera:
    """A camera with a frame every `period` seconds; the newest takes `cost` seconds when its turn comes."""

    def __init__(self, world: World, period: float, cost: float, offset: float = 0.0) -> None:
        self.world, self.period, self.cost, self.offset = world, period, cost, offset
        self.done, self.waited, self.errors = -1, [], []
        self.fault: Exception | None = None

    def newest(self) -> int:
        return math.floor((self.world.now - self.offset) / self.period)

    def due_in(self) -> float | None:
        if self.newest() > self.done:
            return 0
        return (self.done + 1) * self.period + self.offset - self.world.now

    def turn(self):
        yield from ()  # nothing is encoded
        first = self.done + 1  # since this one came something has been due
        self.waited.append(self.world.now - (first * self.period + self.offset))
        self.done = self.newest()
        self.world.now += self.cost
        if self.fault is not None:
            raise self.fault

    def lost(self, error: Exception) -> None:
        self.errors.append(error)


def play(world: World, cameras: list[FakeCamera], seconds: float, job_s: float = 0.0) -> None:
    """The worker's loop: a step, a job of a planner's where there is one, a step …"""
    turns = Turns(cameras, lambda asked: [])
    while world.now < seconds:
        delay = turns.step()
        world.now += job_s or 0.0
        if delay is not None and all(camera.due_in() > 0 for camera in cameras):
            world.now += min(camera.due_in() for camera in cameras) + 1e-9


@pytest.mark.parametrize("job_s", [0.0, 0.05], ids=["frames alone", "a flood of requests"])
def test_a_fast_camera_never_starves_a_slow_one(job_s):
    world = World()
    fast = FakeCamera(world, period=0.001, cost=0.05)
    slow = FakeCamera(world, period=0.4, cost=0.05, offset=0.0123)
    play(world, [fast, slow], 60.0, job_s)
    share = fast.cost + slow.cost  # what a turn of every camera takes
    assert max(slow.waited) <= 2 * share
    assert len(slow.waited) == pytest.approx(60.0 / 0.4, abs=2)  # not one of its frames is left out
    assert len(fast.waited) > 60.0 / (2 * (share + job_s))  # and the fast one has the rest


def test_cameras_that_always_have_a_frame_get_the_same_number_of_turns():
    world = World()
    cameras = [FakeCamera(world, period, cost) for period, cost in ((0.001, 0.01), (0.01, 0.2), (0.05, 0.03))]
    play(world, cameras, 60.0)
    counts = [len(camera.waited) for camera in cameras]
    assert max(counts) - min(counts) <= 1
    share = sum(camera.cost for camera in cameras)
    assert max(max(camera.waited) for camera in cameras) <= 2 * share


def test_who_has_waited_longest_comes_first():
    world = World()
    a, b = FakeCamera(world, 1.0, 0.0), FakeCamera(world, 1.0, 0.0, offset=0.5)
    turns, order = Turns([a, b], lambda asked: []), []
    for one, name in ((a, "a"), (b, "b")):
        turn = one.turn
        one.turn = lambda turn=turn, name=name: order.append(name) or turn()
    assert turns.step() == 0.5  # when b's first frame comes
    world.now = 1.5
    turns.step()
    assert order == ["a", "b", "a"]
    assert turns.step() == 0.5


def test_a_fault_costs_one_cameras_frame():
    world = World()
    a, b = FakeCamera(world, 1.0, 0.0), FakeCamera(world, 1.0, 0.0)
    a.fault = ValueError("a cosmic ray")
    Turns([a, b], lambda asked: []).step()
    assert (a.errors, b.errors) == ([a.fault], [])
    assert (a.done, b.done) == (0, 0)


def test_nothing_due_is_nothing_done():
    assert Turns([], lambda asked: []).step() is None

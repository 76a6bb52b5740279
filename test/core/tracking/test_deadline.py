"""Holding a rate, on simulated cameras: nothing here looks at a clock."""

from __future__ import annotations

import random

import pytest

from ovseg_ros.core.tracking.deadline import Deadline, FrameCost
from ovseg_ros.errors import ConfigError


class Machine:
    """Frames that cost a + b * points^2 + each * embeddings + other, times a load, give or take 5 %."""

    def __init__(self, *, fixed=0.0, per_point=0.0, each=0.01, other=0.005, full=None):
        self.fixed, self.per_point, self.each, self.other, self.full = fixed, per_point, each, other, full
        self.load = 1.0
        self._random = random.Random(0)
        self.seconds, self.budgets = [], []

    def run(self, deadline, frames, wanted=20):
        """Frames that each want so many new embeddings; returns the seconds of each."""
        for _ in range(frames):
            budget = deadline.budget()
            points = budget.points_per_side or self.full or 0
            encoded = wanted if budget.new_embeddings is None else min(max(budget.new_embeddings, 1), wanted)
            noise = self.load * self._random.uniform(0.95, 1.05)
            propose = noise * (self.fixed + self.per_point * points**2)
            encode, other = noise * self.each * encoded, noise * self.other
            deadline.observe(FrameCost(propose, encode, other, encoded, waiting=wanted - encoded))
            self.seconds.append(propose + encode + other)
            self.budgets.append(budget)
        return self.seconds[-frames:]


def test_where_there_is_time_nothing_is_given_up():
    machine, deadline = Machine(fixed=0.02, per_point=0.0001, full=16), Deadline(1.0, 16)
    machine.run(deadline, 50)
    assert deadline.gave_up == []
    assert deadline.budget().points_per_side is None
    assert deadline.budget().new_embeddings >= 20


def test_embeddings_are_limited_first_and_the_rate_holds():
    machine, deadline = Machine(fixed=0.02, per_point=0.0001, full=16), Deadline(0.12, 16)
    late = machine.run(deadline, 60)[2:]
    assert max(late) <= 0.12
    assert sum(late) / len(late) > 0.09  # and it is not bought with more than is needed
    assert deadline.budget().points_per_side is None
    (said,) = deadline.gave_up
    assert "new embeddings per frame" in said
    assert "masks wait" in said


def test_the_grid_is_lowered_where_embeddings_are_not_enough():
    machine, deadline = Machine(fixed=0.02, per_point=0.0002, full=32), Deadline(0.1, 32)
    late = machine.run(deadline, 80)[20:]
    assert max(late) <= 0.1
    grids = [budget.points_per_side for budget in machine.budgets]
    assert grids[:7] == [None] * 5 + [24] * 2, "a step after five late frames"
    points = deadline.budget().points_per_side
    assert points == 16  # 24 would take 0.135 s
    assert f"{points} instead of 32 points per side" in deadline.gave_up
    assert len(set(grids[20:])) == 1, "it goes to and fro"


@pytest.mark.parametrize(("fixed", "period"), [(0.01, 0.2), (0.08, 0.3)])
def test_all_comes_back_when_the_load_goes(fixed, period):
    machine, deadline = Machine(fixed=fixed, per_point=0.0001, full=32), Deadline(period, 32)
    machine.load = 4.0
    machine.run(deadline, 100, wanted=3)
    assert deadline.budget().points_per_side < 32
    machine.load = 1.0
    late = machine.run(deadline, 100, wanted=3)[5:]
    assert max(late) <= period
    assert deadline.budget().points_per_side is None
    assert deadline.gave_up == []


def test_what_cannot_be_held_is_said_and_costs_no_more_than_needed():
    machine, deadline = Machine(fixed=0.5, per_point=0.0001, full=32), Deadline(0.1, 32)
    machine.run(deadline, 100)
    assert deadline.budget().points_per_side == 8
    assert deadline.budget().new_embeddings == 1
    assert any(text.startswith("10.0 Hz itself") for text in deadline.gave_up)


def test_without_a_grid_only_embeddings_give_way():
    machine, deadline = Machine(fixed=0.05, each=0.02), Deadline(0.1)
    assert max(machine.run(deadline, 40)[2:]) <= 0.1
    assert deadline.budget().points_per_side is None
    assert deadline.budget().new_embeddings in (1, 2)


def test_a_burst_is_over_at_once_and_room_comes_back_slowly():
    machine, deadline = Machine(each=0.01), Deadline(0.25)
    machine.run(deadline, 30)
    before = deadline.budget().new_embeddings
    machine.load = 3.0
    machine.run(deadline, 6)
    pressed = deadline.budget().new_embeddings
    assert pressed < before / 2
    machine.load = 1.0
    machine.run(deadline, 1)
    assert deadline.budget().new_embeddings < before
    machine.run(deadline, 40)
    assert deadline.budget().new_embeddings >= before - 1


def test_frames_without_masks_say_nothing_of_embeddings():
    deadline = Deadline(0.1)
    for _ in range(10):
        deadline.observe(FrameCost(0.01, 0.0, 0.01, 0))
    assert deadline.budget().new_embeddings is None
    assert deadline.gave_up == []


@pytest.mark.parametrize("full", [1, 3, 4, 5])
def test_small_grids_have_levels_too(full):
    machine, deadline = Machine(fixed=1.0, full=full), Deadline(0.1, full)
    machine.run(deadline, 60)
    assert 1 <= (deadline.budget().points_per_side or full) <= full


@pytest.mark.parametrize(("period", "points"), [(0.0, None), (-1.0, 8), (float("inf"), 8), (0.1, 0)])
def test_nonsense_is_refused(period, points):
    with pytest.raises(ConfigError, match="expected"):
        Deadline(period, points)

"""Whatever lies wherever: a request chooses among what is there, without a fault and the same each time."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from property_cases import cases

from ovseg_ros.core.choice import Item, choose, parse_request
from ovseg_ros.core.space import Object3d

REQUESTS = [
    parse_request(text)
    for text in (
        *("mug", "the mug left of the pot", "the pot behind the mug", "mugs near the pots", "mug on the pot"),
        *("mug in the pot", "pot under the mug", "mug above the pot", "mug between the pots", "two mugs"),
        *("mug between the pot and a mug", "the second mug from the left", "last pot", "largest mug"),
        *("the mug nearest the pot", "mug farthest from the mug", "top left mug", "the mugs on the left"),
        *("mug in the middle", "how many pots", "mug larger than the pot", "mug taller than a mug"),
        *("the mug on the pot left of the mug", "mug, the left pot, 3 mugs", "the third nearest pot"),
    )
]
near = st.sampled_from([0.0, 1e-9, 0.05, 0.1, 0.3, 1.0, -0.1, -0.3, 30.0])
sides = st.sampled_from([0.0, 1e-6, 0.02, 0.1, 0.5])


@st.composite
def items(draw) -> Item:
    left, top = draw(st.integers(0, 60)), draw(st.integers(0, 40))
    box = (left, top, left + draw(st.integers(1, 30)), top + draw(st.integers(1, 30)))
    solid = None
    if draw(st.integers(0, 4)):
        centre = np.array([draw(near), draw(near), draw(near)])
        rotation = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])
        size = np.array([draw(sides), draw(sides), draw(sides)])
        solid = Object3d(centre, np.eye(3) * 1e-6, centre, rotation, size, float(np.linalg.norm(centre)))
    return Item(
        draw(st.sampled_from(["mug", "pot", "red mug"])), draw(st.sampled_from([0.0, 0.3, 1.0])), box, solid
    )


@cases(250, st.sampled_from(REQUESTS), st.lists(items(), max_size=7))
def test_a_choice_is_of_what_is_there(wanted, things):
    choice = choose(wanted, things, size_hw=(80, 100))
    assert len({*choice.indices}) == len(choice.indices) <= len(things)
    assert all(0 <= i < len(things) for i in choice.indices)
    assert choice.count >= len(choice.indices)
    assert choice.found or choice.reason
    assert choice.decided_from in ("depth", "image", "")
    assert choice == choose(wanted, things, size_hw=(80, 100))

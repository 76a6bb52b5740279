"""Names of things are drawn in the script they were asked in."""

import numpy as np
import pytest

from ovseg_ros.core.letters import letters

SCRIPTS = [
    "teapot",
    "Teekännchen",
    "čajník",
    "чайник",
    "τσαγιέρα",
    "茶壶",
    "急須",
    "やかん",
    "주전자",
    "إبريق",
    "קומקום",
    "กาน้ำชา",
]


@pytest.mark.parametrize("text", SCRIPTS)
def test_each_character_has_a_sign_of_its_own(text):
    missing = letters("\U0010fffe", 24)  # what is drawn for a character that no font has
    drawn = {c: letters(c, 24) for c in set(text)}
    for character, sign in drawn.items():
        assert sign.max() > 100, character
        assert sign.shape != missing.shape or (sign != missing).any(), character
    assert len({sign.tobytes() for sign in drawn.values()}) == len(drawn)
    question = letters("?" * len(text), 24)
    whole = letters(text, 24)
    assert whole.shape != question.shape or (whole != question).any()


@pytest.mark.parametrize("text", [*SCRIPTS, "gÅjq", ""])
@pytest.mark.parametrize("height", [1, 10, 21, 60])
def test_a_line_has_the_height_that_was_asked_and_is_not_cut_off(text, height):
    line = letters(text, height)
    assert line.shape[0] == height
    assert line.dtype == np.uint8
    assert line.shape[1] >= 1
    if height > 10 and text:
        assert line[-1].max() < 200  # the deepest letter ends in the line
        assert 0.2 * height < np.flatnonzero(line.any(axis=1)).size <= height


def test_longer_text_is_wider_and_signs_join_the_letter_before_them():
    assert letters("teapots", 21).shape[1] > letters("teapot", 21).shape[1]
    assert letters("e\u0301", 21).shape[1] == letters("é", 21).shape[1]


def test_what_no_font_has_is_drawn_all_the_same():
    assert letters("\U0001f9ff\U0010fffe", 21).max() > 0

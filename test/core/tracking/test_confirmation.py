"""k of the last n frames, by track and by overlap, against hand-worked counts."""

import numpy as np
import pytest

from ovseg_ros.core.maps import boxed_masks
from ovseg_ros.core.tracking import Confirmation, Sighting
from ovseg_ros.errors import ConfigError


def columns(first, last):
    """A mask of rows 2 to 5 and these columns, the last one exclusive."""
    mask = np.zeros((1, 8, 40), bool)
    mask[0, 2:6, first:last] = True
    return boxed_masks(mask)[0]


def test_counts_by_track_over_the_last_frames():
    confirmation = Confirmation(2, 3)
    frames = [
        ([("mug", 1), ("pot", 2)], [1, 1]),
        ([("mug", 1), ("mug", 2)], [2, 1]),  # track 2 has another word
        ([], []),
        ([("mug", 1), ("pot", 2)], [2, 1]),  # the pot of the first frame is too long ago
        ([("mug", 3), ("pot", 2), ("mug", 1)], [1, 2, 2]),
        ([("mug", 1)], [3]),
    ]
    for seen, counts in frames:
        assert confirmation.add([Sighting(*one) for one in seen]) == counts
    assert (confirmation.frames, confirmation.best) == (6, 3)


def test_without_tracks_half_the_union_is_the_same_thing():
    confirmation = Confirmation(2, 4)
    assert confirmation.add([Sighting("mug", 0, columns(0, 12))]) == [1]
    # 8 of 16 columns, then 8 of 17 with the first and 12 of 13 with the second
    assert confirmation.add([Sighting("mug", 0, columns(4, 16))]) == [2]
    assert confirmation.add([Sighting("mug", 0, columns(4, 17))]) == [2]
    assert confirmation.add([Sighting("pot", 0, columns(4, 17))]) == [1]
    assert confirmation.add([Sighting("mug", 0, columns(20, 30)), Sighting("mug", 0, None)]) == [1, 1]


def test_where_tracks_began_anew_masks_tell_that_it_is_the_same_thing():
    """Else a machine that takes seconds for an image would never confirm what stands still before it."""
    confirmation = Confirmation(2, 2)
    confirmation.add([Sighting("mug", 4, columns(0, 10))])
    assert confirmation.add([Sighting("mug", 9, columns(1, 10)), Sighting("mug", 10, columns(20, 30))]) == [
        2,
        1,
    ]
    assert confirmation.add([Sighting("mug", 0, columns(1, 10))]) == [2]
    assert confirmation.add([Sighting("mug", 11, None)]) == [1]


def test_one_frame_alone_and_what_cannot_be():
    confirmation = Confirmation(1, 1)
    for _ in range(3):
        assert confirmation.add([Sighting("mug", 1)]) == [1]
    for wanted, of in ((0, 1), (2, 1)):
        with pytest.raises(ConfigError, match="1 <= k <= n"):
            Confirmation(wanted, of)

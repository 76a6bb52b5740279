"""A segmenter that finds masks by words cannot be held against a recording's truth beforehand."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from ovseg_ros.errors import ConfigError
from ovseg_ros.evaluate.recordings.measures import measure


def test_it_is_refused_with_the_cure() -> None:
    by_words = SimpleNamespace(proposer=SimpleNamespace(by_words=True), name="sam3")
    with pytest.raises(
        ConfigError, match=r"masks of sam3 are found by the words.*ovseg evaluate photos or dataset"
    ):
        measure(by_words, [])

"""One thing that was looked at: how it stands, what was found, and what helps."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, ERROR = "OK", "WARN", "ERROR"


@dataclass(frozen=True)
class Check:
    """How one thing stands.

    Attributes:
        part: of the machine it belongs to: Python, GPU, ROS, preset, camera …; a heading.
        name: what was looked at.
        level: OK, WARN (it runs, with a drawback) or ERROR (it does not).
        found: what there is.
        cure: one sentence that says what to do; "" where it is OK.
    """

    part: str
    name: str
    level: str
    found: str
    cure: str = ""

    def __post_init__(self) -> None:
        assert self.level in (OK, WARN, ERROR), self.level
        assert bool(self.cure) == (self.level != OK), f"{self.name}: a cure for what is wrong, and no other"


def worst(checks: list[Check]) -> str:
    """The worst level; OK of none."""
    return max((check.level for check in checks), key=(OK, WARN, ERROR).index, default=OK)

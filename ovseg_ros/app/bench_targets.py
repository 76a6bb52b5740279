"""What `ovseg bench` is wanted to show, and whether it does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Result = Mapping[str, Any]


@dataclass(frozen=True)
class Target:
    """One figure beside what is wanted of it.

    Attributes:
        text: what is measured.
        unit: "x", "%" or a unit of time.
        wanted: the limit.
        at_least: whether the figure must reach the limit, or stay at or below it.
        at: keys that lead to the figure in the cases.
        scale: multiplies it.
    """

    text: str
    unit: str
    wanted: float
    at_least: bool
    at: tuple[str, ...]
    scale: float = 1.0

    def verdict(self, cases: Result) -> dict[str, Any]:
        """Text, wanted, measured (None where it was not) and whether it is met (None likewise)."""
        value = _at(cases, self.at)
        measured = None if value is None else self.scale * float(value)
        met = None
        if measured is not None:
            met = measured >= self.wanted if self.at_least else measured <= self.wanted
        sign = ">=" if self.at_least else "<="
        return {
            "text": self.text,
            "wanted": f"{sign} {self.wanted:g} {self.unit}",
            "measured": None if measured is None else f"{measured:.{digits(measured)}f} {self.unit}",
            "value": measured,
            "met": met,
        }


_VIDEO, _QUERY, _NODE = ("video", "times_ours"), ("query", "share_of_cold"), ("overhead", "cases")
TARGETS = (
    Target("cold frame: naive / ours, float32", "x", 1.5, True, ("cold", "times_ours", "naive", "median")),
    Target("cold frame: naive / ours, 16 bits", "x", 1.5, True, ("cold", "times_16_bits", "median")),
    Target("video: naive / ours", "x", 6.0, True, (*_VIDEO, "naive", "median")),
    Target("video: naive, words anew / ours", "x", 6.0, True, (*_VIDEO, "naive, words anew", "median")),
    Target("video: labels as when cold", "%", 99.0, True, ("video", "labels_equal_to_cold", "ours"), 100.0),
    Target(
        "query, known words / cold frame", "%", 1.0, False, (*_QUERY, "words asked before", "median"), 100.0
    ),
    Target("query, one new word / cold frame", "%", 1.0, False, (*_QUERY, "one new word", "median"), 100.0),
    Target("847 labels: added to a frame", "%", 5.0, False, ("labels", "added"), 100.0),
    Target("node overhead, all outputs", "ms", 12.0, False, (*_NODE, "all", "wall", "median_ms")),
    Target("node overhead, ~/segmentation", "ms", 4.0, False, (*_NODE, "segmentation", "wall", "median_ms")),
    Target("soak: memory gained", "%", 1.0, False, ("soak", "growth_share"), 100.0),
    Target("CLIP encode, of the card's matrix rate", "%", 45.0, True, ("cuda", "encode", "share"), 100.0),
    Target("SAM and CLIP video on the card", "frames/s", 30.0, True, ("cuda", "video", "frames_per_s")),
    Target("16-bit labels as in float32 (mini)", "%", 99.5, True, ("video", "labels_equal_16_bits"), 100.0),
    Target("the same on the card (random)", "%", 99.5, True, ("cuda", "encode", "labels_equal"), 100.0),
)


def verdicts(cases: Result) -> list[dict[str, Any]]:
    """Every target beside what was measured."""
    return [target.verdict(cases) for target in TARGETS]


def _at(cases: Result, keys: Sequence[str]) -> Any:
    value: Any = cases
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return None
        value = value[key]
    return value


def digits(value: float) -> int:
    """Places behind the point that leave three figures or so."""
    return 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2

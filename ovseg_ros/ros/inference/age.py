"""How old an image is, so that a camera that died is never taken for one that stands still."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ovseg_ros.ros.io.frame_source import FrameSource, stamp_ns
from ovseg_ros.ros.parameters.table import Settings


@dataclass(frozen=True)
class Age:
    """Seconds since an image was taken, as far as can be known.

    Attributes:
        seconds: never negative.
        since_arrival_s: since its message came, by a clock that never jumps.
        doubt: why the stamp does not tell the age, "" where it does; then `seconds` is `since_arrival_s`.
    """

    seconds: float
    since_arrival_s: float
    doubt: str = ""


def age_of(taken_ns: int, since_arrival_s: float, now_ns: int, *, tolerance_s: float, simulated: bool) -> Age:
    """The age of an image by its stamp, or by its arrival where the stamp cannot tell.

    A stamp cannot tell where it is 0, where it is more than `tolerance_s` ahead of the node's clock (the
    camera's computer goes ahead: such an image would never grow old), and where simulated time has not begun.
    An image is never younger than its arrival, unless simulated time runs: that may be slow, or stand.

    Args:
        taken_ns: The stamp of the image's header.
        since_arrival_s: Seconds since its message came.
        now_ns: The node's clock.
        tolerance_s: How far stamps may be ahead.
        simulated: Whether that clock is /clock.
    """
    since_stamp_s = (now_ns - taken_ns) * 1e-9
    if simulated and now_ns == 0:
        doubt = "use_sim_time is true, but nothing has come on /clock: start what publishes it"
    elif taken_ns == 0:
        doubt = "the image's stamp is 0: let the driver stamp its images"
    elif since_stamp_s < -tolerance_s:
        doubt = (
            f"the image's stamp is {-since_stamp_s:.2f} s ahead of the node's clock (stamp_tolerance is "
            f"{tolerance_s:g} s): let the computers agree on the time (chrony, ntp), or set use_sim_time as "
            "the camera's driver has it"
        )
    else:
        least_s = 0.0 if simulated else since_arrival_s
        return Age(max(since_stamp_s, least_s), since_arrival_s)
    return Age(since_arrival_s, since_arrival_s, f"{doubt}. Until then its age is counted from its arrival")


class Freshness:
    """Judges the camera's images by the node's clock and parameters."""

    def __init__(
        self,
        source: FrameSource,
        settings: Callable[[], Settings],
        now_ns: Callable[[], int],
        is_simulated: Callable[[], bool],
    ) -> None:
        """See `Engine`; `is_simulated` says whether the clock is /clock."""
        self._source = source
        self._settings = settings
        self._now_ns = now_ns
        self._is_simulated = is_simulated

    def latency_s(self, header: Any) -> float | None:
        """Seconds since a stamp by the node's clock; None where it is 0 or ahead."""
        taken, now = stamp_ns(header), self._now_ns()
        return (now - taken) * 1e-9 if 0 < taken <= now else None

    def age(self, header: Any, arrival_s: float) -> Age:
        """How old an image of the camera is that came at `arrival_s` of the source's clock."""
        return age_of(
            stamp_ns(header),
            self._source.age_s(arrival_s),
            self._now_ns(),
            tolerance_s=self._settings().stamp_tolerance,
            simulated=self._is_simulated(),
        )

    def stale(self, header: Any, arrival_s: float) -> str:
        """A sentence about an image that is older than `max_frame_age`, "" where it is not."""
        age, limit = self.age(header, arrival_s), self._settings().max_frame_age
        if limit <= 0 or age.seconds <= limit:
            return ""
        said = f"the newest image is {age.seconds:.2f} s old, max_frame_age is {limit:g} s"
        if age.doubt:
            return f"{said}: is the camera alive? Besides, {age.doubt}"
        if age.since_arrival_s > limit:
            return f"{said}, and it came {age.since_arrival_s:.2f} s ago: is the camera alive?"
        return (
            f"{said}, but it came {age.since_arrival_s:.2f} s ago: it is long on its way, or the camera's "
            "clock and the node's are two (use_sim_time, the computers' time, a driver that stamps by uptime)"
        )

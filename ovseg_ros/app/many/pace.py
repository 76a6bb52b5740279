"""How fast it goes and how long it still takes, in words."""

from __future__ import annotations


def pace(done: int, total: int, seconds: float) -> str:
    """What stands behind a count of what is done.

    Args:
        done: in `seconds`.
        total: to do in all; less than `done` where nobody knows.
        seconds: since the start.

    Example:
        >>> pace(50, 200, 10.0)
        '5.0 per second, 30 s left'
        >>> pace(1, 0, 4.0)
        '0.25 per second'
    """
    rate = done / max(seconds, 1e-9)
    said = f"{rate:{'.1f' if rate >= 1 else '.2g'}} per second"
    if total <= done or not done:
        return said
    left = (total - done) / rate
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if left >= 2 * size:
            return f"{said}, {left / size:.0f} {unit} left"
    return f"{said}, {left:.0f} s left"

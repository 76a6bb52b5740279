"""Which of image, depth and camera_info is missing, and why: one wording for the node and for recordings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_TWO_CLOCKS_S = 60.0
"""No camera's streams are so far apart: then their stamps are of two clocks."""


@dataclass(frozen=True)
class InputState:
    """What has come of one input.

    Attributes:
        name: what people call it: image, depth, camera_info.
        topic: its name as ROS resolves it; "" where none was chosen.
        publishers: how many publish it now; None for a recording.
        messages: how many have come, or how many the recording holds.
        stamp_ns: of the message nearest in time to the image; None where time does not matter
            (camera_info), or where no message is kept.
        problem: why the messages that came are of no use, with the cure; "" where they are good.
        cure: what helps where there is no topic or no message.
    """

    name: str
    topic: str
    publishers: int | None
    messages: int
    stamp_ns: int | None = None
    problem: str = ""
    cure: str = ""


def missing_inputs(
    states: Sequence[InputState], image_stamp_ns: int | None, tolerance_s: float, tolerance_name: str
) -> str:
    """What is missing for one image, each by name, topic and reason, with its cure.

    Args:
        states: of all that is needed, in the order in which it is to be told.
        image_stamp_ns: of the image; None: none has come. 0: it has no stamp.
        tolerance_s: how far depth may be from its image.
        tolerance_name: of the parameter or option that widens it.

    Returns:
        Sentences without a last dot, "" where nothing is missing.

    Examples:
        >>> depth = InputState("depth", "/camera/depth", 1, 9, 12_378_000_000)
        >>> missing_inputs([depth], 12_345_000_000, 0.02, "sync_tolerance")
        'depth on /camera/depth (1 publisher): the nearest to the image of 12.345 s is 33 ms later, \
sync_tolerance is 20 ms; raise sync_tolerance'
    """
    found = ((state, _reason(state, image_stamp_ns, tolerance_s, tolerance_name)) for state in states)
    return ". ".join(f"{_where(state)}: {reason}" for state, reason in found if reason)


def _where(state: InputState) -> str:
    if not state.topic:
        return state.name
    if state.publishers is None:
        count = f"{state.messages} message{'' if state.messages == 1 else 's'}"
    else:
        count = f"{state.publishers} publisher{'' if state.publishers == 1 else 's'}"
    return f"{state.name} on {state.topic} ({count})"


def _reason(state: InputState, image_stamp_ns: int | None, tolerance_s: float, tolerance_name: str) -> str:
    """Why it is missing; "" where it is not."""
    if not state.topic:
        return _with("there is no such topic", state.cure)
    if not state.messages:
        return _silent(state)
    if state.problem:
        return state.problem
    if state.stamp_ns is None or image_stamp_ns is None:
        return ""
    gap_ns = state.stamp_ns - image_stamp_ns
    if abs(gap_ns) <= round(tolerance_s * 1e9):
        return ""
    if not (image_stamp_ns and state.stamp_ns):
        lacking = state.name if image_stamp_ns else "the image"
        return f"{lacking} comes without a stamp (0 s), so the two cannot be matched; let its driver set one"
    gap = f"the nearest to the image of {_seconds(image_stamp_ns)} is {_span(abs(gap_ns))} "
    gap += "later" if gap_ns > 0 else "earlier"
    if abs(gap_ns) > _TWO_CLOCKS_S * 1e9:
        return f"{gap}: the stamps are of two clocks; let one clock stamp both, or synchronise the computers"
    return f"{gap}, {tolerance_name} is {_span(round(tolerance_s * 1e9))}; raise {tolerance_name}"


def _silent(state: InputState) -> str:
    """Why no message has come."""
    if state.publishers is None:
        return _with("the recording holds no message of it", state.cure)
    if state.publishers == 0:
        return _with("nobody publishes it", state.cure or "start the camera, or name another topic")
    look = f"see `ros2 topic info -v {state.topic}`"
    qos = f"its QoS (reliability, durability) may not match; {look}"
    return _with("no message of it has arrived", state.cure or qos)


def _with(reason: str, cure: str) -> str:
    return f"{reason}; {cure}" if cure else reason


def _seconds(stamp_ns: int) -> str:
    return f"{stamp_ns / 1e9:.3f} s"


def _span(span_ns: int) -> str:
    """Milliseconds up to ten seconds, seconds beyond."""
    if span_ns < 10_000_000_000:
        return f"{span_ns / 1e6:.3g} ms" if span_ns < 1_000_000_000 else f"{span_ns / 1e6:.0f} ms"
    return f"{span_ns / 1e9:.0f} s"

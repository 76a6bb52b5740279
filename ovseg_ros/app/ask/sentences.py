"""The node's answers in plain English."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ovseg_ros.ros.client import FoundSegment, Place, RecallReply, RememberedThing, Reply, Sighting

CODES = {
    "FOUND": "Found.",
    "NOT_FOUND": "Not found.",
    "NO_IMAGE": "Nothing was searched: no image has arrived at the node.",
    "STALE_IMAGE": "Nothing was searched: the newest image is too old.",
    "INVALID_QUERY": "The node cannot answer this.",
    "BUSY": "Too many requests are waiting; ask again later.",
    "OUT_OF_MEMORY": "The node's device ran out of memory.",
    "NO_DEPTH": "Where it is cannot be told: there is no depth for it.",
    "INACTIVE": "Nothing was searched: the node is not active, or is disabled.",
    "LOST": "Lost.",
    "REMEMBERED": "Remembered, which does not say that it is still there.",
    "INTERNAL": "The node had a fault; its log has the trace.",
}
CLOSE = 0.2  # the runner-up is named where the score is ahead of it by less, as in the node's overlay


def conclusion(reply: Reply | RecallReply) -> str:
    """The code in a sentence, its name, and what the node says about it."""
    sentence = CODES.get(reply.code_name, "The node answers with a code that is not known here.")
    camera = getattr(reply, "camera", "")  # a memory has none
    seen_by = f", camera {camera}" if camera else ""
    remark = f": {reply.message}" if reply.message else ""
    return f"{sentence} ({reply.code_name}{seen_by}{remark})"


def thing(segment: FoundSegment, camera_frame: str) -> str:
    """One thing: where it is, how large, and how likely it is what was asked for.

    Args:
        segment: the thing.
        camera_frame: the frame of the image, in which x is right, y down and z ahead.
    """
    x, y, width, height = segment.box
    parts = [f"at pixel ({x + width // 2}, {y + height // 2}), {width} by {height} pixels, no depth there"]
    if segment.place is not None:
        parts = [position(segment.place, camera_frame), size(segment.place)]
    parts.append(f"score {segment.score:.2f}")
    if segment.runner_up and segment.margin < CLOSE:
        parts.append(f"or {segment.runner_up} with {segment.runner_up_score:.2f}")
    return f"{segment.label}: {', '.join(parts)}"


def remembered(one: RememberedThing) -> str:
    """One thing that is remembered: how long ago and where it was seen last, and how sure that is."""
    from ovseg_ros.memory.entry import age_text  # NumPy comes with it

    x, y, z = one.pose.position_m
    parts = [
        f"Remembered, not seen now: {one.label or 'a thing without a name'}",
        f"last seen {age_text(one.age_s)} ago at {x:.2f}, {y:.2f}, {z:.2f} in {one.frame}",
        f"confidence {one.confidence:.1f}" if one.confidence >= 0.1 else f"confidence {one.confidence:.2f}",
    ]
    told = ", ".join(parts)
    if one.gone_since_s is not None:
        ago = one.age_s - (one.gone_since_s - one.last_seen_s)
        return f"{told}; gone: its place was seen to be free {age_text(ago)} ago"
    if one.times_missed:
        missed = {1: "once", 2: "twice"}.get(one.times_missed, f"{one.times_missed} times")
        return f"{told}; looked for there and missed {missed}"
    return told


def position(place: Place, camera_frame: str) -> str:
    """Where the middle of a thing's visible surface is.

    In words where the frame says what is ahead: the camera's (z ahead, x right, y down), and a robot's base
    by its name (REP 103: x ahead, y left, z up). Else by coordinates.
    """
    x, y, z = place.centroid_m
    if place.frame == camera_frame:
        ways = [(z, "ahead", "behind"), (x, "to the right", "to the left"), (-y, "up", "down")]
    elif "base" in place.frame.rpartition("/")[2]:
        ways = [(x, "ahead", "behind"), (-y, "to the right", "to the left"), (z, "up", "down")]
    else:
        return f"at x {x:.2f} m, y {y:.2f} m, z {z:.2f} m in frame {place.frame}"
    said = [f"{abs(d):.2f} m {one if d > 0 else other}" for d, one, other in ways if round(abs(d), 2) > 0]
    return f"{', '.join(said) or 'at the origin'} in frame {place.frame}"


def size(place: Place) -> str:
    """How large its box is."""
    long, wide, tall = place.size_m
    return f"{length(tall)} tall, {length(long)} by {length(wide)}"


def length(metres: float) -> str:
    """A length in the unit that suits it."""
    return (
        f"{metres:.2f} m"
        if metres >= 1
        else f"{100 * metres:.0f} cm"
        if metres >= 0.01
        else f"{1000 * metres:.0f} mm"
    )


def sighting(one: Sighting) -> str:
    """What one image said about what is followed."""
    if one.segment is None:
        return f"not seen yet, {one.frames} images searched"
    told = thing(one.segment, one.frame)
    return told if one.stage == "FOLLOWING" else f"hidden for {one.age_s:.1f} s; last seen: {told}"

"""The camera: do its topics live, do they belong together, and can the node use what comes?"""

from __future__ import annotations

from dataclasses import replace

from ovseg_ros.app.doctor.check import ERROR, OK, WARN, Check
from ovseg_ros.core.camera import CameraLook, Heard, InputState, missing_inputs

SLOWEST_HZ = 1.0  # less is a camera that nearly stands
FEWEST_KNOWN = 0.05  # of depth's pixels
UNIT = "set the node's parameter depth_scale"


def check_camera(look: CameraLook, *, needs_depth: bool) -> list[Check]:
    """What of a camera the node could use.

    Args:
        look: what came.
        needs_depth: whether the preset can do nothing without depth.
    """
    checks = []
    for name, heard in look.inputs.items():
        bad = ERROR if name == "image" or needs_depth else WARN
        checks.append(_input(look, heard, bad))
        is_used = heard.state.messages and not heard.state.problem
        if name == "image" and is_used:
            checks.append(_stamps(look))
        if name == "depth" and is_used and look.known is not None:
            checks.append(_depth(look, look.known))
    return checks


def _input(look: CameraLook, heard: Heard, bad: str) -> Check:
    state = heard.state
    sentence = missing_inputs([_told_apart(state)], look.image_stamp_ns, look.tolerance_s, "sync_tolerance")
    if sentence:
        found, cure = _split(sentence)
        return Check("camera", state.name, bad, found, cure)
    rate = "1 message" if heard.rate_hz is None else f"{heard.rate_hz:.1f} Hz"
    found = f"{state.topic}: {', '.join(filter(None, (rate, heard.about)))}"
    if state.name != "camera_info" and (heard.rate_hz is None or heard.rate_hz < SLOWEST_HZ):
        cure = "raise the camera's rate, or see what holds it up (USB, network, a profile of DDS)"
        return Check("camera", state.name, WARN, f"{found}, which is slow", cure)
    return Check("camera", state.name, OK, found)


def _told_apart(state: InputState) -> InputState:
    """The stamp of depth alone is held against the image's."""
    return state if state.name == "depth" else replace(state, stamp_ns=None)


def _stamps(look: CameraLook) -> Check:
    if look.doubt:
        found, cure = _split(look.doubt.partition(". Until")[0], at=": ")
        return Check("camera", "stamps", ERROR, found, cure)
    age_s = look.age_s or 0.0
    found = f"images arrive {1e3 * age_s:.0f} ms after their stamps"
    if age_s <= look.oldest_s:
        return Check("camera", "stamps", OK, found)
    cure = (
        "let the computers agree on the time (chrony), set use_sim_time as the driver has it, or raise the "
        f"parameter max_frame_age ({look.oldest_s:g} s), above which an image is never searched"
    )
    return Check("camera", "stamps", ERROR, f"images arrive {age_s:.1f} s after their stamps", cure)


def _depth(look: CameraLook, known: float) -> Check:
    if known < FEWEST_KNOWN:
        cure = "look whether the depth camera is covered, too near, or switched off"
        return Check("camera", "depth's values", WARN, f"{known:.0%} of the pixels hold a distance", cure)
    if look.remark:
        found, cure = _split(look.remark, at="? ")
        return Check("camera", "depth's values", WARN, found, cure or UNIT)
    found = f"{known:.0%} of the pixels hold a distance, and the nearest is plausible in metres"
    return Check("camera", "depth's values", OK, found)


def _split(sentence: str, at: str = "; ") -> tuple[str, str]:
    found, _, cure = sentence.partition(at)
    return found, cure or "see docs/reliability.md"

"""What the node says about itself once a second on /diagnostics."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

LEVELS = {"OK": DiagnosticStatus.OK, "WARN": DiagnosticStatus.WARN, "ERROR": DiagnosticStatus.ERROR}


def diagnostic_array(node: Any) -> DiagnosticArray:
    """The state of a node (`ovseg_ros.ros.node`): of it all, and of each camera where these have names."""
    name = f"{node.get_fully_qualified_name()}: segmentation"
    of_all = _status(name, verdict(node), facts(node))
    of_each = [
        _status(f"{name} {camera.name}", camera_verdict(node, camera), camera_facts(camera))
        for camera in node.cameras.values()
        if camera.name
    ]
    array = DiagnosticArray(status=[of_all, *of_each])
    array.header.stamp = node.get_clock().now().to_msg()
    return array


def _status(name: str, verdict: tuple[str, str], facts: dict[str, Any]) -> DiagnosticStatus:
    level, message = verdict
    status = DiagnosticStatus(level=LEVELS[level], name=name, message=message)
    status.values = [KeyValue(key=key, value=str(value)) for key, value in facts.items()]
    return status


def verdict(node: Any) -> tuple[str, str]:
    """The level (OK, WARN, ERROR) and the one sentence that matters most; of several cameras the worst."""
    overdue = node.overdue()
    if overdue is not None:
        return "ERROR", overdue.message
    if node.statistics.recent_error():
        return "ERROR", node.statistics.recent_error()
    if not node.cameras or _is_off(node):
        return "OK", _is_off(node) or "not active"
    verdicts = [(camera, *camera_verdict(node, camera)) for camera in node.cameras.values()]
    worst = max((level for _, level, _ in verdicts), key=list(LEVELS).index)
    if worst == "OK" and node.remembering is not None and node.remembering.trouble:
        return "WARN", node.remembering.trouble
    return worst, "; ".join(camera.said(message) for camera, level, message in verdicts if level == worst)


def _is_off(node: Any) -> str:
    """Why no frame is looked at, "" where frames are."""
    if not node.active:
        return "not active"
    return "" if node.enabled else "disabled by ~/enable"


def camera_verdict(node: Any, camera: Any) -> tuple[str, str]:
    """The same of one camera."""
    statistics, engine = camera.statistics, camera.engine
    if statistics.recent_error():
        return "ERROR", statistics.recent_error()
    if _is_off(node):
        return "OK", _is_off(node)
    if statistics.recent_bad_image():
        return "WARN", f"image refused: {statistics.recent_bad_image()}"
    images = engine.source.peek()
    if images is None:
        return "WARN", engine.nothing().message
    taken = images.image.header, images.arrival_s
    stale = engine.freshness.stale(*taken)
    missing, doubt = engine.missing(), engine.freshness.age(*taken).doubt
    if stale and engine.source.waits_for_depth:
        return "WARN", engine.nothing().message
    if stale:
        return "WARN", ". ".join(filter(None, (stale, missing)))
    remark, deadline = engine.reader.depth_remark, engine.deadline
    said = [one for one in (doubt, remark) if one]
    stopped_s = engine.source.depth_stopped_s
    if stopped_s:
        said.append(f"depth stopped {stopped_s:.0f} s ago: images are used without it")
    if missing:
        said.append(f"no 3D: {missing}")
    misplaced = statistics.recent_remark_3d()
    if misplaced:
        said.append(misplaced)
    if deadline and deadline.gave_up:
        said.append("target_rate costs: " + "; ".join(deadline.gave_up))
    if engine.segmenter.warning:
        said.append(engine.segmenter.warning)
    is_bad = stopped_s or missing or misplaced or engine.segmenter.warning or doubt or remark
    if is_bad or (deadline and not deadline.holds):
        return "WARN", "; ".join(said)
    return "OK", "; ".join([_occupation(node, camera), *said])


def _occupation(node: Any, camera: Any) -> str:
    """What a healthy node does with a camera's frames."""
    if not camera.is_wanted:
        return "idle: nobody subscribes"
    has_words = camera.searches or len(node.vocabulary) or node.settings.publish_unlabelled
    return "running" if has_words else "idle: the vocabulary is empty"


def facts(node: Any) -> dict[str, Any]:
    """All numbers by name: of the node, and of its camera where it has no name."""
    segmenter, vocabulary = node.segmenter, node.vocabulary
    values: dict[str, Any] = {"active": node.active, "enabled": node.enabled}
    values["vocabulary_version"], values["vocabulary"] = vocabulary.version, ", ".join(vocabulary.names)
    values["memory_mb"] = round(resident_bytes() / 1e6)
    if segmenter is not None:
        values["model"], values["device"] = node.engine.model, segmenter.device
        values["model_reason"] = segmenter.reason
        values["pending_requests"] = node.pending
    if node.remembering is not None:
        values["memory"], values["memory_waiting"] = node.remembering.store.name, node.remembering.waiting
    only = node.cameras.get("")
    if only is not None:
        return values | camera_facts(only)
    if node.cameras:
        values["cameras"] = ", ".join(node.cameras)
    return values | dict(sorted(node.statistics.counts().items()))


def camera_facts(camera: Any) -> dict[str, Any]:
    """All numbers of a camera by name."""
    statistics, engine, deadline = camera.statistics, camera.engine, camera.engine.deadline
    images = engine.source.peek()
    age = engine.freshness.age(images.image.header, images.arrival_s).seconds if images else None
    values: dict[str, Any] = {"frame_age_s": _round(age), **asdict(engine.source.counts)}
    values["gave_up"] = "; ".join(deadline.gave_up) if deadline else ""
    values.update(_track_facts(engine.report))
    values["rate_hz"] = _round(statistics.rate_hz())
    values["inference_s"] = _round(statistics.inference_s())
    values["latency_s"] = _round(statistics.latency_s())
    return values | dict(sorted(statistics.counts().items()))


def _track_facts(report: Any) -> dict[str, Any]:
    """What was done with the last frame, where things are followed."""
    if report is None:
        return {}
    return {
        "tracks": report.tracks,
        "tracks_new": report.births,
        "tracks_lost": report.deaths,
        "embeddings_new": report.encoded,
        "embeddings_reused": report.reused,
        "masks_without_embedding": report.unseen,
        "tracks_reset": report.reset_reason,
    }


def resident_bytes() -> int:
    """Memory of this process in bytes; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _round(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"

"""What the node says about itself once a second on /diagnostics."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

LEVELS = {"OK": DiagnosticStatus.OK, "WARN": DiagnosticStatus.WARN, "ERROR": DiagnosticStatus.ERROR}


def diagnostic_array(node: Any) -> DiagnosticArray:
    """The state of a node (see `ovseg_ros.ros.node`) as one DiagnosticStatus."""
    level, message = verdict(node)
    status = DiagnosticStatus(
        level=LEVELS[level], name=f"{node.get_fully_qualified_name()}: segmentation", message=message
    )
    status.values = [KeyValue(key=key, value=str(value)) for key, value in facts(node).items()]
    array = DiagnosticArray(status=[status])
    array.header.stamp = node.get_clock().now().to_msg()
    return array


def verdict(node: Any) -> tuple[str, str]:
    """The level (OK, WARN, ERROR) and the one sentence that matters most."""
    statistics, engine, overdue = node.statistics, node.engine, node.overdue()
    if overdue is not None:
        return "ERROR", overdue.message
    if statistics.recent_error():
        return "ERROR", statistics.recent_error()
    if engine is None or not node.active:
        return "OK", "not active"
    if not node.enabled:
        return "OK", "disabled by ~/enable"
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
    said, deadline = [one for one in (doubt, engine.depth_remark) if one], engine.deadline
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
    is_bad = stopped_s or missing or misplaced or engine.segmenter.warning or doubt or engine.depth_remark
    if is_bad or (deadline and not deadline.holds):
        return "WARN", "; ".join(said)
    return "OK", "; ".join([_occupation(node), *said])


def _occupation(node: Any) -> str:
    """What a healthy node does with frames."""
    if not node.wanted:
        return "idle: nobody subscribes"
    has_words = node.searches or len(node.vocabulary) or node.settings.publish_unlabelled
    return "running" if has_words else "idle: the vocabulary is empty"


def facts(node: Any) -> dict[str, Any]:
    """All numbers, by name."""
    statistics, engine, vocabulary = node.statistics, node.engine, node.vocabulary
    values: dict[str, Any] = {"active": node.active, "enabled": node.enabled}
    values["vocabulary_version"], values["vocabulary"] = vocabulary.version, ", ".join(vocabulary.names)
    values["memory_mb"] = round(resident_bytes() / 1e6)
    if engine is not None:
        images = engine.source.peek()
        values["model"], values["device"] = engine.model, engine.segmenter.device
        values["model_reason"] = engine.segmenter.reason
        values["frame_age_s"] = _round(
            engine.freshness.age(images.image.header, images.arrival_s).seconds if images else None
        )
        values.update(asdict(engine.source.counts))
        values["pending_requests"] = node.pending
        deadline = engine.deadline
        values["gave_up"] = "; ".join(deadline.gave_up) if deadline else ""
        values.update(_track_facts(engine.report))
    values["rate_hz"] = _round(statistics.rate_hz())
    values["inference_s"], values["latency_s"] = (
        _round(statistics.inference_s()),
        _round(statistics.latency_s()),
    )
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

"""`ovseg demo`: the questions of `make demo` in this process, without ROS, held against the same truth."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from ovseg_ros.app.demo.output import (
    Answer,
    captioned,
    file_name,
    in_words,
    overlay,
    table,
    verdict,
    write_image,
    write_result,
)
from ovseg_ros.app.demo.queries import GARAGE_ASKS, TABLETOP_ASKS, Ask, users_asks
from ovseg_ros.app.demo.truth import GARAGE_IOU, Truth
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.demo import machine, recording_folder
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording

_INTERFACE = "in process"


def run(options: argparse.Namespace) -> int:
    """Asks, draws and judges.

    Returns:
        0: every answer is right. 1: one is not.

    Raises:
        InvalidInputError: a query that cannot be read, or no recordings here.
    """
    start = time.monotonic()

    def say(text: str) -> None:
        print(f"[{time.monotonic() - start:5.1f} s] {text}", flush=True)

    acts = _acts(options.queries.strip(), (options.preset, options.garage_preset))
    options.out.mkdir(parents=True, exist_ok=True)
    answers: list[Answer] = []
    for name, preset, frames, asks in acts:
        if asks:
            say(f"loading the preset {preset}; asking demo/{name}")
            answers += _play(name, _load(preset, options.device), frames, asks, options.out, say)
    ok, in_words = verdict(answers)
    about = {"seconds": round(time.monotonic() - start, 1), "machine": machine()}
    write_result(options.out / "result.json", answers, ok, about)
    print("\n" + table(answers) + "\n")
    say(f"{in_words}; see {options.out}")
    return 0 if ok else 1


_Act = tuple[str, str, Sequence[RecordedFrame], Sequence[Ask]]


def _acts(queries: str, presets: tuple[str, str]) -> tuple[_Act, _Act]:
    frames = {name: list(read_recording(recording_folder(f"demo/{name}"))) for name in ("tabletop", "garage")}
    asks: tuple[Sequence[Ask], Sequence[Ask]] = (TABLETOP_ASKS, GARAGE_ASKS)
    if queries:
        first, second = (users_asks(queries, Truth.of_frames(one).scenes) for one in frames.values())
        asks = first, second
        if not any(asks):
            raise InvalidInputError(f"want words to look for, got {queries!r}")
    tabletop, garage = frames["tabletop"], frames["garage"]
    return ("tabletop", presets[0], tabletop, asks[0]), ("garage", presets[1], garage, asks[1])


def _load(preset: str, device: str) -> OpenVocabularySegmenter:
    from ovseg_ros.models.presets import load_preset

    segmenter = load_preset(preset, device=device)
    segmenter.warm_up()
    return segmenter


def _play(
    name: str,
    segmenter: OpenVocabularySegmenter,
    frames: Sequence[RecordedFrame],
    asks: Sequence[Ask],
    output: Path,
    say: Callable[[str], None],
) -> list[Answer]:
    """Asks each question at the next frame that shows what it is about."""
    truth = Truth.of_frames(frames, GARAGE_IOU if name == "garage" else {})
    answers, at = [], 0
    for number, ask in enumerate(asks):
        order = chain(range(at, len(frames)), range(at))
        found = next((i for i in order if truth.fits(ask.words, frames[i].instances, ask.scene)), at)
        at = (found + max(len(frames) // len(asks), 1)) % len(frames)  # walks through all of the recording
        new = _ask(name, segmenter, truth, frames[found], ask, output / f"overlay_{name}_{number:02d}")
        answers += new
        for answer in new:
            say(f"{ask.text!r}: {answer.code}{' (WRONG)' if answer.correct is False else ''}")
    return answers


def _ask(
    name: str, segmenter: OpenVocabularySegmenter, truth: Truth, one: RecordedFrame, ask: Ask, path: Path
) -> list[Answer]:
    vocabulary, _ = Vocabulary.empty().replace(ask.words)
    start = time.perf_counter()
    result = segmenter.segment(one.frame, vocabulary)
    latency_ms = (time.perf_counter() - start) * 1e3
    answers, drawn = [], []
    for word in vocabulary.names:
        found = result.found(word)
        masks = [result.masks[i].numpy() for i in found]
        best, score = result.best(word)
        judgement = truth.judge(word, masks, one.instances, ask.scene)
        code = "FOUND" if best is not None else "NOT_FOUND"
        drawn += [(word, float(result.scores[i]), mask) for i, mask in zip(found, masks)]
        answers.append(
            Answer(
                query=ask.text,
                word=word,
                interface=_INTERFACE,
                recording=name,
                preset=segmenter.name,
                code=code,
                expected=judgement.expected if judgement else "",
                score=score,
                iou=judgement.iou if judgement else None,
                latency_ms=latency_ms,
                correct=judgement.correct if judgement else False,
                note=truth.note(word, ask.scene),
            )
        )
    picture = overlay(one.frame.image_rgb, vocabulary.names, drawn)
    picture = captioned(picture, in_words(ask.text, answers))
    write_image(path.with_name(f"{path.name}_{file_name(ask.text)}.png"), picture)
    return answers

"""`ovseg demo`: the questions of `make demo` in this process, without ROS, held against the same truth."""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from ovseg_ros.app.demo.acts import Act, acts_with
from ovseg_ros.app.demo.output import Answer, Coverage, file_name, in_words, table, verdict, write_result
from ovseg_ros.app.demo.pictures import captioned, draw_masks, in_rows, overlay, write_image
from ovseg_ros.app.demo.presets import presets_of
from ovseg_ros.app.demo.queries import Ask
from ovseg_ros.app.demo.truth import Truth
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.evaluate.recordings.demo import machine, recording_folder
from ovseg_ros.evaluate.recordings.photographs import read_frames
from ovseg_ros.evaluate.recordings.recording import RecordedFrame

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

    queries = options.queries.strip()
    played = []
    for act in acts_with(presets_of(options)):
        frames = list(read_frames(recording_folder(f"demo/{act.recording}")))
        truth = act.truth(frames)
        played.append((act.asked(queries, truth.scenes), frames, truth))
    options.out.mkdir(parents=True, exist_ok=True)
    answers: list[Answer] = []
    coverage: list[Coverage] = []
    loaded = ""
    for act, frames, truth in played:
        if act.preset != loaded:
            say(f"loading the preset {act.preset}")
            segmenter, loaded = _load(act.preset, options.device), act.preset
        say(f"asking demo/{act.recording}")
        answers += _play(act, segmenter, frames, truth, options.out, say)
        if act.masks_wanted is not None:
            coverage.append(_look_at_masks(act, segmenter, frames, truth, options.out))
    ok, in_words = verdict(answers, coverage)
    about = {"seconds": round(time.monotonic() - start, 1), "machine": machine()}
    write_result(options.out / "result.json", answers, ok, about, coverage)
    print("\n" + "\n\n".join([table(answers), *(one.table() for one in coverage)]) + "\n")
    say(f"{in_words}; see {options.out}")
    return 0 if ok else 1


def _load(preset: str, device: str) -> OpenVocabularySegmenter:
    from ovseg_ros.models.presets import load_preset

    segmenter = load_preset(preset, device=device)
    segmenter.warm_up()
    return segmenter


def _play(
    act: Act,
    segmenter: OpenVocabularySegmenter,
    frames: Sequence[RecordedFrame],
    truth: Truth,
    output: Path,
    say: Callable[[str], None],
) -> list[Answer]:
    """Asks each question at the next frame that shows what it is about."""
    answers, at = [], 0
    for number, ask in enumerate(act.asks):
        order = chain(range(at, len(frames)), range(at))
        found = next((i for i in order if truth.fits(ask.words, frames[i].instances, ask.scene)), at)
        at = (found + max(len(frames) // len(act.asks), 1)) % len(
            frames
        )  # walks through all of the recording
        path = output / f"overlay_{act.recording}_{number:02d}"
        new = _ask(act, segmenter, truth, frames[found], ask, path)
        answers += new
        for answer in new:
            wrong = answer.counts and answer.correct is False
            say(f"{ask.text!r}: {answer.code}{' (WRONG)' if wrong else ''}")
    return answers


def _look_at_masks(
    act: Act,
    segmenter: OpenVocabularySegmenter,
    frames: Sequence[RecordedFrame],
    truth: Truth,
    output: Path,
) -> Coverage:
    """How well the masks of each frame cover its things; draws that too."""
    assert act.masks_wanted is not None, "nobody wants to know"
    every, pictures = [], []
    for one in frames:
        masks = list(segmenter.embed(one.frame).masks.numpy())
        best = truth.best_masks(masks, one.instances)
        pictures.append(draw_masks(one.frame.image_rgb, masks, best, act.good_iou))
        write_image(output / f"masks_{act.recording}_{file_name(one.title)}.png", pictures[-1])
        every += best
    write_image(output / f"masks_{act.recording}.png", in_rows(pictures))
    return Coverage(act.recording, segmenter.name, act.good_iou, act.masks_wanted, tuple(every))


def _ask(
    act: Act, segmenter: OpenVocabularySegmenter, truth: Truth, one: RecordedFrame, ask: Ask, path: Path
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
                recording=act.recording,
                preset=segmenter.name,
                code=code,
                expected=judgement.expected if judgement else "",
                score=score,
                iou=judgement.iou if judgement else None,
                latency_ms=latency_ms,
                correct=judgement.correct if judgement else False,
                note=truth.note(word, ask.scene),
                counts=act.names_count,
            )
        )
    picture = overlay(one.frame.image_rgb, vocabulary.names, drawn)
    picture = captioned(picture, in_words(ask.text, answers))
    write_image(path.with_name(f"{path.name}_{file_name(ask.text)}.png"), picture)
    return answers

"""What the demo leaves behind in words: a table, a verdict, a JSON file."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ovseg_ros.app.demo.truth import BestMask


@dataclass(frozen=True)
class Answer:
    """One row of the table.

    `iou` and `score` are None where there is nothing to give, `correct` where the truth cannot tell. `counts`
    says whether the exit status rests on it.
    """

    query: str
    word: str
    interface: str
    recording: str
    preset: str
    code: str
    expected: str
    score: float | None
    iou: float | None
    latency_ms: float | None
    correct: bool | None
    note: str = ""
    counts: bool = True


@dataclass(frozen=True)
class Coverage:
    """How well masks cover the true things of one act.

    Attributes:
        recording: that of the act.
        preset: who made the masks.
        good_iou: from which IoU a thing is covered.
        wanted: the share of things that must be.
        best: the best mask of each thing.
    """

    recording: str
    preset: str
    good_iou: float
    wanted: float
    best: tuple[BestMask, ...]

    @property
    def covered(self) -> int:
        """How many things have a mask that is good enough."""
        return sum(one.iou >= self.good_iou for one in self.best)

    @property
    def ok(self) -> bool:
        """Whether these are as many as wanted; of no thing at all, it is not."""
        return bool(self.best) and self.covered >= self.wanted * len(self.best)

    def in_words(self) -> str:
        """Such as `9 of 17 things of photographs have a mask of IoU 0.50 or more (wanted: 50%)`."""
        return (
            f"{self.covered} of {len(self.best)} things of {self.recording} have a mask of IoU "
            f"{self.good_iou:.2f} or more (wanted: {self.wanted:.0%})" + ("" if self.ok else ": TOO FEW")
        )

    def table(self) -> str:
        """The best mask of each thing as aligned columns."""
        rows = [("", "scene", "thing", "masks", "best mask's IoU")]
        for one in self.best:
            mark = "ok" if one.iou >= self.good_iou else "-"
            rows.append((mark, one.scene, one.thing, f"{self.recording} ({self.preset})", f"{one.iou:.2f}"))
        return _aligned(rows)


def write_result(
    path: Path,
    answers: Sequence[Answer],
    ok: bool,
    about: Mapping[str, Any],
    coverage: Sequence[Coverage] = (),
) -> None:
    """Writes `{"ok", …about, "answers": [...], "masks": [...]}`."""
    result = {
        "ok": ok,
        **about,
        "answers": [asdict(answer) for answer in answers],
        "masks": [
            {"recording": of.recording, "preset": of.preset, "scene": b.scene, "thing": b.thing, "iou": b.iou}
            for of in coverage
            for b in of.best
        ],
    }
    path.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def table(answers: Sequence[Answer]) -> str:
    """The answers as aligned columns."""
    head = ("", "query", "word", "interface", "recording", "code", "score", "IoU", "ms", "")
    rows = [head]
    for answer in answers:
        rows.append(
            (
                _mark(answer),
                answer.query,
                answer.word,
                answer.interface,
                f"{answer.recording} ({answer.preset})",
                answer.code,
                _number(answer.score, 2),
                _number(answer.iou, 2),
                _number(answer.latency_ms, 0),
                answer.note,
            )
        )
    return _aligned(rows)


def _mark(answer: Answer) -> str:
    if answer.correct is None:
        return "-"
    if answer.counts:
        return "ok" if answer.correct else "WRONG"
    return "(ok)" if answer.correct else "(wrong)"


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(_columns(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(_padded(cell, w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def verdict(answers: Sequence[Answer], coverage: Sequence[Coverage] = ()) -> tuple[bool, str]:
    """Whether nothing that is judged is wrong (and anything was answered at all), and that in words."""
    judged = [answer for answer in answers if answer.correct is not None]
    counted, shown = ([one for one in judged if one.counts is counts] for counts in (True, False))
    right, right_too = (sum(bool(one.correct) for one in several) for several in (counted, shown))
    text = f"{right} of {len(counted)} answers are right"
    if len(judged) < len(answers):
        text += f", {len(answers) - len(judged)} not judged"
    if shown:
        text += f"; {right_too} of {len(shown)} that do not count are right"
    text = "; ".join([text, *(one.in_words() for one in coverage)])
    return bool(answers) and right == len(counted) and all(one.ok for one in coverage), text


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _columns(text))


def file_name(text: str) -> str:
    """A text as part of a file name, in any script: "find the red mug" -> "find_the_red_mug"."""
    return re.sub(r"\W+", "_", unicodedata.normalize("NFC", text).casefold()).strip("_")[:40] or "query"


def in_words(ask: str, answers: Sequence[Answer]) -> list[str]:
    """What stands above a picture, such as `find mug?` and `FOUND mug 0.93: right`.

    Where nothing was found, "best" is the highest probability that any mask had, if the interface tells it.
    """
    parts = [f"{ask.removesuffix('?')}?"]
    for answer in answers:
        best = "" if answer.code == "FOUND" else ", best"
        score = "" if answer.score is None else f"{best} {answer.score:.2f}"
        wrong = "WRONG" if answer.counts else "wrong"
        judged = {True: "right", False: wrong, None: "not judged"}[answer.correct]
        parts.append(f"{answer.code} {answer.word}{score}: {judged}")
    return parts

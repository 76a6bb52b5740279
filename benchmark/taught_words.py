"""Whether the words of a taught name help its examples: chosen on one set of trials, told on another.

    python benchmark/taught_words.py --rgbd FOLDER --truth LABELS.json …

The trials are those of taught.py, with the weights that are kept. To f of each region comes a · clip(t) − b,
t the log odds of the probability that the region gets for the name as words ("red mug"), or for its last word
alone ("mug"), as `find mug` would give it. a, b, the clipping and the threshold are those with which most is
FOUND and right on the set that chooses, while of what is absent, and of what is merely alike, 3 % are FOUND
at each number of examples; the same is done for a = 0. Where the model has no words for a name t = 0.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmark")]

import taught_trials  # noqa: E402
from taught_trials import TABLETOP, Seen, Trial, of_recording, of_rgbd, trials  # noqa: E402

from ovseg_ros.core.maps import mask_iou  # noqa: E402
from ovseg_ros.evaluate.naming.trials import MATCH_IOU, vocabulary_of  # noqa: E402
from ovseg_ros.evaluate.recordings.recording import read_recording  # noqa: E402
from ovseg_ros.memory.teaching import fit_of, looks_of, weights_of  # noqa: E402

EXAMPLES = (1, 2, 4)
MOST_FALSE = 0.03
LEAST_TRIALS = 20  # of a kind, below which they set no threshold
PARTLY = 0.2
SHARE = (0.15, 0.3, 0.5, 0.8)  # a
SHIFT = (-1.0, 0.0)  # b
CLIPS = ((-4.6, 4.6), (-2.0, 2.0), (-4.6, 0.0))
WORDS = ("name", "kind")


@dataclass(frozen=True)
class Asked:
    """A trial with what is needed to combine.

    Attributes:
        trial: see there.
        fit: (N,) f of each region by examples alone, -inf where nobody has looked.
        text: log odds by "name" and "kind", (N,) each.
        apart: (N, N) bool, regions that show two things.
    """

    trial: Trial
    fit: np.ndarray
    text: dict[str, np.ndarray]
    apart: np.ndarray


@dataclass(frozen=True)
class Rule:
    """How text comes in; `share` 0: not at all."""

    words: str = "name"
    share: float = 0.0
    shift: float = 0.0
    clip: tuple[float, float] = (0.0, 0.0)
    threshold: float = 0.91


class WithWords:
    """Embeds frames as taught_trials does, and keeps what every word says of every region."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words, self.said = words, []

    def see(self, segmenter: Any, frame: Any, masks: np.ndarray) -> Any:
        """Stands in for `taught_trials.see`."""
        embedded = segmenter.embed(frame)
        odds = {}
        for word in self.words:
            p = segmenter.label(embedded, vocabulary_of(word)).probs[:, 0].double().numpy().clip(0.01, 0.99)
            odds[word] = np.log(p / (1 - p))
        self.said.append(odds)
        iou = np.asarray(mask_iou(embedded.masks, masks), float).reshape(len(embedded), len(masks))
        return looks_of(embedded, segmenter.name), iou


def asked_of(frames: Sequence[Seen], said: Sequence[dict[str, np.ndarray]], preset: str) -> list[Asked]:
    """All trials of some frames."""
    of = {id(frame): odds for frame, odds in zip(frames, said, strict=True)}
    found = []
    for count in EXAMPLES:
        for one in trials(frames, np.random.default_rng(count), count, present=2, absent=8):
            looks, name = one.frame.looks, one.examples[0].name
            if not len(looks):
                continue
            fit = fit_of(one.examples, looks, weights_of(preset, sized=looks.sized))
            nothing = np.zeros(len(looks))
            odds = of[id(one.frame)]
            text = {"name": odds.get(name, nothing), "kind": odds.get(name.split()[-1], nothing)}
            apart = np.stack([looks.apart(i) for i in range(len(looks))])
            found.append(Asked(one, fit, text, apart))
    return found


def outcomes(asked: Sequence[Asked], rule: Rule) -> list[dict[str, Any]]:
    """What each trial found under a rule: the score of the best region, and what it is."""
    rows = []
    for one in asked:
        fit = one.fit + rule.share * np.clip(one.text[rule.words], *rule.clip) - rule.shift
        best = int(fit.argmax())
        score, iou = 0.0, 0.0
        if np.isfinite(fit[best]):  # as `decide`, for the best region alone
            others = fit[one.apart[best]]
            score = float(np.exp(fit[best] - np.logaddexp.reduce([0.0, fit[best], *others])))
            iou = float(one.trial.iou()[best])
        rows.append({"kind": one.trial.kind, "examples": len(one.trial.examples), "score": score,
                     "right": iou >= MATCH_IOU, "part": PARTLY <= iou < MATCH_IOU})  # fmt: skip
    return rows


def threshold_of(rows: Sequence[dict[str, Any]]) -> float:
    """From which `MOST_FALSE` of what is absent, and of what is alike, is FOUND at most."""
    threshold = 0.3
    for kind, count in itertools.product(("other", "alike"), EXAMPLES):
        scores = [row["score"] for row in rows if (row["kind"], row["examples"]) == (kind, count)]
        if len(scores) >= LEAST_TRIALS:
            threshold = max(threshold, float(np.quantile(scores, 1 - MOST_FALSE)) + 1e-6)
    return threshold


def shares(rows: Sequence[dict[str, Any]], threshold: float, examples: Sequence[int]) -> list[float]:
    """FOUND and right, FOUND and wrong or a part, absent FOUND, alike FOUND."""
    some = [row | {"found": row["score"] >= threshold} for row in rows if row["examples"] in examples]
    by = {kind: [row for row in some if row["kind"] == kind] for kind in ("present", "other", "alike")}

    def share(hits: int, of: str) -> float:
        return hits / len(by[of]) if by[of] else float("nan")

    return [
        share(sum(row["found"] and row["right"] for row in by["present"]), "present"),
        share(sum(row["found"] and not row["right"] for row in by["present"]), "present"),
        share(sum(row["found"] for row in by["other"]), "other"),
        share(sum(row["found"] for row in by["alike"]), "alike"),
    ]


def best_rule(asked: Sequence[Asked], *, with_words: bool) -> Rule:
    """The rule under which most is FOUND and right, within `MOST_FALSE`."""
    rules = [Rule()]
    if with_words:
        grid = itertools.product(WORDS, SHARE, SHIFT, CLIPS)
        rules = [Rule(words, share, shift, clip) for words, share, shift, clip in grid]
    found = []
    for rule in rules:
        rows = outcomes(asked, rule)
        threshold = threshold_of(rows)
        found.append((shares(rows, threshold, EXAMPLES)[0], -rule.share, rule, threshold))
    _, _, rule, threshold = max(found, key=lambda one: one[:2])
    return Rule(rule.words, rule.share, rule.shift, rule.clip, threshold)


def tell(title: str, choose: Sequence[Asked], told: Sequence[Asked]) -> None:
    """Prints what the rules chosen on one set do on another."""
    print(f"\n{title}")
    for name, with_words in (("examples alone", False), ("with words", True)):
        rule = best_rule(choose, with_words=with_words)
        rows = outcomes(told, rule)
        cells = [
            f"{n} ex. " + " ".join(f"{one:6.1%}" for one in shares(rows, rule.threshold, (n,)))
            for n in (1, 2)
        ]
        print(f"{name:>15} {' | '.join(cells)}  {rule}", flush=True)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rgbd", type=Path, required=True, help="folder of real frames")
    parser.add_argument("--truth", type=Path, nargs="*", default=[], help="COCO labels of real frames")
    parser.add_argument("--preset", default="lite")
    args = parser.parse_args()
    from rgbd_names import frames_of

    from ovseg_ros.models.presets import load_preset

    segmenter = load_preset(args.preset)
    names = {name for one in read_recording(TABLETOP) for name in one.names.values()}
    names |= {name for one in frames_of(args.rgbd, args.truth) for name in one.names}
    words = sorted(
        {word for name in names for word in (name, name.split()[-1]) if not segmenter.refusal(word)}
    )
    sets = {}
    for source in ("tabletop", "real"):
        kept = WithWords(words)
        taught_trials.see = kept.see
        frames = list(
            of_recording(segmenter, TABLETOP, lambda _, one: str(min(one.names)))
            if source == "tabletop"
            else of_rgbd(segmenter, args.rgbd, args.truth)
        )
        sets[source] = asked_of(frames, kept.said, args.preset)
    tabletop, real = sets["tabletop"], sets["real"]
    scenes = sorted({one.trial.frame.scene for one in real})
    even = [one for one in real if one.trial.frame.scene in scenes[::2]]
    odd = [one for one in real if one.trial.frame.scene not in scenes[::2]]
    print("\nFOUND, right; FOUND, not right; absent FOUND; alike FOUND")
    tell("chosen on the tabletop, told on real frames", tabletop, real)
    tell("chosen on real frames, told on the tabletop", real, tabletop)
    tell("chosen on one half of the real frames, told on the other", even, odd)
    tell("the other way round", odd, even)


if __name__ == "__main__":
    main()

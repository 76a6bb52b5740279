"""Things in memory for words: those called so, and those that look so, by the model that saw them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import OvsegError
from ovseg_ros.memory import Entry, Where
from ovseg_ros.memory.frames import space_of
from ovseg_ros.memory.recall import LEAST_SURE, Recalled, called_so, recall, surest_first

if TYPE_CHECKING:
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.memory.store.store import Store

Load = Callable[[str], "OpenVocabularySegmenter"]


class Stored:
    """A store that is asked as the node's memory is, see `memory.recall.Remembers`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, where: Where) -> list[Entry]:
        """All entries that are meant."""
        return self._store.load(where)

    def most_alike(self, embedding: Any, k: int, where: Where) -> list[Entry]:
        """Of those the k most alike."""
        return [entry for entry, _ in self._store.nearest(embedding, k, where)]

    def words(self) -> set[str]:
        """All that things were called."""
        return self._store.words()


def find_by_name(store: Store, vocabulary: Vocabulary, where: Where) -> list[Recalled]:
    """Things that were called by one of the words, the surest first."""
    return called_so(Stored(store), vocabulary.names, where)


def find(store: Store, vocabulary: Vocabulary, where: Where, load: Load) -> tuple[list[Recalled], list[str]]:
    """The same, and things that look so.

    Args:
        store: the memory.
        vocabulary: at least one word.
        where: what may answer besides.
        load: makes a preset's segmenter; asked only for those by which something else was seen.

    Returns:
        What was found, the surest first; and why some things were not compared by their looks.
    """
    found = {one.entry.key: one for one in find_by_name(store, vocabulary, where)}
    others: dict[str, int] = {}
    for entry in store.load(where):
        if not entry.words.keys() & set(vocabulary.names):
            others[entry.space] = others.get(entry.space, 0) + 1
    remarks = []
    for space, count in others.items():
        try:
            segmenter = _segmenter_of(space, load)
        except OvsegError as error:
            remarks.append(f"{count} more can be compared by name alone: {error}")
            continue
        in_space = dataclasses.replace(where, space=space)
        for one in recall(Stored(store), segmenter, vocabulary, space, in_space):
            found[one.entry.key] = one
    sure = [one for one in found.values() if one.confidence >= LEAST_SURE or one.entry.gone_since is not None]
    return surest_first(sure), remarks


def _segmenter_of(space: str, load: Load) -> OpenVocabularySegmenter:
    """The model whose embeddings these are.

    Raises:
        OvsegError: its preset cannot be loaded here, or embeds otherwise by now.
    """
    preset = space.split(" ")[0]
    segmenter = load(preset)
    # What else the key holds says how an image was cut, which naming does not mind.
    ours = space_of(segmenter.name, segmenter.options.embedding_key[:2])
    if not f"{space} ".startswith(f"{ours} "):
        raise OvsegError(f"they were seen as {space!r}, and the preset {preset} sees as {ours!r}")
    return segmenter

"""The words to look for: an immutable list whose label ids never change meaning."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ovseg_ros.errors import InvalidInputError

UNLABELLED_ID = 255
"""The id of pixels and masks without a label (as in vision_msgs/LabelInfo and Nav2)."""

MAX_LABELS = 255
"""Ids 0..254: as many distinct names as a byte can tell apart beside `UNLABELLED_ID`."""

MAX_LABEL_BYTES = 128
"""Longest label, in UTF-8 bytes."""

_JOINERS = "\u200c\u200d"  # invisible, but part of how Persian, Hindi and emoji are spelled


@dataclass(frozen=True)
class Label:
    """One active word.

    Attributes:
        id: 0..254, the value in label images; the same name has the same id for ever.
        name: cleaned text, as it was first spelled.
        threshold: probability a mask needs to get this label, in [0, 1]; None takes the default.
    """

    id: int
    name: str
    threshold: float | None = None


@dataclass(frozen=True)
class Rejected:
    """A word that was not taken, and why, in a sentence for people."""

    name: str
    reason: str


@dataclass(frozen=True)
class Vocabulary:
    """The active labels and every name ever given an id. Changes make a new vocabulary.

    Attributes:
        labels: active words, in the order they were asked for.
        version: increases by one at each change.
        names_by_id: append-only, index = id, at most 255 entries, removed words included.

    Example:
        >>> first, rejected = Vocabulary.empty().replace(["teapot", "red  mug", "Teapot"])
        >>> first.names, rejected
        (('teapot', 'red mug'), [Rejected(name='Teapot', reason="the same as 'teapot'")])
        >>> second, _ = first.replace(["bowl", "red mug"])
        >>> second.ids, second.version, second.names_by_id
        ((2, 1), 2, ('teapot', 'red mug', 'bowl'))
    """

    labels: tuple[Label, ...] = ()
    version: int = 0
    names_by_id: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> Vocabulary:
        """No words: valid, everything stays unlabelled."""
        return cls()

    @property
    def names(self) -> tuple[str, ...]:
        """The active names."""
        return tuple(label.name for label in self.labels)

    @property
    def ids(self) -> tuple[int, ...]:
        """The ids of the active names, in the same order."""
        return tuple(label.id for label in self.labels)

    def __len__(self) -> int:
        return len(self.labels)

    def __iter__(self) -> Iterator[Label]:
        return iter(self.labels)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.index(name) is not None

    def index(self, name: str) -> int | None:
        """Position of a name in `labels` (spelling and case as people type), None if it is not active."""
        key = _key(tidy_text(name))
        return next((i for i, label in enumerate(self.labels) if _key(label.name) == key), None)

    def replace(
        self, names: Sequence[str], thresholds: Sequence[float | None] | None = None
    ) -> tuple[Vocabulary, list[Rejected]]:
        """Makes exactly `names` active.

        Args:
            names: as people type them; cleaned by `clean_label`, repetitions dropped.
            thresholds: one per name, in [0, 1]; None (or NaN) takes the default.

        Returns:
            The new vocabulary (this one if nothing changes) and the names that were not taken.

        Raises:
            InvalidInputError: `thresholds` and `names` differ in length.
        """
        return self._with(names, thresholds, keep=())

    def add(
        self, names: Sequence[str], thresholds: Sequence[float | None] | None = None
    ) -> tuple[Vocabulary, list[Rejected]]:
        """Makes `names` active beside the present ones; an active name only takes a new threshold.

        Args and returns as for `replace`.
        """
        return self._with(names, thresholds, keep=self.labels)

    def remove(self, names: Sequence[str]) -> tuple[Vocabulary, list[Rejected]]:
        """Makes `names` inactive. Their ids stay theirs.

        Returns:
            The new vocabulary (this one if nothing changes) and the names that were not active.
        """
        keys = {_key(tidy_text(name)) for name in names}
        active = {_key(label.name) for label in self.labels}
        rejected = [
            Rejected(_shown(name), "not in the vocabulary")
            for name in names
            if _key(tidy_text(name)) not in active
        ]
        labels = tuple(label for label in self.labels if _key(label.name) not in keys)
        return self._changed(labels, self.names_by_id), rejected

    def _with(
        self, names: Sequence[str], thresholds: Sequence[float | None] | None, keep: tuple[Label, ...]
    ) -> tuple[Vocabulary, list[Rejected]]:
        if isinstance(names, str):
            raise InvalidInputError(f"want a list of names, got the one string {names!r}; see parse_query")
        wanted = [None] * len(names) if thresholds is None else list(thresholds)
        if len(wanted) != len(names):
            raise InvalidInputError(f"want one threshold per name ({len(names)}), got {len(wanted)}")
        all_names = list(self.names_by_id)
        id_of = {_key(name): i for i, name in enumerate(all_names)}
        labels = {label.id: label for label in keep}
        taken: set[int] = set()
        rejected: list[Rejected] = []
        for text, threshold in zip(names, wanted, strict=True):
            try:
                name, threshold = clean_label(text), _checked_threshold(threshold)
            except InvalidInputError as error:
                rejected.append(Rejected(_shown(text), str(error)))
                continue
            label_id = id_of.get(_key(name), len(all_names))
            if label_id in taken:
                rejected.append(Rejected(name, f"the same as {all_names[label_id]!r}"))
                continue
            if label_id == MAX_LABELS:
                rejected.append(
                    Rejected(name, f"all {MAX_LABELS} label ids are taken; restart the node to free them")
                )
                continue
            if label_id == len(all_names):
                all_names.append(name)
                id_of[_key(name)] = label_id
            if threshold is None and label_id in labels:
                threshold = labels[label_id].threshold
            labels[label_id] = Label(label_id, all_names[label_id], threshold)
            taken.add(label_id)
        return self._changed(tuple(labels.values()), tuple(all_names)), rejected

    def _changed(self, labels: tuple[Label, ...], names_by_id: tuple[str, ...]) -> Vocabulary:
        if labels == self.labels and names_by_id == self.names_by_id:
            return self
        return replace(self, labels=labels, version=self.version + 1, names_by_id=names_by_id)


def clean_label(text: str) -> str:
    r"""Brings one label into the form it is stored and compared in.

    Unicode NFC; control and other invisible characters go, runs of white space become one space, and
    punctuation around the words goes.

    Returns:
        The label, at most 128 bytes of UTF-8, never empty.

    Raises:
        InvalidInputError: nothing is left, or more than 128 bytes are.

    Example:
        >>> clean_label("  red\tmug?!")
        'red mug'
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"want a label as text, got {type(text).__name__}")
    label = tidy_text(text)
    if not label:
        raise InvalidInputError("no word in it")
    if len(label.encode()) > MAX_LABEL_BYTES:
        raise InvalidInputError(f"want at most {MAX_LABEL_BYTES} bytes, got {len(label.encode())}")
    return label


def tidy_text(text: str) -> str:
    """`clean_label` without its limits: the empty string where no word is left."""
    visible = "".join(map(_visible, text))
    words = re.sub(r"\s+", " ", unicodedata.normalize("NFC", visible))
    start, stop = 0, len(words)
    while start < stop and _is_padding(words[start]):
        start += 1
    while stop > start and _is_padding(words[stop - 1]):
        stop -= 1
    label = words[start:stop]
    return label if any(c.isalnum() or unicodedata.category(c) == "So" for c in label) else ""


def _visible(character: str) -> str:
    """The character, a space for one that moves the cursor, nothing for an invisible one."""
    category = unicodedata.category(character)
    if category == "Cc":
        return " "
    return "" if category[0] == "C" and character not in _JOINERS else character


def _is_padding(character: str) -> bool:
    return character.isspace() or character in _JOINERS or unicodedata.category(character)[0] == "P"


def _key(name: str) -> str:
    """What two spellings of one name have in common."""
    return unicodedata.normalize("NFC", name.casefold())


def _shown(text: str) -> str:
    """A rejected text, short and safe enough for a reply or a log."""
    shown = tidy_text(str(text))
    return shown if len(shown) <= 40 else shown[:39] + "…"


def _checked_threshold(threshold: float | None) -> float | None:
    if threshold is None or math.isnan(threshold):
        return None
    if not 0.0 <= threshold <= 1.0:
        raise InvalidInputError(f"want a threshold in [0, 1], got {threshold}")
    return float(threshold)

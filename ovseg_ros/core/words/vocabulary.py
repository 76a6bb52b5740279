"""The words to look for: an immutable list, and which number means which word."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from ovseg_ros.core.words.labels import (
    Label,
    Rejected,
    checked_threshold,
    is_too_long,
    key_of,
    read_label,
    shown,
    tidy_text,
)
from ovseg_ros.errors import InvalidInputError

UNLABELLED_ID = 255
"""The id of pixels and masks without a label (as in vision_msgs/LabelInfo and Nav2)."""

MAX_LABELS = 255
"""Ids 0..254: as many distinct names as a byte can tell apart beside `UNLABELLED_ID`."""

REST_S = 10.0
"""Seconds for which the id of a word that is looked for no more means nothing else: messages that carry it
may still wait in queues of subscribers, be on their way, or be about to be sent."""

REST_CHANGES = 128
"""Changes of the vocabulary that stand for these seconds where nobody tells the time."""

Refuse = Callable[[str], str]
"""Why a word cannot be looked for, "" where it can: for example one the text tower does not know."""


@dataclass(frozen=True)
class Retired:
    """When an id was last active: at which version, and at which time, None where no clock was there."""

    version: int
    at_s: float | None


@dataclass(frozen=True)
class Vocabulary:
    """The active labels and what each id means. Changes make a new vocabulary.

    A word that becomes inactive keeps its id, and has it when it comes back, until all ids were given once.
    Then a new word takes the id that has been inactive for longest, but none that rests: see `REST_S`.

    Two spellings are one word where they differ in case or white space alone; "mug" and "mugs" are two words.

    Attributes:
        labels: active words, in the order they were asked for.
        version: increases by one at each change, and so wherever an id got another meaning.
        names_by_id: what each id given so far means at present, at most 255 entries, inactive words included.
        retired: when each of these was last active; nothing of it counts for active ones.

    Examples:
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
    retired: tuple[Retired, ...] = field(default=(), repr=False, compare=False)

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
        key = _typed_key(name)
        return next((i for i, label in enumerate(self.labels) if key_of(label.name) == key), None)

    def replace(
        self,
        names: Sequence[str],
        thresholds: Sequence[float | None] | None = None,
        *,
        now_s: float | None = None,
        refuse: Refuse | None = None,
    ) -> tuple[Vocabulary, list[Rejected]]:
        """Makes exactly `names` active.

        Args:
            names: as people type them; read by `read_label`, repetitions dropped.
            thresholds: one per name, in [0, 1]; None (or NaN) takes the default.
            now_s: seconds of a clock that never goes back; None: ids rest by the number of changes.
            refuse: what else stands against a word.

        Returns:
            The new vocabulary and the names that were not taken. It is this one if nothing changes, and also
            if every name was refused: nobody means to look for nothing by words that cannot be looked for.

        Raises:
            InvalidInputError: `thresholds` and `names` differ in length.
        """
        return self._with(names, thresholds, (), now_s, refuse)

    def add(
        self,
        names: Sequence[str],
        thresholds: Sequence[float | None] | None = None,
        *,
        now_s: float | None = None,
        refuse: Refuse | None = None,
    ) -> tuple[Vocabulary, list[Rejected]]:
        """Makes `names` active beside the present ones; an active name only takes a new threshold.

        Args and returns as for `replace`.
        """
        return self._with(names, thresholds, self.labels, now_s, refuse)

    def remove(
        self, names: Sequence[str], *, now_s: float | None = None
    ) -> tuple[Vocabulary, list[Rejected]]:
        """Makes `names` inactive.

        Returns:
            The new vocabulary (this one if nothing changes) and the names that were not active.
        """
        keys = [_typed_key(name) for name in names]
        active = {key_of(label.name) for label in self.labels}
        rejected = [
            Rejected(shown(name), "not in the vocabulary")
            for name, key in zip(names, keys, strict=True)
            if key not in active
        ]
        gone = set(keys)
        labels = tuple(label for label in self.labels if key_of(label.name) not in gone)
        return self._changed(labels, self.names_by_id, now_s), rejected

    def _with(
        self,
        names: Sequence[str],
        thresholds: Sequence[float | None] | None,
        keep: tuple[Label, ...],
        now_s: float | None,
        refuse: Refuse | None,
    ) -> tuple[Vocabulary, list[Rejected]]:
        if isinstance(names, str):
            raise InvalidInputError(
                f"expected a list of names, got the one string {names[:60]!r}; see parse_query"
            )
        wanted = [None] * len(names) if thresholds is None else list(thresholds)
        if len(wanted) != len(names):
            raise InvalidInputError(f"expected one threshold per name ({len(names)}), got {len(wanted)}")
        texts = list(zip(names, wanted, strict=True))
        read = [_read(text, threshold, refuse) for text, threshold in texts]
        wanted_keys = {key_of(word.name) for word in read if isinstance(word, _Word)}
        ids = _Ids(self, wanted_keys, now_s, replaces=not keep)
        labels = {label.id: label for label in keep}
        taken: set[int] = set()
        rejected: list[Rejected] = []
        for word in read:
            if isinstance(word, Rejected):
                rejected.append(word)
                continue
            label_id = ids.of(word.name)
            if label_id is None:
                rejected.append(Rejected(word.name, ids.refusal()))
            elif label_id in taken:
                rejected.append(Rejected(word.name, f"the same as {ids.names[label_id]!r}"))
            else:
                before = labels[label_id].threshold if label_id in labels else None
                threshold = before if word.threshold is None else word.threshold
                labels[label_id] = Label(label_id, ids.names[label_id], threshold)
                taken.add(label_id)
        if names and not taken:
            return self, rejected
        return self._changed(tuple(labels.values()), tuple(ids.names), now_s), rejected

    def _changed(
        self, labels: tuple[Label, ...], names_by_id: tuple[str, ...], now_s: float | None
    ) -> Vocabulary:
        if labels == self.labels and names_by_id == self.names_by_id:
            return self
        now = Retired(self.version + 1, now_s)
        retired = [*self.retired, *[now] * (len(names_by_id) - len(self.retired))]
        for label_id in {*self.ids} - {label.id for label in labels}:
            retired[label_id] = now
        return replace(
            self,
            labels=labels,
            version=self.version + 1,
            names_by_id=names_by_id,
            retired=tuple(retired),
        )


@dataclass(frozen=True)
class _Word:
    """A word that may be looked for."""

    name: str
    threshold: float | None


class _Ids:
    """Ids for the words of one change; `names` becomes what each id then means."""

    def __init__(
        self, vocabulary: Vocabulary, wanted: set[str], now_s: float | None, *, replaces: bool
    ) -> None:
        """`wanted` are the keys of all words of the change: what they have already is not given away.

        `replaces`: other words that are active now will not be; their ids have to rest all the same.
        """
        self.names = list(vocabulary.names_by_id)
        self._id_of = {key_of(name): label_id for label_id, name in enumerate(self.names)}
        held = {*vocabulary.ids} | {self._id_of[key] for key in wanted if key in self._id_of}
        waits = {
            label_id: _rests(retired, vocabulary.version, now_s)
            for label_id, retired in enumerate(vocabulary.retired)
            if label_id not in held
        }
        rested = [label_id for label_id, wait in waits.items() if wait <= 0]
        # The one inactive for longest comes last, as `pop` takes the last; an id's number decides on ties.
        self._free = sorted(rested, key=lambda i: (vocabulary.retired[i].version, i), reverse=True)
        self._wait = min((wait for wait in waits.values() if wait > 0), default=0.0)
        self._unit = "changes of the words" if now_s is None else "s"
        self._rest = REST_CHANGES if now_s is None else REST_S
        self._replaces = replaces and any(key_of(name) not in wanted for name in vocabulary.names)

    def of(self, name: str) -> int | None:
        """The id of a word, a new one if need be; None where none is free."""
        key = key_of(name)
        if key in self._id_of:
            return self._id_of[key]
        if len(self.names) < MAX_LABELS:
            label_id = len(self.names)
            self.names.append(name)
        elif self._free:
            label_id = self._free.pop()
            del self._id_of[key_of(self.names[label_id])]
            self.names[label_id] = name
        else:
            return None
        self._id_of[key] = label_id
        return label_id

    def refusal(self) -> str:
        """Why there is none, and what to do."""
        if not self._wait and self._replaces:
            return (
                f"all {MAX_LABELS} label ids are in use, and those of words that are replaced rest: remove "
                f"these words first, and add new ones after {self._rest:.0f} {self._unit}"
            )
        if not self._wait:
            return f"all {MAX_LABELS} label ids are in use: remove a word first"
        return (
            f"all {MAX_LABELS} label ids are in use or were until just now, and messages that carry them may "
            f"be on their way: try again in {self._wait:.0f} {self._unit}"
        )


def _rests(retired: Retired, version: int, now_s: float | None) -> float:
    """How long an id has to rest still, at least 1 (seconds, or changes without a clock); 0: not any more."""
    if now_s is None or retired.at_s is None:
        return float(max(REST_CHANGES - (version - retired.version), 0))
    left = REST_S - (now_s - retired.at_s)
    return max(left, 1.0) if left > 0 else 0.0


def _read(text: str, threshold: float | None, refuse: Refuse | None) -> _Word | Rejected:
    try:
        word = _Word(read_label(text), checked_threshold(threshold))
    except InvalidInputError as error:
        return Rejected(shown(text), str(error))
    reason = refuse(word.name) if refuse is not None else ""
    return Rejected(word.name, reason) if reason else word


def _typed_key(name: str) -> str:
    """The key of a name as people type it, "" for what can be none by its length."""
    return "" if is_too_long(name) else key_of(tidy_text(name))

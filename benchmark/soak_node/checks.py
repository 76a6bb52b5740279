"""What may never happen, whatever is sent: wrong names, changed numbers, answers in contradiction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from ovseg_ros.core.words import tidy_text
from ovseg_ros.core.words.labels import key_of

MOST_BREACHES = 100
UNLABELLED = 255
FOUND, NOT_FOUND, NO_DEPTH = 0, 1, 7
CODES = {*range(9), 255}


class Checks:
    """Looks at every message of one node; `forget` when another one takes its place."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.breaches: list[str] = []
        self.forget()

    def forget(self) -> None:
        """Another process: versions and numbers begin anew."""
        self._words: dict[int, tuple[tuple[str, int], ...]] = {}  # version -> what it looks for
        self._name_of: dict[int, str] = {}  # number -> word
        self._newest = 0

    def breach(self, sentence: str) -> None:
        """Notes what must not be."""
        self.counts["breaches"] += 1
        if len(self.breaches) < MOST_BREACHES:
            self.breaches.append(sentence)
            print(f"BROKEN {sentence[:400]}", flush=True)

    def vocabulary(self, message: Any) -> None:
        """The words in force: numbers are append-only, and a version means one thing."""
        self.counts["vocabularies"] += 1
        if message.version < self._newest:
            self.breach(f"vocabulary {message.version} came after {self._newest}")
        self._newest = max(self._newest, message.version)
        for number, name in enumerate(message.names_by_id):
            self._means(number, name)
        self._is_version(message.version, message.labels, message.label_ids)

    def segmentation(self, message: Any, sizes_hw: set[tuple[int, int]]) -> None:
        """A frame under the node's words.

        Args:
            message: ovseg_ros/Segmentation.
            sizes_hw: of the images that were sent.
        """
        self.counts["results"] += 1
        self._is_version(message.vocabulary_version, message.labels, message.label_ids)
        self._is_consistent(message)
        if (message.height, message.width) not in sizes_hw:
            self.breach(f"a result of {message.width}x{message.height}, no such image was sent")

    def segment_reply(self, reply: Any, asked: Sequence[str]) -> None:
        """A reply of ~/segment; `asked`: words of its own, none where the node's were meant."""
        self._answered("segment", reply.code, reply.message)
        message = reply.segmentation
        if reply.code not in (FOUND, NOT_FOUND):
            if message.height or message.segments:
                self.breach(f"~/segment: code {reply.code} with a result")
            return
        self.counts["results"] += 1
        self._is_consistent(message)
        if asked and message.vocabulary_version:
            self.breach("~/segment: words of its own under a version of the node's")
        if asked and not keys(message.labels) <= keys(asked):
            self.breach(f"~/segment: {list(message.labels)} for {list(asked)}")
        if not asked and message.vocabulary_version:
            self._is_version(message.vocabulary_version, message.labels, message.label_ids)
        if (reply.code == FOUND) != any(segment.label for segment in message.segments):
            self.breach(f"~/segment: code {reply.code} with {len(message.segments)} segments")

    def find_result(self, result: Any, names: Sequence[str]) -> None:
        """A result of ~/find_object; `names` that the query asks for."""
        self._answered("find_object", result.code, result.message)
        if result.code not in (FOUND, NO_DEPTH) and result.segments:
            self.breach(f"~/find_object: code {result.code} with segments")
        if result.code == FOUND and not result.segments:
            self.breach("~/find_object: FOUND without segments")
        wrong = keys([segment.label for segment in result.segments]) - keys(names)
        if wrong:
            self.breach(f"~/find_object: {sorted(wrong)} for {list(names)}")
        self.counts["results"] += result.code in (FOUND, NOT_FOUND, NO_DEPTH)

    def embed_reply(self, reply: Any, count: int) -> None:
        """A reply of ~/embed_text for so many texts."""
        self._answered("embed_text", reply.code, reply.message)
        wanted = count * reply.dimension if reply.code == FOUND else 0
        if len(reply.embeddings) != wanted:
            self.breach(f"~/embed_text: {len(reply.embeddings)} numbers for {count} texts, code {reply.code}")

    def vocabulary_reply(self, reply: Any) -> None:
        """A reply of ~/set_vocabulary."""
        self.counts["set_vocabulary: " + ("taken" if reply.success else "refused")] += 1
        if len(reply.rejected) != len(reply.reasons) or not all(reply.reasons):
            self.breach("~/set_vocabulary: a word was refused without a reason")
        if not reply.message:
            self.breach("~/set_vocabulary: no message")
        for number, name in enumerate(reply.vocabulary.names_by_id):
            self._means(number, name)
        self._is_version(reply.vocabulary.version, reply.vocabulary.labels, reply.vocabulary.label_ids)

    def _answered(self, name: str, code: int, message: str) -> None:
        self.counts[f"{name}: {code}"] += 1
        if code not in CODES or not message:
            self.breach(f"~/{name}: code {code}, message {message!r}")

    def _means(self, number: int, name: str) -> None:
        """Fewer words are asked for than there are numbers, so that none is ever given a second time."""
        if self._name_of.setdefault(number, name) != name:
            self.breach(f"number {number} meant {self._name_of[number]!r}, now {name!r}")

    def _is_version(self, version: int, labels: Sequence[str], ids: Sequence[int]) -> None:
        words = tuple(zip(labels, ids, strict=True)) if len(labels) == len(ids) else ()
        if len(labels) != len(ids) or len({*ids}) != len(ids) or len({*labels}) != len(labels):
            self.breach(f"vocabulary {version}: {list(labels)} with numbers {list(ids)}")
        if self._words.setdefault(version, words) != words:
            self.breach(f"vocabulary {version} is {words}, and was {self._words[version]}")
        for name, number in words:
            self._means(number, name)

    def _is_consistent(self, message: Any) -> None:
        """Each segment has a word of its message with that word's number; the label image has no others."""
        numbers = dict(zip(message.labels, message.label_ids, strict=False))
        for segment in message.segments:
            number = numbers.get(segment.label, UNLABELLED)
            if segment.label_id != number or (segment.label and segment.label not in numbers):
                self.breach(f"segment {segment.label!r} with number {segment.label_id} of {numbers}")
            self.counts["segments"] += 1
        painted = {*bytes(message.label_image.data)} - {*message.label_ids, UNLABELLED}
        if painted:
            self.breach(f"the label image has {sorted(painted)}, the words are {numbers}")


def keys(words: Sequence[str]) -> set[str]:
    """Words as they are told apart."""
    return {key_of(tidy_text(word)) for word in words}

"""The words the node looks for, whoever set them: a query, a service or a parameter."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from ovseg_ros.core.words import Vocabulary, Wanted
from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.table import Settings


class ActiveWords:
    """One immutable `vocabulary`, swapped as a whole. On the executor's thread; any thread may read it.

    The parameter `vocabulary` tells the words in force, whoever set them; after cleanup, when none are, those
    that it was last given itself, which the next configure puts into force.
    """

    def __init__(self, node: Any) -> None:
        """No words. `node` as for `Queries`."""
        self._node = node
        self.vocabulary = Vocabulary.empty()
        self._given: tuple[str, ...] | None = None  # to the parameter, where others came into force since
        self._query = (-1, "")  # version of the words that a query gave, and its text
        self._wanted: tuple[Wanted, ...] = ()  # what it asks for, where that is more than names

    def query_of(self, vocabulary: Vocabulary) -> str:
        """The query that words came from, as it was sent; set otherwise, the words with commas between."""
        version, text = self._query
        return text if version == vocabulary.version else ", ".join(vocabulary.names)

    def wanted_of(self, vocabulary: Vocabulary) -> tuple[Wanted, ...]:
        """What the query asks for that words came from; () for plain names."""
        return self._wanted if self._query[0] == vocabulary.version else ()

    def change(
        self, vocabulary: Vocabulary, query: str | None = None, wanted: tuple[Wanted, ...] = ()
    ) -> None:
        """Puts a vocabulary into force, from the next frame on, and publishes it.

        Args:
            vocabulary: The words.
            query: The text they were read from, where there is one.
            wanted: What that asks for, where it is more than names.
        """
        self._wanted = wanted
        self._query = (-1, "") if query is None else (vocabulary.version, query)
        self._enforce(vocabulary)
        self._show(vocabulary.names)

    def _enforce(self, vocabulary: Vocabulary) -> None:
        if vocabulary is not self.vocabulary:
            self.vocabulary = vocabulary
            names = ", ".join(vocabulary.names) or "(empty)"
            self._node.get_logger().info(f"vocabulary {vocabulary.version}: {names}")
            self.publish()
            self._node.wake()

    def check(self, settings: Settings) -> None:
        """Raises ConfigError where the parameter `vocabulary` has words that cannot be looked for."""
        rejected = self._of(settings)[1]
        if rejected:
            raise ConfigError("; ".join(f"vocabulary: {r.name!r}: {r.reason}" for r in rejected))

    def set(self, settings: Settings) -> None:
        """Puts the words of the parameter `vocabulary` into force."""
        self._given, self._query = None, (-1, "")
        self._enforce(self._of(settings)[0])

    def take(self, settings: Settings) -> None:
        """The words given before there was a model: those it cannot mean are said, once, and go."""
        if len(self.vocabulary):
            refusal = self._node.refusal
            rejected = [(name, reason) for name in self.vocabulary.names if (reason := refusal(name))]
            names = [name for name, _ in rejected]
            self.vocabulary, _ = self.vocabulary.remove(names, now_s=time.monotonic())
        else:
            self.vocabulary, refused = self._of(settings)
            rejected = [(one.name, one.reason) for one in refused]
        for name, reason in rejected:
            self._node.statistics.count("rejected_words")
            self._node.get_logger().warning(f"word refused: {name!r}: {reason}")
        self._show(self.vocabulary.names)

    def forget(self) -> None:
        """No words any more, but what numbers mean is kept: messages may be on their way."""
        self.vocabulary, _ = self.vocabulary.replace([], now_s=time.monotonic())
        if self._given is not None:
            given, self._given = self._given, None
            self._node.show_vocabulary(given)

    def publish(self) -> None:
        """Publishes the words on the latched topics, where these exist."""
        if self._node.word_topics is not None:
            self._node.word_topics.publish(self.vocabulary, self.default_threshold())

    def default_threshold(self) -> float:
        """The threshold of labels without one of their own."""
        segmenter = self._node.segmenter
        preset = segmenter.options.threshold if segmenter is not None else 0.0
        return self._node.settings.threshold or float(preset)

    def _show(self, names: Sequence[str]) -> None:
        shown = self._node.settings.vocabulary
        if [name for name in shown if name] != list(names):
            if self._given is None:
                self._given = shown
            self._node.show_vocabulary(tuple(names))

    def _of(self, settings: Settings) -> tuple[Vocabulary, list[Any]]:
        words = [word for word in settings.vocabulary if word]
        return self.vocabulary.replace(words, now_s=time.monotonic(), refuse=self._node.refusal)

"""The words the node looks for, whoever set them: a query, a service or a parameter."""

from __future__ import annotations

import time
from typing import Any

from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError
from ovseg_ros.ros.parameters.table import Settings


class ActiveWords:
    """One immutable `vocabulary`, swapped as a whole. On the executor's thread; any thread may read it."""

    def __init__(self, node: Any) -> None:
        """No words. `node` as for `Queries`."""
        self._node = node
        self.vocabulary = Vocabulary.empty()
        self._query = (-1, "")  # version of the words that a query gave, and its text

    def query_of(self, vocabulary: Vocabulary) -> str:
        """The query that words came from, as it was sent; set otherwise, the words with commas between."""
        version, text = self._query
        return text if version == vocabulary.version else ", ".join(vocabulary.names)

    def change(self, vocabulary: Vocabulary, query: str | None = None) -> None:
        """Puts a vocabulary into force, from the next frame on, and publishes it.

        Args:
            vocabulary: The words.
            query: The text they were read from, where there is one.
        """
        self._query = (-1, "") if query is None else (vocabulary.version, query)
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
        self.change(self._of(settings)[0])

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

    def forget(self) -> None:
        """No words any more, but what numbers mean is kept: messages may be on their way."""
        self.vocabulary, _ = self.vocabulary.replace([], now_s=time.monotonic())

    def publish(self) -> None:
        """Publishes the words on the latched topics, where these exist."""
        if self._node.outputs is not None:
            self._node.outputs.publish_vocabulary(self.vocabulary, self.default_threshold())

    def default_threshold(self) -> float:
        """The threshold of labels without one of their own."""
        engine = self._node.engine
        preset = engine.segmenter.options.threshold if engine is not None else 0.0
        return self._node.settings.threshold or float(preset)

    def _of(self, settings: Settings) -> tuple[Vocabulary, list[Any]]:
        words = [word for word in settings.vocabulary if word]
        return self.vocabulary.replace(words, now_s=time.monotonic(), refuse=self._node.refusal)

"""The names that were taught to the node: kept in memory's store, shown by example, asked for as any word."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, StoreError
from ovseg_ros.memory import Example
from ovseg_ros.memory.teaching import (
    KnownNames,
    by_name,
    example_of,
    has_weights,
    weights_of,
)
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.requests.answers import RequestError

_LOG = logging.getLogger(__name__)
NEWS_EVERY_S = 5.0  # other nodes and commands teach names in the same memory


class TaughtNames:
    """Examples by name. Any thread may use it."""

    def __init__(self, store: Any, preset: str, space: Callable[[], str], *, crops: bool) -> None:
        """Reads what is there.

        Args:
            store: see `ovseg_ros.memory.store.Store`.
            preset: whose weights decide.
            space: whose embeddings frames have now.
            crops: whether pictures are kept.
        """
        self._store, self._preset, self._space, self._crops = store, preset, space, crops
        self._can = has_weights(preset)
        self._lock = threading.Lock()
        self._read()

    @property
    def known(self) -> KnownNames:
        """All names, for queries of the model; none where there are no weights for its preset."""
        return KnownNames(self._known() if self._can else {}, self._preset, self._space())

    @property
    def counts(self) -> dict[str, int]:
        """How many examples each name has, those of other models too."""
        return {examples[0].name: len(examples) for examples in self._known().values()}

    def quoted(self, query: str) -> str:
        """A query with taught names in quotation marks."""
        return self.known.quoted(query)

    def knows(self, name: str) -> bool:
        """Whether a name was taught, to this model or another."""
        return self.known.knows(name)

    def refusal(self, name: str) -> str:
        """Why a taught name cannot be asked for, "" where it can."""
        return self.known.refusal(name)

    def label(self, vocabulary: Vocabulary, label: Callable[[Vocabulary], Segmentation]) -> Segmentation:
        """A frame under words of which some were taught; `label` does it for the others."""
        return self.known.label(vocabulary, label)

    def check(self) -> None:
        """Refuses what nobody could ask for afterwards.

        Raises:
            RequestError: INVALID_QUERY: there are no weights for the preset.
        """
        try:
            weights_of(self._preset, sized=True)
        except ConfigError as error:
            raise RequestError(ResultCode.INVALID_QUERY, str(error)) from error

    def teach(self, name: str, embedded: EmbeddedFrame, region: int) -> int:
        """Stores a mask of a frame as one more example; how many the name has then."""
        self._store.save_example(example_of(embedded, region, name, self._space(), crops=self._crops))
        self._read()
        return len(self._known().get(name.casefold(), ()))

    def forget(self, name: str) -> int:
        """Forgets all examples of a name; how many there were."""
        known = self._known().get(name.casefold(), [])
        count = sum(self._store.forget_name(one) for one in {example.name for example in known})
        self._read()
        return count

    def _known(self) -> dict[str, list[Example]]:
        if time.monotonic() - self._read_at > NEWS_EVERY_S:
            try:
                self._read()
            except StoreError as error:  # what is known goes on
                self._read_at = time.monotonic()
                _LOG.warning("taught names cannot be read anew: %s", error)
        return self._taught

    def _read(self) -> None:
        with self._lock:
            taught = by_name(self._store.examples())
            self._taught, self._read_at = taught, time.monotonic()

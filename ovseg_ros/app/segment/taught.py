"""Names that were taught, among the words of `ovseg segment --memory`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ovseg_ros.core.words import Vocabulary, parse_query

if TYPE_CHECKING:
    from ovseg_ros.core.frame import Frame
    from ovseg_ros.core.segmentation import Segmentation
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.memory import Example
    from ovseg_ros.memory.teaching import KnownNames

Taught = Mapping[str, "Sequence[Example]"]
"""Examples by name in small letters."""


def read_taught(address: str | None, preset: str) -> Taught:
    """The names in a memory, none without one.

    Args:
        address: of `--memory`.
        preset: that will look for them.

    Raises:
        ConfigError: there is no such memory, no name in it, or the preset knows no names.
        StoreError: the database cannot be reached.
    """
    if address is None:
        return {}
    from pathlib import Path

    from ovseg_ros.app.memory.selection import open_memory
    from ovseg_ros.errors import ConfigError
    from ovseg_ros.memory.teaching import by_name, weights_of

    weights_of(Path(preset).stem, sized=True)
    with open_memory(address) as store:
        taught = by_name(store.examples())
        if not taught:
            raise ConfigError(
                f"no name was taught in {store.name}: show one with `ovseg teach`, or leave --memory out"
            )
    return taught


def with_names_quoted(labels: str, taught: Taught) -> str:
    """`--labels` with taught names in quotation marks, so that "my mug" stays one name."""
    if not taught:
        return labels
    from ovseg_ros.memory.teaching import quoted

    return quoted(labels, [examples[0].name for examples in taught.values()])


def asked_names(labels: str, taught: Taught) -> dict[str, Any]:
    """Examples of each taught name that is asked for: when each was shown, which a resumed run must share."""
    asked = [name for name in parse_query(labels) if name.casefold() in taught] if taught else []
    return {str(name): [example.shown for example in taught[name.casefold()]] for name in asked}


def known_to(segmenter: OpenVocabularySegmenter, taught: Taught) -> KnownNames | None:
    """The names as this model knows them; None without any."""
    if not taught:
        return None
    from ovseg_ros.memory.frames import space_of
    from ovseg_ros.memory.teaching import KnownNames

    return KnownNames(taught, segmenter.name, space_of(segmenter.name, segmenter.options.embedding_key))


def segment(
    segmenter: OpenVocabularySegmenter, frame: Frame, vocabulary: Vocabulary, known: KnownNames | None
) -> Segmentation:
    """A frame under words of which some were taught; raises what `OpenVocabularySegmenter.segment` does."""
    if known is None:
        return segmenter.segment(frame, vocabulary)
    embedded = segmenter.embed(frame)
    return known.label(vocabulary, lambda words: segmenter.label(embedded, words))

"""All names that were taught, as one model that is asked for them knows them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.memory.entry import Example
from ovseg_ros.memory.teaching.named import is_taught, quoted, with_taught, without_taught


@dataclass(frozen=True)
class KnownNames:
    """Taught names for queries of one model. Nothing in it changes.

    Attributes:
        taught: examples by name in small letters, see `by_name`.
        preset: whose weights decide.
        space: whose embeddings the frames have.
    """

    taught: Mapping[str, Sequence[Example]]
    preset: str
    space: str

    @property
    def names(self) -> list[str]:
        """As they were taught."""
        return [examples[0].name for examples in self.taught.values()]

    def quoted(self, query: str) -> str:
        """A query with taught names in quotation marks."""
        return quoted(query, self.names)

    def knows(self, name: str) -> bool:
        """Whether a name was taught, to this model or another."""
        return is_taught(name, self.taught)

    def refusal(self, name: str) -> str:
        """Why a taught name cannot be asked for, "" where it can."""
        spaces = [example.space for example in self.taught[name.casefold()]]
        if self.space in spaces:
            return ""
        return f"{name!r} was taught to another model ({spaces[0]}); teach it again"

    def label(self, vocabulary: Vocabulary, label: Callable[[Vocabulary], Segmentation]) -> Segmentation:
        """A frame under words of which some were taught; `label` does it for the others."""
        rest = without_taught(vocabulary, self.taught)
        if len(rest) == len(vocabulary):
            return label(vocabulary)
        return with_taught(label(rest), vocabulary, self.taught, self.preset, self.space)


def by_name(examples: Iterable[Example]) -> dict[str, list[Example]]:
    """Examples by name in small letters: "My mug" and "my mug" are one."""
    taught: dict[str, list[Example]] = {}
    for example in examples:
        taught.setdefault(example.name.casefold(), []).append(example)
    return taught

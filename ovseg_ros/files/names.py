"""From a file's name as a table, a caption file or a JSON writes it to the file in a folder.

Names travel worse than files: macOS decomposes accents, Windows writes backslashes, a camera's .JPG becomes
.jpg, and a table keeps the absolute paths of the machine that made it. What is tried, in this order:

| | a name | finds |
|---|---|---|
| 1 | as it is written | that file |
| 2 | of the same characters, composed or decomposed (Unicode NFC, NFD) | `Küche.jpg` as macOS unpacks it |
| 3 | with the suffix in other letters | `a.jpg` for `a.JPG` |
| 4 | with backslashes, blanks around it, `file://` or `%20` | the name that is meant |
| 5 | that begins with the folder's own name, or absolute | what lies below the folder by the name's end |
| 6 | without its suffix or with another, only where the caller says which | `a.png` for `a` |

Letters of the name itself never change their case: `A.jpg` and `a.jpg` are two files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from unicodedata import normalize
from urllib.parse import unquote

from ovseg_ros.errors import InvalidInputError

_DRIVE = re.compile(r"[A-Za-z]:(?=/|$)")


class FileNames:
    """The files below a folder, by name. Each folder is listed once at most: what comes later is not seen."""

    def __init__(self, folder: Path) -> None:
        """Looks at nothing yet; a folder that is not there has no files."""
        self.folder = Path(folder)
        self._listed: dict[str, dict[str, list[str]]] = {}

    def find(self, name: str, suffixes: Sequence[str] = (), *, what: str = "file") -> Path:
        """The file that is meant, as `folder / …`; the module's table says how it is found.

        Args:
            name: with forward slashes or backslashes between folders.
            suffixes: lower case, with the dot: the file may have any of these in place of the name's own, or
                behind it; where several are there the first of these is taken. () keeps to the name's own.
            what: it is, for messages.

        Raises:
            InvalidInputError: not there; or see `look`.
        """
        if (found := self.look(name, suffixes, what=what)) is not None:
            return found
        if not any(self._ways(name)):
            raise InvalidInputError(f"expected the name of a {what}, got {_shown(name)}")
        near = self.near(name)
        beside = f", {' and '.join(near[:3])} {'is' if len(near) == 1 else 'are'}" if near else ""
        raise InvalidInputError(
            f"expected the {what} {_shown(name)} in {self.folder}, it is not there{beside}"
        )

    def look(self, name: str, suffixes: Sequence[str] = (), *, what: str = "file") -> Path | None:
        """The same; None where nothing is there.

        Raises:
            InvalidInputError: several that are equally near, such as composed and decomposed; or a name that
                leads out of the folder.
        """
        for parts in self._ways(name):
            if found := self._own(parts):
                return self._only(name, found, what)
        for parts in self._ways(name) if suffixes else ():
            if found := self._by_kind(parts, suffixes):
                return self._only(name, found, what)
        return None

    def near(self, name: str) -> list[str]:
        """The files that differ from a name by their suffix alone, whatever it is, below the folder."""
        near: dict[str, None] = {}
        for parts in self._ways(name):
            stem = normalize("NFC", parts[-1])
            for one in (stem, os.path.splitext(stem)[0]):
                near |= dict.fromkeys(os.path.relpath(p, self.folder) for p in self._beside(parts, one))
        return list(near)

    def _ways(self, name: str) -> Iterator[list[str]]:
        """Everything below the folder that a name may stand for, the likeliest first; folder by folder."""
        return (parts for spelling in _spellings(name) for parts in self._below(spelling))

    def _below(self, spelling: str) -> Iterator[list[str]]:
        """What one spelling may stand for, the longest first."""
        absolute = spelling.startswith("/")
        parts = _parts(spelling)
        if not parts:
            return
        if not absolute:
            yield parts
            own = self.folder.absolute().parts
            yield from (parts[n:] for n in range(1, len(parts)) if _folded(parts[:n]) == _folded(own[-n:]))
            return
        here = list(self.folder.absolute().parts[1:])
        if _folded(parts[: len(here)]) == _folded(here):
            yield parts[len(here) :] or parts[-1:]
        yield from (parts[n:] for n in range(len(parts)))

    def _own(self, parts: Sequence[str]) -> list[str]:
        """The files of this name: as it is, else canonically the same, else its suffix in other letters."""
        exact = os.path.join(self.folder, *parts)
        if os.path.isfile(exact):
            return [exact]
        wanted = normalize("NFC", parts[-1])
        near = [path for path in self._beside(parts, os.path.splitext(wanted)[0]) if _not_hidden(path, parts)]
        same = [path for path in near if normalize("NFC", os.path.basename(path)) == wanted]
        return same or [path for path in near if _suffix(path) == os.path.splitext(wanted)[1].lower()]

    def _by_kind(self, parts: Sequence[str], suffixes: Sequence[str]) -> list[str]:
        """The files that differ from the name by a suffix: all that have the first of these that is there."""
        wanted = normalize("NFC", parts[-1])
        stem, suffix = os.path.splitext(wanted)
        stems = [wanted, stem] if suffix.lower() in suffixes else [wanted]
        for one in stems:
            near = [path for path in self._beside(parts, one) if _not_hidden(path, parts)]
            for kind in suffixes:
                if found := [path for path in near if _suffix(path) == kind]:
                    exact = [path for path in found if path.endswith(kind)]  # a.jpg before a.JPG
                    return exact or found
        return []

    def _beside(self, parts: Sequence[str], stem: str) -> list[str]:
        """Files with a stem (NFC) where `parts` leads to, through folders of canonically equal names."""
        places = [str(self.folder)]
        for part in parts[:-1]:
            exact = [os.path.join(place, part) for place in places]
            places = [path for path in exact if os.path.isdir(path)] or [
                os.path.join(place, name)
                for place in places
                for name in self._names(place).get(os.path.splitext(normalize("NFC", part))[0], ())
                if normalize("NFC", name) == normalize("NFC", part)
            ]
        found = (os.path.join(place, name) for place in places for name in self._names(place).get(stem, ()))
        return sorted(path for path in found if os.path.isfile(path))

    def _names(self, place: str) -> dict[str, list[str]]:
        """The names in one folder by their stems (NFC)."""
        if place not in self._listed:
            listed = self._listed[place] = {}
            try:
                names = os.listdir(place)
            except OSError:  # not there, no folder, or not ours to read: nothing is found in it
                names = []
            for name in names:
                listed.setdefault(os.path.splitext(normalize("NFC", name))[0], []).append(name)
        return self._listed[place]

    def _only(self, name: str, found: Sequence[str], what: str) -> Path:
        if len(found) > 1:
            both = " and ".join(repr(os.path.relpath(path, self.folder)) for path in found)
            raise InvalidInputError(
                f"expected one {what} {_shown(name)} in {self.folder}, {both} are equally near; rename one"
            )
        return Path(found[0])


def _spellings(name: str) -> Iterator[str]:
    """What a name may stand for, as it is written first; each once, with forward slashes."""
    tried: dict[str, None] = {}
    for text in (name, name.strip()):
        local = re.sub(r"^file:(//(localhost)?)?(?=/)", "", text, flags=re.IGNORECASE)
        for one in (text, local, local.replace("\\", "/"), unquote(local).replace("\\", "/")):
            tried[_DRIVE.sub("", one, count=1) if _DRIVE.match(one) else one] = None
    yield from tried


def _parts(spelling: str) -> list[str]:
    """A path folder by folder, without "." and with ".." carried out.

    Raises:
        InvalidInputError: it leads out of where it starts.
    """
    parts: list[str] = []
    for part in spelling.split("/"):
        if part == "..":
            if not parts:
                raise InvalidInputError(
                    f"expected a name below the folder, {_shown(spelling)} leads out of it by '..'; nothing "
                    "outside is read"
                )
            parts.pop()
        elif part not in ("", "."):
            parts.append(part)
    return parts


def _folded(parts: Sequence[str]) -> list[str]:
    return [normalize("NFC", part) for part in parts]


def _shown(name: str) -> str:
    """For messages: somebody may have taken a column of texts for one of names."""
    return repr(name if len(name) <= 200 else f"{name[:200]}…")


def _suffix(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def _not_hidden(path: str, parts: Sequence[str]) -> bool:
    """Only who asks for `._a.jpg`, which macOS leaves beside `a.jpg` on foreign disks, gets it."""
    return parts[-1].startswith(".") or not os.path.basename(path).startswith(".")

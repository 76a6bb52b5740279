"""Files of the repository outside docs/ that pages link to, as pages of the site.

Pages link to them as on the forge, `[config](../config/ovseg.yaml)`. Here each gets a page under
`repository/`, in the same folders, and links are written anew to lead there, so no page has to know where it
is read.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Mapping
from pathlib import Path

HOME = "README.md"
_LINK = re.compile(r"(?P<open>\]\()(?P<target>[^)\s#]+)(?P<anchor>#[^)\s]*)?(?P<close>\))")
_FENCE = re.compile(r"^( *)(`{3,}|~{3,}).*?^\1\2[ \t]*$", re.MULTILINE | re.DOTALL)
_LARGEST = 200_000
"""Bytes of the largest file that gets a page; larger ones are copied as they are."""
_LANGUAGES = {"py": "python", "sh": "bash", "hpp": "cpp", "rviz": "yaml"}
"""Suffixes that highlighting knows under another name."""
_PICTURES = {".png", ".jpg", ".jpeg", ".svg", ".gif"}


def place(path: str, generated: Mapping[str, str]) -> str:
    """Where a file or folder of the repository is in the site.

    Args:
        path: in the repository, with forward slashes.
        generated: what stands for other files: path in the repository -> place in the site, maybe with
            an anchor.
    """
    if path in generated:
        return generated[path]
    if path == HOME:
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    whole = f"repository/{path}"
    suffix = posixpath.splitext(path)[1]
    return whole if suffix == ".md" or suffix in _PICTURES else f"{whole}.md"


def origin(src_uri: str, written: Mapping[str, str]) -> str:
    """The file in the repository that a page of the site was made from; `written` is place -> path."""
    return written.get(src_uri, f"docs/{src_uri}")


def links(markdown: str) -> list[str]:
    """What a text links to outside of code blocks: paths as they are written, no addresses."""
    return [
        match["target"] for match in _LINK.finditer(_FENCE.sub("", markdown)) if ":" not in match["target"]
    ]


def resolve(root: Path, page: str, target: str) -> str | None:
    """A link's target as a path in the repository, or None where there is no such file or folder."""
    path = posixpath.normpath(posixpath.join(posixpath.dirname(page), target))
    return None if path.startswith("..") or not (root / path).exists() else path


def with_links(root: Path, markdown: str, page: str, src_uri: str, generated: Mapping[str, str]) -> str:
    """The text with each link to a file of the repository written anew for the page's place in the site."""

    def anew(match: re.Match[str]) -> str:
        path = None if ":" in match["target"] else resolve(root, page, match["target"])
        if path is None:
            return match[0]
        where, _, anchor = place(path, generated).partition("#")
        target = posixpath.relpath(where, posixpath.dirname(src_uri) or ".")
        return f"{match['open']}{target}{match['anchor'] or (anchor and '#' + anchor)}{match['close']}"

    parts, end = [], 0
    for fence in _FENCE.finditer(markdown):
        parts += [_LINK.sub(anew, markdown[end : fence.start()]), fence[0]]
        end = fence.end()
    return "".join([*parts, _LINK.sub(anew, markdown[end:])])


def linked_files(root: Path, starts: list[str], generated: Mapping[str, str]) -> list[str]:
    """The files and folders outside docs/ that these Markdown files lead to, over any number of links."""
    found, queue = dict.fromkeys(starts), list(starts)
    while queue:
        page = queue.pop()
        if not page.endswith(".md") or not (root / page).is_file():
            continue
        for target in links((root / page).read_text(encoding="utf-8")):
            path = resolve(root, page, target)
            if path and path not in found and path not in generated:
                found[path] = None
                queue.append(path)
    return sorted(path for path in found if not path.startswith("docs/"))


def text_of(root: Path, path: str) -> str | None:
    """The Markdown of a file's or folder's page; None where it is to be copied as it is."""
    file = root / path
    if file.is_dir():
        names = sorted(f"{child.name}/" if child.is_dir() else child.name for child in file.iterdir())
        listed = "\n".join(f"- `{name}`" for name in names if not name.startswith((".", "__")))
        return f"{_NO_SEARCH}# {path}\n\nA folder of the sources:\n\n{listed}\n"
    if file.suffix == ".md":
        return file.read_text(encoding="utf-8")
    if file.suffix in _PICTURES or os.path.getsize(file) > _LARGEST:
        return None
    text = file.read_text(encoding="utf-8")
    if file.suffix == ".rst":
        return _changes(text)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall(r"`+", text)), 3)
    suffix = file.suffix[1:]
    language = _LANGUAGES.get(suffix, suffix or "text")
    return f"{_NO_SEARCH}# {path}\n\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def _changes(text: str) -> str:
    """The change log: its reStructuredText is Markdown but for the title, code and numbered headings."""
    body = re.sub(r"(?<![`\w/])docs/([\w/]+\.md)", r"[\1](docs/\1)", text.split("\n\n", 1)[1])
    return f"# Changes\n\n{body.replace('``', '`')}".replace("\n* ", "\n- ")


_NO_SEARCH = "---\nsearch:\n  exclude: true\n---\n\n"

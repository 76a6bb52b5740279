"""Pages of the messages, services and actions, made from the comments of their files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGES = {"msg": "messages", "srv": "services", "action": "actions"}
"""Folder and suffix of the interface files -> page under reference/."""

_TITLES = {"msg": "Messages", "srv": "Services", "action": "Actions"}
_SECTIONS = {"msg": ("",), "srv": ("Request", "Reply"), "action": ("Goal", "Result", "Feedback")}
_LINE = re.compile(
    r"^(?P<type>\S+)\s+(?P<name>\w+)\s*(?:=\s*(?P<value>[^\s#]+)|(?P<default>[^\s#=]+))?\s*(?:#\s*(?P<note>.*))?$"
)


@dataclass
class Group:
    """Fields or constants that follow each other, and the comment above them.

    Attributes:
        comment: the comment, one line; with no rows it stands for itself.
        rows: (type, name, value of a constant or "", default or "", comment on the same line or "").
    """

    comment: str = ""
    rows: list[tuple[str, str, str, str, str]] = field(default_factory=list)


def read_groups(text: str) -> list[Group]:
    """The groups of one section of an interface file, in its order."""
    groups: list[Group] = []
    comment: list[str] = []
    for line in [*text.splitlines(), ""]:
        line = line.strip()
        if line.startswith("#"):
            comment.append(line.lstrip("# "))
        elif line:
            match = _LINE.match(line)
            if match is None:
                raise ValueError(f"expected 'type name' or 'type NAME=value', got {line!r}")
            row = tuple(match[key] or "" for key in ("type", "name", "value", "default", "note"))
            if comment or not groups or not groups[-1].rows or bool(groups[-1].rows[-1][2]) != bool(row[2]):
                groups.append(Group(" ".join(comment)))
                comment = []
            groups[-1].rows.append(row)  # type: ignore[arg-type]
        else:
            if comment:
                groups.append(Group(" ".join(comment)))
                comment = []
            elif groups and groups[-1].rows:
                groups.append(Group())
    return [group for group in groups if group.comment or group.rows]


def plain(text: str) -> str:
    """A comment as Markdown shows it letter by letter, apart from `code` and addresses of pages."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([|*\[\]])", r"\\\1", part).replace("<", "&lt;") for part in parts[::2]]
    parts[1::2] = [part.replace("|", "\\|") for part in parts[1::2]]
    linked = re.sub(r"\bdocs/(\w+\.md)", r"[\1](../\1)", "".join(parts))
    return re.sub(
        r"\b(\w+)\.(msg|srv|action)\b", lambda m: f"[{m[1]}]({PAGES[m[2]]}.md#{m[1].lower()})", linked
    )


def page(root: Path, folder: str) -> str:
    """The page of all interface files of one folder: msg, srv or action."""
    parts = [
        f"# {_TITLES[folder]}",
        f"Made from the files in `{folder}/`: types, names and comments are theirs.",
        "",
    ]
    for path in sorted((root / folder).glob(f"*.{folder}")):
        parts += [f"## {path.stem}", *_interface(root, path), ""]
    return "\n".join(parts) + "\n"


def _interface(root: Path, path: Path) -> Iterator[str]:
    folder = path.suffix[1:]
    yield f"`ovseg_ros/{folder}/{path.stem}`\n"
    sections = re.split(r"^---\s*$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for title, text in zip(_SECTIONS[folder], sections, strict=True):
        groups = read_groups(text)
        if title == _SECTIONS[folder][0] and groups and not groups[0].rows:
            yield f"{plain(groups.pop(0).comment)}\n"
        if title:
            yield f"### {title} {{ #{path.stem.lower()}-{title.lower()} }}\n"
        if not groups:
            yield "Empty.\n"
        yield from _tables(root, groups)


def _tables(root: Path, groups: list[Group]) -> Iterator[str]:
    """Tables of the groups; a comment for itself stands between two tables."""
    columns = ""
    for group in groups:
        if not group.rows:
            yield f"\n{plain(group.comment)}\n"
            columns = ""
            continue
        kind = "constant" if group.rows[0][2] else "field"
        if kind != columns:
            yield f"\n| {kind} | {'value' if kind == 'constant' else 'type'} | meaning |\n|---|---|---|"
            columns = kind
        yield from _rows(root, group, kind)
    yield ""


def _rows(root: Path, group: Group, kind: str) -> Iterator[str]:
    if kind == "constant":
        for _, name, value, _, note in group.rows:
            yield f"| `{name}` | {value} | {plain(' '.join(filter(None, (group.comment, note))))} |"
        return
    names = "<br>".join(f"`{name}`" for _, name, *_ in group.rows)
    types = "<br>".join(_type(root, row[0]) for row in group.rows)
    notes = [group.comment]
    notes += [f"Default: {default}." for _, _, _, default, _ in group.rows if default]
    notes += [note for *_, note in group.rows if note]
    yield f"| {names} | {types} | {plain(' '.join(filter(None, notes)))} |"


def _type(root: Path, name: str) -> str:
    """A type's name, a link where it is one of this package."""
    own = re.fullmatch(r"ovseg_ros/(\w+)(\[\])?", name)
    if own and (root / "msg" / f"{own[1]}.msg").is_file():
        return f"[`{own[1]}{own[2] or ''}`]({PAGES['msg']}.md#{own[1].lower()})"
    return f"`{name}`"

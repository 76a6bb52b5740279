"""Captions out of JSON, out of lines of JSON, and out of text files beside images."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.texts import lines_of, parse_json, read_text
from ovseg_ros.learn.pairs.caption_texts import (
    CAPTION_KEYS,
    FILE_KEYS,
    WANTED,
    Found,
    caption_in,
    first_of,
    is_image,
    key_of,
    name_in,
    shown,
)

LINES = (".jsonl", ".ndjson")
_LISTS = ("images", "annotations", "data", "captions")
_SAID = 3


def read_json_captions(path: Path, remarks: list[str]) -> dict[str, list[str]]:
    """The captions of a JSON file by image; the form is seen from the content.

    COCO's captions; a list of objects, or one object a line, each with a name and captions; Karpathy's
    `{"images": [{"filename", "sentences": [{"raw"}]}]}`; or `{name: caption or list of captions}`.

    Raises:
        InvalidInputError: not there, not JSON, or of another form; the message has the keys that were found.
    """
    text = read_text(path, remarks=remarks)
    found = Found(path, remarks)
    try:
        content = parse_json(text, path)
    except InvalidInputError:
        lines = [(f"line {i}", line) for i, line in enumerate(text.split("\n"), 1) if line.strip()]
        one_a_line = len(lines) > 1 and isinstance(_object(lines[0][1]), Mapping)
        if not one_a_line and path.suffix.lower() not in LINES:
            raise
        objects = [(where, _object(line)) for where, line in lines]
        _objects(objects, found, remarks, "lines", "are no JSON with a file name and a caption")
        return found.finish()
    rows = _rows(content)
    if rows is not None:
        objects = [(f"entry {i}", row) for i, row in enumerate(rows, 1)]
        _objects(objects, found, remarks, "entries", "have no file name and caption")
    elif isinstance(content, Mapping) and "images" in content and "annotations" in content:
        _coco(content, found, remarks)
    elif isinstance(content, Mapping) and any(map(is_image, content)):
        for name, value in content.items():
            found.add(name_in(name) or "", value, f"the entry {shown(name)}")
    else:
        raise InvalidInputError(
            f"expected captions in {path} as COCO has them, or objects with {WANTED}; got {_keys(content)}"
        )
    return found.finish()


def read_sidecars(
    images: Path, texts: Path, suffixes: frozenset[str], remarks: list[str]
) -> dict[str, list[str]]:
    """The captions of each image below a folder in its NAME.txt below another, a caption a line.

    Raises:
        InvalidInputError: no image has such a file.
    """
    found: dict[str, list[str]] = {}
    files = FileNames(texts)
    said: list[str] = []
    left_out = 0
    for image in sorted(images.rglob("*")):
        if image.suffix.lower() not in suffixes or image.name.startswith(".") or not image.is_file():
            continue
        name = image.relative_to(images)
        captions = found[name.as_posix()] = []
        try:
            text = files.find(name.with_suffix(".txt").as_posix())
        except InvalidInputError:
            continue
        try:
            lines = [line for line in lines_of(read_text(text, remarks=said)) if line.strip()]
        except InvalidInputError as error:
            said.append(str(error))
            continue
        captions += filter(None, map(caption_in, lines))
        left_out += len(lines) - len(captions)
    if found and not any(found.values()):
        raise InvalidInputError(
            f"expected NAME.txt with a caption for the images in {images}, {texts} has none"
        )
    remarks += said[:_SAID]
    if len(said) > _SAID:
        remarks.append(f"{len(said) - _SAID} more text files are like this")
    if left_out:
        remarks.append(f"{left_out} lines of the text files in {texts.name} are no captions: left out")
    return found


def _coco(content: Mapping[str, Any], found: Found, remarks: list[str]) -> None:
    """COCO's captions: images with id and file_name, annotations with image_id and caption."""
    path = found.path
    try:
        images = [(image["id"], name_in(image["file_name"]) or "") for image in content["images"]]
        files = {str(number): name for number, name in images}
        for _, name in images:
            found.captions.setdefault(name, [])
        unknown = 0
        for place, annotation in enumerate(content["annotations"], 1):
            owner, caption = files.get(str(annotation["image_id"])), annotation["caption"]
            if owner is None:
                unknown += 1
            else:
                found.add(owner, caption, f"annotation {annotation.get('id', place)}")
    except (KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"expected COCO captions in {path}: images with id and file_name, annotations with image_id and "
            f"caption; got {error!r:.200}"
        ) from error
    if unknown:
        remarks.append(f"{unknown} captions in {path.name} are of images it does not list: left out")
    if len(found.captions) < len(images):
        twice = len(images) - len(found.captions)
        remarks.append(f"{twice} images in {path.name} have the file name of another: one each")


def _objects(
    entries: Sequence[tuple[str, object]], found: Found, remarks: list[str], what: str, lack: str
) -> None:
    """Objects that each have a name and captions, each with where it stands.

    Raises:
        InvalidInputError: none has a name.
    """
    damaged = []
    for where, entry in entries:
        keyed = {key_of(key): value for key, value in entry.items()} if isinstance(entry, Mapping) else {}
        names = (name_in(keyed[key]) for key in FILE_KEYS if key in keyed)
        name = next(filter(None, names), None)
        if name is None:
            damaged.append(entry)
        else:
            key = first_of(CAPTION_KEYS, keyed)
            found.add(name, None if key is None else keyed[key], where)
    if damaged and len(damaged) == len(entries):
        raise InvalidInputError(
            f"expected {what} in {found.path} that are objects with {WANTED}; got {_keys(damaged[0])}"
        )
    if damaged:
        remarks.append(f"{len(damaged)} {what} of {found.path.name} {lack}: left out")


def _rows(content: object) -> Sequence[object] | None:
    """The objects in a list, or in the one list of a mapping, or the one object; None for other forms."""
    if isinstance(content, list):
        return content
    if not isinstance(content, Mapping):
        return None
    keyed = {key_of(key): value for key, value in content.items()}
    name = first_of(FILE_KEYS, keyed)
    if name is not None and isinstance(keyed[name], str) and first_of(CAPTION_KEYS, keyed):
        return [content]
    lists = [keyed[key] for key in _LISTS if isinstance(keyed.get(key), list)]
    return lists[0] if len(lists) == 1 else None


def _object(line: str) -> object:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None


def _keys(content: object) -> str:
    if isinstance(content, Mapping):
        return f"the keys {', '.join(map(str, content))[:200]!r}"
    return f"a {type(content).__name__}"

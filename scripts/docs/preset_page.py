"""The page of the presets: what each is made of, its weights and their licences."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from interface_pages import plain

from ovseg_ros.models.downloads.files import KnownFile, files_of, size_text
from ovseg_ros.models.preset_parts import needs_depth
from ovseg_ros.models.presets import list_presets, preset_path, read_preset

_HEAD = """# Presets

A preset is a YAML file: where masks come from, who names them, and when an answer is believed. Made from
`ovseg_ros/models/presets` and the table of weights; [weights](../weights.md) says how files are fetched and
checked and [which one `auto` takes](../weights.md#what-auto-takes), [proposals](../proposals.md) and
[modes](../modes.md) what the options mean. The parameter `preset`, `--preset` and `ovseg_ros.load` take one
of these names or the path of a file of your own.
"""
_CARDS = {"mini": "models/mini.md", "lite": "models/lite.md", "owlv2": "onestage.md", "sam3": "onestage.md"}


def page() -> str:
    """An overview, then each preset with its files and its own text."""
    names = list_presets()
    rows = [
        "| preset | proposals | encoder | needs depth | GPU memory | licences of its weights |",
        "|---|---|---|---|---|---|",
    ]
    rows += [_row(name) for name in names]
    return "\n".join([_HEAD, *rows, "", *(line for name in names for line in _preset(name))]) + "\n"


def _read(name: str) -> dict[str, Any]:
    return read_preset(preset_path(name), part_options=False)


def _row(name: str) -> str:
    preset = _read(name)
    gpu = preset.get("gpu_memory_gb")
    cells = (
        f"[`{name}`](#{name})",
        f"`{preset['proposer']['kind']}`",
        f"`{preset['encoder']['kind']}`",
        "yes" if needs_depth(preset["proposer"]) else "no",
        f"{gpu:g} GB" if gpu else "",
        ", ".join(dict.fromkeys(_licence(file) for file in files_of(name))) or "in the package and from PyPI",
    )
    return f"| {' | '.join(cells)} |"


def _licence(file: KnownFile) -> str:
    return f"**{file.licence}** (non-commercial)" if file.non_commercial else file.licence


def _preset(name: str) -> Iterator[str]:
    path = preset_path(name)
    yield f"## {name}\n"
    yield f"{plain(str(_read(name).get('description', '')))}"
    if name in _CARDS:
        yield f"[More about it](../{_CARDS[name]})."
    yield ""
    files = files_of(name)
    if files:
        yield "| file | what | size | licence | checked by |\n|---|---|---|---|---|"
        for file in files:
            cells = (
                f"`{file.name}`",
                plain(file.note),
                size_text(file.size),
                _licence(file),
                plain(file.checked_by),
            )
            yield f"| {' | '.join(cells)} |"
        yield ""
    yield f'??? abstract "{path.name}"\n'
    yield "    ```yaml"
    yield from (f"    {line}" for line in path.read_text(encoding="utf-8").splitlines())
    yield "    ```\n"

"""Several presets in one run of `ovseg evaluate`, so that one table compares them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from ovseg_ros.errors import ConfigError, WeightsError


def add_presets(parser: argparse.ArgumentParser, default: str) -> None:
    """Adds `--preset`, which may be repeated; None where it is not given."""
    parser.add_argument(
        "--preset",
        action="append",
        metavar="PRESET",
        help=f"name or YAML file; repeated: each, and a table with a row for each (default: {default})",
    )


def by_name(presets: Sequence[str]) -> dict[str, str]:
    """What each is called in tables and files -> the preset: its name, or that of its file.

    Raises:
        ConfigError: two are called alike.
    """
    named = {
        Path(preset).stem if preset.endswith((".yaml", ".yml")) else preset: preset for preset in presets
    }
    if len(named) < len(presets):
        raise ConfigError(f"expected each preset once and no two files of one name, got {', '.join(presets)}")
    return named


def refuse_failing(
    presets: Sequence[str],
    device: str,
    weights_dir: Path | None,
    without_depth: Callable[[str], None] = lambda preset: None,
) -> None:
    """Says before anything is measured which presets could not be.

    Args:
        presets: names or files.
        device: where they would run.
        weights_dir: where weights are looked for first.
        without_depth: told each that needs depth; refuses it where there is none.

    Raises:
        WeightsError: weights of one or several are not here.
    """
    from ovseg_ros.models.downloads.files import find_file
    from ovseg_ros.models.preset_parts import needs_depth
    from ovseg_ros.models.presets import preset_path, preset_weights, read_preset, resolve_preset

    told = []
    for preset in presets:
        chosen = resolve_preset(preset, device, weights_dir).preset
        path = preset_path(chosen)
        if needs_depth(read_preset(path, part_options=False)["proposer"]):
            without_depth(chosen)
        names = preset_weights(chosen)
        files = [file for file in names if not find_file(file, weights_dir, path.parent)]
        if files:
            told.append(f"{preset} ({', '.join(files)})")
    if told:
        raise WeightsError(
            f"weights are not here of {'; '.join(told)}; get them with ovseg download PRESET, or leave these "
            "presets out"
        )

"""Which preset answers in which act, and the options that say otherwise. Imports nothing that takes time."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

PRESETS: Mapping[str, str] = {"tabletop": "mini", "garage": "lite", "photographs": "lite"}
"""Recording -> preset, in the order of the acts."""


def add_preset_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--preset` for the first act and `--RECORDING-preset` for the others."""
    first = next(iter(PRESETS))
    for recording, preset in PRESETS.items():
        parser.add_argument(
            "--preset" if recording == first else f"--{recording}-preset",
            dest=f"{recording}_preset",
            metavar="PRESET",
            default=preset,
            help=f"who answers in demo/{recording} (default: {preset})",
        )


def presets_of(options: argparse.Namespace) -> dict[str, str]:
    """Recording -> preset, as the options say."""
    return {recording: getattr(options, f"{recording}_preset") for recording in PRESETS}

"""A fresh `mini`: an untrained image tower in the space of the locked text tower, as a preset to train from.

    python -m ovseg_ros.learn.tabletop.untrained_mini DIR --width 256 --layers 6 --seed 0
    ovseg learn finetune PAIRS --preset DIR/preset.yaml --recipe from_nothing --out RUN/tower
    ovseg learn prompts PAIRS --preset RUN/tower/preset.yaml --recipe from_nothing --out RUN/both

Order as in the paper (section 3.3): first the image tower learns masked crops, background filled with the
mean colour; then everything is frozen and only the tokens that replace blank patches are tuned.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml

from ovseg_ros.files.whole import write_whole
from ovseg_ros.models.bundled.mini import MiniConfig, build_mini_clip, save_mini
from ovseg_ros.models.presets import preset_path, read_preset


def new_mini(folder: Path, config: MiniConfig, seed: int) -> Path:
    """Writes an untrained `mini` of that shape and a preset with it; returns the preset."""
    torch.manual_seed(seed)
    model, _ = build_mini_clip(config)
    weights = folder / "model.safetensors"
    save_mini(weights, model, None, config, {"trained": "not at all", "seed": seed})
    write_mini_preset(folder / "preset.yaml", weights, "An untrained mini CLIP")
    return folder / "preset.yaml"


def write_mini_preset(path: Path, weights: Path, description: str) -> None:
    """The bundled `mini` preset around other weights, without prompts and background words."""
    preset = dict(read_preset(preset_path("mini")))
    preset["description"] = description
    preset["encoder"] = {"kind": "mini", "weights": str(weights.resolve())}
    preset["options"] = {**preset["options"], "background": [], "threshold": 0.0}
    write_whole(path, yaml.safe_dump(preset, sort_keys=False))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--width", type=int, default=256, help="channels of the ViT")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    print(new_mini(args.folder, MiniConfig(width=args.width, layers=args.layers), args.seed))


if __name__ == "__main__":
    main()

"""The road from a plain CLIP to a mask-adapted one: order, resuming, the report; stations are fakes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import yaml

from ovseg_ros.app.learn import tabletop_road
from ovseg_ros.errors import InvalidInputError

FIGURES = {"plain": 0.10, "control": 0.15, "prompts": 0.20, "finetuned": 0.30, "both": 0.40}


ROAD = [
    ("measure", "plain"),
    ("pairs", "plain"),
    ("prompts", "plain", "prompts"),
    ("measure", "prompts"),
    ("finetune", "plain", "finetuned"),
    ("measure", "finetuned"),
    ("prompts", "finetuned", "both"),
    ("measure", "both"),
    ("finetune", "plain", "control"),
    ("measure", "control"),
]


class Fakes:
    """Writes what the real stations leave, and notes what it was asked."""

    def __init__(self, offset: float = 0.0, fail_at: str = "") -> None:
        self.calls: list[tuple[str, ...]] = []
        self.offset, self.fail_at = offset, fail_at

    def _note(self, *call: str) -> None:
        if " ".join(call) == self.fail_at:
            raise KeyboardInterrupt
        self.calls.append(call)

    def pairs(self, preset: Path, out: Path) -> None:
        self._note("pairs", preset.parent.name)
        out.mkdir(exist_ok=True)
        (out / "manifest.json").write_text(json.dumps({"complete": True}))

    def train(self, stage: str, pairs: Path, preset: Path, out: Path, seed: int, changes=()) -> None:
        assert seed == int(out.parent.name.removeprefix("seed"))
        assert bool(changes) == (out.name == "control")
        self._note(stage, preset.parent.name, out.name)
        assert (pairs / "manifest.json").is_file()
        out.mkdir()
        (out / "preset.yaml").write_text("{}")

    def measure(self, preset: Path) -> dict[str, object]:
        name = preset.parent.name
        self._note("measure", name)
        seed = int(preset.parent.parent.name.removeprefix("seed"))
        value = FIGURES[name] + 0.02 * seed + self.offset
        bars = {"clip": value, "oracle masks": value + 0.1, "oracle classes": 0.9}
        return {**dict.fromkeys(tabletop_road.COLUMNS, value), "bars": bars}


def options(tmp_path: Path, seeds: int = 2, *more: str) -> argparse.Namespace:
    bench = tmp_path / "bench"
    bench.mkdir(exist_ok=True)
    (bench / "classes.txt").write_text("mug\n")
    words = ["tabletop", str(bench), "--out", str(tmp_path / "out"), "--plain"]
    for n in range(seeds):
        (tmp_path / f"plain{n}.safetensors").write_bytes(b"")
        words.append(str(tmp_path / f"plain{n}.safetensors"))
    parser = argparse.ArgumentParser()
    tabletop_road.add_parser(parser.add_subparsers())
    return parser.parse_args([*words, *more])


def test_the_whole_road_in_order_and_the_table(tmp_path, capsys):
    fakes = Fakes()
    assert tabletop_road.run(options(tmp_path), fakes) == 0
    assert fakes.calls == ROAD * 2
    shown = capsys.readouterr().out
    assert "| plain | 11.0 ± 1.4 |" in shown
    assert "| finetuned, then prompts | 41.0 ± 1.4 |" in shown
    assert "2 seed(s)" in shown
    picture = tmp_path / "out" / "bottleneck.png"
    assert 2_000 < picture.stat().st_size < 100_000
    kept = json.loads((tmp_path / "out" / "tabletop.json").read_text())
    assert [seed["both"]["miou"] for seed in kept["seeds"]] == pytest.approx([0.40, 0.42])
    assert kept["made_with"]["hardware"]


def test_more_seeds_than_plain_clips_start_from_the_same_one(tmp_path):
    tabletop_road.run(options(tmp_path, 1, "--seeds", "3"), Fakes())
    for n in range(3):
        preset = yaml.safe_load((tmp_path / f"out/seed{n}/plain/preset.yaml").read_text())
        assert preset["encoder"]["weights"].endswith("plain0.safetensors")
    with pytest.raises(InvalidInputError, match="at least 1"):
        tabletop_road.run(options(tmp_path, 1, "--seeds", "0"), Fakes())


def test_what_is_done_is_not_done_again(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tabletop_road.run(options(tmp_path, 1), Fakes(fail_at="finetune plain finetuned"))
    again = Fakes()
    tabletop_road.run(options(tmp_path, 1), again)
    assert again.calls == ROAD[4:]
    third = Fakes(offset=1.0)
    tabletop_road.run(options(tmp_path, 1), third)
    assert third.calls == []
    assert "| plain | 10.0 |" in (tmp_path / "out" / "tabletop.md").read_text()


def test_pairs_that_are_not_whole_are_collected_on(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        tabletop_road.run(options(tmp_path, 1), Fakes(fail_at="prompts plain prompts"))
    (tmp_path / "out/seed0/pairs/manifest.json").write_text(json.dumps({"complete": False}))
    again = Fakes()
    tabletop_road.run(options(tmp_path, 1), again)
    assert again.calls[0] == ("pairs", "plain")


def test_spread_of_one_is_unknown():
    assert tabletop_road.mean_and_spread([0.5]) == (0.5, None)
    mean, spread = tabletop_road.mean_and_spread([0.1, 0.2, 0.3])
    assert (mean, spread) == (pytest.approx(0.2), pytest.approx(0.1))


def test_missing_inputs_are_named(tmp_path):
    chosen = options(tmp_path)
    chosen.plain[1].unlink()
    with pytest.raises(InvalidInputError, match=r"plain1\.safetensors is not there"):
        tabletop_road.run(chosen, Fakes())
    (chosen.benchmark / "classes.txt").unlink()
    with pytest.raises(InvalidInputError, match=r"tabletop\.benchmark"):
        tabletop_road.run(chosen, Fakes())

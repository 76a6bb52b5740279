"""The subjects of `ovseg evaluate` from the command line: files, exit codes, and messages."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from evaluate_trees import quarters, segmenter, values, write_folder, write_image
from PIL import Image
from repository import ROOT

from ovseg_ros.app.cli import _parser, main
from ovseg_ros.evaluate.datasets.dataset import SegmentationDataset
from ovseg_ros.evaluate.scores.provenance import made_with, parameters_sha256
from ovseg_ros.models import presets

SAMPLES = {"a": (("red", "green", "blue", ""), (1, 2, 3, 0)), "b": (("red", "red", "", "blue"), (1, 2, 1, 3))}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_folder(tmp_path / "squares", SAMPLES, unseen=["blue"])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch):
    """`load_preset` gives the segmenter of coloured quarters; the preset's file is hashed all the same."""
    asked = []

    def load(name, **options):
        asked.append((name, options))
        return segmenter(background=("dust",))

    monkeypatch.setattr(presets, "load_preset", load)
    return asked


def ran(*words) -> int:
    return main(["evaluate", *map(str, words)])


def test_the_parser_imports_nothing_heavy() -> None:
    code = (
        "import sys; from ovseg_ros.app.cli import _parser; _parser();"
        "print([m for m in ('torch', 'numpy', 'cv2', 'gradio', 'matplotlib', 'rclpy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_check(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ran("check", "folder", tree) == 0
    assert "everything that is needed is there" in capsys.readouterr().out
    (tree / "images/validation/a.png").unlink()
    assert ran("check", "folder", tree, "--all") == 1
    out = capsys.readouterr().out
    assert "problem: 1 of 2 pictures are not there" in out
    assert "annotations/SPLIT/NAME.png" in out
    assert ran("check", "voc-20", tree) == 1
    assert ran("check", "ade", tree) == 2


def test_several_presets_on_a_data_set(tree: Path, tmp_path: Path, stand_in, capsys) -> None:
    out, second = tmp_path / "out", tmp_path / "second.yaml"
    second.write_text(presets.preset_path("lite").read_text())
    data = ("dataset", "folder", tree, "--out", out)
    assert ran(*data, "--preset", "lite", "--preset", second) == 0
    assert [name for name, _ in stand_in] == ["lite", str(second)]
    shown = capsys.readouterr().out
    rows = {line.split("|")[1].strip(): line for line in shown.splitlines() if line.startswith("|")}
    assert list(rows) == ["preset", "---", "lite", "second"]
    assert f"{100 * 5 / 7:.2f}" in rows["lite"]
    page = (out / "comparison.md").read_text()
    assert all(row in page for row in rows.values())
    assert "| data |" in page
    assert "| preset | `" not in page, "what differs is beside each"
    content = json.loads((out / "comparison.json").read_text())["presets"]
    for name in ("lite", "second"):
        assert name in content[name]["made_with"]["preset"]["name"]
        assert content[name]["result"] == json.loads((out / name / "result.json").read_text())["result"]
    assert ran(*data, "--preset", "lite", "--preset", "vitb16") == 2
    assert "weights are not here of vitb16" in capsys.readouterr().err
    assert ran(*data, "--preset", "lite", "--preset", "mini") == 2
    assert "preset mini needs depth" in capsys.readouterr().err
    assert len(stand_in) == 2, "nothing was loaded for these"


def test_dataset_writes_what_it_was_made_with_too(tree: Path, tmp_path: Path, stand_in, capsys) -> None:
    out = tmp_path / "out"
    assert ran("dataset", "folder", tree, "--out", out, "--device", "cpu") == 0
    content = json.loads((out / "result.json").read_text())
    assert content["result"]["pixel_accuracy"] == pytest.approx(5 / 7)
    assert content["result"]["unseen_miou"] == 1.0
    made = content["made_with"]
    assert {"command", "versions", "hardware", "preset", "weights", "options", "data"} <= set(made)
    assert len(made["preset"]["sha256"]) == len(made["data"]["sha256"]) == 64
    assert made["options"]["semantic"] == "soft"
    assert made["options"]["background"] == []
    text = (out / "result.md").read_text()
    assert "| green | 50.00 | 50.00 | 128 | 64 |  |" in text
    assert "| blue | 100.00 | 100.00 | 128 | 128 | unseen |" in text
    assert Image.open(out / "classes.png").size[0] > 500
    assert "mIoU 66.67" in capsys.readouterr().out
    assert stand_in == [("lite", {"device": "cpu", "weights_dir": None})]  # what auto is on a CPU
    assert made["preset"]["name"] == "lite"


def test_dataset_goes_on_where_it_was_stopped(
    tree: Path, tmp_path: Path, stand_in, monkeypatch, capsys
) -> None:
    out, data = tmp_path / "out", ("dataset", "folder", tree, "--preset", "lite", "--out", tmp_path / "out")
    assert ran(*data) == 0
    whole = json.loads((out / "result.json").read_text())["result"]
    lines = (out / "pictures.jsonl").read_text().splitlines(keepends=True)
    assert [json.loads(line).get("picture") for line in lines] == [None, "a", "b"]
    (out / "pictures.jsonl").write_text("".join(lines[:2]) + lines[2][:20])  # killed in the midst of a line
    loaded = []
    load = SegmentationDataset.load
    monkeypatch.setattr(SegmentationDataset, "load", lambda data, i: loaded.append(i) or load(data, i))
    assert ran(*data, "--resume") == 0
    assert loaded == [0, 1, 1], "all are looked at first, and the second is measured"
    again = json.loads((out / "result.json").read_text())["result"]
    assert {**again, "seconds_per_image": 0} == {**whole, "seconds_per_image": 0}
    assert ran(*data, "--resume", "--set", "max_masks=7") == 2
    assert "made with other settings" in capsys.readouterr().err
    loaded.clear()
    assert ran(*data) == 0
    assert loaded == [0, 1, 0, 1], "without --resume it begins anew"


def test_no_path_of_the_machine_is_written_but_those_typed(tree, tmp_path, stand_in, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["ovseg", "evaluate", "dataset", "folder", "squares", "--out", "out"])
    assert ran("dataset", "folder", "squares", "--out", "out") == 0
    for name in ("result.json", "result.md"):
        text = (tmp_path / "out" / name).read_text()
        assert str(tmp_path) not in text
        assert str(Path.home()) + "/" not in text
        assert "evaluate dataset folder squares --out out" in text


def test_rules_and_settings(tree: Path, tmp_path: Path, stand_in) -> None:
    out = tmp_path / "out"
    assert ran("dataset", "folder", tree, "--out", out, "--rules", "preset", "--set", "threshold=0.25") == 0
    options = json.loads((out / "result.json").read_text())["made_with"]["options"]
    assert (options["semantic"], options["threshold"], options["background"]) == ("binary", 0.25, ["dust"])
    for words in (["--rules", "x"], ["--set", "threshold"], ["--set", "threshold=2"], ["--set", "x=1"]):
        assert ran("dataset", "folder", tree, "--out", out, *words) == 2
    for words in (["--limit", "0"], ["--split", "test"], ["--names", "all"], ["--layout", "x"]):
        expected = 0 if words[0] == "--layout" else 2  # a folder of one's own has one layout
        assert ran("dataset", "folder", tree, "--out", out, *words) == expected


def test_pictures_that_fail_are_named_and_the_exit_code_says_so(tree, tmp_path, stand_in, capsys) -> None:
    write_image(tree / "annotations/validation/c.png", values((1, 1, 1, 1)))
    assert ran("dataset", "folder", tree, "--out", tmp_path / "out", "--partial") == 1
    assert "c.jpg is not there" in capsys.readouterr().err
    text = (tmp_path / "out/result.md").read_text()
    assert "**1 pictures could not be scored:**" in text
    for name in "ab":
        (tree / f"annotations/validation/{name}.png").unlink()
    assert ran("dataset", "folder", tree, "--out", tmp_path / "none", "--partial") == 2
    assert not (tmp_path / "none").exists()


class TestBeforeTheFirstPicture:
    """What can only fail is said before networks are loaded: the list of what was loaded stays empty."""

    def refused(self, capsys: pytest.CaptureFixture[str], words, *more) -> str:
        assert ran(*words, *more) == 2
        return capsys.readouterr().err

    @pytest.fixture(params=["dataset", "bottleneck", "sweep threshold"])
    def words(self, request, tree: Path, tmp_path: Path):
        return [*request.param.split(), "folder", tree, "--out", tmp_path / "out"]

    @pytest.mark.parametrize(
        ("path", "image", "said"),
        [
            ("annotations/validation/b.png", values((1, 2, 3, 0), side=8), "b.png is 8x8, its picture 16x16"),
            ("annotations/validation/b.png", values((1, 2, 4, 0)), "label values that no class has: 4"),
            ("annotations/validation/c.png", values((1, 2, 3, 0)), "c.jpg is not there"),
            ("instances/validation/a.png", values((1, 2, 3, 0)), "instance image 'b'"),
            ("depth/validation/a.png", values((9,) * 4, dtype=np.uint16), "expected depth of"),
        ],
    )
    def test_files_that_do_not_fit(self, words, tree, stand_in, capsys, path, image, said) -> None:
        write_image(tree / path, image)
        text = self.refused(capsys, words)
        assert said in text
        assert "1 of " in text
        assert "--partial" in text
        assert stand_in == []

    def test_where_results_go(self, words, tmp_path: Path, stand_in, capsys) -> None:
        (tmp_path / "out").write_text("")
        assert "expected --out as a folder" in self.refused(capsys, words)
        assert "is a file" in self.refused(capsys, [*words, "--out", tmp_path / "out/deeper/still"])
        assert stand_in == []

    def test_a_preset_that_needs_depth(self, words, tree: Path, stand_in, capsys) -> None:
        assert "lacks depth images" in self.refused(capsys, words, "--preset", "mini")
        for name in "ab":
            write_image(tree / f"depth/validation/{name}.png", values((9,) * 4, dtype=np.uint16))
        text = self.refused(capsys, words, "--preset", "mini")
        assert "lacks the camera's intrinsics (camera.json)" in text
        assert stand_in == []

    def test_words_of_the_command(self, tree: Path, tmp_path: Path, stand_in, capsys) -> None:
        out = [tree, "--out", tmp_path / "out"]
        for words, said in (
            (["dataset", "folder", *out, "--names", "all"], "--names"),
            (["bottleneck", "folder", *out, "--regions", "instance"], "with instances"),
            (["bottleneck", "folder", *out, "--masks", "own"], "expected masks of all, true"),
            (["sweep", "size", "folder", *out], "expected an option of"),
        ):
            assert said in self.refused(capsys, words)
        assert stand_in == []

    def test_pictures_that_are_not_turned_are_told(
        self, tree: Path, tmp_path: Path, stand_in, capsys
    ) -> None:
        exif = Image.Exif()
        exif[0x0112] = 3
        Image.fromarray(quarters(SAMPLES["a"][0])).save(tree / "images/validation/a.png", exif=exif)
        assert ran("dataset", "folder", tree, "--out", tmp_path / "out") == 0
        assert "1 of 2 pictures: pictures with an EXIF orientation are taken as" in capsys.readouterr().err
        result = json.loads((tmp_path / "out/result.json").read_text())["result"]
        assert result["pixel_accuracy"] == pytest.approx(5 / 7)  # as without


def test_oracle_masks_need_no_proposer(tree: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    """A preset whose proposals' weights are nowhere; its encoder comes with the package."""
    preset = tmp_path / "preset.yaml"
    preset.write_text(
        "description: x\nproposer: {kind: sam, model: vit_b, weights: nowhere.pth}\nencoder: {kind: mini}\n"
        "options: {background: []}\n"
    )
    words = ["bottleneck", "folder", tree, "--out", tmp_path / "out", "--preset", preset]
    assert ran(*words) == 2
    assert "nowhere.pth" in capsys.readouterr().err
    assert ran(*words, "--masks", "true") == 0
    content = json.loads((tmp_path / "out/bottleneck.json").read_text())
    assert list(content["variants"]) == ["oracle masks", "oracle masks, not blanked"]
    assert content["variants"]["oracle masks"]["unpredicted"] == 0.0
    assert "proposals" not in content["made_with"]["parameters"]


def test_score_runs_no_model(tree: Path, tmp_path: Path) -> None:
    for name, numbers in (("a", (0, 1, 2, 255)), ("b", (0, 0, 255, 2))):
        write_image(tmp_path / "p" / f"{name}.png", values(numbers))
    assert ran("score", "folder", tree, tmp_path / "p", "--out", tmp_path / "out") == 0
    content = json.loads((tmp_path / "out/result.json").read_text())
    assert content["result"]["pixel_accuracy"] == pytest.approx(5 / 7)
    assert "preset" not in content["made_with"]
    assert ran("score", "folder", tree, tmp_path / "q", "--out", tmp_path / "out") == 2


def test_bottleneck_and_sweep_write_their_figures(tree: Path, tmp_path: Path, stand_in) -> None:
    assert ran("bottleneck", "folder", tree, "--out", tmp_path, "--limit", "1") == 0
    content = json.loads((tmp_path / "bottleneck.json").read_text())
    assert content["variants"]["oracle masks"]["miou"] == 1.0
    assert content["variants"]["oracle masks"]["images"] == 1
    assert "| oracle masks, CLIP | 100.00 | 100.00 |" in (tmp_path / "bottleneck.md").read_text()
    assert ran("sweep", "threshold", "folder", tree, "--out", tmp_path, "--values", "0,0.5") == 0
    rows = json.loads((tmp_path / "sweep_threshold.json").read_text())["values"]
    assert [row["value"] for row in rows] == [0.0, 0.5]
    assert "| 0.5 | " in (tmp_path / "sweep_threshold.md").read_text()
    for name in ("bottleneck.png", "sweep_threshold.png"):
        assert np.array(Image.open(tmp_path / name).convert("L")).min() < 100
    assert ran("sweep", "threshold", "folder", tree, "--out", tmp_path, "--values", "a") == 2
    assert ran("sweep", "size", "folder", tree, "--out", tmp_path) == 2


def test_hashes_of_what_was_measured() -> None:
    import torch

    torch.manual_seed(0)
    network = torch.nn.Linear(3, 2)
    before = parameters_sha256(network)
    assert before == parameters_sha256(network)
    with torch.no_grad():
        network.bias[0] += 1
    assert parameters_sha256(network) != before
    half = torch.nn.Linear(3, 2).bfloat16()
    half.register_buffer("count", torch.tensor(3))  # no dimension, and a type NumPy has not
    assert len(parameters_sha256(half)) == 64
    made = made_with(command=["ovseg", "a b"], segmenter=segmenter())
    assert made["command"] == "ovseg 'a b'"
    assert made["parameters"] == {}


def test_a_generator_that_classifies_with_more_words_than_a_byte_has(tmp_path: Path) -> None:
    """The paper's system in small, from files: every variant and sweep over soft masks and 300 classes."""
    from tiny_presets import make_tiny_presets

    (tmp_path / "presets").mkdir()
    preset = make_tiny_presets(tmp_path / "presets")["ovseg_swin"]
    names = [f"thing {i}" for i in range(300)]
    tree = write_folder(tmp_path / "d", {"a": (("red", "green", "blue", ""), (0, 0, 0, 0))}, classes=names)
    write_image(tree / "images/validation/a.png", quarters(("red", "green", "blue", ""), side=64))
    numbers = values((1, 290, 300, 0), side=64, dtype=np.uint16)
    write_image(tree / "annotations/validation/a.png", numbers)
    words = ["folder", tree, "--preset", preset, "--out", tmp_path]
    assert ran("bottleneck", *words) == 0
    variants = json.loads((tmp_path / "bottleneck.json").read_text())["variants"]
    assert list(variants)[2:4] == ["maskformer", "ensemble"]
    assert variants["oracle masks"]["unpredicted"] == 0.0
    for option, given in (("clip_weight", "0,0.5,1"), ("mask_threshold", "0.4,0.6")):
        assert ran("sweep", option, *words, "--values", given) == 0
        content = json.loads((tmp_path / f"sweep_{option}.json").read_text())
        assert len(content["values"]) == given.count(",") + 1
        assert set(content["made_with"]["parameters"]) == {"encoder", "proposals"}
        assert len(content["made_with"]["weights"]) >= 3
    rows = json.loads((tmp_path / "sweep_clip_weight.json").read_text())["values"]
    assert rows[0]["pixel_accuracy"] == variants["maskformer"]["pixel_accuracy"]
    assert rows[-1]["pixel_accuracy"] == variants["clip"]["pixel_accuracy"]


@pytest.mark.parametrize("kind", ["owlv2", "sam3"])
def test_one_stage_stands_in_the_same_table(tree: Path, tmp_path: Path, kind: str) -> None:
    import tiny_presets

    preset = getattr(tiny_presets, f"write_{kind}")(tmp_path)
    words = ["folder", tree, "--preset", preset, "--out", tmp_path / "out"]
    assert ran("dataset", *words) == 0
    content = json.loads((tmp_path / "out" / "result.json").read_text())
    assert 0 <= content["result"]["miou"] <= 1
    assert content["made_with"]["options"]["classifier"] == "maskformer"
    assert set(content["made_with"]["parameters"]) == {"encoder", "proposals"}


@pytest.mark.parametrize("page", ["benchmarks.md", "datasets.md"])
def test_the_commands_of_the_documentation_are_commands(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines() if line.startswith("ovseg ")]
    assert len(lines) >= 3
    for line in lines:
        assert callable(_parser().parse_args(shlex.split(line, comments=True)[1:]).run)


def test_the_python_example_runs(tree: Path, tmp_path: Path, stand_in, monkeypatch, capsys) -> None:
    text = (ROOT / "docs/benchmarks.md").read_text()
    code = next(c for c in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "evaluate_dataset" in c)
    tree.rename(tmp_path / "my_data")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs/benchmarks.md", "exec"), {})
    assert capsys.readouterr().out.startswith("0.66")

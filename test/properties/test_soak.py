"""benchmark/soak_node: what it calls a breach and a leak, and a short run of every part."""

from __future__ import annotations

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from repository import ROOT

pytest.importorskip("rclpy", reason="rclpy is not installed")

sys.path[:0] = [str(ROOT / "benchmark")]
from soak_node.checks import Checks  # noqa: E402
from soak_node.process import Running, Sample  # noqa: E402
from soak_node.slopes import breaches, growth  # noqa: E402

SIZES = {(2, 3)}


def vocabulary(version=1, labels=("mug", "bowl"), ids=(0, 1), names=("mug", "bowl")):
    return SimpleNamespace(
        version=version, labels=[*labels], label_ids=[*ids], names_by_id=[*names], thresholds=[]
    )


def result(version=1, labels=("mug", "bowl"), ids=(0, 1), segments=(("mug", 0),), painted=(0, 255)):
    return SimpleNamespace(
        vocabulary_version=version,
        labels=[*labels],
        label_ids=[*ids],
        segments=[SimpleNamespace(label=label, label_id=number) for label, number in segments],
        label_image=SimpleNamespace(data=bytes(painted)),
        height=2,
        width=3,
    )


def test_right_results_are_no_breach():
    checks = Checks()
    checks.vocabulary(vocabulary())
    checks.segmentation(result(), SIZES)
    checks.segmentation(result(segments=(("", 255), ("bowl", 1))), SIZES)
    checks.vocabulary(vocabulary(2, ("bowl", "tray"), (1, 2), ("mug", "bowl", "tray")))
    checks.segmentation(result(), SIZES)  # was under way
    assert checks.breaches == []
    assert (checks.counts["results"], checks.counts["segments"]) == (3, 4)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (result(segments=(("tray", 2),)), "tray"),
        (result(segments=(("mug", 1),)), "'mug' with number 1"),
        (result(segments=(("mug", 255),)), "'mug' with number 255"),
        (result(labels=("mug", "tray")), "vocabulary 1 is"),
        (result(version=2, ids=(1, 0)), "number 1 meant 'bowl', now 'mug'"),
        (result(version=2, labels=("mug", "mug")), "vocabulary 2"),
        (result(painted=(7,)), "the label image has [7]"),
    ],
)
def test_a_wrong_name_is_a_breach(wrong, said):
    checks = Checks()
    checks.vocabulary(vocabulary())
    checks.segmentation(wrong, SIZES)
    assert any(said in sentence for sentence in checks.breaches), checks.breaches


def test_versions_never_go_back_but_in_another_process():
    checks = Checks()
    checks.vocabulary(vocabulary(5))
    checks.vocabulary(vocabulary(4))
    assert len(checks.breaches) == 1
    checks.forget()
    checks.vocabulary(vocabulary(0, (), (), ()))
    assert len(checks.breaches) == 1


def test_answers_that_contradict_themselves():
    empty = result(version=0, labels=(), ids=(), segments=(), painted=())
    empty.height = 0
    checks = Checks()
    for reply in (
        SimpleNamespace(code=77, message="x", segmentation=empty),
        SimpleNamespace(code=3, message="", segmentation=empty),
        SimpleNamespace(code=0, message="FOUND", segmentation=result(version=0, segments=())),
        SimpleNamespace(code=1, message="NOT_FOUND", segmentation=result(version=0)),
        SimpleNamespace(code=5, message="BUSY", segmentation=result()),
    ):
        before = checks.counts["breaches"]
        checks.segment_reply(reply, asked=[])
        assert checks.counts["breaches"] > before, reply
    checks.find_result(SimpleNamespace(code=0, message="x", segments=result().segments), ("tray",))
    assert "mug" in checks.breaches[-1]


def samples(per_hour: float, hours: float = 1.0) -> list[Sample]:
    noise = np.random.default_rng(0)
    at = np.arange(0, hours * 3600, 5.0)
    return [Sample(s, 1000 + per_hour * s / 3600 + noise.normal(0, 3), 20, 17) for s in at]


def test_a_leak_is_told_from_noise():
    assert growth(samples(0.0))["resident_mib"]["flat"] is True
    leak = growth(samples(60.0))
    assert leak["resident_mib"]["flat"] is False
    assert leak["resident_mib"]["growth_per_hour"] == pytest.approx(60, abs=8)
    assert len(breaches(leak, "the node")) == 1
    assert growth(samples(60.0, hours=0.2))["resident_mib"]["flat"] is None, "too short to judge"
    files = [Sample(s, 1000.0, 20 + int(s // 600), 17) for s in np.arange(0, 3600, 5.0)]
    assert growth(files)["files"]["flat"] is False


def test_a_process_is_sampled_and_ended(tmp_path):
    running = Running(tmp_path / "log", sys.executable, "-c", "print('here', flush=True); input()")
    assert running.wait(20) is not None, "stdin is empty"
    assert "here" in running.said
    assert running.sample() is None
    sleeper = Running(tmp_path / "log", sys.executable, "-c", "import time; time.sleep(60)")
    assert sleeper.sample().threads >= 1
    assert sleeper.said == "", "what another said is not its own"
    sleeper.kill()
    assert sleeper.code == -9


@pytest.mark.ros
@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("part", ["play", "walks", "signals"])
def test_each_part_runs_short(part, tmp_path):
    sizes = ["--minutes", "0.5", "--steps", "6", "--starts", "2", "--seed", "1"]
    command = [sys.executable, str(ROOT / "benchmark" / "soak_node"), "--parts", part, *sizes]
    ran = subprocess.run([*command, "--out", str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads((tmp_path / "report.json").read_text())["parts"][part]
    assert found["breaches"] == []
    if part == "play":
        assert found["results"] > 0
        assert (tmp_path / "play.png").stat().st_size > 10_000

"""A Ray cluster of two workers on loopback: the files of one process, whoever is killed meanwhile.

Ray runs in processes of its own, never in this one.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import many_driver
import numpy as np
import pytest
from evaluate_trees import write_folder
from pair_fixtures import boxes
from PIL import Image
from segment_fixtures import BLUE, GREEN, GREEN_BOX, RED, RED_BOX, picture, save, write_video

pytestmark = [
    pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed"),
    pytest.mark.timeout(600),  # each worker imports torch: some 40 s in all on two cores that are free
]

FIXTURES = Path(many_driver.__file__).parent
SQUARES = {"a": (("red", "green", "blue", ""), (1, 2, 3, 0)), "b": (("red", "red", "", "blue"), (1, 2, 1, 3))}
TOKEN = secrets.token_hex(32)
TIMES = {"ms", "median_ms", "started", "seconds", "seconds_per_image", "date", "date_created", "command"}
"""What two runs differ in, however they were made."""

MACHINE = {"torch_threads"}
"""Of the process that looked: the one of the tests has more threads."""


def environment() -> dict[str, str]:
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(FIXTURES)]),
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,  # nobody else on this machine can use the cluster, and none is made in HOME
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_worker_niceness": "0",  # on a machine that others keep busy workers would hardly run
    }


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two processors."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    folder = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # the paths of its sockets must be short
    port = address.split(":")[1]
    start = "start --head --block --num-cpus 2 --include-dashboard=false --disable-usage-stats "
    start += f"--object-store-memory=100000000 --port {port}"
    with subprocess.Popen(
        [sys.executable, "-m", "ray.scripts.scripts", *start.split(), f"--temp-dir={folder}"],
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as head:
        for line in head.stdout:
            if "Ray runtime started" in line:
                break
        yield address
        head.terminate()  # with --block it ends what it started
        head.communicate(timeout=60)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Inputs of the three commands, one of each kind that cannot be used among them."""
    folder = tmp_path_factory.mktemp("many")
    for i in range(70):
        save(folder / f"pictures/{i:03}.png", (RED_BOX, RED if i % 3 else BLUE), (GREEN_BOX, GREEN))
    black = picture()
    black[0, 0] = 0
    Image.fromarray(black).save(folder / "pictures/020.png")
    write_video(folder / "pictures.avi", [picture()] * 40)
    boxes(folder / "captioned", 70)
    (folder / "captioned/033.png").write_bytes(b"x")
    write_folder(folder / "squares", {f"{i:02}": SQUARES["ab"[i % 2]] for i in range(20)})
    (folder / "squares/images/validation/07.png").write_bytes(b"x")
    return folder


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, str(FIXTURES / "many_driver.py"), *arguments]
    return subprocess.Popen(command, cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Exit status, and what was said on stderr."""
    _, said = process.communicate(timeout=400)
    return process.returncode, said


def once(process: subprocess.Popen[str], there: Callable[[], Any]) -> Any:
    """What `there` gives as soon as it gives something."""
    for _ in range(12000):
        if found := there():
            return found
        if process.poll() is not None:
            break
        time.sleep(0.01)
    process.kill()
    raise AssertionError(f"it did not come to that: {process.communicate()[1]}")


def contents(folder: Path) -> dict[str, Any]:
    """File -> its bytes; of JSON without what two runs always differ in."""
    found: dict[str, Any] = {}
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        name = file.relative_to(folder).as_posix()
        if file.suffix == ".jsonl":
            found[name] = [bare(json.loads(line)) for line in file.read_text().splitlines()]
        elif file.suffix == ".json":
            found[name] = bare(json.loads(file.read_text()))
        elif file.suffix == ".md":
            found[name] = ""  # the JSON beside it in words, times and all
        else:
            found[name] = file.read_bytes()
    return found


def bare(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: bare(one) for key, one in value.items() if key not in TIMES | MACHINE}
    return [bare(one) for one in value] if isinstance(value, list) else value


def test_the_files_are_those_of_one_process_also_where_a_worker_is_killed(cluster: str, inputs: Path) -> None:
    ray = ("--ray", cluster)
    told = inputs / many_driver.TOLD
    told.touch()
    many = started(
        inputs,
        *("segment", "pictures", "many/segment", *ray, "+"),
        *("segment", "pictures.avi", "many/video", *ray, "+"),
        *("pairs", "captioned", "many/pairs", *ray, "+", "evaluate", "squares", "many/evaluate", *ray),
    )
    lines = once(many, lambda: told.read_text().splitlines()[5:])
    os.kill(int(lines[0]), signal.SIGKILL)  # in the midst of a shard
    status, said = ended(many)
    told.unlink()
    assert (status, "per second" in said) == (1, True), said
    assert len({*lines}) <= 2
    before = os.getcwd()
    os.chdir(inputs)  # paths are written as they are typed
    try:
        for kind, name in (("segment", "pictures"), ("pairs", "captioned"), ("evaluate", "squares")):
            assert many_driver.main([kind, name, f"one/{kind}"]) == 1, "one input of each cannot be used"
        assert many_driver.main(["segment", "pictures.avi", "one/video"]) == 0
    finally:
        os.chdir(before)
    for name in ("segment", "video", "pairs", "evaluate"):
        one, other = contents(inputs / "one" / name), contents(inputs / "many" / name)
        assert list(one) == list(other)
        for file, content in one.items():
            assert other[file] == content, f"{name}/{file}"
    for failed in ("pictures/020.png: black corner", "033: ", "07: "):
        assert failed in said


def test_a_killed_command_goes_on_where_it_stopped(cluster: str, inputs: Path) -> None:
    (inputs / many_driver.TOLD).touch()
    run = ("segment", "pictures", "again", "--ray", cluster)
    first = started(inputs, *run)
    journal = inputs / "again/frames.jsonl"
    once(first, lambda: journal.exists() and len(journal.read_text().splitlines()) > 16)
    first.kill()
    ended(first)
    (inputs / many_driver.TOLD).unlink()
    status, said = ended(started(inputs, *run, "--resume"))
    assert status == 1, said
    kept = int(re.search(r"\((\d+) of them from an earlier run\)", said).group(1))
    assert 16 <= kept < 69
    frames = [json.loads(line) for line in journal.read_text().splitlines()[1:]]
    assert [frame["name"] for frame in frames] == [f"{i:03}" for i in range(70) if i != 20]
    assert json.loads((inputs / "again/summary.json").read_text())["frames"]["kept"] == kept


def test_pictures_that_kill_their_worker_each_time_are_named(cluster: str, inputs: Path) -> None:
    folder = inputs / "deadly"
    for i in range(20):
        save(folder / f"{i:02}.png")
    image = np.asarray(Image.open(folder / "18.png")).copy()
    image[-1, -1] = many_driver.DEADLY
    Image.fromarray(image).save(folder / "18.png")
    status, said = ended(started(inputs, "segment", "deadly", "out", "--ray", cluster, "--ray-workers", "1"))
    assert status == 1, said
    summary = json.loads((inputs / "out/summary.json").read_text())
    assert summary["frames"] == {"segmented": 16, "kept": 0, "failed": 4}
    assert [failure["source"] for failure in summary["failures"]] == [
        f"deadly/{i}.png" for i in range(16, 20)
    ]
    assert "the worker died each of 2 times" in summary["failures"][0]["reason"]

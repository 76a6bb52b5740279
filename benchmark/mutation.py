"""Does a test notice when the method is wrong? Small faults go into `core`, one by one, and its tests run.

    scripts/env.sh python benchmark/mutation.py                    a sample of 400 faults; out/mutation/
    scripts/env.sh python benchmark/mutation.py --sample 100 --only trust/ --seed 3
    scripts/env.sh python benchmark/mutation.py --all              every fault: some hours

A fault ("mutant") is one changed token of meaning: a comparison, a sign, an operator, a number, a condition,
a boolean, a `return`, an argument's default. It counts as killed where a test fails, breaks off or takes
longer than the limit, and as survived where all tests that reach the line pass. What no test reaches has
survived.
Messages, docstrings, annotations and logging are left alone: nobody's result depends on them.

Each fault runs in a process that is forked after torch was imported, with the mutated module in the place of
the file's, so that the sources are never touched. Ends with 1 where fewer than `--least` percent are killed.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import importlib.machinery
import json
import math
import os
import random
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import coverage
import pytest
import torch
from tqdm import tqdm

sys.path[:0] = [str(Path(__file__).resolve().parent)]

from mutation_faults import ROOT, Mutant, mutants_of, mutated  # noqa: E402

CORE = ROOT / "ovseg_ros" / "core"
TESTS = ("test/core", "test/properties")


class Recorder:
    """A pytest plugin: which test reaches which line of `core`."""

    def __init__(self, measured: coverage.Coverage) -> None:
        self._measured = measured

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Names the context after the test."""
        self._measured.switch_context(item.nodeid)
        yield
        self._measured.switch_context("")


class Chosen:
    """A pytest plugin: only these tests, those of the file's own name first."""

    def __init__(self, nodes: set[str], stem: str) -> None:
        self._nodes, self._stem = nodes, stem

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leaves the others out."""
        kept = [item for item in items if item.nodeid in self._nodes]
        items[:] = sorted(kept, key=lambda item: self._stem not in item.path.stem)


def in_child(work: Callable[[], int], limit_s: float) -> int | None:
    """The exit status of what runs in a forked process without output; None: it took too long."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            os.setpgid(0, 0)
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            status = work()
        finally:
            os._exit(status)
    end = time.monotonic() + limit_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def run_tests(arguments: Sequence[str], plugins: Sequence[object]) -> int:
    """Pytest's exit status."""
    quiet = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", "--no-header", "--tb=no"]
    return int(pytest.main([*quiet, *arguments], plugins=list(plugins)))


def reached_lines(data_file: Path, tests: Sequence[str]) -> dict[str, dict[int, set[str]]]:
    """For each file of core and each line the tests that reach it.

    Raises:
        SystemExit: the tests fail without a fault in them.
    """

    def record() -> int:
        measured = coverage.Coverage(
            data_file=str(data_file), data_suffix=False, config_file=False, include=[f"{CORE}/*"]
        )
        measured.start()
        status = run_tests([test for test in tests if (ROOT / test).exists()], [Recorder(measured)])
        measured.stop()
        measured.save()
        imported.write_text("\n".join(sys.modules), encoding="utf-8")
        return status

    imported = data_file.with_name("modules.txt")
    status = in_child(record, 3600)
    if status != 0:
        raise SystemExit(f"the tests do not pass as they are (pytest: {status}); mend them first")
    import_once(imported.read_text(encoding="utf-8").split())
    data = coverage.CoverageData(str(data_file))
    data.read()
    reached: dict[str, dict[int, set[str]]] = {}
    for name in data.measured_files():
        lines = data.contexts_by_lineno(name)
        path = str(Path(name).resolve().relative_to(ROOT))
        reached[path] = {line: {test for test in found if test} for line, found in lines.items()}
    if not any(reached.values()):
        raise SystemExit(f"{data_file} says of no line that a test reaches it: nothing could be judged")
    return reached


def import_once(names: Sequence[str]) -> None:
    """Imports here what the tests need of other packages, so that not every child has to; nothing of ours."""
    for name in names:
        top = name.split(".")[0]
        installed = any((Path(path) / top).is_dir() for path in sys.path if path.endswith("site-packages"))
        if installed and top not in ("ovseg_ros", "_pytest", "pytest", "coverage"):
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def tests_of(mutant: Mutant, reached: dict[str, dict[int, set[str]]]) -> set[str]:
    """The tests that reach it; those of all lines where its line runs at import, in no test."""
    lines = reached.get(mutant.path, {})
    at_line = lines.get(mutant.line, set())
    if at_line or mutant.line not in lines:
        return at_line
    return set().union(*lines.values())


def outcome(mutant: Mutant, tests: set[str], limit_s: float) -> str:
    """killed, survived, slow (over the limit: killed too) or unreached."""
    if not tests:
        return "unreached"
    target = (ROOT / mutant.path).resolve()

    def work() -> int:
        tree = mutated(mutant)
        loader = importlib.machinery.SourceFileLoader
        plain = loader.get_code

        def get_code(self: Any, name: str) -> Any:
            if Path(self.path).resolve() == target:
                return compile(tree, self.path, "exec")
            return plain(self, name)

        loader.get_code = get_code  # type: ignore[method-assign]
        files = sorted({node.split("::")[0] for node in tests})
        return run_tests(files, [Chosen(tests, target.stem)])

    status = in_child(work, limit_s)
    return "slow" if status is None else "survived" if status == 0 else "killed"


def sample_of(every: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """So many of them, drawn without regard to anything."""
    drawn = random.Random(seed).sample(list(every), min(count, len(every)))
    return sorted(drawn, key=lambda mutant: (mutant.path, mutant.number))


def interval(killed: int, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share, in percent."""
    if not count:
        return 0.0, 100.0
    share, z = killed / count, 1.96
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 100 / (1 + z * z / count)
    return (middle - spread) * scale, (middle + spread) * scale


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs it; 1 where too few faults are noticed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sample", type=int, default=400, help="so many faults (default: 400)")
    parser.add_argument("--all", action="store_true", help="every fault")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: 0)")
    parser.add_argument("--only", default="", help="files of core whose path holds this")
    parser.add_argument("--limit", type=float, default=120, help="seconds per fault (default: 120)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time (default: cores)")
    parser.add_argument("--least", type=float, default=80.0, help="percent that must be killed (default: 80)")
    parser.add_argument("--tests", nargs="+", default=TESTS, help=f"default: {' '.join(TESTS)}")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "mutation")
    options = parser.parse_args(arguments)
    os.chdir(ROOT)
    os.environ["PYTEST_ADDOPTS"] = ""
    torch.set_num_threads(1)  # before the forks: threads do not survive them
    options.out.mkdir(parents=True, exist_ok=True)
    files = [path for path in sorted(CORE.rglob("*.py")) if options.only in str(path.relative_to(CORE))]
    every = [mutant for path in files for mutant in mutants_of(path)]
    mutants = every if options.all else sample_of(every, options.sample, options.seed)
    print(
        f"{len(every)} faults are possible, {len(mutants)} are tried; first the tests as they are", flush=True
    )
    reached = reached_lines(options.out / ".coverage", options.tests)
    results: list[dict[str, Any]] = []
    for path in sorted({mutant.path for mutant in mutants})[:1]:  # the road itself must not fail any test
        without = Mutant(path, next(iter(reached.get(path, {1: set()}))), "nothing", -1)
        if (said := outcome(without, tests_of(without, reached), options.limit)) not in (
            "survived",
            "unreached",
        ):
            raise SystemExit(
                f"without a fault the tests of {path} are {said}: what follows would mean nothing"
            )

    def one(mutant: Mutant) -> dict[str, Any]:
        return {**vars(mutant), "outcome": outcome(mutant, tests_of(mutant, reached), options.limit)}

    with ThreadPoolExecutor(options.jobs) as pool:
        for result in tqdm(pool.map(one, mutants), total=len(mutants), unit="fault"):
            results.append(result)
    return report(results, len(every), options)


def report(results: Sequence[dict[str, Any]], possible: int, options: argparse.Namespace) -> int:
    """Writes and prints what was found."""
    killed = sum(result["outcome"] in ("killed", "slow") for result in results)
    low, high = interval(killed, len(results))
    share = 100 * killed / max(len(results), 1)
    folders: dict[str, list[bool]] = defaultdict(list)
    for result in results:
        folder = str(Path(result["path"]).relative_to("ovseg_ros/core").parent)
        folders[folder].append(result["outcome"] in ("killed", "slow"))
    for folder, found in sorted(folders.items()):
        print(f"  {folder:<12} {sum(found):>4} of {len(found):>4} killed")
    for result in results:
        if result["outcome"] in ("survived", "unreached"):
            print(f"  {result['outcome']}: {result['path']}:{result['line']}: {result['change']}")
    print(
        f"{share:.1f} % of {len(results)} faults killed (95 % interval of all {possible}: "
        f"{low:.1f} to {high:.1f})"
    )
    written = {"seed": options.seed, "possible": possible, "killed_percent": share, "faults": list(results)}
    (options.out / "report.json").write_text(json.dumps(written, indent=1) + "\n", encoding="utf-8")
    return int(share < options.least)


if __name__ == "__main__":
    sys.exit(main())

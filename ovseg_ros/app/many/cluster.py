"""A job on a Ray cluster: one actor per worker, which Ray starts again when its process or machine dies.

What goes over the network: the job once to each worker, shards as names of files, outcomes back. Workers read
the inputs themselves, so these lie where all machines see them under the same path.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ovseg_ros import __version__
from ovseg_ros.app.many.job import Job, Work
from ovseg_ros.errors import ConfigError, OvsegError, install_cure

TRIES = 3
"""How often a shard is tried again whose worker died."""

AHEAD = 4
"""How many shards per worker may be done or in work before those ahead of them are written."""


class _Worker:
    """What runs on the other machines; Ray makes an actor of it.

    Job and what is kept come as lists with a reference, which Ray does not follow by itself: they are fetched
    once, not with each shard, and by a worker that starts again wherever it does.
    """

    def __init__(self, version: str, folder: str) -> None:
        self._version, self._folder = version, folder
        self._work: Work | None = None
        self._kept: tuple[Any, Any] = (None, None)

    def ready(self, job: list[Any]) -> None:
        """Opens the work; whatever is wrong with this machine is raised here, not by the constructor."""
        self._opened(job)

    def about(self, job: list[Any]) -> Any:
        return self._opened(job).about()

    def do(self, job: list[Any], shard: Any, kept: list[Any]) -> list[Any]:
        work = self._opened(job)
        if self._kept[0] != kept[0]:
            self._kept = kept[0], _fetched(kept)
        return list(work.do(shard, self._kept[1]))

    def _opened(self, job: list[Any]) -> Work:
        if self._work is None:  # the first time, and after a restart
            if __version__ != self._version:
                raise ConfigError(
                    f"expected ovseg_ros {self._version} on every machine, one has {__version__}"
                )
            try:
                os.chdir(self._folder)  # relative paths mean what they mean where the command was typed
            except OSError as error:
                raise ConfigError(
                    f"expected the folder {self._folder} on every machine, one has none: --ray reads its "
                    "inputs from storage that all machines share under the same path"
                ) from error
            self._work = _fetched(job)()
        return self._work


def _fetched(reference: list[Any]) -> Any:
    import ray

    return ray.get(reference[0])


class Cluster:
    """See `Crew`."""

    def __init__(self, job: Job, address: str, workers: int | None, *, device: str = "auto") -> None:
        """Asks the cluster for workers; they load while the command goes on.

        Args:
            job: what they do.
            address: "auto" or HOST:PORT.
            workers: at most; None: one per GPU, or one per processor where there is no GPU.
            device: where the networks run; "cpu" leaves GPUs to others.

        Raises:
            ConfigError: no Ray, no such cluster, a device that Ray does not hand out, no worker.
        """
        if ":" in device:
            raise ConfigError(f"--ray hands out the GPUs: expected --device auto, cpu or cuda, got {device}")
        if workers is not None and workers < 1:
            raise ConfigError(f"expected --ray-workers at least 1, got {workers}")
        ray = self._ray = connected(address)
        self.workers, share = _shares(ray.cluster_resources(), workers, device)
        actor = ray.remote(_Worker).options(max_restarts=-1, max_task_retries=TRIES, **share)
        self._job = [ray.put(job)]
        self._actors = [actor.remote(__version__, str(Path.cwd())) for _ in range(self.workers)]
        self._starting = {one.ready.remote(self._job): one for one in self._actors}
        self._idle: list[Any] = []
        self._running: dict[Any, tuple[int, Any]] = {}  # answer to come -> number of the shard, worker
        machines = sum(node["Alive"] for node in ray.nodes())
        print(
            f"ovseg: Ray: up to {self.workers} workers on {machines} machine{'' if machines == 1 else 's'}",
            file=sys.stderr,
            flush=True,
        )

    @property
    def starting(self) -> int:
        """How many workers have not loaded their networks yet, or have no place in the cluster."""
        return len(self._starting)

    def about(self) -> Any:
        """See `Crew`: of the worker that is ready first."""
        self._wait(None)
        return self._get(self._idle[0].about.remote(self._job))

    def do(
        self, shards: Iterable[Any], kept: Any, lost: Callable[[Any, str], Iterable[Any]]
    ) -> Iterator[Any]:
        """See `Crew`: shards are handed out in order, and outcomes wait until it is their turn."""
        row = _Row(enumerate(shards), most_ahead=AHEAD * self.workers)
        known = [self._ray.put(kept)]
        while True:
            while (
                self._idle and (number := row.next([held for held, _ in self._running.values()])) is not None
            ):
                worker = self._idle.pop(0)
                self._running[worker.do.remote(self._job, row.open[number], known)] = number, worker
            if row.turn in row.done:
                self._settle(row, lost, 0)  # who is free meanwhile need not wait until this is written
                yield from row.take()
            elif row.is_over:
                return
            else:
                self._settle(row, lost, None)

    def close(self) -> None:
        """Lets the workers go, at once or when they are done; the cluster stays as it was found."""
        for of_workers in (self._actors, self._idle, self._running, self._starting):
            of_workers.clear()  # Ray ends an actor that nobody can call any more

    def _settle(self, row: _Row, lost: Callable[[Any, str], Iterable[Any]], timeout_s: float | None) -> None:
        """Notes the outcomes of shards that are done."""
        for answer, number in self._wait(timeout_s):
            if number not in row.open:
                continue  # another worker was faster
            try:
                row.settle(number, self._get(answer))
            except _Died as error:
                if number not in [held for held, _ in self._running.values()]:
                    row.settle(number, lost(row.open[number], str(error)))

    def _wait(self, timeout_s: float | None) -> list[tuple[Any, int]]:
        """Waits for an answer to a shard, or for a worker that is ready; who is free is idle then."""
        ready, _ = self._ray.wait([*self._running, *self._starting], timeout=timeout_s)
        answers = []
        for one in ready:
            if one in self._starting:
                worker = self._starting.pop(one)
                self._get(one)
            else:
                number, worker = self._running.pop(one)
                answers.append((one, number))
            self._idle.append(worker)
        return answers

    def _get(self, answer: Any) -> Any:
        """The answer of a worker; what it raised is raised here as it was."""
        errors = self._ray.exceptions
        try:
            return self._ray.get(answer)
        except errors.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, OvsegError) else error from error
        except (errors.RayActorError, errors.ObjectLostError) as error:
            said = " ".join(str(error).split())[:400]
            raise _Died(f"the worker died each of {TRIES + 1} times this was tried: {said}") from error


class _Row:
    """Shards on their way: not yet handed out, handed out, done, and whose turn it is.

    Attributes:
        open: number -> shard that was handed out and has no outcomes yet.
        done: number -> outcomes that wait for their turn.
        turn: the number whose outcomes come next.
        is_over: no shard is left that has not been taken.
    """

    def __init__(self, left: Iterator[tuple[int, Any]], *, most_ahead: int) -> None:
        self._left, self._most_ahead, self._newest = left, most_ahead, -1
        self.open: dict[int, Any] = {}
        self.done: dict[int, Iterable[Any]] = {}
        self.turn = 0
        self._is_last = False  # whether the newest is known to be the last

    @property
    def is_over(self) -> bool:
        return self._is_last and not self.open and not self.done

    def next(self, held: Sequence[int]) -> int | None:
        """The shard to hand out now, None where there is nothing to do but wait.

        Where no new one may be begun, that is one which a single worker holds: its machine may be gone for
        good. Which of the two is done first does not matter, their outcomes are equal.

        Args:
            held: the numbers that workers are at.
        """
        if self._newest < self.turn + self._most_ahead and not self._is_last:
            if (new := next(self._left, None)) is not None:
                self._newest, self.open[new[0]] = new
                return self._newest
            self._is_last = True
        return next((number for number in self.open if held.count(number) < 2), None)

    def settle(self, number: int, outcomes: Iterable[Any]) -> None:
        self.done[number] = outcomes
        del self.open[number]

    def take(self) -> Iterable[Any]:
        """The outcomes whose turn it is."""
        self.turn += 1
        return self.done.pop(self.turn - 1)


class _Died(OvsegError):
    """A worker that cannot be had, or died too often on one shard."""


def connected(address: str) -> Any:
    """Ray, connected to a cluster; one that is connected already stays so.

    Raises:
        ConfigError: Ray is not installed, or there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read at import: nothing is sent to anybody
    try:
        import ray
    except ModuleNotFoundError as error:
        raise ConfigError(f"--ray needs Ray, which is not installed here; {install_cure('ray')}") from error
    if ray.is_initialized():
        return ray
    if "://" in address:
        raise ConfigError(
            f"expected --ray auto or HOST:PORT, got {address}: run the command on a machine of the "
            f"cluster, as "
            "`ray job submit` does"
        )
    where = {} if address == "auto" else {"address": address}
    try:
        ray.init(**where, include_dashboard=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(f"no Ray cluster answers at {address}: {error}") from error
    return ray


def _shares(there: dict[str, float], wanted: int | None, device: str) -> tuple[int, dict[str, float]]:
    """How many workers, and what each of them holds of the cluster.

    Raises:
        ConfigError: neither processors nor GPUs.
    """
    gpus = 0 if device == "cpu" else int(there.get("GPU", 0))
    if device == "cuda" and not gpus:
        raise ConfigError("expected --device cuda on a cluster with GPUs, Ray knows of none")
    workers = wanted or gpus or int(there.get("CPU", 0))
    if not workers:
        raise ConfigError("the Ray cluster has no processor to work on")
    gpu = 1 / math.ceil(workers / gpus) if gpus else 0
    return workers, {"num_cpus": 1, "num_gpus": gpu}

"""What a command that can run on many machines consists of, and the one process that does it without Ray.

A command makes shards of its inputs, in order. A `Work` turns a shard into outcomes, one after the other; it
holds the networks, and writes nothing. The command takes the outcomes in the order of the shards and alone
writes files, so the files do not depend on how many workers there are, and a second start goes on from them.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol


class Work(Protocol):
    """What one worker holds."""

    def about(self) -> Any:
        """What the command has to know of it, such as hashes of its networks; can be pickled."""
        ...

    def do(self, shard: Any, kept: Any) -> Iterator[Any]:
        """What becomes of a shard, input by input; each can be pickled.

        Args:
            shard: of the command's inputs.
            kept: what an earlier run has done, in the command's own form.
        """
        ...


Job = Callable[[], Work]
"""Opens the work: loads what it needs, once per worker. It can be pickled, and so can what it holds."""


class Crew(Protocol):
    """One or many workers."""

    def about(self) -> Any:
        """See `Work.about`; that of one of them."""
        ...

    def do(
        self, shards: Iterable[Any], kept: Any, lost: Callable[[Any, str], Iterable[Any]]
    ) -> Iterator[Any]:
        """The outcomes of all shards, in their order.

        Args:
            shards: of the command's inputs; taken as they are needed.
            kept: see `Work.do`.
            lost: the outcomes of a shard whose worker died each time it was tried, and why.
        """
        ...


class Here:
    """This process."""

    workers = 1

    def __init__(self, job: Job) -> None:
        """Loads what the job needs.

        Raises:
            OvsegError: see the job.
        """
        self._work = job()

    def about(self) -> Any:
        """See `Crew`."""
        return self._work.about()

    def do(
        self, shards: Iterable[Any], kept: Any, lost: Callable[[Any, str], Iterable[Any]]
    ) -> Iterator[Any]:
        """See `Crew`: one outcome is in memory at a time."""
        for shard in shards:
            yield from self._work.do(shard, kept)


@contextlib.contextmanager
def crew_of(options: argparse.Namespace, job: Job) -> Iterator[Crew]:
    """The workers that a command line asks for, as long as they are needed.

    Args:
        options: with what `add_ray` adds, and `device`.
        job: what they do.

    Raises:
        ConfigError: --ray without Ray, a cluster that cannot be reached, or a device it cannot hand out.
        OvsegError: see the job.
    """
    if options.ray is None:
        yield Here(job)
        return
    from ovseg_ros.app.many.cluster import Cluster

    cluster = Cluster(job, options.ray, options.ray_workers, device=options.device)
    try:
        yield cluster
    finally:
        cluster.close()

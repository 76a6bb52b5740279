"""A network on images in another runtime: a program for each shape, held against torch before use."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from ovseg_ros.core.device import Network, Precision
from ovseg_ros.core.engines.job import Job, Store
from ovseg_ros.core.engines.runtime import Runtime, choose_runtime, run_elsewhere

_LOG = logging.getLogger(__name__)
_SIZES = 4  # shapes of images for which a program is kept
A_CAMERA = 8
"""Images of one shape from which on runtime "auto" makes one: of pictures each is another's."""


class Report(Protocol):
    """How a program's answers agree with torch's; says its figures as a string."""

    @property
    def agrees(self) -> bool:
        """Whether well enough to be used."""


Check = Callable[[Network, Job], Report]


class Programs:
    """What another runtime makes of a network whose input is one image, (1, C, h, w) float32.

    Several threads may ask at once; one of them makes a program, the others wait for it.

    Attributes:
        what: the network is, for the log.
        runtime: what runs the network: the one chosen, or "torch" where that cannot run it or disagreed.
        precision: what the programs compute in.
        reports: how the program for each shape agreed, in the order they were made.
    """

    def __init__(
        self,
        what: str,
        module: Callable[[], nn.Module],
        check: Check,
        *,
        runtime: str,
        precision: Precision,
        device: torch.device,
        store: Store | None = None,
    ) -> None:
        """Makes no program yet, and with runtime "torch" never does.

        Args:
            what: the network is.
            module: gives the network, in evaluation mode, on the device, when a program is made.
            check: compares a program with torch in float32.
            runtime: one of `RUNTIMES`; one that cannot be had gives way to torch, with a warning.
            precision: see `Job`.
            device: where the images are.
            store: see `run_elsewhere`.
        """
        self.what, self.precision = what, precision
        self.runtime: Runtime = choose_runtime(runtime, device, what)
        self.reports: dict[torch.Size, Report] = {}
        self._waits = runtime == "auto"
        self._module, self._check, self._device, self._store = module, check, device, store
        self._made: dict[torch.Size, Network] = {}
        self._seen: dict[torch.Size, int] = {}
        self._alone = threading.Lock()

    def prepare(self, shape: torch.Size) -> Network | None:
        """The program for images of that shape, made now if it is not there; None where torch runs them."""
        with self._alone:
            self._seen[shape] = A_CAMERA
        return self.of(shape)

    def of(self, shape: torch.Size) -> Network | None:
        """The program for an image of that shape; None where torch is to run the network on it.

        Under "auto" it is made for the eighth image of a shape, or by `prepare`; else for the first.
        """
        with self._alone:
            if self.runtime == "torch":
                return None
            if shape in self._made:
                return self._made[shape]
            if len(self._seen) > 64 * _SIZES:  # a folder of pictures, each of a shape of its own
                self._seen.clear()
            self._seen[shape] = self._seen.get(shape, 0) + 1
            if self._waits and self._seen[shape] < A_CAMERA:
                return None
            return self._make(shape)

    def _make(self, shape: torch.Size) -> Network | None:
        example = (torch.zeros(shape, device=self._device),)
        job = Job(self._module(), example, self.precision, self._device, torch.get_num_threads(), rows=False)
        program = run_elsewhere(self.runtime, job, self._store, self.what)
        if program is None or not self._trusted(program, job):
            self.runtime = "torch"
            self._made.clear()
            return None
        while len(self._made) >= _SIZES:
            del self._made[next(iter(self._made))]
        self._made[shape] = program
        return program

    def _trusted(self, program: Network, job: Job) -> bool:
        """Whether it gives what torch in float32 gives."""
        self.reports[job.example[0].shape] = report = self._check(program, job)
        if report.agrees:
            _LOG.info("%s by %s: %s", self.what, self.runtime, report)
        else:
            _LOG.warning("%s stays with torch: %s", self.what, report)
        return report.agrees


def precision_elsewhere(asked: str, here: Precision, device: torch.device) -> Precision:
    """What a proposal network computes in by another runtime.

    Args:
        asked: the option; "auto" is float32 on a CPU, where programs in float32 are fast and their masks
            torch's, while those in bf16 are refused: a mask ends where a logit changes its sign.
        here: what `asked` means in torch.
        device: where the network is.
    """
    return "fp32" if asked == "auto" and device.type == "cpu" else here

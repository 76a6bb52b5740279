"""A network run by OpenVINO instead of torch: on CPUs, the same figures in less time.

OpenVINO reads the network as torch traces it, so nothing is exported to a file, and folds, fuses and lays
out what torch computes layer by layer. It is told the shape of a single row: regions are independent, so
each goes through by itself, as many at once as there are threads, and a frame with another number of masks
needs no other program.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import torch

from ovseg_ros.core.device import Network
from ovseg_ros.core.engines.job import Job, Store, fingerprint

PACKAGE = "openvino"
_LOG = logging.getLogger(__name__)
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
_TRACING, _STARTING = threading.Lock(), threading.Lock()
_CORES: list[Any] = []  # one, from the first network on


def openvino_network(job: Job, store: Store | None = None) -> Network:
    """The network as a program of OpenVINO's, made in memory.

    Args:
        job: see there; its module is on the CPU and not changed.
        store: keeps the compiled program, which is this processor's and this OpenVINO's.

    Returns:
        See `run_elsewhere`. Calls from several threads wait for each other.

    Raises:
        RuntimeError, ValueError …: whatever torch and OpenVINO raise where they cannot read the network.
    """
    openvino = _import()
    streams = job.threads if job.rows else 1
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[job.precision],  # or else it takes bf16 wherever there is any
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": streams,
    }
    queue = openvino.AsyncInferQueue(_compiled(openvino, job, settings, store), streams)
    alone = threading.Lock()

    def run(*inputs: torch.Tensor) -> Any:
        rows: list[list[torch.Tensor]] = [[]] * len(inputs[0])

        def done(request: Any, given: tuple[int, Any]) -> None:
            number, _ = given
            rows[number] = [torch.from_numpy(part.data.copy()) for part in request.output_tensors]  # (1,...)

        arrays = [part.detach().float().contiguous().numpy() for part in inputs]
        with alone:
            queue.set_callback(done)
            try:
                for number in range(len(rows)):
                    row = [array[number : number + 1] for array in arrays]
                    # OpenVINO reads the arrays where they are and does not hold them: as userdata they stay.
                    queue.start_async(row, userdata=(number, row), share_inputs=True)
            finally:  # Ctrl+C too leaves none at work, which the next call would find busy
                queue.wait_all()
        found = tuple(torch.cat(parts) for parts in zip(*rows, strict=True))
        return found if len(found) > 1 else found[0]

    return run


def version() -> tuple[object, ...]:
    """Of OpenVINO, and of the processor as it sees it: what a program of a network's depends on besides."""
    openvino, core = _import(), _core()
    processor = core.get_property("CPU", "FULL_DEVICE_NAME")
    return openvino.__version__, processor, sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _compiled(openvino: Any, job: Job, settings: dict[str, Any], store: Store | None) -> Any:
    """The program, from the store where it has it."""
    core, name = _core(), ""
    if store is not None:
        name = fingerprint(job, *version(), sorted(settings.items())) + ".openvino"
        if (kept := store.read(name)) is not None:
            try:
                return core.import_model(kept, "CPU", settings)
            except RuntimeError as error:
                _LOG.info("a kept program of OpenVINO's is made anew: %s", str(error).splitlines()[0])
    with _own_classes(), warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's tracer, that shapes become constants: they shall
        # Once: torch's own check would trace again to compare, and agreement is checked on more.
        traced = torch.jit.trace(job.module, job.example, strict=False, check_trace=False)
        shapes = [part.shape for part in job.example]
        model = openvino.convert_model(traced, example_input=job.example, input=shapes)
        del traced
    compiled = core.compile_model(model, "CPU", settings)
    if store is not None:
        store.write(name, compiled.export_model().getvalue())
    return compiled


@contextlib.contextmanager
def _own_classes() -> Iterator[None]:
    """A place of its own for the classes that torch's tracer makes of each module, with their constants.

    Torch has one place for those of the whole process and keeps them for good. Nothing may be cleared there:
    what another thread traces, and every other TorchScript module, would be left with methods that are gone,
    and whoever touches them ends the process with a segmentation fault. A place of its own goes when nothing
    made there is left. One thread at a time; what others trace meanwhile holds on to where it was made.
    """
    with _TRACING:
        try:  # torch's own business, which may go by another name one day: then it keeps them
            state, recursive = torch.jit._state, torch.jit._recursive
            kept = state._python_cu, recursive.concrete_type_store
            own = torch._C.CompilationUnit(), recursive.ConcreteTypeStore()
        except AttributeError:
            yield
            return
        state._python_cu, recursive.concrete_type_store = own
        try:
            yield
        finally:
            state._python_cu, recursive.concrete_type_store = kept


def _core() -> Any:
    """OpenVINO's Core, one for the process, and to its end.

    Each Core that uses the CPU gives its thread an alternate signal stack. When the last of its networks is
    gone, it unmaps that and puts back the one before, which may be another Core's and gone by then: networks
    that go in the order in which they came. The next signal that Python has a handler for (Ctrl+C, an alarm)
    ends the process with a segmentation fault, for Python handles signals there. So with OpenVINO 2026.4.1.
    """
    with _STARTING:
        if not _CORES:
            _CORES.append(_import().Core())
        return _CORES[0]


def _import() -> Any:
    """OpenVINO without its telemetry, which would report each import and conversion over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails
    return importlib.import_module(PACKAGE)

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
from typing import Any

import torch

from ovseg_ros.core.device import Network
from ovseg_ros.core.engines.job import Job, Store, fingerprint

PACKAGE = "openvino"
_LOG = logging.getLogger(__name__)
_HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}


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

        def done(request: Any, number: int) -> None:
            rows[number] = [torch.from_numpy(part.data.copy()) for part in request.output_tensors]  # (1,...)

        arrays = [part.detach().float().contiguous().numpy() for part in inputs]
        with alone:
            queue.set_callback(done)
            for number in range(len(rows)):
                part = slice(number, number + 1)
                queue.start_async([array[part] for array in arrays], userdata=number, share_inputs=True)
            queue.wait_all()
        found = tuple(torch.cat(parts) for parts in zip(*rows, strict=True))
        return found if len(found) > 1 else found[0]

    return run


def version() -> tuple[object, ...]:
    """Of OpenVINO, and of the processor as it sees it: what a program of a network's depends on besides."""
    openvino = _import()
    core = openvino.Core()
    processor = core.get_property("CPU", "FULL_DEVICE_NAME")
    return openvino.__version__, processor, sorted(core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"))


def _compiled(openvino: Any, job: Job, settings: dict[str, Any], store: Store | None) -> Any:
    """The program, from the store where it has it."""
    core = openvino.Core()
    name = ""
    if store is not None:
        name = fingerprint(job, *version(), sorted(settings.items())) + ".openvino"
        if (kept := store.read(name)) is not None:
            try:
                return core.import_model(kept, "CPU", settings)
            except RuntimeError as error:
                _LOG.info("a kept program of OpenVINO's is made anew: %s", str(error).splitlines()[0])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's tracer, that shapes become constants: they shall
        # Once: torch's own check would trace again to compare, and agreement is checked on more.
        traced = torch.jit.trace(job.module, job.example, strict=False, check_trace=False)
        shapes = [part.shape for part in job.example]
        model = openvino.convert_model(traced, example_input=job.example, input=shapes)
    del traced
    _forget_traces()
    compiled = core.compile_model(model, "CPU", settings)
    if store is not None:
        store.write(name, compiled.export_model().getvalue())
    return compiled


def _forget_traces() -> None:
    """Frees the classes that torch's tracer makes of each module and keeps for good, with their constants.

    As torch's own tests do between two networks; other TorchScript modules keep what is theirs.
    """
    with contextlib.suppress(AttributeError):  # torch's own business, which may go by another name one day
        torch._C._jit_clear_class_registry()  # type: ignore[no-untyped-call]
        torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
        torch.jit._state._clear_class_state()


def _import() -> Any:
    """OpenVINO without its telemetry, which would report each import and conversion over the network."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # an import of it fails
    return importlib.import_module(PACKAGE)

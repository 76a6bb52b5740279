"""An encoder's image side run by OpenVINO instead of torch: on CPUs, the same figures in less time.

OpenVINO reads the network as torch traces it, so nothing is exported to a file, and folds, fuses and lays
out what torch computes layer by layer. It is told the shape of a single region: regions are independent, so
each goes through by itself, as many at once as there are threads, and a frame with another number of masks
needs no other program.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
import threading
import warnings
from typing import Any

import torch

from ovseg_ros.core.precision import Network, Precision

PACKAGE = "openvino"
_HINTS = {"fp32": "f32", "bf16": "bf16"}


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return PACKAGE in sys.modules or importlib.util.find_spec(PACKAGE) is not None


def openvino_network(encoder: Any, precision: Precision, threads: int) -> Network:
    """The encoder's `encode_regions` as a program of OpenVINO's, made in memory.

    Args:
        encoder: a module on the CPU whose forward is `encode_regions`; not changed. Its weights are taken as
            they are now.
        precision: "fp32" or "bf16".
        threads: regions that are computed at a time, each on one core; at least 1.

    Returns:
        (N, 3, S, S) float32 pixels, (N, 1, S, S) float32 masks, N >= 1 -> (N, D) float32. Calls from several
        threads wait for each other.

    Raises:
        RuntimeError, ValueError …: whatever torch and OpenVINO raise where they cannot read the network.
    """
    openvino = _import()
    side = encoder.size
    example = torch.zeros(1, 3, side, side), torch.ones(1, 1, side, side)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # of torch's tracer, that shapes become constants: they shall
        # Once: torch's own check would trace again to compare, and `check_agreement` compares more.
        traced = torch.jit.trace(encoder, example, strict=False, check_trace=False)
        model = openvino.convert_model(traced, example_input=example, input=[part.shape for part in example])
    del traced
    _forget_traces()
    settings = {
        "INFERENCE_PRECISION_HINT": _HINTS[precision],  # or else it takes bf16 wherever there is any
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": threads,
    }
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", settings), threads)
    alone = threading.Lock()

    def run(pixels: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        rows: list[torch.Tensor] = [torch.empty(0)] * len(pixels)

        def done(request: Any, number: int) -> None:
            rows[number] = torch.from_numpy(request.get_output_tensor().data.copy())  # (1,D)

        regions, shapes = (part.detach().float().contiguous().numpy() for part in (pixels, masks))
        with alone:
            queue.set_callback(done)
            for number in range(len(regions)):
                part = slice(number, number + 1)
                queue.start_async([regions[part], shapes[part]], userdata=number, share_inputs=True)
            queue.wait_all()
        return torch.cat(rows)

    return run


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

"""What was measured of a program at an earlier start, so that the next one need not measure it again."""

from __future__ import annotations

import hashlib
import math
import platform
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.engines import onnx_runtime, openvino_runtime
from ovseg_ros.core.engines.job import Job, Store, fingerprint

Measured = npt.NDArray[np.float32]
_FLOAT = np.dtype("<f4")


def measured_once(
    store: Store | None, name: str, shape: tuple[int, ...], measure: Callable[[], Measured]
) -> Measured:
    """What `measure` gives, from the store where it has it.

    Args:
        store: keeps it; None measures at each call.
        name: of all that the result depends on, see `measurement_name`.
        shape: of the result, float32; what is kept and has not as many numbers is measured anew.
        measure: takes its time.
    """
    kept = None if store is None else store.read(name)
    if kept is not None and len(kept) == _FLOAT.itemsize * math.prod(shape):
        return np.frombuffer(kept, _FLOAT).astype(np.float32).reshape(shape)
    measured = measure()
    if store is not None:
        store.write(name, measured.astype(_FLOAT).tobytes())
    return measured


def measurement_name(job: Job, runtime: str, check: str, inputs: Sequence[torch.Tensor]) -> str:
    """A name that differs wherever the result could: network, runtime, processor, and what it is shown.

    Args:
        job: what was given to the runtime.
        runtime: a package that is installed, or TensorRT by way of one.
        check: what is measured, with a number that is raised where that changes.
        inputs: what the network is shown.
    """
    shown = hashlib.sha256()
    for part in inputs:
        shown.update(f"{part.dtype} {tuple(part.shape)}\n".encode())
        shown.update(part.detach().cpu().contiguous().numpy().tobytes())
    made_by = openvino_runtime.version() if runtime == "openvino" else onnx_runtime.version()
    card = torch.cuda.get_device_properties(job.device) if job.device.type == "cuda" else ""
    # Of torch's own arithmetic; get_capabilities is not in all versions, and then says more.
    processor = (platform.machine(), torch.backends.cpu.get_cpu_capability())
    more = sorted(getattr(torch.cpu, "get_capabilities", dict)().items())
    settings = (runtime, *made_by, card, job.device, job.threads, *processor, more)
    return fingerprint(job, check, *settings, shown.hexdigest()) + ".measured"

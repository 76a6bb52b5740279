"""Which runtime a network is given to, and torch where that one cannot be had."""

from __future__ import annotations

import importlib.util
import logging
import sys
from typing import Literal, get_args

import torch

from ovseg_ros.core.device import Network
from ovseg_ros.core.engines import onnx_runtime, openvino_runtime
from ovseg_ros.core.engines.job import Job, Store
from ovseg_ros.errors import ConfigError, install_cure

Runtime = Literal["torch", "onnxruntime", "openvino", "tensorrt"]
RUNTIMES = ("auto", *get_args(Runtime))

_LOG = logging.getLogger(__name__)


def check_runtime(runtime: str) -> None:
    """Refuses words that are none.

    Raises:
        ConfigError: not one of `RUNTIMES`.
    """
    if runtime not in RUNTIMES:
        raise ConfigError(f"expected runtime one of {', '.join(RUNTIMES)}, got {runtime!r}")


def has_openvino() -> bool:
    """Whether OpenVINO is installed; it is not imported."""
    return _is_here(openvino_runtime.PACKAGE)


def choose_runtime(runtime: str, device: torch.device, what: str) -> Runtime:
    """What a runtime means on this machine.

    Args:
        runtime: one of `RUNTIMES`; "auto" is OpenVINO on a CPU where it is installed, else torch.
        device: where the network is.
        what: it is, for the warning that comes where torch takes the place of what was asked for.
    """
    check_runtime(runtime)
    if runtime == "auto":
        return "openvino" if device.type == "cpu" and has_openvino() else "torch"
    lacking = _lacking(runtime, device)
    if lacking:
        _LOG.warning("%s cannot run by %s, going on with torch: %s", what, runtime, lacking)
        return "torch"
    chosen: Runtime = runtime  # type: ignore[assignment]
    return chosen


def run_elsewhere(runtime: Runtime, job: Job, store: Store | None, what: str) -> Network | None:
    """The network in another runtime than torch.

    Args:
        runtime: from `choose_runtime`, not "torch".
        job: see there.
        store: keeps the program between two starts; None makes it anew.
        what: it is, for the warning that comes where the runtime cannot run it.

    Returns:
        float32 inputs with N >= 1 rows -> a float32 tensor with N rows, or a tuple of them, as the module
        gives them, on the job's device; None where the runtime cannot run this network.
    """
    try:
        if runtime == "openvino":
            network = openvino_runtime.openvino_network(job, store)
        else:
            network = onnx_runtime.onnx_network(job, store, tensorrt=runtime == "tensorrt")
        for count in (1, 3) if job.rows else (1,):  # some say only now what they cannot do
            network(*(part.expand(count, *part.shape[1:]) for part in job.example))
        return network
    except Exception as error:  # whatever torch's tracer or exporter, or the runtime, does not know
        reason = str(error).strip().split("\n")[0]
        _LOG.warning("%s cannot run by %s, going on with torch: %s", what, runtime, reason)
        return None


def _lacking(runtime: str, device: torch.device) -> str:
    """What a runtime lacks here, with the cure; "" where it can be had."""
    if runtime == "openvino":
        if device.type != "cpu":
            return f"OpenVINO is for CPUs, and the device is {device}; say runtime: auto"
        return "" if has_openvino() else f"it is not installed; {install_cure('fast')}"
    if runtime == "tensorrt" and device.type != "cuda":
        return f"TensorRT is for NVIDIA's graphics cards, and the device is {device}; say runtime: auto"
    if runtime in ("onnxruntime", "tensorrt"):
        if device.type not in ("cpu", "cuda"):
            return f"the device is {device}, for which it is not set up here; say runtime: torch"
        missing = [name for name in onnx_runtime.NEEDS if not _is_here(name)]
        if missing:
            return f"{', '.join(missing)} is not installed; {install_cure('engines')}"
    return ""


def _is_here(package: str) -> bool:
    return package in sys.modules or importlib.util.find_spec(package) is not None

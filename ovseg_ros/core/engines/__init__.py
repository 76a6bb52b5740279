"""Networks run by OpenVINO, ONNX Runtime or TensorRT instead of torch."""

from ovseg_ros.core.engines.job import Job, Store
from ovseg_ros.core.engines.runtime import (
    RUNTIMES,
    check_runtime,
    choose_runtime,
    has_openvino,
    run_elsewhere,
)

__all__ = [
    "RUNTIMES",
    "Job",
    "Store",
    "check_runtime",
    "choose_runtime",
    "has_openvino",
    "run_elsewhere",
]

"""Networks run by OpenVINO, ONNX Runtime or TensorRT instead of torch."""

from ovseg_ros.core.engines.job import Job, Store
from ovseg_ros.core.engines.measured import measured_once, measurement_name
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
    "measured_once",
    "measurement_name",
    "run_elsewhere",
]

"""Networks run by OpenVINO, ONNX Runtime or TensorRT instead of torch."""

from ovseg_ros.core.engines.job import Job, Store, digest_of
from ovseg_ros.core.engines.measured import measured_once, measurement_name
from ovseg_ros.core.engines.programs import A_CAMERA, Programs, precision_elsewhere
from ovseg_ros.core.engines.runtime import (
    RUNTIMES,
    check_runtime,
    choose_runtime,
    has_openvino,
    run_elsewhere,
)

__all__ = [
    "A_CAMERA",
    "RUNTIMES",
    "Job",
    "Programs",
    "Store",
    "check_runtime",
    "choose_runtime",
    "digest_of",
    "has_openvino",
    "measured_once",
    "measurement_name",
    "precision_elsewhere",
    "run_elsewhere",
]

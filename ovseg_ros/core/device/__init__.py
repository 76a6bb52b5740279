"""What depends on the device: its clock, its memory, 16 bits, and what is not finite."""

from ovseg_ros.core.device.clock import now, wait_for
from ovseg_ros.core.device.finite import check_finite
from ovseg_ros.core.device.memory import PROPOSE_LESS, ran_out, retry_on_oom
from ovseg_ros.core.device.precision import (
    DTYPES,
    PRECISIONS,
    Network,
    Precision,
    check_device,
    is_finite,
    repaired,
    under_autocast,
)

__all__ = [
    "DTYPES",
    "PRECISIONS",
    "PROPOSE_LESS",
    "Network",
    "Precision",
    "check_device",
    "check_finite",
    "is_finite",
    "now",
    "ran_out",
    "repaired",
    "retry_on_oom",
    "under_autocast",
    "wait_for",
]

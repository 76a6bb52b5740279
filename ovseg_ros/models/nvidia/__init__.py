"""Which NVIDIA GPU and driver a machine has, and why torch cannot use them."""

from ovseg_ros.models.nvidia.facts import Jetson, Nvidia, NvidiaGpu
from ovseg_ros.models.nvidia.judge import Advice, TorchBuild, kernels_missing, why_unseen
from ovseg_ros.models.nvidia.look import look_at_nvidia, look_at_torch, overlooked_gpu

__all__ = [
    "Advice",
    "Jetson",
    "Nvidia",
    "NvidiaGpu",
    "TorchBuild",
    "kernels_missing",
    "look_at_nvidia",
    "look_at_torch",
    "overlooked_gpu",
    "why_unseen",
]

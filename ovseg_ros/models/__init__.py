"""Building and loading networks: presets, checkpoints, bundled weights."""

from ovseg_ros.models.torchvision_compat import ensure_torchvision

ensure_torchvision()

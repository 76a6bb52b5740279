"""Reading, checking and splitting checkpoints of others.

Raises:
    ConfigError: on import, where torchvision was not built for the torch beside it.
"""

from ovseg_ros.models.torchvision_check import check_torchvision

check_torchvision()

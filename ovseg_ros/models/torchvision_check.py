"""Whether torchvision, which open_clip, timm and segment-anything import, was built for this torch."""

from __future__ import annotations

import importlib
from importlib.metadata import version

from ovseg_ros.errors import ConfigError


def check_torchvision() -> None:
    """Imports torchvision, if it is installed.

    Raises:
        ConfigError: its compiled operators do not load with this torch; names the cure.
    """
    try:
        importlib.import_module("torchvision")
    except ModuleNotFoundError:
        return  # those who need it say so
    except RuntimeError as error:  # operator torchvision::nms does not exist
        if "torchvision::" not in str(error):
            raise
        import torch

        raise ConfigError(
            f"expected torchvision as built for torch {torch.__version__}, got torchvision "
            f"{version('torchvision')}, whose operators do not load with it ({error}); install both anew, in "
            "one command and from one index: pip install --force-reinstall torch torchvision"
        ) from error

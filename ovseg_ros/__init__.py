"""Find things by name in a camera's view: open-vocabulary segmentation for ROS 2.

    import ovseg_ros
    find = ovseg_ros.load()
    for thing in find("photo.jpg", ["cup", "spoon"]):
        print(thing.label, thing.score, thing.box_xyxy)

Importing this package imports neither ROS nor torch: the names below come with what they need when they are
first used. What lies under them is in the sub-packages: `core` (the method), `files`, `proposals`, `models`,
`learn`, `evaluate`, `app`, `ros`.
"""

from importlib import import_module
from pkgutil import extend_path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ovseg_ros.errors import (
        ConfigError,
        InvalidInputError,
        NotFiniteError,
        OutOfMemoryError,
        OvsegError,
        WeightsError,
    )
    from ovseg_ros.finder import Finder, load
    from ovseg_ros.result import MaskProposals, Result, Thing

# The generated msg, srv and action live in the colcon overlay only. At the repository root Python finds this
# source folder first; with this line it still finds them further down the path.
__path__ = extend_path(__path__, __name__)

__version__ = "0.1.0"

__all__ = [
    "ConfigError",
    "Finder",
    "InvalidInputError",
    "MaskProposals",
    "NotFiniteError",
    "OutOfMemoryError",
    "OvsegError",
    "Result",
    "Thing",
    "WeightsError",
    "load",
]

_HOME = {
    "Finder": "finder",
    "load": "finder",
    "MaskProposals": "result",
    "Result": "result",
    "Thing": "result",
}


def __getattr__(name: str) -> Any:
    """Imports one of the names of `__all__` when it is first asked for (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

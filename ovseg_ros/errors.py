"""The errors this package raises at its public boundaries.

Every message says what was wanted, what came, and the cure when it is known. Catch `OvsegError` for
all of them; the `ValueError` bases let callers that know nothing of this package do the usual thing.
"""

from __future__ import annotations

import sys


class OvsegError(Exception):
    """Base of every error raised on purpose by this package."""


class InvalidInputError(OvsegError, ValueError):
    """An image, mask, query or message that cannot be used as given."""


class ConfigError(OvsegError, ValueError):
    """A parameter or preset that contradicts itself or is out of range."""


class WeightsError(OvsegError):
    """A weights file that is missing, damaged, of another architecture or not the one expected."""


class OutOfMemoryError(OvsegError):
    """The device ran out of memory even after one retry with a smaller batch."""


class StoreError(OvsegError):
    """A database that cannot be reached, read or written now: nothing was saved; the same may work later."""


class NotFiniteError(OvsegError):
    """A network gave NaN or infinity for a frame or a word: that frame or word is lost, nothing was found."""


def install_cure(extra: str) -> str:
    """How to get what an optional part needs: the end of the message that says what is missing.

    Args:
        extra: one of setup.py's extras. The package is not on PyPI, so pip is pointed at the sources.
    """
    return f"in the folder of ovseg_ros's sources, run: pip install '.[{extra}]'"


def missing_module(error: ModuleNotFoundError) -> str:
    """What a command says where its Python lacks a package: mostly a terminal in which nothing was activated.

    Raises:
        ModuleNotFoundError: `error` itself, where the module is ours: a fault, which wants its traceback.
    """
    name = (error.name or "").split(".")[0]
    if name in ("", "ovseg_ros"):
        raise error
    return (
        f"{sys.executable} has no package {name}; activate the virtual environment that has it in this "
        "terminal (source venv/bin/activate), and for the node source ROS's and the workspace's setup.bash"
    )

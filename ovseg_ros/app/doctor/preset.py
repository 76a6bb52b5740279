"""The preset: are its weights here and whole, and is this machine one for it?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ovseg_ros.app.doctor.check import ERROR, OK, WARN, Check
from ovseg_ros.models.downloads.files import size_text


@dataclass(frozen=True)
class Weights:
    """One weights file.

    Attributes:
        name: as the preset has it.
        size: bytes; None where it is not here.
        problem: why it is no good, "" where it is.
        cure: what helps.
    """

    name: str
    size: int | None = None
    problem: str = ""
    cure: str = ""


def check_preset(name: str, reason: str, slow: str) -> Check:
    """Which preset it is, and whether it is for this device.

    Args:
        name: the preset's.
        reason: why that one.
        slow: what its loader warns of on this device, "" where it does not.
    """
    if not slow:
        taken = f"auto is {name}: {reason.removeprefix('auto: ')}" if reason.startswith("auto") else name
        return Check("preset", "choice", OK, taken)
    found, _, cure = slow.partition("; ")
    return Check("preset", "choice", WARN, found, cure)


def check_weights(files: list[Weights], bundled: Mapping[str, str]) -> list[Check]:
    """Whether weights are here and whole.

    Args:
        files: those of the preset that lie in a folder of weights.
        bundled: parts whose weights come in packages, by name, with what is wrong; "" where nothing is.
    """
    checks = []
    for file in files:
        if file.problem:
            checks.append(Check("preset", file.name, ERROR, file.problem, file.cure))
        else:
            checks.append(Check("preset", file.name, OK, f"here and whole ({size_text(file.size)})"))
    for name, problem in bundled.items():
        found, _, cure = problem.partition("; ")
        if problem:
            cure = cure or "install this package anew"
            checks.append(Check("preset", name, ERROR, found, cure))
        else:
            checks.append(Check("preset", name, OK, "was built from what comes with packages"))
    return checks

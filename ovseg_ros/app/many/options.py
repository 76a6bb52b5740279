"""The options of commands that can run on many machines."""

from __future__ import annotations

from typing import Any


def add_ray(parser: Any) -> None:
    """Adds --ray and --ray-workers."""
    group = parser.add_argument_group("many machines")
    group.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="run on a Ray cluster: auto (that of RAY_ADDRESS or of this machine, else one for this command "
        "alone), or HOST:PORT (docs/many_machines.md)",
    )
    group.add_argument(
        "--ray-workers", type=int, metavar="N", help="at most (default: one per GPU, else one per processor)"
    )

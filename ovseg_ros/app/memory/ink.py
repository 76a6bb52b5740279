"""Text and colours of the top view."""

from __future__ import annotations

from importlib import resources
from typing import Any

INK, GREY, LINES = "#222222", "#666666", "#dddddd"
DASHES = (0, (4, 2))
"""Around what is gone."""


def write(owner: Any, x: float, y: float, text: str, **style: Any) -> Any:
    """Text that is taken as it stands, of any script, at (0, 0) to (1, 1) of its owner."""
    transform = owner.transAxes if hasattr(owner, "transAxes") else owner.transFigure
    return owner.text(x, y, text, transform=transform, parse_math=False, fontfamily=fonts(), **style)


def fonts() -> list[str]:
    """That of matplotlib, and for other scripts the one that comes with the package."""
    from matplotlib import font_manager

    if not any(font.name == "Unifont" for font in font_manager.fontManager.ttflist):
        folder = resources.files("ovseg_ros.core") / "fonts"
        font_manager.fontManager.addfont(str(folder / "unifont.otf"))
    return ["DejaVu Sans", "Unifont"]

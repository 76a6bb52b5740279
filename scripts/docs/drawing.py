"""The few SVG shapes that figures of the documentation are made of.

Colours of text and lines follow the reader's scheme by `prefers-color-scheme`; boxes keep theirs, with
white text.
"""

from __future__ import annotations

import base64
import io
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

TEAL, INDIGO, AMBER, GREY = "#00796b", "#3f51b5", "#b26a00", "#607080"

_STYLE = """
text { font: 14px system-ui, "DejaVu Sans", sans-serif; fill: #1f2933; }
text.small { font-size: 12px; } text.title { font-size: 15px; font-weight: 600; }
text.on { fill: #fff; } .line { stroke: #52606d; } .head { fill: #52606d; }
@media (prefers-color-scheme: dark) {
  text { fill: #e4e7eb; } .line { stroke: #9aa5b1; } .head { fill: #9aa5b1; }
}
"""


class Drawing:
    """Shapes in the order in which they are drawn; coordinates in pixels, y down."""

    def __init__(self, width: int, height: int, title: str) -> None:
        """An empty drawing; `title` is what screen readers say."""
        self.size = (width, height)
        self.title = title
        self._shapes: list[str] = []

    def text(self, x: float, y: float, text: str, *, at: str = "middle", kind: str = "") -> None:
        """One line of text; `at`: start, middle or end of it is at x."""
        words = escape(text)
        self._shapes.append(f'<text x="{x:g}" y="{y:g}" text-anchor="{at}" class="{kind}">{words}</text>')

    def box(self, x: float, y: float, w: float, h: float, colour: str, *lines: str) -> None:
        """A filled box with lines of text in its middle, the first of them as its title."""
        self._shapes.append(
            f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" rx="6" fill="{colour}"/>'
        )
        first = y + h / 2 - 9 * (len(lines) - 1) + 5
        for n, line in enumerate(lines):
            self.text(x + w / 2, first + 18 * n, line, kind="on title" if n == 0 else "on small")

    def cell(self, x: float, y: float, w: float, h: float, colour: str, opacity: float = 1.0) -> None:
        """A filled rectangle without text, for grids and tables."""
        rect = f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{colour}"'
        self._shapes.append(f'{rect} fill-opacity="{opacity:.2f}" stroke="#9aa5b1" stroke-width="0.5"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """A line through the points with a head at the last."""
        (x0, y0), (x1, y1) = points[-2:]
        length = float(np.hypot(x1 - x0, y1 - y0))
        dx, dy = (x1 - x0) / length, (y1 - y0) / length
        back, side = (x1 - 9 * dx, y1 - 9 * dy), (4.5 * dy, -4.5 * dx)
        path = " ".join(f"{x:g},{y:g}" for x, y in [*points[:-1], back])
        wings = [(back[0] + sign * side[0], back[1] + sign * side[1]) for sign in (1, -1)]
        head = " ".join(f"{x:g},{y:g}" for x, y in [(x1, y1), *wings])
        self._shapes.append(f'<polyline points="{path}" class="line" fill="none" stroke-width="1.6"/>')
        self._shapes.append(f'<polygon points="{head}" class="head"/>')

    def image(self, x: float, y: float, w: float, h: float, rgb: npt.NDArray[np.uint8]) -> None:
        """A picture, (H, W, 3) uint8 RGB, scaled to twice the size it is shown at and stored as JPEG."""
        picture = Image.fromarray(rgb).resize((round(2 * w), round(2 * h)), Image.Resampling.LANCZOS)
        stream = io.BytesIO()
        picture.save(stream, "JPEG", quality=80)
        data = base64.b64encode(stream.getvalue()).decode()
        self._shapes.append(
            f'<image x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" href="data:image/jpeg;base64,{data}"/>'
        )

    def svg(self) -> str:
        """The file's text."""
        w, h = self.size
        space = 'xmlns="http://www.w3.org/2000/svg" role="img"'
        head = f'<svg {space} viewBox="0 0 {w} {h}" width="{w}" height="{h}">'
        return "\n".join(
            [
                head,
                f"<title>{escape(self.title)}</title>",
                f"<style>{_STYLE}</style>",
                *self._shapes,
                "</svg>\n",
            ]
        )

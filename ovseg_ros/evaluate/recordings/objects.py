"""The truth in space about a recording: `objects.json` beside it, from the renderer.

```
{"things": {"1": {"name": "teapot", "footprint_m": [[x, y], …], "bottom_m": 0.0, "top_m": 0.14}, …},
 "frames": [{"stamp_ns": …, "rotation": [[…], …], "translation_m": […],
             "things": {"1": {"centroid_m": […], "hidden": 0.0}, …}}, …]}
```

Footprints (convex outlines from straight above), bottoms and tops are in the world, z up; rotation and
translation lead from the world into the camera's optical frame of that image; centroids are in that frame,
the mean of the exact points of all pixels of the thing. `hidden` is the share of the thing's surface, by its
mesh's vertices, that another thing hides or that is not in the image.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ovseg_ros.core.space import Rigid
from ovseg_ros.errors import InvalidInputError

FILE = "objects.json"
_SIMPLER_M = 0.0005  # an outline is kept to half a millimetre
_BEHIND_M = 0.005  # a vertex so far behind what shows at its pixel is hidden by it


@dataclass(frozen=True)
class TrueThing:
    """One thing in the world, z up.

    Attributes:
        name: what it is called.
        footprint_m: (K, 2) convex outline from above, metres.
        bottom_m: height of its lowest point.
        top_m: height of its highest.
    """

    name: str
    footprint_m: np.ndarray
    bottom_m: float
    top_m: float

    @classmethod
    def around(cls, name: str, vertices_m: np.ndarray) -> TrueThing:
        """The thing whose mesh has these vertices (V, 3) in the world."""
        outline = cv2.convexHull(vertices_m[:, :2].astype(np.float32))
        outline = cv2.approxPolyDP(outline, _SIMPLER_M, closed=True).reshape(-1, 2)
        return cls(name, outline, float(vertices_m[:, 2].min()), float(vertices_m[:, 2].max()))


@dataclass(frozen=True)
class TrueView:
    """What one frame shows of them.

    Attributes:
        stamp_ns: of the frame.
        to_camera: from the world into the camera's optical frame.
        centroids_m: instance id -> (3,) middle of the visible surface, in the camera's frame.
        hidden: instance id -> share of its surface that others hide or that is not in the image.
    """

    stamp_ns: int
    to_camera: Rigid
    centroids_m: Mapping[int, np.ndarray]
    hidden: Mapping[int, float]


@dataclass(frozen=True)
class TrueObjects:
    """Things by their instance ids, and views by their frames' stamps."""

    things: Mapping[int, TrueThing]
    views: Mapping[int, TrueView]


def hidden_share(
    vertices: np.ndarray, depth_m: np.ndarray, instances: np.ndarray, instance: int, focal_px: float
) -> float:
    """Share of a thing's vertices (V, 3), in the camera's frame, that other things hide or that lie outside.

    Args:
        vertices: x right, y down, z forward in metres.
        depth_m: (H, W) exact, of the same camera, with its centre in the middle of the image.
        instances: (H, W) ids.
        instance: of the thing.
        focal_px: of the camera.
    """
    height, width = depth_m.shape
    u, v = (vertices[:, :2] / vertices[:, 2:] * focal_px + [(width - 1) / 2, (height - 1) / 2]).T
    columns, rows = np.rint(u).astype(int), np.rint(v).astype(int)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    others = (instances[rows, columns] != instance) & (depth_m[rows, columns] < vertices[:, 2] - _BEHIND_M)
    return float(np.mean(others | ~inside))


def write_objects(folder: Path, things: Mapping[int, TrueThing], views: Sequence[TrueView]) -> None:
    """Writes `objects.json` into a recording's folder."""
    content = {
        "things": {
            str(i): {
                "name": one.name,
                "footprint_m": one.footprint_m.astype(float).round(4).tolist(),
                "bottom_m": round(float(one.bottom_m), 4),
                "top_m": round(float(one.top_m), 4),
            }
            for i, one in things.items()
        },
        "frames": [
            {
                "stamp_ns": view.stamp_ns,
                "rotation": view.to_camera.rotation.round(7).tolist(),
                "translation_m": view.to_camera.translation_m.round(5).tolist(),
                "things": {
                    str(i): {
                        "centroid_m": middle.round(4).tolist(),
                        "hidden": round(float(view.hidden[i]), 3),
                    }
                    for i, middle in view.centroids_m.items()
                },
            }
            for view in views
        ],
    }
    lines = [
        '{"things": {',
        ",\n".join(f"{json.dumps(i)}: {json.dumps(one)}" for i, one in content["things"].items()),
        '},\n"frames": [',
        ",\n".join(json.dumps(view) for view in content["frames"]),
        "]}",
    ]
    (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_objects(folder: Path) -> TrueObjects | None:
    """The truth in space beside a recording; None where it has none.

    Raises:
        InvalidInputError: the file is no such truth.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        things = {
            int(i): TrueThing(
                one["name"], np.array(one["footprint_m"], np.float32), one["bottom_m"], one["top_m"]
            )
            for i, one in content["things"].items()
        }
        views = {view["stamp_ns"]: _view_of(view) for view in content["frames"]}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(
            f"expected the truth in space as in demo/tabletop, {path}: {error!r}"
        ) from error
    return TrueObjects(things, views)


def _view_of(view: Mapping[str, Any]) -> TrueView:
    things = {int(i): one for i, one in view["things"].items()}
    return TrueView(
        view["stamp_ns"],
        Rigid(view["rotation"], view["translation_m"]),
        {i: np.array(one["centroid_m"]) for i, one in things.items()},
        {i: float(one["hidden"]) for i, one in things.items()},
    )

"""The truth about a walk: `walk.json` beside its recording, from the renderer, for scoring alone.

```
{"things": {"1": {"name": "red mug", "synonyms": ["cup"]}, …},
 "places": [{"thing": 1, "on": "table A", "from_ns": …, "until_ns": …, "yaw_deg": 30.0,
             "footprint_m": [[x, y], …], "bottom_m": 0.75, "top_m": 0.85}, …],
 "looks": [{"round": 1, "at": "table A", "from_ns": …, "until_ns": …}, …],
 "jump": {"at_ns": …, "rotation": [[…], …], "translation_m": […]},
 "frames": [{"stamp_ns": …, "rotation": [[…], …], "translation_m": […],
             "things": {"1": {"centroid_m": […], "pixels": 1234, "hidden": 0.0}, …}}, …]}
```

Everything in metres is in the true map, z up, the floor at 0. A thing that was moved has two places, one that
was taken away or came later has one that ends or begins between the rounds. Rotation and translation of a
frame lead from the camera's optical frame into the map; centroids are the mean of the exact points of all
pixels that show the thing; `hidden` is as in `recordings.objects`. `jump` leads from the true map into the
map that TF told of until that time; from then on TF's map is the true one.
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
from ovseg_ros.evaluate.recordings.objects import TrueThing

FILE = "walk.json"


@dataclass(frozen=True)
class Place:
    """Where one thing stood for a time.

    Attributes:
        thing: its id.
        on: what it stood on.
        from_ns: from when …
        until_ns: … to when, not included.
        yaw_deg: how it was turned about z.
        outline: its footprint and heights, in the map.
    """

    thing: int
    on: str
    from_ns: int
    until_ns: int
    yaw_deg: float
    outline: TrueThing

    @property
    def middle_m(self) -> np.ndarray:
        """(3,) the middle of the upright box of the smallest base around it, in the map."""
        (x, y), _, _ = cv2.minAreaRect(self.outline.footprint_m.astype(np.float32))
        return np.array([x, y, (self.outline.bottom_m + self.outline.top_m) / 2])


@dataclass(frozen=True)
class Sight:
    """What one frame shows of a thing.

    Attributes:
        centroid_m: (3,) middle of the visible surface, in the map.
        pixels: that show it.
        hidden: share of its surface that others hide or that is not in the image.
    """

    centroid_m: np.ndarray
    pixels: int
    hidden: float


@dataclass(frozen=True)
class WalkView:
    """What one frame shows: `to_map` leads from the camera's optical frame; `sights` by thing."""

    stamp_ns: int
    to_map: Rigid
    sights: Mapping[int, Sight]


@dataclass(frozen=True)
class Look:
    """From when to when the camera looked along one piece of furniture, in which round."""

    round: int
    at: str
    from_ns: int
    until_ns: int


@dataclass(frozen=True)
class Walk:
    """See the module.

    Attributes:
        names: thing -> what it is called.
        synonyms: thing -> other words that are right.
        places: of all things.
        looks: in order of time.
        views: in order of time.
        jump_ns: when TF's map became the true one.
        before_jump: from the true map into TF's before that.
    """

    names: Mapping[int, str]
    synonyms: Mapping[int, tuple[str, ...]]
    places: Sequence[Place]
    looks: Sequence[Look]
    views: Sequence[WalkView]
    jump_ns: int
    before_jump: Rigid

    def place_at(self, thing: int, stamp_ns: int) -> Place | None:
        """Where a thing stood at a time; None: it was not there."""
        return next((p for p in self.places if p.thing == thing and p.from_ns <= stamp_ns < p.until_ns), None)


def write_walk(folder: Path, walk: Walk) -> None:
    """Writes `walk.json` into a folder."""
    things = {
        str(i): {"name": name, "synonyms": list(walk.synonyms.get(i, ()))} for i, name in walk.names.items()
    }
    jump = {"at_ns": walk.jump_ns, **_rigid_json(walk.before_jump)}
    lines = [
        f'{{"things": {json.dumps(things)},',
        f'"places": [\n{_rows(_place_json(place) for place in walk.places)}\n],',
        f'"looks": [\n{_rows(vars(look) for look in walk.looks)}\n],',
        f'"jump": {json.dumps(jump)},',
        f'"frames": [\n{_rows(_view_json(view) for view in walk.views)}\n]}}',
    ]
    (folder / FILE).write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_walk(folder: str | Path) -> Walk:
    """The truth about a walk.

    Raises:
        InvalidInputError: there is none, or the file is no such truth.
    """
    path = Path(folder) / FILE
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        names = {int(i): str(one["name"]) for i, one in content["things"].items()}
        return Walk(
            names,
            {int(i): tuple(one["synonyms"]) for i, one in content["things"].items()},
            [_place_of(one, names) for one in content["places"]],
            [Look(**one) for one in content["looks"]],
            [_view_of(one) for one in content["frames"]],
            content["jump"]["at_ns"],
            Rigid(content["jump"]["rotation"], content["jump"]["translation_m"]),
        )
    except OSError as error:
        raise InvalidInputError(
            f"expected the truth about a walk at {path}: {error.strerror}; demo/make_walk.py makes it"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInputError(f"expected the truth about a walk, {path}: {error!r}") from error


def _rows(values: Any) -> str:
    return ",\n".join(json.dumps(one) for one in values)


def _rigid_json(rigid: Rigid) -> dict[str, Any]:
    return {
        "rotation": rigid.rotation.round(7).tolist(),
        "translation_m": rigid.translation_m.round(5).tolist(),
    }


def _place_json(place: Place) -> dict[str, Any]:
    return {
        "thing": place.thing,
        "on": place.on,
        "from_ns": place.from_ns,
        "until_ns": place.until_ns,
        "yaw_deg": place.yaw_deg,
        "footprint_m": place.outline.footprint_m.astype(float).round(4).tolist(),
        "bottom_m": round(float(place.outline.bottom_m), 4),
        "top_m": round(float(place.outline.top_m), 4),
    }


def _place_of(one: Mapping[str, Any], names: Mapping[int, str]) -> Place:
    footprint = np.array(one["footprint_m"], np.float32)
    outline = TrueThing(names[one["thing"]], footprint, one["bottom_m"], one["top_m"])
    return Place(one["thing"], one["on"], one["from_ns"], one["until_ns"], one["yaw_deg"], outline)


def _view_json(view: WalkView) -> dict[str, Any]:
    things = {
        str(i): {
            "centroid_m": sight.centroid_m.round(4).tolist(),
            "pixels": sight.pixels,
            "hidden": round(float(sight.hidden), 3),
        }
        for i, sight in view.sights.items()
    }
    return {"stamp_ns": view.stamp_ns, **_rigid_json(view.to_map), "things": things}


def _view_of(one: Mapping[str, Any]) -> WalkView:
    sights = {
        int(i): Sight(np.array(sight["centroid_m"], np.float64), sight["pixels"], sight["hidden"])
        for i, sight in one["things"].items()
    }
    return WalkView(one["stamp_ns"], Rigid(one["rotation"], one["translation_m"]), sights)

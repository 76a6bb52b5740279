"""What a search gives: the things found, in NumPy and plain Python, and what people do with them next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg_ros.core.choice import Choice, DecidedFrom, Item, choose
from ovseg_ros.core.maps import box_slices
from ovseg_ros.core.overlay import draw_overlay
from ovseg_ros.core.runners_up import close_runner_up
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.space import Object3d, objects_3d
from ovseg_ros.core.words import Asked
from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.files.coco import coco_mask_fields

MAX_REPR = 160
"""Characters of a result's repr: one line of a terminal, or two."""


@dataclass(frozen=True, eq=False, repr=False)
class Thing:
    """One thing that was found.

    Attributes:
        label: the word it was found by, as it was asked.
        score: probability of that word, in [0, 1].
        margin: how far the score is above that of `runner_up`: near 0 two words fit about as well, below 0 a
            word that was not asked for fits better; the score itself where nothing competed.
        runner_up: the word that fits second best, of those asked or any other that competes, such as one of
            the 980 rivals; None where nothing competed.
        runner_up_score: its probability, in [0, 1]; 0 where nothing competed.
        mask: (H, W) bool, the thing's pixels on the image.
        box_xyxy: the mask's tight box, left, top, right, bottom in pixels, the last two exclusive.
        area_px: pixels of the mask.
        track_id: the same for the same thing from frame to frame of a video; None on single pictures and for
            a thing that is not followed yet.
        in_space: centroid, covariance and upright box in the camera's optical frame, as `core.space` has
            them; None without depth and intrinsics. `centroid_m` and the like are of it.
    """

    label: str
    score: float
    margin: float
    runner_up: str | None
    mask: npt.NDArray[np.bool_]
    box_xyxy: tuple[int, int, int, int]
    area_px: int
    track_id: int | None = None
    in_space: Object3d | None = None
    runner_up_score: float = 0.0

    @property
    def centroid_m(self) -> tuple[float, float, float] | None:
        """The middle of the visible surface: x right, y down, z forward, metres from the camera; or None."""
        return None if self.in_space is None else _xyz(self.in_space.centroid_m)

    @property
    def centroid_covariance(self) -> npt.NDArray[np.float64] | None:
        """(3, 3) m², how uncertain the centroid is, or None."""
        return None if self.in_space is None else self.in_space.covariance_m2

    @property
    def distance_m(self) -> float | None:
        """Metres from the camera to the centroid, or None."""
        return None if self.in_space is None else self.in_space.distance_m

    @property
    def centre_m(self) -> tuple[float, float, float] | None:
        """The middle of the upright box around the thing, in metres like the centroid, or None."""
        return None if self.in_space is None else _xyz(self.in_space.centre_m)

    @property
    def size_m(self) -> tuple[float, float, float] | None:
        """The box's sides in metres: the longer and the shorter horizontal one, and the height; or None."""
        return None if self.in_space is None else _xyz(self.in_space.size_m)

    @property
    def rotation(self) -> npt.NDArray[np.float64] | None:
        """(3, 3), its columns are the box's axes in the camera's frame, in the order of `size_m`; or None."""
        return None if self.in_space is None else self.in_space.rotation

    def __repr__(self) -> str:
        place = (
            ""
            if self.centroid_m is None
            else ", centroid_m=({:.2f}, {:.2f}, {:.2f})".format(*self.centroid_m)
        )
        track = "" if self.track_id is None else f", track_id={self.track_id}"
        close = close_runner_up(self.score, self.runner_up or "", self.runner_up_score)
        second = close and f", close to {close}"
        return f"Thing({self.label!r}, {self.score:.2f}{second}, box_xyxy={self.box_xyxy}{track}{place})"


class Result(Sequence[Thing]):
    """The things found on one image, best first: by likeness to their word times how clear-cut the mask is.

    `result[0]` is the best thing, `result["cup"]` the list of all cups, best first, `"cup" in result` whether
    there is one; an empty result is false. Of a request such as "the mug left of the teapot" only what is
    meant is here.

    Attributes:
        segmentation: what the core found, of all masks; of a request of those that are meant.
        words: the words that were asked for, in that order.
    """

    def __init__(self, segmentation: Segmentation, asked: Asked | None = None) -> None:
        """What the core found, for people.

        Args:
            segmentation: under a vocabulary of its own, whose ids count the words from 0.
            asked: what is wanted of it, which has that vocabulary; None: all.
        """
        order = segmentation.ranking.argsort(descending=True, stable=True)
        kept = order[segmentation.label_index[order] >= 0].tolist()
        things = list(_things(segmentation, kept))
        self.segmentation, self._choice = segmentation, Choice(tuple(range(len(kept))), len(kept))
        self.words = segmentation.vocabulary.names if asked is None else asked.names
        if asked is not None and asked.wanted:
            ranking = segmentation.ranking[kept].tolist()
            items = [
                Item(one.label, score, one.box_xyxy, one.in_space, one.mask)
                for one, score in zip(things, ranking, strict=True)
            ]
            self._choice = choose(asked.wanted, items, size_hw=segmentation.frame.size_hw)
            self.segmentation = segmentation.take([kept[i] for i in self._choice.indices])
        self._things = tuple(things[i] for i in self._choice.indices)

    @property
    def how_many(self) -> int:
        """How many things fit: the answer to "how many mugs", and to "two mugs" where there is one."""
        return self._choice.count

    @property
    def decided_from(self) -> DecidedFrom:
        """What a request's relations and the like were decided from: "depth" or "image"; "" without any."""
        return self._choice.decided_from

    @property
    def reason(self) -> str:
        """In a sentence, what was decided of a request, or why nothing is meant; "" for plain names."""
        return self._choice.reason

    @property
    def found(self) -> tuple[str, ...]:
        """The words that something was found for, in the order asked."""
        there = {thing.label for thing in self._things}
        return tuple(word for word in self.words if word in there)

    @property
    def missing(self) -> tuple[str, ...]:
        """The words that nothing was found for, in the order asked."""
        there = {thing.label for thing in self._things}
        return tuple(word for word in self.words if word not in there)

    @property
    def image(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, the image that was searched."""
        return self.segmentation.frame.image_rgb

    @property
    def label_map(self) -> npt.NDArray[np.uint8]:
        """(H, W) uint8: i where `words[i]` is, 255 where none is."""
        return self.segmentation.label_image()

    def __len__(self) -> int:
        return len(self._things)

    def __iter__(self) -> Iterator[Thing]:
        return iter(self._things)

    def __contains__(self, item: object) -> bool:
        if isinstance(item, str):
            return self._spelled(item) in self.found
        return any(thing is item for thing in self._things)

    @overload
    def __getitem__(self, key: int) -> Thing: ...
    @overload
    def __getitem__(self, key: str | slice) -> list[Thing]: ...
    def __getitem__(self, key: int | str | slice) -> Thing | list[Thing]:
        if isinstance(key, slice):
            return list(self._things[key])
        if isinstance(key, str):
            word = self._spelled(key)
            if word is None:
                raise KeyError(f"{key!r} was not asked for; the words were: {', '.join(self.words)}")
            return [thing for thing in self._things if thing.label == word]
        try:
            return self._things[key]
        except IndexError:
            raise IndexError(f"expected one of the {len(self)} things found, got [{key}]") from None

    def _spelled(self, word: str) -> str | None:
        """A word as it was asked for, whatever its case here; None for one that was not asked."""
        index = self.segmentation.vocabulary.index(word)
        return None if index is None or index >= len(self.words) else self.words[index]

    def __repr__(self) -> str:
        height, width = self.image.shape[:2]
        things = ", ".join(f"{thing.label} {thing.score:.2f}" for thing in self._things)
        missing = ", ".join(self.missing)
        text = f"Result on {width}x{height}: {things or 'nothing found'}"
        if missing:
            text += f"; missing: {missing}"
        return f"<{textwrap.shorten(text, MAX_REPR - 2, placeholder=' …')}>"

    def plot(self) -> Image.Image:
        """The image with the things painted over it: fill, outline, name and score."""
        return Image.fromarray(draw_overlay(self.image, self.segmentation))

    def save(self, path: str | Path) -> Path:
        """Writes `plot()` to a file, of the kind that the name's end says, and gives its path back.

        Raises:
            InvalidInputError: the name ends in no kind of picture, or its folder is not there.
            OvsegError: the disk is full or the like.
        """
        path = Path(path).expanduser()
        if path.suffix.lower() not in Image.registered_extensions():
            raise InvalidInputError(
                f"expected a file name that ends in .png, .jpg or the like, got {str(path)!r}"
            )
        if not path.parent.is_dir():
            raise InvalidInputError(f"expected a folder that is there, got {str(path.parent)!r}")
        try:
            self.plot().save(path)
        except (OSError, ValueError) as error:
            raise OvsegError(f"cannot write {path}: {error}") from error
        return path

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO annotations, one per thing in this order, with the masks as run lengths.

        Args:
            image_id: for each annotation's "image_id"; their "id" counts from 1.

        Returns:
            Dicts that `json.dump` writes: id, image_id, category_id (i for `words[i]`), segmentation, bbox
            [x, y, width, height], area, iscrowd, and beside these score, margin, runner_up ("" for none),
            runner_up_score and label.
        """
        return [
            {
                "id": number,
                "image_id": image_id,
                "category_id": self.words.index(thing.label),
                **coco_mask_fields(thing.mask),
                "iscrowd": 0,
                "score": round(thing.score, 6),
                "margin": round(thing.margin, 6),
                "runner_up": thing.runner_up or "",
                "runner_up_score": round(thing.runner_up_score, 6),
                "label": thing.label,
            }
            for number, thing in enumerate(self._things, 1)
        ]

    def to_supervision(self) -> Any:
        """As `supervision.Detections`, for that package's annotators, zones and metrics.

        Returns:
            In this order: xyxy, mask, confidence, class_id (i for `words[i]`), tracker_id where all are
            followed, the words in data["class_name"] and how sure each is in data["margin"].

        Raises:
            OvsegError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise OvsegError(
                "to_supervision wants the package supervision: pip install supervision"
            ) from error
        if not self._things:
            return supervision.Detections.empty()
        tracks = [thing.track_id for thing in self._things]
        return supervision.Detections(
            xyxy=np.array([thing.box_xyxy for thing in self._things], np.float32),
            mask=np.stack([thing.mask for thing in self._things]),
            confidence=np.array([thing.score for thing in self._things], np.float32),
            class_id=np.array([self.words.index(thing.label) for thing in self._things]),
            tracker_id=None if None in tracks else np.array(tracks),
            data={
                "class_name": np.array([thing.label for thing in self._things]),
                "margin": np.array([thing.margin for thing in self._things], np.float32),
            },
        )


@dataclass(frozen=True, eq=False, repr=False)
class MaskProposals:
    """Masks of whatever stands out on an image, not yet named.

    Attributes:
        masks: (N, H, W) bool, the surest first, N >= 0; they may overlap.
        scores: (N,) float32 in [0, 1], how sure it is that the mask is one thing.
    """

    masks: npt.NDArray[np.bool_]
    scores: npt.NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.masks)

    def __repr__(self) -> str:
        return f"<MaskProposals: {len(self)} on {self.masks.shape[2]}x{self.masks.shape[1]}>"


def _things(found: Segmentation, kept: Sequence[int]) -> Iterator[Thing]:
    """Labelled masks as things, in the order of `kept`."""
    masks = [found.masks[i].numpy() for i in kept]
    boxes = [found.boxes_xyxy[i].tolist() for i in kept]
    depth_m, camera = found.frame.depth_m, found.frame.intrinsics
    places: list[Object3d | None] = [None] * len(kept)
    if depth_m is not None and camera is not None and (camera.height, camera.width) == depth_m.shape:
        places = objects_3d(depth_m, camera, masks, box_slices(boxes))
    for i, mask, box, place in zip(kept, masks, boxes, places):
        yield Thing(
            label=found.name_of(i),
            score=float(found.scores[i]),
            margin=float(found.margin[i]),
            runner_up=found.runner_up[i] or None,
            runner_up_score=float(found.runner_up_score[i]),
            mask=mask,
            box_xyxy=(box[0], box[1], box[2], box[3]),
            area_px=int(np.count_nonzero(mask)),
            track_id=int(found.track_ids[i]) or None,
            in_space=place,
        )


def _xyz(vector: npt.NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = vector.tolist()
    return x, y, z

"""True instances in COCO's JSON, and the pictures they belong to."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.pictures import read_image

RunLengths = Mapping[str, Any]
"""A mask as pycocotools computes with it: "size" [H, W] and "counts", compressed, as bytes."""


@dataclass(frozen=True)
class Instance:
    """One true object.

    Attributes:
        rle: its mask, on the picture's grid.
        area: in pixels as the file says it, which decides its size for COCO; the mask's own where the file
            says none.
        is_crowd: a group under one mask, which is neither found nor missed.
        category: its name, or its number where the file names none.
    """

    rle: RunLengths = field(repr=False)
    area: float
    is_crowd: bool
    category: str

    def mask(self) -> npt.NDArray[np.bool_]:
        """(H, W) bool."""
        decoded: npt.NDArray[np.bool_] = coco_mask.decode(dict(self.rle)).astype(bool)
        return decoded


@dataclass(frozen=True)
class Picture:
    """One picture and what is true on it.

    Attributes:
        name: as the file has it, a path.
        path: of the picture; where it would be, if it is not there.
        size_hw: (H, W) in pixels.
        instances: the true objects, in the file's order; none is fine.
        complete: False where the file's `complete` says that objects may be left without a label.
        refusal: why no file is meant by the name; "" where one is.
    """

    name: str
    path: Path
    size_hw: tuple[int, int]
    instances: tuple[Instance, ...]
    complete: bool = True
    refusal: str = ""

    def masks(self) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """(G, H, W) bool of the objects that are no group, in their order, and (H, W) bool of all groups."""
        things = [one.mask() for one in self.instances if not one.is_crowd]
        groups = np.zeros(self.size_hw, bool)
        for one in self.instances:
            if one.is_crowd:
                groups |= one.mask()
        return np.stack(things) if things else np.zeros((0, *self.size_hw), bool), groups

    def read(self) -> npt.NDArray[np.uint8]:
        """(H, W, 3) uint8 RGB, the pixels that the masks lie in: as stored, see `pictures`.

        Raises:
            InvalidInputError: see `read_image`, or a picture that has not the size the JSON says.
        """
        if self.refusal:
            raise InvalidInputError(self.refusal)
        image = read_image(self.path, grid_hw=self.size_hw)
        if image.shape[:2] != self.size_hw:
            (height, width), (own_height, own_width) = self.size_hw, image.shape[:2]
            raise InvalidInputError(
                f"want {self.path} as {width}x{height}, as the masks are, it is {own_width}x{own_height}; "
                "was it made smaller? Turned as its EXIF orientation says it does not fit either"
            )
        return image


@dataclass(frozen=True)
class InstanceDataset:
    """Pictures with true instances.

    Attributes:
        name: of the file, without its ending.
        pictures: in the file's order.
        sha256: of the file.
        categories: name of each category that the file lists -> its supercategory, "" where it has none; in
            the file's order.
    """

    name: str
    pictures: tuple[Picture, ...]
    sha256: str
    categories: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pictures)

    def take(self, limit: int) -> InstanceDataset:
        """The first `limit` pictures.

        Raises:
            InvalidInputError: less than one.
        """
        if limit < 1:
            raise InvalidInputError(f"want a limit of at least 1 picture, got {limit}")
        return replace(self, pictures=self.pictures[:limit])


def read_instances(path: Path, images: Path | None = None) -> InstanceDataset:
    """Reads a COCO instance file; pictures are opened later, one by one.

    Args:
        path: a `.json` file with images, annotations and, if there are any names, categories. Masks are
            polygons, or run lengths, compressed or not.
        images: the folder that `file_name` counts from, see `names`; the JSON's own when None.

    Raises:
        InvalidInputError: no such file, not such JSON, no pictures, or an annotation without a mask on its
            picture's grid. The message names the annotation.
    """
    try:
        text = path.read_bytes()
        content = json.loads(text)
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"want COCO's instance JSON in {path}: {error}") from error
    folder = path.parent if images is None else images
    rows = _rows(path, content, "images", ("id", "file_name", "width", "height"))
    if not rows:
        raise InvalidInputError(f"{path} names no pictures")
    sizes = {row["id"]: (int(row["height"]), int(row["width"])) for row in rows}
    if len(sizes) < len(rows):
        raise InvalidInputError(f"want a number of its own for each picture in {path}, some have the same id")
    has_names = isinstance(content.get("categories"), list)
    listed = _rows(path, content, "categories", ("id", "name")) if has_names else ()
    names = {row["id"]: str(row["name"]) for row in listed}
    of_picture: dict[Any, list[Instance]] = {number: [] for number in sizes}
    for number, row in enumerate(_rows(path, content, "annotations", ("image_id", "segmentation"))):
        where = f"annotation {row.get('id', f'no. {number + 1}')} in {path}"
        if row["image_id"] not in sizes:
            raise InvalidInputError(f"{where} belongs to picture {row['image_id']!r}, which the file has not")
        rle = _run_lengths(row["segmentation"], sizes[row["image_id"]], where)
        category = row.get("category_id")
        area = float(row.get("area", coco_mask.area(rle)))
        is_crowd = bool(row.get("iscrowd", 0))
        of_picture[row["image_id"]].append(Instance(rle, area, is_crowd, names.get(category, str(category))))
    files = FileNames(folder)
    pictures = []
    for row in rows:
        name, number = str(row["file_name"]), row["id"]
        picture, refusal = _found(files, name)
        complete = bool(row.get("complete", True))
        pictures.append(Picture(name, picture, sizes[number], tuple(of_picture[number]), complete, refusal))
    categories = {str(row["name"]): str(row.get("supercategory", "")) for row in listed}
    return InstanceDataset(path.stem, tuple(pictures), hashlib.sha256(text).hexdigest(), categories)


def _found(files: FileNames, name: str) -> tuple[Path, str]:
    """The picture's file and "", or where it would be and why it is not."""
    try:
        return files.find(name, what="picture"), ""
    except InvalidInputError as error:
        return files.folder / name, str(error)


def read_categories(path: Path) -> list[str]:
    """The names of a COCO instance file's categories, in its order, those without objects too.

    Raises:
        InvalidInputError: no such file, not such JSON, or no categories.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInputError(f"want COCO's instance JSON in {path}: {error}") from error
    return [str(row["name"]) for row in _rows(path, content, "categories", ("id", "name"))]


def _run_lengths(segmentation: object, size_hw: tuple[int, int], where: str) -> RunLengths:
    """One mask in any of COCO's three forms."""
    if isinstance(segmentation, Mapping):
        if "counts" not in segmentation or tuple(segmentation.get("size", ())) != size_hw:
            raise InvalidInputError(
                f"want the run lengths of {where} with counts and a size of {list(size_hw)}, got the size "
                f"{segmentation.get('size')}"
            )
        counts = segmentation["counts"]
        if isinstance(counts, list):
            rle: RunLengths = coco_mask.frPyObjects(dict(segmentation), *size_hw)
            return rle
        return {
            "size": list(size_hw),
            "counts": counts.encode("ascii") if isinstance(counts, str) else counts,
        }
    if not isinstance(segmentation, list) or not segmentation:
        raise InvalidInputError(
            f"want a mask for {where}, got none; boxes alone cannot be scored, leave such annotations out"
        )
    for polygon in segmentation:
        if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
            raise InvalidInputError(f"want polygons x,y,x,y,… of three corners or more in {where}")
    merged: RunLengths = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size_hw))
    return merged


def _rows(path: Path, content: object, name: str, needed: Sequence[str]) -> Sequence[Mapping[str, Any]]:
    rows = content.get(name) if isinstance(content, Mapping) else None
    if not isinstance(rows, list):
        raise InvalidInputError(f"want a list of {name} in {path}, as COCO's instance files have")
    for row in rows:
        if not isinstance(row, Mapping) or any(key not in row for key in needed):
            raise InvalidInputError(f"want {', '.join(needed)} in each of the {name} in {path}")
    return rows

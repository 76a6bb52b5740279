"""True instances in COCO's JSON, and the pictures they belong to."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.coco import RunLengths, read_json, rows_of, run_lengths
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.pictures import MAX_PIXELS, read_image


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
                f"expected {self.path} as {width}x{height}, as the masks are, it is "
                f"{own_width}x{own_height}; "
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
            raise InvalidInputError(f"expected a limit of at least 1 picture, got {limit}")
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
    text, content = read_json(path, "COCO instance file")
    folder = path.parent if images is None else images
    rows = rows_of(path, content, "images", ("id", "file_name", "width", "height"))
    if not rows:
        raise InvalidInputError(f"{path} names no pictures")
    sizes = {row["id"]: _size_hw(path, row) for row in rows}
    if len(sizes) < len(rows):
        raise InvalidInputError(
            f"expected a number of its own for each picture in {path}, some have the same id"
        )
    has_names = isinstance(content.get("categories"), list)
    listed = rows_of(path, content, "categories", ("id", "name")) if has_names else ()
    names = {row["id"]: _name(path, row) for row in listed}
    of_picture: dict[Any, list[Instance]] = {number: [] for number in sizes}
    for number, row in enumerate(rows_of(path, content, "annotations", ("image_id", "segmentation"))):
        where = f"annotation {row.get('id', f'no. {number + 1}')} in {path}"
        if row["image_id"] not in sizes:
            raise InvalidInputError(f"{where} belongs to picture {row['image_id']!r}, which the file has not")
        rle = run_lengths(row["segmentation"], sizes[row["image_id"]], where)
        category = row.get("category_id")
        area = _area(row.get("area"), where)
        area = float(coco_mask.area(rle)) if area is None else area
        is_crowd = bool(row.get("iscrowd", 0))
        of_picture[row["image_id"]].append(Instance(rle, area, is_crowd, names.get(category, str(category))))
    files = FileNames(folder)
    pictures = []
    for row in rows:
        name, number = str(row["file_name"]), row["id"]
        picture, refusal = _found(files, name)
        complete = bool(row.get("complete", True))
        pictures.append(Picture(name, picture, sizes[number], tuple(of_picture[number]), complete, refusal))
    categories = {_name(path, row): str(row.get("supercategory") or "") for row in listed}
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
    _, content = read_json(path, "COCO instance file")
    return [_name(path, row) for row in rows_of(path, content, "categories", ("id", "name"))]


def _size_hw(path: Path, row: Mapping[str, Any]) -> tuple[int, int]:
    sides = row["height"], row["width"]
    whole = all(
        isinstance(side, int | float) and 1 <= side <= MAX_PIXELS and side == int(side) for side in sides
    )
    if not whole or sides[0] * sides[1] > MAX_PIXELS:
        raise InvalidInputError(
            f"expected width and height of picture {row['id']} in {path} in pixels, at most "
            f"{MAX_PIXELS / 1e6:g} "
            f"million together, got {sides[1]!r:.40} and {sides[0]!r:.40}"
        )
    return int(sides[0]), int(sides[1])


def _area(area: object, where: str) -> float | None:
    """An area as the file says it; None where it says none."""
    if area is None:
        return None
    if not isinstance(area, int | float) or not 0 <= area < math.inf:
        raise InvalidInputError(f"expected the area of {where} in pixels, got {area!r:.40}")
    return float(area)


def _name(path: Path, row: Mapping[str, Any]) -> str:
    name = row["name"]
    if not isinstance(name, str | int) or not str(name).strip():
        raise InvalidInputError(
            f"expected the name of category {row['id']} in {path} as a text, got {name!r:.40}"
        )
    return str(name)

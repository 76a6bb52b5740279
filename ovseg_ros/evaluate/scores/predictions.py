"""Predictions made elsewhere, read from files: label images, or masks as COCO writes them."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Any
from unicodedata import normalize

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE, read_values
from ovseg_ros.evaluate.datasets.dataset import Sample, SegmentationDataset
from ovseg_ros.evaluate.scores.miou import NO_PREDICTION
from ovseg_ros.evaluate.scores.run import Progress, Result, score_each
from ovseg_ros.files.coco import read_json, rows_of, run_lengths
from ovseg_ros.files.names import FileNames

_SUFFIXES = (".png", ".tif", ".tiff")

Read = Callable[[Sample], npt.NDArray[np.int32]]


def score_predictions(
    dataset: SegmentationDataset,
    predictions: Path,
    *,
    first_id: int | None = None,
    progress: Progress = lambda done, total: None,
) -> Result:
    """Scores what is in a folder of label images or in a JSON file; no model runs.

    Label images: NAME.png (or .tif) for each picture, the class with index 0 as `first_id`; 255 in 8-bit
    images and 65535 in 16-bit ones are no prediction, unless that is a class's number, and so is 0 where
    classes begin at 1, as in ADE20K's own label images.
    JSON: COCO's list of results (`image_id` or `file_name`, `category_id`, `segmentation` as RLE), or a whole
    COCO data set, as `ovseg segment` writes it: there classes are matched by name. Masks of one picture may
    overlap: the higher `score` wins, the later one on ties. A mask of a category that is no class fails its
    picture: it may be a class by another name.

    Args:
        dataset: with the truth.
        predictions: a folder, or a `.json` file.
        first_id: the number of the first class in the files; not for data sets with names of their own. None:
            1 where the number K of K classes occurs, which only then is a class's, else 0.
        progress: see `run.Progress`.

    Raises:
        InvalidInputError: no such file, not such JSON, a negative `first_id`, or no picture could be scored.
    """
    if first_id is not None and first_id < 0:
        raise InvalidInputError(f"expected the first class's number from 0, got {first_id}")
    if predictions.is_dir():
        read = _label_images(predictions, dataset, first_id)
    elif predictions.is_file():
        read = _coco_results(predictions, dataset, first_id)
    else:
        raise InvalidInputError(
            f"expected a folder of label images or a JSON file, {predictions} is not there"
        )
    return score_each(dataset, lambda sample: {"": read(sample)}, ("",), progress)[""]


def _label_images(folder: Path, dataset: SegmentationDataset, first_id: int | None) -> Read:
    files, classes = FileNames(folder), len(dataset.class_names)

    def stored(name: str) -> tuple[Path, npt.NDArray[Any]]:
        if (path := files.look(name, _SUFFIXES, what="label image")) is None:
            raise InvalidInputError(f"{folder / name}.png is not there")
        values = read_values(path)
        if values.ndim != 2:
            raise InvalidInputError(f"expected one number per pixel in {path}, got the shape {values.shape}")
        return path, values

    def counts_from_one() -> bool:
        for item in dataset.items:
            with suppress(InvalidInputError):  # it is told when the picture is scored
                _, values = stored(item.name)
                if (values == classes).any() and classes != _none(values):
                    return True
        return False

    first = int(counts_from_one()) if first_id is None else first_id

    def read(sample: Sample) -> npt.NDArray[np.int32]:
        path, values = stored(sample.name)
        indices = values.astype(np.int64) - first
        none = _none(values)
        missing = ((values == none) & (indices >= classes)) | ((values == 0) & (first == 1))
        strange = ~missing & ((indices < 0) | (indices >= classes))
        if strange.any():
            found = np.unique(values[strange])[:8].tolist()
            raise InvalidInputError(
                f"expected numbers {first}…{first + classes - 1} or {none} in {path}, got {found}"
            )
        indices[missing] = NO_PREDICTION
        return indices.astype(np.int32)

    return read


def _none(values: npt.NDArray[Any]) -> int:
    """What means no prediction in a label image of this type."""
    return 255 if values.dtype == np.uint8 else IGNORE


def _coco_results(path: Path, dataset: SegmentationDataset, first_id: int | None) -> Read:
    """Groups the masks by picture, and paints one picture at a time."""
    _, content = read_json(path, "COCO file")
    classes = len(dataset.class_names)
    called: dict[int, str] = {}
    if isinstance(content, dict):
        names = {image["id"]: _names_of(image) for image in rows_of(path, content, "images", ("id",))}
        called = {row["id"]: row["name"] for row in rows_of(path, content, "categories", ("id", "name"))}
        index_of = _categories_by_name(path, content, dataset)
        rows = rows_of(path, content, "annotations", ("image_id", "category_id", "segmentation"))
    else:
        names = {}
        rows = rows_of(path, {"results": content}, "results", ("category_id", "segmentation"))
        first = int(any(row["category_id"] == classes for row in rows)) if first_id is None else first_id
        index_of = {first + i: i for i in range(classes)}
    known = {name for several in names.values() for name in several}
    masks: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        at = names.get(row.get("image_id")) or _names_of(row)
        for name in at:
            masks[name].append(row)

    def read(sample: Sample) -> npt.NDArray[np.int32]:
        whole = normalize("NFC", sample.name)
        keys = (whole, PurePosixPath(whole).name)
        own = next((masks[key] for key in keys if key in masks), None)
        if own is None and known.isdisjoint(keys):
            raise InvalidInputError(f"{path} says nothing of {sample.name}")
        if strange := sorted({row["category_id"] for row in own or []} - set(index_of)):
            shown = ", ".join(f"{number} {called.get(number, '')}".strip() for number in strange[:8])
            raise InvalidInputError(f"masks of categories that are no class of the data set: {shown}")
        return _painted(own or [], sample, index_of)

    return read


def _painted(
    rows: Sequence[Mapping[str, Any]], sample: Sample, index_of: Mapping[int, int]
) -> npt.NDArray[np.int32]:
    from pycocotools import mask as coco_mask

    painted = np.full(sample.truth.shape, NO_PREDICTION, np.int32)
    for row in sorted(rows, key=_score):
        rle = row["segmentation"]
        if not isinstance(rle, dict) or "counts" not in rle or "size" not in rle:
            raise InvalidInputError("expected masks as run lengths (RLE), got polygons or something else")
        size_hw = (sample.truth.shape[0], sample.truth.shape[1])
        if rle["size"] != list(size_hw):
            raise InvalidInputError(f"expected a mask of {size_hw}, got {rle['size']!r:.60}")
        mask = coco_mask.decode(run_lengths(rle, size_hw, f"a mask of {sample.name}"))
        painted[mask > 0] = index_of[row["category_id"]]
    return painted


def _score(row: Mapping[str, Any]) -> float:
    score = row.get("score", 0.0)
    if not isinstance(score, int | float) or not math.isfinite(score):
        raise InvalidInputError(f"expected the score of each mask as a number, got {score!r:.40}")
    return score


def _names_of(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What a picture may be called, from its name, file or number; composed, with forward slashes."""
    found = []
    for key in ("name", "file_name", "image_id"):
        if key in row and str(row[key]):
            text = normalize("NFC", str(row[key])).replace("\\", "/")
            found += [text] if key == "name" else [PurePosixPath(text).stem]
            if key == "image_id" and text.isdecimal():
                found.append(text.zfill(12))  # as COCO names its pictures
    return tuple(dict.fromkeys(found))


def _categories_by_name(
    path: Path, content: Mapping[str, Any], dataset: SegmentationDataset
) -> dict[int, int]:
    """Category number -> class index; synonyms count."""
    index: dict[str, int] = {}
    for i, names in enumerate(dataset.classes.synonyms):
        for name in names:
            index.setdefault(name.casefold(), i)
    index |= {name.casefold(): i for i, name in enumerate(dataset.class_names)}  # a first name goes before
    found = {
        category["id"]: index[str(category["name"]).casefold()]
        for category in rows_of(path, content, "categories", ("id", "name"))
        if str(category["name"]).casefold() in index
    }
    if not found:
        raise InvalidInputError(f"no category of {path} has the name of a class of {dataset.name}")
    return found

"""Where the files of each benchmark lie, and what the numbers in its label images mean.

Each may lie as it was distributed or as the preparation scripts of published work leave it; both give the
same truth. docs/datasets.md draws the trees.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE, Decoder, lookup
from ovseg_ros.evaluate.datasets.class_names import shipped
from ovseg_ros.evaluate.datasets.layouts import Layout

_VAL = {"training": "train", "validation": "val"}
_2017 = {"training": "train2017", "validation": "val2017"}
_COCO_FOLDERS = ("images/{split}", "annotations/{split}")
_VALIDATION_ALONE = {"validation": "val"}


def contiguous(count: int, ignore: int) -> Decoder:
    """A decoder where k is class k, from 0, and one value is ignored."""
    return lookup({k: k for k in range(count)} | {ignore: IGNORE})


def shifted(count: int, *more_ignored: int) -> Decoder:
    """A decoder where 0 is ignored and k is class k - 1."""
    return lookup({k: k - 1 for k in range(1, count + 1)} | dict.fromkeys((0, *more_ignored), IGNORE))


def decode_ade20k_colours(
    values: npt.NDArray[Any], by_number: Callable[[npt.NDArray[Any]], npt.NDArray[np.uint16]]
) -> npt.NDArray[np.uint16]:
    """The class number in ADE20K's own label images: red // 10 · 256 + green; blue tells instances apart.

    Args:
        values: (H, W, 3 or 4) uint8.
        by_number: from numbers to class indices.

    Raises:
        InvalidInputError: not an image in colours.
    """
    if values.ndim != 3 or values.shape[2] < 3:
        raise InvalidInputError(f"expected a *_seg.png in colours, got the shape {values.shape}")
    return by_number(values[..., 0].astype(np.int32) // 10 * 256 + values[..., 1])


def ade20k_150(folder: Path) -> tuple[Layout, ...]:
    """The challenge's folders: 0 is ignored, k is class k - 1."""
    return (
        Layout(
            "as-distributed", "ADEChallengeData2016", "images/{split}", "annotations/{split}", shifted(150)
        ),
    )


def ade20k_full(folder: Path) -> tuple[Layout, ...]:
    """Prepared label images, or the colours of the distribution; numbers outside the 847 are ignored."""
    classes = shipped("ade20k_full_847", 847)
    numbers = lookup({code: i for i, code in enumerate(classes.codes)}, others=IGNORE)
    return (
        Layout(
            "maskformer",
            "as MaskFormer's script prepares it",
            "images_detectron2/{split}",
            "annotations_detectron2/{split}",
            contiguous(847, IGNORE),
            suffix=".tif",
        ),
        Layout(
            "as-distributed",
            "ADE20K_2021_17_01",
            "images/ADE/{split}",
            "images/ADE/{split}",
            partial(decode_ade20k_colours, by_number=numbers),
            tail="_seg",
            nested=True,
        ),
    )


def _pascal_context(count: int, folder: Path) -> tuple[Layout, ...]:
    """Layouts that 59 and 459 classes have in common: the matrices of the distribution, and FC-CLIP's."""
    classes = shipped(f"pascal_context_{count}", count)
    numbers = lookup({code: i for i, code in enumerate(classes.codes)}, others=IGNORE)
    matrices = partial(
        Layout, images="JPEGImages", annotations="trainval", decode=numbers, suffix=".mat", splits=_VAL
    )
    return (
        matrices(
            "as-distributed-list",
            "with a list of its pictures",
            listing="pascalcontext_val.txt",
            splits=_VALIDATION_ALONE,
        ),
        matrices("as-distributed", "VOC2010 and trainval", listing="ImageSets/Main/{split}.txt"),
        Layout(
            "fc-clip",
            "as FC-CLIP's scripts prepare it",
            "images/{split}",
            f"annotations_ctx{count}/{{split}}",
            contiguous(count, 255 if count < 255 else IGNORE),
            suffix=".png" if count < 255 else ".tif",
            root="pascal_ctx_d2",
        ),
    )


def pascal_context_459(folder: Path) -> tuple[Layout, ...]:
    """Prepared label images, or matrices; 0 is ignored."""
    prepared = Layout(
        "ovseg",
        "as OVSeg's and CAT-Seg's scripts prepare it",
        "JPEGImages",
        "annotations_detectron2/pc459_{split}",
        contiguous(459, IGNORE),
        suffix=".tif",
        splits=_VALIDATION_ALONE,
    )
    return (prepared, *_pascal_context(459, folder))


def pascal_context_59(folder: Path) -> tuple[Layout, ...]:
    """Matrices first: two scripts fill one folder with different numbers, which cannot be told apart."""
    prepared = partial(
        Layout,
        images="JPEGImages",
        annotations="annotations_detectron2/pc59_{split}",
        splits=_VALIDATION_ALONE,
        automatic=False,
    )
    return (
        *_pascal_context(59, folder),
        Layout(
            "mmsegmentation",
            "as MMSegmentation's script prepares it",
            "JPEGImages",
            "SegmentationClassContext",
            shifted(59, 255),
            listing="ImageSets/SegmentationContext/{split}.txt",
            splits=_VAL,
        ),
        prepared(
            "ovseg",
            "as OVSeg's script prepares it",
            decode=_order_of_59_labels(folder / "59_labels.txt"),
            needs=("59_labels.txt",),
        ),
        prepared("cat-seg", "as CAT-Seg's script prepares it", decode=contiguous(59, 255)),
    )


def _order_of_59_labels(path: Path) -> Decoder:
    """OVSeg's script numbers the classes in the order of this file, VOC's twenty first."""
    ours = shipped("pascal_context_59", 59)
    index = {_squeezed(name): i for i, name in enumerate(ours.names)} | {
        "diningtable": ours.names.index("table")
    }
    try:
        lines = path.read_text(encoding="utf-8").split("\n") if path.is_file() else []
    except (OSError, UnicodeDecodeError):
        lines = []
    names = [_squeezed(line.split(":")[-1]) for line in lines]
    meaning = {i: index[name] for i, name in enumerate(names) if name in index}
    return lookup(meaning | {255: IGNORE})


def _squeezed(name: str) -> str:
    return "".join(name.split()).lower()


def voc(background: bool, folder: Path) -> tuple[Layout, ...]:
    """20 classes ignore the background, 21 count it as class 0; the border (255) is always ignored."""
    distributed = contiguous(21, 255) if background else shifted(20, 255)
    prepared = contiguous(21 if background else 20, 255)
    layouts = [
        Layout(
            "as-distributed",
            "VOC2012",
            "JPEGImages",
            "SegmentationClass",
            distributed,
            listing="ImageSets/Segmentation/{split}.txt",
            splits=_VAL,
        ),
        Layout(
            "fc-clip",
            "as FC-CLIP's script prepares it",
            "images/{split}",
            f"annotations_pascal{21 if background else 20}/{{split}}",
            prepared,
            root="pascal_voc_d2",
        ),
    ]
    if not background:
        layouts.append(
            Layout(
                "ovseg",
                "as OVSeg's and CAT-Seg's scripts prepare it",
                "JPEGImages",
                "annotations_detectron2/{split}",
                prepared,
                splits=_VALIDATION_ALONE,
            )
        )
    return tuple(layouts)


def coco_stuff(folder: Path) -> tuple[Layout, ...]:
    """Numbers 0…181 with gaps that no class has; the benchmarks ignore them and 255."""
    classes = shipped("coco_stuff_171", 171)
    gaps = dict.fromkeys((*range(182), 255), IGNORE)
    numbers = lookup(gaps | {code: i for i, code in enumerate(classes.codes)})
    prepared = contiguous(171, 255)
    return (
        Layout(
            "as-distributed", "coco with stuffthingmaps", "{split}", "stuffthingmaps/{split}", numbers, _2017
        ),
        Layout("cat-seg-raw", "CAT-Seg's and MMSegmentation's folders", *_COCO_FOLDERS, numbers, _2017),
        Layout(
            "ovseg",
            "as OVSeg's script prepares it",
            "{split}",
            "stuffthingmaps_detectron2/{split}",
            prepared,
            _2017,
        ),
        Layout(
            "cat-seg",
            "as CAT-Seg's script prepares it",
            "images/{split}",
            "annotations_detectron2/{split}",
            prepared,
            _2017,
        ),
    )

"""Segmentation data sets with ground truth, in the folder layouts their distributions have."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg_ros.core.camera import DepthDoubt
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE, Decoder, read_values
from ovseg_ros.evaluate.datasets.benchmark_layouts import shifted
from ovseg_ros.evaluate.datasets.benchmarks import BENCHMARKS, Benchmark
from ovseg_ros.evaluate.datasets.class_names import ClassList, read_class_file
from ovseg_ros.evaluate.datasets.layouts import Item, Layout
from ovseg_ros.files.cameras import Camera, read_camera
from ovseg_ros.files.depth import find_depth
from ovseg_ros.files.frames import read_frame
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.pictures import read_header

__all__ = ["IGNORE", "KINDS", "Sample", "SegmentationDataset", "open_dataset"]

_LOG = logging.getLogger(__name__)

FOLDER = "folder"
"""The kind of a data set of one's own."""

_LABEL_SUFFIXES = (".png", ".tif", ".tiff")

KINDS: tuple[str, ...] = (*BENCHMARKS, FOLDER)
"""What `open_dataset` knows."""


@dataclass(frozen=True)
class Sample:
    """One picture with what is true of it.

    Attributes:
        name: the picture's name, without suffix.
        frame: the picture; with depth and intrinsics where the data set has them.
        truth: (H, W) uint16 class index, `IGNORE` where nothing is counted.
        instances: (H, W) uint16 object numbers, 0 for none; None where the data set has none.
    """

    name: str
    frame: Frame
    truth: npt.NDArray[np.uint16]
    instances: npt.NDArray[np.uint16] | None = None


@dataclass(frozen=True)
class SegmentationDataset:
    """The pictures of one split, read one at a time.

    Attributes:
        name: for reports.
        classes: names and synonyms; the index in it is the value in `Sample.truth`.
        unseen: names of classes held out from training, () where nothing is said of it.
        items: the files.
        decode: from the values in label images to class indices.
        depth: folder of depth images (16 bit, millimetres unless the camera says another scale), None
            without depth.
        camera: of all pictures, None when unknown.
        instances: folder of instance images, None without them.
        layout: name of the folder layout that was found.
        doubt: whether depth can be in this unit; the log says so once.

    """

    name: str
    classes: ClassList
    unseen: tuple[str, ...]
    items: tuple[Item, ...]
    decode: Decoder = field(repr=False)
    depth: Path | None = None
    camera: Camera | None = None
    instances: Path | None = None
    layout: str = ""
    doubt: DepthDoubt = field(default_factory=DepthDoubt, repr=False, compare=False)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The first name of each class."""
        return self.classes.names

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Sample]:
        """Every sample in order; see `load` for what is raised."""
        return (self.load(i) for i in range(len(self)))

    def load(self, index: int) -> Sample:
        """Reads one picture with its truth.

        Raises:
            InvalidInputError: a file is not there or cannot be read, sizes differ, or a label value has no
                meaning; the message names the file.
        """
        item = self.items[index]
        values = read_values(item.annotation)
        try:
            truth = self.decode(values)
        except InvalidInputError as error:
            raise InvalidInputError(f"{item.annotation}: {error}") from error
        if item.refusal:
            raise InvalidInputError(item.refusal)
        depth, objects = self.beside(item)
        frame = read_frame(item.image, depth, self.camera, grid_hw=(truth.shape[0], truth.shape[1]))
        if doubt := self.doubt(frame.depth_m):
            _LOG.warning("%s: %s", item.image, doubt)
        _check_size(item.annotation, truth.shape, frame.size_hw)
        instances = None
        if objects is not None:
            values = read_values(objects)
            _check_size(objects, values.shape, frame.size_hw)
            instances = values.astype(np.uint16)
        return Sample(item.name, frame, truth, instances)

    def check(self, index: int) -> bool:
        """Looks whether `load` can read a picture, by what the files' headers say alone.

        Returns:
            Whether the picture has an EXIF orientation that `load` does not heed; see `pictures`.

        Raises:
            InvalidInputError: a file is not there or has another size; the message names it.
        """
        item = self.items[index]
        if item.refusal:
            raise InvalidInputError(item.refusal)
        paths = [path for path in (item.annotation, *self.beside(item)) if path is not None]
        grids = {path: size_hw for path in paths if (size_hw := _stored_size(path)) is not None}
        header = read_header(item.image)
        grid_hw = next(iter(grids.values()), None)
        turned = header.turns(grid_hw)
        for path, own_hw in grids.items():
            _check_size(path, own_hw, header.size_hw[::-1] if turned else header.size_hw)
        return header.orientation != 1 and not turned

    def beside(self, item: Item) -> tuple[Path | None, Path | None]:
        """The files of depth and instances of a picture, None where the data set has no such.

        Raises:
            InvalidInputError: it has, and not of this picture.
        """
        depth = None if self.depth is None else find_depth(self.depth, item.image, Path(item.name))
        if self.instances is None or (instances := self.instances / f"{item.name}.png").is_file():
            return depth, None if self.instances is None else instances
        return depth, FileNames(self.instances).find(item.name, _LABEL_SUFFIXES, what="instance image")

    def take(self, indices: slice) -> SegmentationDataset:
        """The same data set with some of its pictures.

        Raises:
            InvalidInputError: none of them is left.
        """
        items = self.items[indices]
        if not items:
            raise InvalidInputError(f"expected some of the {len(self)} pictures of {self.name}, got none")
        return replace(self, items=items)

    def sha256(self) -> str:
        """Hash of the data list: class names, and name and file sizes of every picture and label image."""
        digest = hashlib.sha256("\n".join(self.class_names).encode())
        for item in self.items:
            sizes = (file.stat().st_size if file.is_file() else -1 for file in (item.image, item.annotation))
            digest.update("\t".join(["\n" + item.name, *map(str, sizes)]).encode())
        return digest.hexdigest()


def open_dataset(
    kind: str,
    folder: Path,
    split: str = "validation",
    *,
    classes: Path | None = None,
    layout: str | None = None,
) -> SegmentationDataset:
    """Opens one split of a data set; pictures are read later, one at a time.

    Args:
        kind: one of `KINDS`.
        folder: the data set's own folder, as docs/datasets.md draws it.
        split: "validation" or "training".
        classes: a file of names to use instead of the kind's, one class a line, as many as it has.
        layout: name of the layout it lies in; None finds out.

    Raises:
        InvalidInputError: an unknown kind, no such folder, no layout of this kind in it, an empty split, or
            a class list of another length; `ovseg evaluate check` says more.
    """
    folder = Path(folder)
    if kind not in KINDS:
        raise InvalidInputError(f"expected a kind of data set of {', '.join(KINDS)}, got {kind!r}")
    if not folder.is_dir():
        raise InvalidInputError(f"expected the folder of {kind}, {folder} is not there")
    if kind == FOLDER:
        return _open_folder(folder, split, classes)
    benchmark = BENCHMARKS[kind]
    found = find_layout(benchmark, folder, split, layout)
    return SegmentationDataset(
        name=kind,
        classes=_class_list(classes, benchmark.classes()),
        unseen=(),
        items=tuple(found.items(folder, split)),
        decode=found.decode,
        layout=found.name,
    )


def find_layout(benchmark: Benchmark, folder: Path, split: str, name: str | None = None) -> Layout:
    """The named one of a benchmark's layouts, or the first that the folder has.

    Raises:
        InvalidInputError: it has none of them, or only some that look alike and must be asked for by name; no
            such layout, no such split.
    """
    layouts = benchmark.layouts(folder)
    if name is not None and name not in [layout.name for layout in layouts]:
        raise InvalidInputError(
            f"expected a layout of {', '.join(layout.name for layout in layouts)}, got {name!r}"
        )
    asked = [layout for layout in layouts if name in (None, layout.name) and split in layout.splits]
    if not asked:
        splits = dict.fromkeys(s for one in layouts if name in (None, one.name) for s in one.splits)
        raise InvalidInputError(f"expected a split of {', '.join(splits)}, got {split!r}")
    there = [layout for layout in asked if not layout.absent(folder, split)]
    for layout in there:
        if layout.automatic or name is not None:
            return layout
    if there:
        raise InvalidInputError(
            f"{folder} holds {benchmark.kind} in folders that two scripts fill with different numbers: "
            f"say which with --layout {' or '.join(layout.name for layout in there)}"
        )
    nearest = min(asked, key=lambda one: len(one.absent(folder, split)))
    raise InvalidInputError(
        f"{folder} holds no {benchmark.kind}: nearest is the layout of {nearest.title!r}, which lacks "
        f"{', '.join(nearest.absent(folder, split))}; `ovseg evaluate check {benchmark.kind} {folder}` says "
        "what belongs there"
    )


def folder_layout(count: int) -> Layout:
    """The layout of the kind `folder`, with `count` classes: 0 is ignored, k is class k."""
    return Layout("folder", "data set of one's own", "images/{split}", "annotations/{split}", shifted(count))


def _open_folder(folder: Path, split: str, classes: Path | None) -> SegmentationDataset:
    own = read_class_file(folder / "classes.txt")
    names = _class_list(classes, own)
    layout = folder_layout(len(own))
    if absent := layout.absent(folder, split):
        raise InvalidInputError(
            f"{folder} lacks {', '.join(absent)}; `ovseg evaluate check {FOLDER} {folder}` says what belongs "
            "there"
        )
    unseen: tuple[str, ...] = ()
    if (folder / "unseen.txt").is_file():
        unseen = read_class_file(folder / "unseen.txt").names
        if strange := sorted(set(unseen) - set(own.names)):
            raise InvalidInputError(f"{folder / 'unseen.txt'} names no class: {', '.join(strange)}")
        unseen = tuple(names.names[own.names.index(name)] for name in unseen)
    depth, instances = folder / "depth" / split, folder / "instances" / split
    camera = folder / "camera.json"
    return SegmentationDataset(
        name=folder.resolve().name,
        classes=names,
        unseen=unseen,
        items=tuple(layout.items(folder, split)),
        decode=layout.decode,
        depth=depth if depth.is_dir() else None,
        camera=read_camera(camera) if camera.is_file() else None,
        instances=instances if instances.is_dir() else None,
        layout=layout.name,
    )


def _class_list(given: Path | None, own: ClassList) -> ClassList:
    if given is None:
        return own
    names = read_class_file(given)
    if len(names) != len(own):
        raise InvalidInputError(f"expected {len(own)} classes in {given}, got {len(names)}")
    return names


def _stored_size(path: Path) -> tuple[int, int] | None:
    """(H, W) of an image, without unpacking it; None for matrices and arrays, which only unpacking tells."""
    if path.suffix in (".mat", ".npy") and path.is_file():
        return None
    return read_header(path).size_hw


def _check_size(path: Path, shape: tuple[int, ...], size_hw: tuple[int, int]) -> None:
    if shape != size_hw:
        raise InvalidInputError(f"{path} is {shape[1]}x{shape[0]}, its picture {size_hw[1]}x{size_hw[0]}")

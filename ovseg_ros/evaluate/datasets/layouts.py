"""Where a data set keeps its pictures and label images, and what of it is missing in a folder."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from unicodedata import normalize

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import Decoder
from ovseg_ros.files.names import FileNames
from ovseg_ros.files.pictures import IMAGE_SUFFIXES, SUFFIX_ORDER
from ovseg_ros.files.texts import lines_of, read_text

DERIVED = ("_labelTrainIds", "_instanceTrainIds")
"""What MMSegmentation's scripts write beside the label images of the distribution."""


@dataclass(frozen=True)
class Item:
    """One picture with its label image; either may not be there, which loading it says.

    Attributes:
        name: without suffix.
        image: the picture; where it would be, if it is not there.
        annotation: the label image.
        refusal: why no picture is meant by the name; "" where one is.
    """

    name: str
    image: Path
    annotation: Path
    refusal: str = ""


@dataclass(frozen=True)
class Layout:
    """One way a data set lies on the disk. Paths are below its folder; `{split}` stands for the split.

    Attributes:
        name: what the command line calls it.
        title: where this layout comes from, for people.
        images: folder of the pictures.
        annotations: folder of the label images.
        decode: from their values to class indices.
        splits: "training" and "validation" -> what they are called in paths.
        tail: what a label image's name has behind the picture's, without the suffix.
        suffix: of label images.
        listing: file with one name per line, None where every label image in the folder belongs.
        nested: whether there are folders below.
        needs: further files without which values have no meaning.
        root: what its folder is usually called, "" as the benchmark's.
        automatic: False where another layout looks the same and means something else: it must be asked for.
    """

    name: str
    title: str
    images: str
    annotations: str
    decode: Decoder
    splits: Mapping[str, str] = field(
        default_factory=lambda: {"training": "training", "validation": "validation"}
    )
    tail: str = ""
    suffix: str = ".png"
    listing: str | None = None
    nested: bool = False
    needs: tuple[str, ...] = ()
    automatic: bool = True
    root: str = ""

    def path(self, folder: Path, part: str, split: str) -> Path:
        """`part` of this layout below `folder`, for a split.

        Raises:
            InvalidInputError: no such split.
        """
        if split not in self.splits:
            raise InvalidInputError(f"expected a split of {', '.join(self.splits)}, got {split!r}")
        return folder / part.format(split=self.splits[split])

    def absent(self, folder: Path, split: str) -> list[str]:
        """Which of its folders and files are not there, as paths below `folder`."""
        parts = [self.images, self.annotations]
        files = [part for part in (self.listing, *self.needs) if part is not None]
        missing = [part for part in parts if not self.path(folder, part, split).is_dir()]
        missing += [part for part in files if not self.path(folder, part, split).is_file()]
        return [part.format(split=self.splits[split]) for part in missing]

    def items(self, folder: Path, split: str) -> list[Item]:
        """Every picture of a split, in order of names.

        Raises:
            InvalidInputError: the split has no picture.
        """
        annotations = self.path(folder, self.annotations, split)
        listing = None if self.listing is None else self.path(folder, self.listing, split)
        names = self._listed(listing) if listing is not None else sorted(self._found(annotations))
        if not names:
            where = listing or f"{annotations}{self._others(annotations)}"
            raise InvalidInputError(f"the split {split!r} is empty: nothing in {where}")
        images = FileNames(self.path(folder, self.images, split))
        labels = FileNames(annotations)
        return [self._item(name, images, labels) for name in names]

    def _item(self, name: str, images: FileNames, labels: FileNames) -> Item:
        label = f"{name}{self.tail}{self.suffix}"
        wanted = images.folder / f"{name}{SUFFIX_ORDER[0]}"
        try:
            annotation = labels.look(label, what="label image") or labels.folder / label
            image = images.look(name, SUFFIX_ORDER, what="picture")
        except InvalidInputError as error:
            return Item(name, wanted, labels.folder / label, str(error))
        if image is not None:
            return Item(name, image, annotation)
        near = images.near(name)
        there = f"; {', '.join(near)} is there, of a kind that is not read" if near else ""
        refusal = f"expected a picture, {wanted} is not there, nor one of another kind{there}"
        return Item(name, wanted, annotation, refusal)

    def unlabelled(self, folder: Path, split: str) -> list[str]:
        """Pictures without a label image, where each should have one and lies apart from them."""
        if self.listing is not None or self.images == self.annotations:
            return []
        found = {normalize("NFC", name) for name in self._found(self.path(folder, self.annotations, split))}
        files = _files(self.path(folder, self.images, split), self.nested)
        pictures = {stem for stem, suffix in map(os.path.splitext, files) if suffix.lower() in IMAGE_SUFFIXES}
        return sorted(name for name in pictures if normalize("NFC", name) not in found)

    def _found(self, annotations: Path) -> list[str]:
        """The names of the pictures that have a label image."""
        end = self.tail + self.suffix
        names = (file for file in _files(annotations, self.nested) if file.lower().endswith(end.lower()))
        stems = (name[: -len(end)] for name in names)
        return [stem for stem in stems if self.tail or not stem.endswith(DERIVED)]

    def _others(self, annotations: Path) -> str:
        """What lies in a folder of label images none of which can be one; "" where it is empty."""
        files = sorted(_files(annotations, self.nested))
        wanted = f"NAME{self.tail}{self.suffix}"
        return (
            f" is {wanted}; {', '.join(files[:3])}{' …' if len(files) > 3 else ''} is there" if files else ""
        )

    @staticmethod
    def _listed(listing: Path) -> list[str]:
        what = f"expected a list of names, one a line, in {listing}"
        text = read_text(listing, refuse=lambda problem: InvalidInputError(f"{what}: {problem}"))
        return [line.strip() for line in lines_of(text) if line.strip()]


def _files(folder: Path, nested: bool) -> list[str]:
    """Paths of the files in a folder, below it, with forward slashes; hidden ones left out."""
    if not nested:
        return [entry.name for entry in os.scandir(folder) if entry.name[0] != "." and entry.is_file()]
    return [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]

"""What a data set's folder lacks, said precisely, with the tree that is expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.benchmarks import BENCHMARKS
from ovseg_ros.evaluate.datasets.dataset import (
    FOLDER,
    IGNORE,
    SegmentationDataset,
    find_layout,
    folder_layout,
    open_dataset,
)
from ovseg_ros.evaluate.datasets.layouts import Layout
from ovseg_ros.evaluate.scores.run import Progress

READ = 10
"""So many pictures are read, spread over the split, unless all are asked for."""

_LISTED = 10


@dataclass(frozen=True)
class Report:
    """What was found in a folder.

    Attributes:
        found: remarks, one a line.
        problems: what has to be put right, one a line; none: it can be measured.
    """

    found: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing has to be put right."""
        return not self.problems


def check_dataset(
    kind: str,
    folder: Path,
    split: str = "validation",
    *,
    layout: str | None = None,
    read_all: bool = False,
    progress: Progress = lambda done, total: None,
) -> Report:
    """Looks for every file of a split, and reads some of them or all.

    Raises:
        InvalidInputError: an unknown kind.
    """
    try:
        dataset = open_dataset(kind, folder, split, layout=layout)
    except InvalidInputError as error:
        if kind != FOLDER and kind not in BENCHMARKS:
            raise
        return Report((), (str(error), *_absent(kind, Path(folder), split)))
    found = [f"{len(dataset)} pictures, {len(dataset.class_names)} classes, layout {dataset.layout}"]
    problems = _files(dataset)
    if kind == FOLDER:
        lies = folder_layout(len(dataset.class_names))
    else:
        lies = find_layout(BENCHMARKS[kind], Path(folder), split, dataset.layout)
        whole = BENCHMARKS[kind].pictures.get(split, ())
        if whole and len(dataset) not in whole:
            found.append(
                f"the whole split has {whole[0]} pictures: figures will not compare with published ones"
            )
    unlabelled = lies.unlabelled(Path(folder), split)
    if unlabelled:
        found.append(f"{len(unlabelled)} pictures have no label image and are left out: {_some(unlabelled)}")
    if dataset.unseen:
        found.append(f"{len(dataset.unseen)} classes are held out: {_some(dataset.unseen)}")
    optional = {"depth": dataset.depth, "instances": dataset.instances}
    found += [f"with {name}" for name, where in optional.items() if where is not None]
    problems += _contents(dataset, read_all, found, progress)
    return Report(tuple(found), tuple(dict.fromkeys(problems)))


def expected_trees(kind: str) -> str:
    """The trees that a kind may lie in, drawn for people.

    Raises:
        InvalidInputError: an unknown kind.
    """
    if kind == FOLDER:
        return "\n".join(
            [
                "DIR/",
                "  classes.txt                     one class a line: its name, then synonyms behind commas",
                "  unseen.txt                      names of held-out classes (optional)",
                "  images/SPLIT/NAME.jpg           or .png, .webp, .tif …; SPLIT is training or validation",
                "  annotations/SPLIT/NAME.png      8 or 16 bit: 0 ignored, k is line k of classes.txt",
                "  depth/SPLIT/NAME.png            16 bit, millimetres or depth_scale (optional)",
                "  instances/SPLIT/NAME.png        16 bit, object numbers, 0 for none (optional)",
                "  camera.json                     fx, fy, cx, cy, width, height, depth_scale (optional)",
            ]
        )
    if kind not in BENCHMARKS:
        raise InvalidInputError(f"expected a kind of {', '.join((*BENCHMARKS, FOLDER))}, got {kind!r}")
    benchmark = BENCHMARKS[kind]
    parts = [f"{benchmark.title}; {benchmark.source}"]
    for layout in benchmark.layouts(Path()):
        asked = "" if layout.automatic else f" (asked for with --layout {layout.name})"
        parts.append(f"layout {layout.name}: {layout.title}{asked}")
        parts.append(f"  {layout.root or benchmark.root}/")
        parts += [f"    {line}" for line in _tree(layout)]
    return "\n".join(parts)


def _tree(layout: Layout) -> list[str]:
    split = " or ".join(layout.splits.values())
    name = "…/NAME" if layout.nested else "NAME"
    lines = [
        f"{layout.images}/{name}.jpg".replace("{split}", "SPLIT"),
        f"{layout.annotations}/{name}{layout.tail}{layout.suffix}".replace("{split}", "SPLIT"),
        *(part.replace("{split}", "SPLIT") for part in (layout.listing, *layout.needs) if part is not None),
    ]
    lines[0] += f"    SPLIT is {split}" if any("SPLIT" in line for line in lines) else ""
    return lines


def _absent(kind: str, folder: Path, split: str) -> list[str]:
    """Per layout what of it is not there."""
    if not folder.is_dir():
        return []
    if kind == FOLDER:
        missing = [] if (folder / "classes.txt").is_file() else ["classes.txt"]
        missing += folder_layout(1).absent(folder, split) if split in folder_layout(1).splits else []
        return [f"not there: {', '.join(missing)}"] if missing else []
    layouts = [one for one in BENCHMARKS[kind].layouts(folder) if split in one.splits]
    return [
        f"layout {one.name} ({one.title}) lacks {', '.join(absent)}"
        for one in layouts
        if (absent := one.absent(folder, split))
    ]


def _files(dataset: SegmentationDataset) -> list[str]:
    """Which files are not there, or have another size than their picture."""
    parts = {
        "picture": [item.image for item in dataset.items if item.refusal],
        "label image": [item.annotation for item in dataset.items if not item.annotation.is_file()],
    }
    problems = []
    for what, paths in parts.items():
        if paths:
            names = _some([str(path) for path in paths])
            problems.append(f"{len(paths)} of {len(dataset)} {what}s are not there: {names}")
    others = []
    for i in _there(dataset):
        try:
            dataset.check(i)
        except InvalidInputError as error:
            others.append(str(error))
    return problems + _first(others)


def _there(dataset: SegmentationDataset) -> list[int]:
    """The places of the pictures that are there with their label images."""
    items = enumerate(dataset.items)
    return [i for i, item in items if item.image.is_file() and item.annotation.is_file()]


def _first(problems: list[str]) -> list[str]:
    if len(problems) <= _LISTED:
        return problems
    return [*problems[:_LISTED], f"and {len(problems) - _LISTED} more pictures"]


def _contents(
    dataset: SegmentationDataset, read_all: bool, found: list[str], progress: Progress
) -> list[str]:
    """What is wrong inside the files that were read."""
    there = _there(dataset)
    step = 1 if read_all else max(len(there) / READ, 1)
    chosen = [there[int(i * step)] for i in range(int(len(there) / step))] if there else []
    problems: list[str] = []
    counted = 0
    for done, index in enumerate(chosen, 1):
        try:
            sample = dataset.load(index)
            counted += int((sample.truth != IGNORE).sum())
        except InvalidInputError as error:
            problems.append(str(error))
        progress(done, len(chosen))
    found.append(f"read {len(chosen)} of them{'' if read_all else ', --all reads every one'}")
    if chosen and counted == 0 and not problems:
        problems.append(
            "every pixel of the label images that were read is ignored: there is nothing to score"
        )
    return _first(problems)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more

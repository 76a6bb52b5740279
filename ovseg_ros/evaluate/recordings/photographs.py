"""Photographs as a recording: a data set in the layout `folder` whose things are marked one by one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.dataset import FOLDER, IGNORE, Sample, open_dataset
from ovseg_ros.evaluate.recordings.recording import FRAME_ID, RecordedFrame, read_recording


def is_photographs(folder: Path) -> bool:
    """Whether a folder holds photographs in the layout `folder`, not a rosbag2 recording."""
    return (folder / "classes.txt").is_file()


def read_photographs(folder: Path) -> Iterator[RecordedFrame]:
    """Reads the validation split, each picture a scene of its own, a second after the one before.

    Args:
        folder: with `classes.txt`, `images`, `annotations` and `instances`, as docs/datasets.md draws it.

    Yields:
        The pictures by name, in their own sizes. Things are numbered through the whole folder; a thing's
        name and synonyms are those of the class that most of its pixels have.

    Raises:
        InvalidInputError: a file that is not there or cannot be read; no instances; a thing without a class.
    """
    dataset = open_dataset(FOLDER, folder)
    before = 0
    for number, sample in enumerate(dataset):
        if sample.instances is None:
            raise InvalidInputError(
                f"expected the things of each picture in {folder / 'instances'}, found none"
            )
        things = [int(i) for i in np.unique(sample.instances) if i]
        classes = {i: _class_of(sample, sample.instances == i) for i in things}
        words = {i + before: dataset.classes.synonyms[k] for i, k in classes.items()}
        yield RecordedFrame(
            dataclasses.replace(sample.frame, stamp_ns=(number + 1) * 1_000_000_000, frame_id=FRAME_ID),
            np.where(sample.instances > 0, sample.instances + before, 0).astype(np.uint16),
            {i: several[0] for i, several in words.items()},
            {i: several[1:] for i, several in words.items()},
            title=sample.name,
        )
        before += max(things, default=0)


def read_frames(folder: Path) -> Iterator[RecordedFrame]:
    """The frames of a recording of either kind: photographs, or a rosbag2 folder.

    Raises:
        InvalidInputError: neither of them, or something in it that cannot be read.
    """
    return read_photographs(folder) if is_photographs(folder) else read_recording(folder)


def _class_of(sample: Sample, thing: np.ndarray) -> int:
    """The class of most pixels of a thing (H, W) bool."""
    values = sample.truth[thing]
    classes, pixels = np.unique(values[values != IGNORE], return_counts=True)
    if not len(classes):
        raise InvalidInputError(f"a thing in {sample.name} has no class in its annotation")
    return int(classes[pixels.argmax()])

"""What `ovseg segment` leaves in its folder: three PNG files per frame, `frames.jsonl`, `masks.json`, films.

Every file appears whole or not at all. `frames.jsonl` grows by a line when the three PNG files of a frame are
there; the rest is made from it at the end, so memory does not grow with the number of frames, and a run that
broke off can go on.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ovseg_ros.app.segment.coco import masks_of, write_coco
from ovseg_ros.app.segment.folder import FOLDERS, JOURNAL, MASKS, SUMMARIES, check_same, parsed, writing
from ovseg_ros.core.overlay import draw_overlay, label_colour
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import UNLABELLED_ID
from ovseg_ros.errors import OvsegError


class OutputFolder:
    """The folder of one run."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, overwrite: bool, resume: bool) -> None:
        """Prepares the folder.

        Args:
            path: made if it is not there.
            settings: what the results follow from beside the frames; JSON.
            overwrite: remove what an earlier run wrote here, and nothing else.
            resume: keep it, and leave out the frames that are there already.

        Raises:
            ConfigError: the folder was not made by this command, or with other settings.
            OvsegError: it cannot be written.
        """
        self.path = path
        self._settings = json.loads(json.dumps(settings))
        self._done: dict[str, str] = {}  # name -> identity of frames from earlier runs
        self._replaced: set[str] = set()  # of these, the ones done again
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            if overwrite:
                self._remove_earlier()
            elif resume and any(path.iterdir()):
                self._keep_earlier()
            if not (overwrite or resume):
                (path / JOURNAL).touch(exist_ok=False)  # two runs that start at once do not share a folder
            if not self._done:
                self._write(JOURNAL, (json.dumps({"settings": self._settings}) + "\n").encode())
            self._journal = (path / JOURNAL).open("a", encoding="utf-8", buffering=1)

    def close(self) -> None:
        """Ends the run; of one without a single frame nothing stays: the next finds the folder free."""
        self._journal.close()
        if next(self.entries(), None) is None:
            self._remove_earlier()
            with contextlib.suppress(OSError):  # something else is in it
                self.path.rmdir()

    def paths(self) -> dict[str, str]:
        """Where everything is, by what it is called in docs/segment.md."""
        names = {name: name for name in FOLDERS} | {
            "masks": MASKS,
            "summary": SUMMARIES[0],
            "frames": JOURNAL,
        }
        return {"folder": str(self.path), **{key: str(self.path / name) for key, name in names.items()}}

    @property
    def done(self) -> Mapping[str, str]:
        """Name -> identity of the frames whose outputs an earlier run left."""
        return self._done

    def write(self, name: str, line: Mapping[str, Any], images: Mapping[str, bytes]) -> None:
        """Writes one frame's outputs and its line in the journal.

        Args:
            name: of the frame, see `InputFrame.name`.
            line: what the journal says of it; with "name", "identity" and what `encoded` says.
            images: folder -> PNG file.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with writing(self.path):
            for folder, content in images.items():
                self._write(f"{folder}/{name}.png", content)
            self._journal.write(json.dumps(line, ensure_ascii=False) + "\n")
        if name in self._done:
            self._replaced.add(name)

    def drop(self, name: str) -> None:
        """Removes what an earlier run left of a frame that has changed and cannot be done again."""
        if name in self._done:
            self._replaced.add(name)
            for folder in FOLDERS:
                (self.path / folder / f"{name}.png").unlink(missing_ok=True)

    def entries(self) -> Iterator[dict[str, Any]]:
        """The lines of the journal, one per frame, in the order they were done."""
        replaced = set(self._replaced)
        with (self.path / JOURNAL).open(encoding="utf-8") as lines:
            for line in lines:
                entry = parsed(line)
                if "name" not in entry:
                    continue
                if entry["name"] in replaced:
                    replaced.discard(entry["name"])  # the first line with this name is the old one
                    continue
                yield entry

    def write_masks(self, categories: Sequence[Mapping[str, Any]], info: Mapping[str, Any]) -> None:
        """Writes masks.json: a COCO data set whose annotations carry scores.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with writing(self.path), _whole(self.path / MASKS) as part, part.open("w", encoding="utf-8") as out:
            write_coco(out, self.entries, categories, info)

    def write_film(self, name: str, indices: Sequence[int], rate_hz: float) -> str:
        """Writes overlay/NAME.mp4 from the overlays of one video or recording.

        Returns:
            "" or why there is none: a film is an extra, and its absence no failure.
        """
        if not indices:
            return ""
        with writing(self.path), _whole(self.path / f"overlay/{name}.mp4") as part:
            film: cv2.VideoWriter | None = None
            for index in indices:
                image = cv2.imread(str(self.path / f"overlay/{name}/{index:06d}.png"))
                if image is None:
                    continue  # someone took it away meanwhile
                if film is None:
                    size_wh = image.shape[1] // 2 * 2, image.shape[0] // 2 * 2  # MPEG-4 wants even sides
                    film = cv2.VideoWriter(str(part), cv2.VideoWriter_fourcc(*"mp4v"), rate_hz, size_wh)
                    if not film.isOpened():
                        part.unlink(missing_ok=True)
                        return f"no overlay/{name}.mp4: OpenCV cannot write {size_wh[0]}x{size_wh[1]} as mp4v"
                fits = (image.shape[1] // 2 * 2, image.shape[0] // 2 * 2) == size_wh
                film.write(image[: size_wh[1], : size_wh[0]] if fits else cv2.resize(image, size_wh))
            if film is not None:
                film.release()
        return ""

    def write_summary(self, summary: Mapping[str, Any], text: str) -> None:
        """Writes summary.json and summary.md.

        Raises:
            OvsegError: the disk is full or the like.
        """
        with writing(self.path):
            content = json.dumps(summary, indent=2, ensure_ascii=False) + "\n"
            self._write(SUMMARIES[0], content.encode())
            self._write(SUMMARIES[1], text.encode())

    def _write(self, name: str, content: bytes) -> None:
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with _whole(path) as part:
            part.write_bytes(content)

    def _remove_earlier(self) -> None:
        """Removes what the journal names: files of other origin are not ours to remove."""
        if (self.path / JOURNAL).is_file():
            for entry in self.entries():
                name = str(entry["name"])
                for folder in FOLDERS:
                    if _is_inside(self.path / folder, self.path / folder / f"{name}.png"):
                        (self.path / folder / f"{name}.png").unlink(missing_ok=True)
                film = self.path / "overlay" / f"{name.split('/')[0]}.mp4"
                if "/" in name and _is_inside(self.path / "overlay", film):
                    film.unlink(missing_ok=True)
        for name in (JOURNAL, MASKS, *SUMMARIES):
            (self.path / name).unlink(missing_ok=True)
        for folder in FOLDERS:
            _remove_empty(self.path / folder)

    def _keep_earlier(self) -> None:
        """Takes over the frames of an earlier run with the same settings."""
        journal = self.path / JOURNAL
        check_same(self.path, self._settings)
        last = {str(entry["name"]): i for i, entry in enumerate(self.entries())}  # a frame may be there twice
        with _whole(journal) as part, part.open("w", encoding="utf-8") as out:
            out.write(json.dumps({"settings": self._settings}) + "\n")
            for i, entry in enumerate(self.entries()):
                name = str(entry["name"])
                if last[name] == i and all(
                    (self.path / folder / f"{name}.png").is_file() for folder in FOLDERS
                ):
                    self._done[name] = str(entry.get("identity"))
                    out.write(json.dumps(entry, ensure_ascii=False) + "\n")


def encoded(result: Segmentation) -> tuple[dict[str, bytes], dict[str, Any]]:
    """What is kept of a frame: a PNG file for each of `FOLDERS`, and what the journal says of it."""
    labels, _ = result.semantic()
    overlay = draw_overlay(result.frame.image_rgb, result)
    images = (_png(cv2.cvtColor(overlay, cv2.COLOR_RGB2BGR)), palette_png(labels), _png(result.instances()))
    height, width = result.frame.size_hw
    remarks = [remark for remark in dict.fromkeys(result.remarks) if remark]
    found = {"height": height, "width": width, "masks": masks_of(result), "remarks": remarks}
    return dict(zip(FOLDERS, images, strict=True)), found


def palette_png(labels: npt.NDArray[np.uint8]) -> bytes:
    """(H, W) uint8 label ids as a palette PNG: the indices are the ids, viewers show the labels' colours."""
    image = Image.fromarray(labels)
    colours = [label_colour(i) for i in range(UNLABELLED_ID)] + [(0, 0, 0)]
    image.putpalette([channel for colour in colours for channel in colour])
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def _png(pixels: npt.NDArray[Any]) -> bytes:
    good, content = cv2.imencode(".png", pixels)
    if not good:
        raise OvsegError(f"OpenCV cannot write a PNG of {pixels.shape} {pixels.dtype}")
    data: bytes = content.tobytes()
    return data


@contextlib.contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.part{path.suffix}")
    try:
        yield part
        if part.exists():
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _is_inside(folder: Path, path: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _remove_empty(folder: Path) -> None:
    for at, _, _ in os.walk(folder, topdown=False):
        with contextlib.suppress(OSError):  # not empty: something else is in it
            os.rmdir(at)

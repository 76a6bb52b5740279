"""Collections of pairs to test with: coloured boxes with captions, and the demo's frames as a data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from segment_fixtures import blob_segmenter, save

from ovseg_ros.app import learn_pairs
from ovseg_ros.evaluate.recording import RecordedFrame, depth_to_mm, read_recording
from ovseg_ros.learn.pair_store import Pair, iter_shard

TABLETOP = Path(__file__).parents[1] / "demo" / "tabletop"


def ovseg_pairs(*arguments: object, segmenter=None) -> int:
    """Runs the command with `blob_segmenter`, or the one given, in place of the preset's."""
    parser = argparse.ArgumentParser()
    learn_pairs.add_parser(parser.add_subparsers())
    options = parser.parse_args(["pairs", *map(str, arguments)])
    return learn_pairs.run(options, lambda *_, **__: segmenter or blob_segmenter())


def coco(path: Path, captions: dict[str, Sequence[str]]) -> Path:
    """A COCO captions file: file name -> captions."""
    images = [{"id": 10 + i, "file_name": name} for i, name in enumerate(captions)]
    pairs = [(10 + i, text) for i, texts in enumerate(captions.values()) for text in texts]
    annotations = [{"id": i, "image_id": image, "caption": text} for i, (image, text) in enumerate(pairs)]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def boxes(folder: Path, count: int = 3) -> Path:
    """Pictures of a red and a green box with a caption of both, as COCO captions; the folder."""
    for i in range(count):
        save(folder / "images" / f"{i:03d}.png")
    names = [f"{i:03d}.png" for i in range(count)]
    coco(folder / "captions.json", {name: ["A red and a green stand on the left."] for name in names})
    return folder


def stored(folder: Path) -> list[Pair]:
    return [pair for shard in sorted(folder.glob("shard-*.tar")) for pair in iter_shard(shard)]


def sentence(names: Sequence[str]) -> str:
    """ "There are a moka pot, a mug and a teapot on the table." """
    listed = [f"{'an' if name[0] in 'aeiou' else 'a'} {name}" for name in names]
    body = ", ".join(listed[:-1]) + (" and " if listed[:-1] else "") + listed[-1]
    return f"There {'are' if listed[:-1] else 'is'} {body} on the table."


def seen_names(recorded: RecordedFrame, least: int = 400) -> list[str]:
    """Names of the instances that show at least so many pixels, in order of their ids."""
    return [name for i, name in sorted(recorded.names.items()) if recorded.mask(i).sum() >= least]


def write_tabletop(folder: Path, every: int, count: int) -> list[RecordedFrame]:
    """Frames of the demo in the layout images/, depth/, camera.json, captions.json; each says what it shows."""
    frames = [frame for i, frame in enumerate(read_recording(TABLETOP)) if i % every == 0][:count]
    (folder / "images").mkdir(parents=True)
    (folder / "depth").mkdir()
    captions = {}
    for i, recorded in enumerate(frames):
        frame = recorded.frame
        cv2.imwrite(str(folder / "images" / f"{i:04d}.png"), frame.image_rgb[:, :, ::-1])
        cv2.imwrite(str(folder / "depth" / f"{i:04d}.png"), depth_to_mm(np.asarray(frame.depth_m)))
        captions[f"{i:04d}.png"] = [sentence(seen_names(recorded))]
    camera = frames[0].frame.intrinsics
    names = ("fx", "fy", "cx", "cy", "width", "height")
    (folder / "camera.json").write_text(json.dumps({name: getattr(camera, name) for name in names}))
    coco(folder / "captions.json", captions)
    return frames

"""Collections of pairs to test with: coloured boxes with captions, and the demo's frames as a data set."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from segment_fixtures import Blobs, save

from ovseg_ros.app import learn_pairs
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.evaluate.recording import RecordedFrame, depth_to_mm, read_recording
from ovseg_ros.learn.pair_store import Pair, iter_shard

TABLETOP = Path(__file__).parents[1] / "demo" / "tabletop"


def ovseg_pairs(*arguments: object, segmenter=None) -> int:
    """Runs the command with `thing_segmenter`, or the one given, in place of the preset's."""
    parser = argparse.ArgumentParser()
    learn_pairs.add_parser(parser.add_subparsers())
    options = parser.parse_args(["pairs", *map(str, arguments)])
    return learn_pairs.run(options, lambda *_, **__: segmenter or thing_segmenter())


def coco(path: Path, captions: dict[str, Sequence[str]]) -> Path:
    """A COCO captions file: file name -> captions."""
    images = [{"id": 10 + i, "file_name": name} for i, name in enumerate(captions)]
    pairs = [(10 + i, text) for i, texts in enumerate(captions.values()) for text in texts]
    annotations = [{"id": i, "image_id": image, "caption": text} for i, (image, text) in enumerate(pairs)]
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path


def boxes(folder: Path, count: int = 3) -> Path:
    """Pictures of a red and a green box with a caption of both, as COCO captions among them; the folder."""
    names = [f"{i:03d}.png" for i in range(count)]
    for name in names:
        save(folder / name)
    coco(folder / "captions.json", {name: ["A mug and a bowl stand on the left."] for name in names})
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
    """Frames of the demo as images/, depth/, camera.json, captions.json; a caption says what shows."""
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


class ThingEncoder:
    """A plain CLIP of colours: a mug is red, a bowl green, a plate blue, and other words are like nothing."""

    size, embedding_dim, logit_scale = 8, 4, 20.0

    def __init__(self) -> None:
        self.words = {"mug": 0, "bowl": 1, "plate": 2, "cup": 0}
        self.encoded: list[str] = []

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        assert region_masks is None, "a plain CLIP is not told where the mask is"
        total = pixels.sum(dim=(2, 3))  # (N,3), the blanked background is 0
        return F.normalize(F.pad(total - total.mean(dim=1, keepdim=True), (0, 1)), dim=1)

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        self.encoded.extend(labels)
        rows = torch.zeros(len(labels), 4)
        for row, label in zip(rows, labels, strict=True):
            if label in self.words:
                row[:3] = -1 / 3
                row[self.words[label]] = 2 / 3
            else:
                row[3] = 1.0
        return F.normalize(rows, dim=1)


def thing_segmenter(needs_depth: bool = False) -> OpenVocabularySegmenter:
    return OpenVocabularySegmenter(Blobs(needs_depth), ThingEncoder(), SegmenterOptions(templates=("{}",)))

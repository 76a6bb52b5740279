"""Parts of recordings and videos, looked at by workers that share nothing, come to what one process sees."""

from __future__ import annotations

import argparse
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import cv2
import numpy as np
import pytest
from bag_fixtures import COLOUR, DEPTH, film, write_bag
from segment_fixtures import blob_segmenter, picture, save, write_video

from ovseg_ros.app.segment import run, work
from ovseg_ros.app.segment.inputs import InputOptions, Picture
from ovseg_ros.app.segment.plan import plan_inputs
from ovseg_ros.app.segment.work import End, Outcome, SegmentJob, SegmentWork, lost, shards_of


def a_work() -> SegmentWork:
    options = argparse.Namespace(labels="red, green, blue", preset="", device="cpu", weights_dir=None)
    options.download, options.proposals_from = False, None
    return SegmentJob(options, SimpleNamespace(changes={}, taught={}), lambda *_, **__: blob_segmenter())()


def planned(*inputs: Path, **options):
    sources, unusable = plan_inputs(map(str, inputs), InputOptions(**options))
    assert not unusable
    return sources


class Journal:
    """In place of an output folder: what is written, in order."""

    def __init__(self) -> None:
        self.lines: list[dict] = []

    def write(self, name, line, images) -> None:
        self.lines.append({**line, "ms": None, "images": images})

    def drop(self, name) -> None:
        self.lines.append({"dropped": name})


def written(sources, outcomes):
    """What is written, said and counted."""
    folder = Journal()
    job = run.Run(sources, folder, mock.Mock())
    job.take(outcomes)
    films = [(source.name, source.rate_hz, indices) for source, indices in job._films.values()]
    return folder.lines, job.tally, films


@pytest.fixture(name="inputs")
def _inputs(tmp_path: Path) -> list[Path]:
    """A recording of 15 frames, depth of three of which is missing, a video of 10 and two pictures."""
    gone = {f"{10 + 0.1 * i:.1f}" for i in (6, 9, 13)}
    messages = [
        one
        for one in film(15)
        if one[0] != DEPTH or f"{one[2].header.stamp.sec + one[2].header.stamp.nanosec / 1e9:.1f}" not in gone
    ]
    write_bag(tmp_path / "bag", messages)
    return [
        write_bag(tmp_path / "again", messages[:20]) and tmp_path / "bag",
        write_video(tmp_path / "v.avi", [picture()] * 10),
        save(tmp_path / "a.png"),
        save(tmp_path / "b.png"),
    ]


def test_parts_come_to_the_whole(inputs, monkeypatch) -> None:
    sources = planned(*inputs, image_topic=COLOUR)
    wanted = written(
        sources, (one for part in shards_of(sources, whole=True) for one in a_work().do(part, {}))
    )
    assert len(wanted[0]) == 27
    assert sum("without depth" in remark for remark in wanted[1].remarks) == 1
    monkeypatch.setattr(work, "PER_SHARD", 4)
    sources = planned(*inputs, image_topic=COLOUR)
    parts = [pickle.loads(pickle.dumps(part)) for part in shards_of(sources, whole=False)]
    assert len(parts) == 4 + 3 + 1
    workers = [a_work(), a_work()]
    found = {i: list(workers[i % 2].do(part, {})) for i, part in enumerate(parts)}
    found[2] = list(a_work().do(parts[2], {}))  # one that was started again
    again = [one for i in range(len(parts)) for one in pickle.loads(pickle.dumps(found[i]))]
    assert written(sources, again) == wanted


def test_what_an_earlier_run_did_is_left_out_and_what_has_changed_is_not(inputs) -> None:
    sources = planned(inputs[0])
    frames = [one for one in a_work().do(*[*shards_of(sources, whole=True)], {}) if isinstance(one, Outcome)]
    known = {one.name: one.line["identity"] for one in frames if not one.failed} | {frames[3].name: "another"}
    kept = [
        one.kept for one in a_work().do(*[*shards_of(sources, whole=True)], known) if isinstance(one, Outcome)
    ]
    assert kept == [i not in (0, 3) for i in range(15)], "the first is black, which is refused"


def test_a_file_that_breaks_off_fails_once_whatever_its_parts(tmp_path) -> None:
    sources = planned(write_video(tmp_path / "v.avi", [picture()] * 3))
    end = End("v", "v.avi", False, "it breaks off", (), "", None)
    frame = Outcome("v", "v.avi#4", "v/000004", 4)
    lines, tally, _ = written(sources, [end, frame, replace(end, is_last=True)])
    assert (lines, tally.failed, tally.failures) == ([], 1, [("v.avi", "it breaks off")])


def test_lost_shards_name_their_inputs(inputs) -> None:
    bag, video, *pictures = planned(*inputs)
    assert all(isinstance(one, Picture) for one in pictures)
    shards = [work.Shard((bag,), 4, 8), work.Shard((video,), 8), work.Shard(tuple(pictures))]
    _, tally, _ = written([bag, video, *pictures], [one for part in shards for one in lost(part, "died")])
    named = [Path(source).name for source, _ in tally.failures]
    assert named == ["bag#4-7 of those taken", "v.avi#8- of those taken", "a.png", "b.png"]
    assert np.unique([reason for _, reason in tally.failures]).tolist() == ["died"]
    assert cv2.imread(str(inputs[2])) is not None

"""What is written for other programs holds everything, and is what the store holds."""

from __future__ import annotations

import base64
import csv
import io
import json

import numpy as np
import pytest
from memory_entries import DIMS, SPACE, entries, entry, plain, unit

from ovseg_ros.app.memory.exporting import export_csv, export_json, write_file
from ovseg_ros.errors import ConfigError
from ovseg_ros.memory import Entry, Example, Name


def read_back(given: dict) -> Entry:
    """An entry from its JSON, by the documentation."""
    fields = {key: value for key, value in given.items() if key not in ("name", "words", "crop", "surface")}
    return Entry(
        **fields,
        surface=np.reshape(given["surface"], (-1, 3)),
        words={word: Name(**one) for word, one in given["words"].items()},
        crop=None if given["crop"] is None else base64.b64decode(given["crop"]),
    )


def test_json_holds_all_of_each_entry():
    made = [*entries(6), entry(7, crop=None, surface=np.full((3, 3), 0.1, np.float32))]
    given = json.loads(export_json(made, [], 5.0))
    assert (given["format"], given["version"], given["exported"]) == ("ovseg-memory", 1, 5.0)
    back = [read_back(one) for one in given["entries"]]
    assert [plain(one) for one in back] == [plain(one) for one in made]
    for one, other in zip(back, made, strict=True):
        np.testing.assert_array_equal(one.surface.astype(np.float16), other.surface.astype(np.float16))
    assert [one["name"] for one in given["entries"]] == [one.name for one in made]


def test_json_holds_examples_and_nothing():
    vector = unit(np.arange(1.0, DIMS + 1))
    given = json.loads(export_json([], [Example("my mug", SPACE, vector, 3.0, b"jpeg", "thing 1")], 5.0))
    (example,) = given["examples"]
    assert (example["name"], example["key"], example["shown"], example["space"]) == (
        "my mug",
        "thing 1",
        3.0,
        SPACE,
    )
    assert base64.b64decode(example["crop"]) == b"jpeg"
    np.testing.assert_array_equal(np.float16(example["embedding"]), vector.astype(np.float16))
    assert json.loads(export_json([], [], 5.0))["entries"] == []


def test_csv_has_a_line_for_each_entry_and_times_in_utc():
    made = [
        entry(3, words={'a "cup", red': Name(0.5, 2), "mug": Name(0.5, 3)}, gone_since=1.5e9),
        entry(4, words={}),
    ]
    made[0] = entry(3, words=made[0].words, gone_since=1.5e9, first_seen=1e9, last_seen=1e9 + 0.25)
    first, second = csv.DictReader(io.StringIO(export_csv(made)))
    assert (first["key"], first["name"], first["names"]) == ("thing 3", "mug", 'mug: 3; a "cup", red: 2')
    assert first["last_seen"] == "2001-09-09T01:46:40.250Z"
    assert first["gone_since"] == "2017-07-14T02:40:00.000Z"
    assert float(first["x"]) == pytest.approx(made[0].position[0], abs=1e-4)
    assert float(first["sd_y"]) == pytest.approx(made[0].covariance[1, 1] ** 0.5, abs=1e-4)
    assert float(first["qw"]) == pytest.approx(made[0].orientation[3], abs=1e-6)
    assert (second["name"], second["names"]) == ("", "")


def test_files_are_written_whole_for_their_owner_alone(tmp_path):
    path = tmp_path / "new" / "memory.json"
    write_file(path, b"first")
    write_file(path, b"second")
    assert path.read_bytes() == b"second"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["memory.json"]
    with pytest.raises(ConfigError, match="name another file"):
        write_file(path / "below", b"third")

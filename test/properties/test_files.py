"""Files that people write and copy: presets, cameras, captions. Read rightly, or refused with a word."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import yaml
from hostile import any_text, any_value, camera_info, damage, floats, seeds, unicode_text
from hypothesis import strategies as st
from property_cases import answered, cases

from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import ConfigError, OvsegError
from ovseg_ros.files.cameras import as_intrinsics, read_camera
from ovseg_ros.learn.pairs.captions import open_captions
from ovseg_ros.models.presets import PRESETS_FOLDER, read_preset
from ovseg_ros.models.yaml_files import read_yaml

PRESETS = [path.read_bytes() for path in sorted(PRESETS_FOLDER.glob("*.yaml"))]
YAML = [
    b"&a [*a, *a]",
    b"a: &a {b: *a}",
    b"&x {<<: *x}",
    b"[" * 3000,
    b"{a: " * 2000,
    b"- " * 2000,
    b"!!python/object/apply:os.system [true]",
    b"? [1, 2]\n: 3",
    b"{1: 2, null: 3, [a]: 4}",
    b"a: 0x" + b"f" * 5000,
    b"a: 1" + b"0" * 6000,
    b"a: 1:59:59:59:59",
    b"a: 2001-13-99",
    b"a: !!binary ====",
    b"a: !!timestamp x",
    b"a: .nan\nb: .inf",
    b"%YAML 9.9\n---\na",
    b"\xff\xfea\x00",
    b"a: \x00",
    b"a: 'x\n\n\nb",
    b"x: &a [1]\n" + b"y: [" + b"*a," * 500 + b"]",
    b"",
    b"---\n---\n",
    b"<<: 5",
    b"=: 1",
]
odd_yaml = st.one_of(
    st.sampled_from(YAML),
    st.binary(max_size=80),
    any_value.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode(errors="surrogatepass")),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("files")


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_any_bytes_as_yaml(folder):
    @cases(120, odd_yaml)
    def holds(data):
        found = answered(lambda: read_yaml(written(folder / "any.yaml", data)))
        if isinstance(found, OvsegError):
            assert isinstance(found, ConfigError)

    holds()


def test_any_bytes_as_a_preset(folder):
    @cases(120, st.one_of(st.builds(damage, st.sampled_from(PRESETS), seeds), odd_yaml))
    def holds(data):
        found = answered(lambda: read_preset(written(folder / "preset.yaml", data), part_options=False))
        assert isinstance(found, ConfigError | dict)

    holds()


def test_a_preset_with_any_value_in_any_place(folder):
    presets = [yaml.safe_load(data) for data in PRESETS]
    odd = any_value.filter(lambda value: value is not None)

    @cases(150, st.sampled_from(presets), seeds, odd)
    def holds(preset, seed, value):
        rng = np.random.default_rng(seed)
        preset = place = json.loads(json.dumps(preset))
        while True:
            keys = [*place, "new"] if isinstance(place, dict) else list(range(len(place)))
            key = keys[rng.integers(len(keys))]
            inner = place[key] if key != "new" else None
            if not isinstance(inner, dict | list) or not inner or rng.random() < 0.3:
                break
            place = inner
        place[key] = value
        data = yaml.safe_dump(preset, allow_unicode=True).encode(errors="surrogatepass")
        found = answered(lambda: read_preset(written(folder / "preset.yaml", data), part_options=False))
        assert isinstance(found, ConfigError | dict)

    holds()


four = st.lists(st.one_of(floats, any_value), min_size=3, max_size=5)
camera_keys = st.sampled_from(
    ["fx", "fy", "cx", "cy", "width", "height", "k", "K", "camera_matrix", "image_width", "image_height"]
)


def test_any_file_as_a_camera(folder):
    nine = st.lists(st.one_of(floats, any_value), min_size=8, max_size=10)
    values = st.one_of(any_value, nine, nine.map(lambda data: {"data": data}))
    structured = st.dictionaries(camera_keys, values, max_size=6).map(
        lambda content: yaml.safe_dump(content, allow_unicode=True).encode(errors="surrogatepass")
    )
    right = yaml.safe_dump({"width": 64, "height": 48, "k": camera_info().k}).encode()

    @cases(
        200, st.one_of(odd_yaml, structured, seeds.map(lambda seed: damage(right, seed))), st.integers(1, 99)
    )
    def holds(data, width):
        path = written(folder / "camera.yaml", data)
        found = answered(lambda: as_intrinsics(read_camera(path), (48, width)))
        if not isinstance(found, OvsegError):
            assert all(map(math.isfinite, (found.fx, found.fy, found.cx, found.cy)))
            assert found.fx > 0 < found.fy

    holds()


@cases(100, st.one_of(any_text, four.map(lambda numbers: ",".join(map(str, numbers)))))
def test_any_text_as_a_camera(text):
    found = answered(lambda: as_intrinsics(read_camera(text), (48, 64)))
    assert isinstance(found, OvsegError) or found.fx > 0


@cases(
    80,
    st.one_of(four, any_value, st.lists(st.lists(floats, min_size=3, max_size=3), min_size=3, max_size=3)),
)
def test_any_numbers_as_a_camera(given):
    found = answered(lambda: as_intrinsics(given, (48, 64)))
    assert isinstance(found, OvsegError) or found.fx > 0


names = st.one_of(
    st.sampled_from(["a.jpg", "b/c.png", "../d.jpg", "/etc/e.jpg", "\0.jpg", "é.jpg", ""]), any_text
)
entries = st.dictionaries(
    st.sampled_from(["file_name", "image", "caption", "captions", "text", "id", "image_id"]),
    st.one_of(names, any_value),
    max_size=4,
)
coco = st.fixed_dictionaries(
    {},
    optional={
        "images": st.one_of(any_value, st.lists(entries)),
        "annotations": st.lists(entries, max_size=4),
    },
)


def _check_captions(folder: Path, name: str, data: bytes) -> None:
    """Reads, lists and loads all that a file of captions names."""
    path = written(folder / name, data)
    source = answered(lambda: open_captions(folder, path, _load, suffixes=[".jpg"]))
    if isinstance(source, OvsegError):
        return
    json.dumps(source.describe())
    found = list(source)
    assert len({one.id for one in found}) == len(found) == len(source)
    for one in found:
        assert all(isinstance(caption, str) for caption in one.captions)
        json.dumps(one.source)
        answered(one.load)


def _load(path: Path) -> Frame:
    path.exists()
    return Frame(np.zeros((1, 1, 3), np.uint8))


SUFFIXES = ["captions.json", "captions.jsonl", "captions.csv", "captions.tsv"]
LINES = [
    b'{"file_name": "a.jpg", "caption": NaN}',
    b'{"file_name": "a.jpg", "captions": {"a": 1}}',
    b'{"file_name": "a.jpg", "caption": "\\ud800"}',
    b'{"file_name": "\\ud800.jpg", "caption": "x"}',
    b'{"file_name": "a\\u0000.jpg", "caption": "x"}',
    b'{"file_name": null, "caption": 1e999}',
    b"[" * 9000,
    b'{"file_name": "a.jpg", "caption": ' + b"9" * 9000 + b"}",
    b'file_name,caption\r\na.jpg,"x\r\n\r\nb.jpg,y',
    b"file_name;caption\na.jpg;x",
    b"caption,file_name\nx\n,,,\n\0,\0\n",
    b"file_name,caption\r\ra.jpg,x\r",
    b"file_name,caption\na.jpg," + b"x" * 2_000_000,
    b"\xef\xbb\xbffile_name\tcaption\na.jpg\tx",
    b"\xff\xfe",
]


def test_any_bytes_as_captions(folder):
    data = st.one_of(
        st.sampled_from(LINES).flatmap(lambda line: seeds.map(lambda seed: damage(line, seed))),
        st.sampled_from(LINES),
        st.binary(max_size=80),
    )

    @cases(150, st.sampled_from(SUFFIXES), data)
    def holds(name, data):
        _check_captions(folder, name, data)

    holds()


def test_any_structure_as_captions(folder):
    lines = st.lists(entries, max_size=4).map(lambda all_of: "\n".join(map(json.dumps, all_of)))
    given = st.one_of(
        st.tuples(st.just("captions.json"), st.one_of(coco, any_value).map(json.dumps)),
        st.tuples(st.just("captions.jsonl"), lines),
    )

    @cases(150, given)
    def holds(drawn):
        _check_captions(folder, drawn[0], drawn[1].encode())

    holds()


plain = unicode_text.map(lambda text: "a mug " + "".join(c for c in text if c.isprintable()).strip())


def test_captions_come_back_as_they_were_written(folder):
    rows = st.lists(st.tuples(st.integers(0, 3), plain.map(str.strip)), min_size=1, max_size=6)

    @cases(100, rows, st.sampled_from(SUFFIXES))
    def holds(rows, name):
        right: dict[str, list[str]] = {}
        for number, caption in rows:
            right.setdefault(f"{number}.jpg", []).append(caption)
        source = open_captions(folder, written(folder / name, _as_file(rows, name)), _load, suffixes=[".jpg"])
        assert {one.source["file"]: list(one.captions) for one in source} == right

    holds()


def _as_file(rows, name) -> bytes:
    """Captions in the form of the suffix."""
    if name.endswith(".json"):
        numbers = sorted({number for number, _ in rows}, key=[number for number, _ in rows].index)
        images = [{"id": number, "file_name": f"{number}.jpg"} for number in numbers]
        annotations = [{"image_id": number, "caption": caption} for number, caption in rows]
        return json.dumps({"images": images, "annotations": annotations}).encode()
    if name.endswith(".jsonl"):
        lines = [{"file_name": f"{number}.jpg", "caption": caption} for number, caption in rows]
        return "\n".join(json.dumps(line, ensure_ascii=False) for line in lines).encode()
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t" if name.endswith(".tsv") else ",")
    writer.writerows([("file_name", "caption"), *((f"{number}.jpg", caption) for number, caption in rows)])
    return text.getvalue().encode()

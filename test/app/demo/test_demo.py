"""`make demo`'s runner: real processes over DDS, a small recording, a segmenter whose answers are known."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from evaluate_fixtures import BOXES, recorded, segmenter, write_photographs
from PIL import Image
from repository import ROOT

from ovseg_ros.app import cli
from ovseg_ros.app.demo import acts as demo_acts
from ovseg_ros.app.demo import command as demo
from ovseg_ros.app.demo import pictures as demo_pictures
from ovseg_ros.app.demo import stage as demo_stage
from ovseg_ros.app.demo import without_ros
from ovseg_ros.app.demo.acts import ACTS, GARAGE, PHOTOGRAPHS, TABLETOP, acts_with
from ovseg_ros.app.demo.output import Answer, Coverage, file_name, in_words, table, verdict
from ovseg_ros.app.demo.pictures import captioned, contact_sheet, draw_masks, in_rows, write_animation
from ovseg_ros.app.demo.presets import PRESETS
from ovseg_ros.app.demo.processes import Child, ChildEnded, end_all
from ovseg_ros.app.demo.queries import ACTION, SERVICES, TOPIC, Ask, users_asks
from ovseg_ros.app.demo.truth import BestMask, Truth, forms
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.photographs import read_frames
from ovseg_ros.evaluate.recordings.writing import write_recording

NAMES = {1: ("red mug", "crimson cup"), 2: ("green bowl",), 3: ("blue mug",)}
TRUTH = Truth([NAMES, {9: ("knife",)}], {"green bowl": 0.3})
IMAGE = recorded(0).instances


def box(instance: int, rows: int = 25) -> np.ndarray:
    mask = np.zeros(IMAGE.shape, dtype=bool)
    mask[BOXES[instance]] = True
    mask[BOXES[instance][0].start + rows :] = False
    return mask


def test_words_name_things_by_name_synonym_or_end_of_name():
    assert TRUTH.instances("Red  Mug") == [1]
    assert TRUTH.instances("crimson cup") == [1]
    assert TRUTH.instances("mug") == [1, 3]
    assert TRUTH.instances("ug") == TRUTH.instances("red") == TRUTH.instances("cup") == []
    assert TRUTH.names == ("red mug", "green bowl", "blue mug", "knife")
    assert TRUTH.fits(["red mug", "giraffe"], IMAGE)
    assert not TRUTH.fits(["red mug", "blue mug"], IMAGE)  # the blue one shows 100 pixels
    assert Truth.of_frames([recorded(0)]).instances("crimson") == [1]


@pytest.mark.parametrize(
    ("one", "many"),
    [
        ("mug", "mugs"),
        ("Dish", "dishes"),
        ("box", "boxes"),
        ("knife", "knives"),
        ("shelf", "shelves"),
        ("giraffe", "giraffes"),
        ("berry", "berries"),
    ],
)
def test_one_and_many_are_the_same_question(one, many):
    assert forms(one) == (one.casefold(), many)
    truth = Truth([{1: (one,)}])
    assert truth.instances(many) == truth.instances(one) == [1]
    assert TRUTH.instances("Mugs") == [1, 3]


def test_only_words_the_truth_has_are_judged():
    for word in ("mugs", "giraffe", "Laptops"):
        assert TRUTH.judges(word)
    for word in ("teepot", "Teekanne", "can of soup", "cup"):
        assert not TRUTH.judges(word)
        for answered in ([], [box(1)]):
            judgement = TRUTH.judge(word, answered, IMAGE)
            assert (judgement.correct, judgement.expected) == (None, "")
        assert "not judged" in TRUTH.note(word)
    assert TRUTH.note("giraffe") == "absent in this recording"
    assert TRUTH.note("mugs") == ""
    assert TRUTH.note("giraffe", 1) == "scene 2: absent in this recording"


def test_a_scene_is_asked_about_its_own_things():
    assert TRUTH.scenes == 2
    assert TRUTH.scene_of(IMAGE) == 0
    assert TRUTH.scene_of(np.zeros_like(IMAGE)) is None
    assert TRUTH.fits(["red mug"], IMAGE, scene=0)
    assert not TRUTH.fits(["knife"], IMAGE)
    assert TRUTH.fits(["knife"], IMAGE, scene=0)  # nowhere in it: any moment will do
    assert not TRUTH.fits(["knife"], IMAGE, scene=1)
    assert TRUTH.judge("knife", [], IMAGE) is None
    assert TRUTH.judge("knife", [], IMAGE, scene=0).correct is True
    assert TRUTH.judge("knife", [box(1)], IMAGE, scene=0).correct is False


@pytest.mark.parametrize(
    ("word", "answered", "correct", "iou"),
    [
        ("red mug", [box(1)], True, 1.0),
        ("mug", [box(1), box(2)], True, 1.0),  # only the best counts
        ("mug", [box(2), box(1)], False, 0.0),
        ("red mug", [box(1, rows=18)], False, 0.72),
        ("green bowl", [box(2, rows=10)], True, 0.4),  # needs 0.3 only
        ("red mug", [], False, None),
        ("giraffe", [], True, None),
        ("giraffe", [box(1)], False, None),
    ],
)
def test_answers_are_judged(word, answered, correct, iou):
    judgement = TRUTH.judge(word, answered, IMAGE)
    assert judgement.correct is correct
    assert judgement.iou == (None if iou is None else pytest.approx(iou))
    assert judgement.expected == ("FOUND" if TRUTH.knows(word) else "NOT_FOUND")


def test_what_hardly_shows_cannot_be_judged():
    assert TRUTH.judge("blue mug", [box(3)], IMAGE) is None


def test_every_word_of_the_user_is_asked_in_every_scene():
    asks = users_asks('find moka pot, giraffe, "salt and pepper", 茶壶', 3)
    words = [("moka pot",), ("giraffe",), ("salt and pepper",), ("茶壶",)]
    assert [(ask.words, ask.scene) for ask in asks] == [(word, scene) for scene in range(3) for word in words]
    assert {ask.interface for ask in asks} == {ACTION, TOPIC, SERVICES}
    with pytest.raises(InvalidInputError):
        users_asks("find the", 3)


def test_the_own_questions_use_every_interface_and_can_be_read():
    for act in (TABLETOP, PHOTOGRAPHS):
        assert {ask.interface for ask in act.asks} == {ACTION, TOPIC, SERVICES}
    assert "find teapot" in [ask.text for ask in TABLETOP.asks]
    assert "find motorcycle" in [ask.text for ask in GARAGE.asks]
    for act in ACTS:
        assert all(ask.words for ask in act.asks)
        assert act.preset == PRESETS[act.recording]


@pytest.mark.parametrize("act", ACTS, ids=lambda act: act.recording)
def test_every_own_question_can_be_judged_in_its_recording(act):
    """Each word names something of its scene or is known to be absent; each photograph's masks are seen."""
    frames = list(read_frames(recording_folder(f"demo/{act.recording}")))
    truth = act.truth(frames)
    for ask in act.asks:
        assert all(truth.judges(word) for word in ask.words), ask
        assert any(truth.fits(ask.words, one.instances, ask.scene) for one in frames), ask
    if act.masks_wanted is not None:
        assert {ask.scene for ask in act.asks if ask.interface != ACTION} == set(range(truth.scenes))
        assert truth.titles == tuple(one.title for one in frames)
    asked = {(word, bool(truth.instances(word, ask.scene))) for ask in act.asks for word in ask.words}
    assert {there for _, there in asked} == {True, False}


def test_acts_take_other_presets_and_the_users_words():
    acts = acts_with({**PRESETS, "garage": "vitb16"})
    assert [act.preset for act in acts] == ["mini", "vitb16", "lite"]
    assert PHOTOGRAPHS.asked("", 5) is PHOTOGRAPHS
    asked = PHOTOGRAPHS.asked("fork, yak", 5)
    assert len(asked.asks) == 10
    assert asked.masks_wanted is None


def test_the_best_mask_of_each_thing_whatever_it_is_called():
    truth = Truth([NAMES, {9: ("knife",)}], titles=["shelf", "drawer"])
    masks = [box(2, rows=5), box(1), box(2, rows=20)]
    assert truth.best_masks(masks, IMAGE) == [  # the blue mug shows too few pixels
        BestMask("shelf", "red mug", 1.0, 1),
        BestMask("shelf", "green bowl", pytest.approx(0.8), 2),
    ]
    assert [(b.iou, b.mask) for b in truth.best_masks([], IMAGE)] == [(0.0, -1)] * 2
    assert truth.best_masks(masks, np.zeros_like(IMAGE)) == []
    assert truth.note("knife", 0) == "shelf: absent in this scene"


@pytest.mark.parametrize(
    ("ious", "wanted", "covered", "ok"),
    [([0.9, 0.5, 0.49], 0.6, 2, True), ([0.9, 0.49, 0.49], 0.5, 1, False), ([], 0.0, 0, False)],
)
def test_enough_things_must_have_a_mask(ious, wanted, covered, ok):
    best = tuple(BestMask("kitchen", "cup", iou, 0) for iou in ious)
    coverage = Coverage("photographs", "lite", 0.5, wanted, best)
    assert (coverage.covered, coverage.ok) == (covered, ok)
    fine = Answer("x", "x", ACTION, "t", "m", "FOUND", "", None, None, None, True)
    assert verdict([fine], [coverage])[0] is ok
    said = verdict([fine], [coverage])[1]
    assert f"{covered} of {len(ious)} things of photographs" in said
    assert said.endswith("TOO FEW") is not ok
    assert [row.split()[0] for row in coverage.table().splitlines()[1:]] == [
        "ok" if iou >= 0.5 else "-" for iou in ious
    ]


def test_masks_are_drawn_under_their_things_name():
    picture = np.full((60, 80, 3), 90, np.uint8)
    best = [BestMask("s", "red mug", 1.0, 0), BestMask("s", "bowl", 0.2, 1), BestMask("s", "cup", 0.0, -1)]
    drawn = draw_masks(picture, [box(1), box(2)], best, 0.5)[-60:]
    assert np.ptp(drawn[box(1)].astype(int), axis=-1).mean() > 30, "tinted"
    assert (drawn[40:, 60:] == 90).all(), "a poor mask is not drawn"


def test_pictures_of_any_sizes_come_in_rows():
    several = [np.full((h, w, 3), i, np.uint8) for i, (h, w) in enumerate([(30, 60), (40, 40), (20, 50)], 1)]
    rows = in_rows(several, columns=2, width=300)
    assert rows.shape == (100 + 120, 300, 3)  # two at a height of 100, one at 120
    assert [rows[50, 10, 0], rows[50, 290, 0], rows[150, 10, 0]] == [1, 2, 3]


def test_table_and_file_names():
    answer = Answer("find é", "é", TOPIC, "tabletop", "mini", "FOUND", "FOUND", 0.912, 0.87, 123.4, True)
    rows = table(
        [answer, Answer("x", "x", ACTION, "t", "m", "INTERNAL", "FOUND", None, None, None, False)]
    ).splitlines()
    assert rows[1].split() == [
        "ok",
        "find",
        "é",
        "é",
        "~/query",
        "tabletop",
        "(mini)",
        "FOUND",
        "0.91",
        "0.87",
        "123",
    ]
    assert rows[2].startswith("WRONG")
    assert file_name("Find the red  mug?") == "find_the_red_mug"
    assert file_name("茶壶?") == "茶壶"
    assert file_name("?") == "query"


@pytest.mark.parametrize(
    ("correct", "ok", "text"),
    [
        ([True, True], True, "2 of 2 answers are right"),
        ([True, None], True, "1 of 1 answers are right, 1 not judged"),
        ([True, False, None], False, "1 of 2 answers are right, 1 not judged"),
        ([None], True, "0 of 0 answers are right, 1 not judged"),
        ([], False, "0 of 0 answers are right"),
    ],
)
def test_the_verdict_is_of_what_can_be_judged(correct, ok, text):
    answers = [Answer("x", "x", ACTION, "t", "m", "FOUND", "", None, None, None, one) for one in correct]
    assert verdict(answers) == (ok, text)
    if answers:
        first = {True: "ok", False: "WRONG", None: "-"}[correct[0]]
        assert table(answers).splitlines()[1].startswith(first)


def test_what_does_not_count_is_shown_and_changes_nothing():
    one = Answer("x", "x", ACTION, "t", "m", "FOUND", "", None, None, None, True)
    right, wrong = (dataclasses.replace(one, correct=c, counts=False) for c in (True, False))
    assert verdict([one, right, wrong]) == (
        True,
        "1 of 1 answers are right; 1 of 2 that do not count are right",
    )
    assert [row.split()[0] for row in table([one, right, wrong]).splitlines()[1:]] == [
        "ok",
        "(ok)",
        "(wrong)",
    ]
    assert in_words("x", [wrong])[1].endswith("wrong")


def test_a_picture_says_what_was_asked_and_answered():
    picture = np.full((220, 300, 3), 90, np.uint8)
    given = [
        Answer("find 茶壶, mug", "茶壶", ACTION, "t", "m", "NOT_FOUND", "", 0.2, None, None, None),
        Answer("find 茶壶, mug", "mug", ACTION, "t", "m", "FOUND", "", 0.912, None, None, True),
    ]
    parts = in_words("find 茶壶, mug", given)
    assert parts == ["find 茶壶, mug?", "NOT_FOUND 茶壶, best 0.20: not judged", "FOUND mug 0.91: right"]
    assert in_words("where is it?", [])[0] == "where is it?"
    with_lines = captioned(picture, parts)
    np.testing.assert_array_equal(with_lines[-220:], picture)
    one_line = captioned(picture, ["mug?"]).shape[0] - 220
    assert with_lines.shape[0] - 220 > 2 * one_line - 8, "what does not fit begins a new line"
    last = with_lines[-220 - one_line // 2 : -220]
    assert last.max() == 255, "and nothing is lost of it"
    assert captioned(picture, ["mug " * 50]).shape[0] - 220 == one_line


def test_an_animation_is_made_small_enough(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (60, 80, 3), dtype=np.uint8) for _ in range(5)]
    large = write_animation(tmp_path / "large.gif", noise, 9.0)
    monkeypatch.setattr(demo_pictures, "MAX_ANIMATION_BYTES", large // 2)
    small = write_animation(tmp_path / "small.gif", noise, 9.0)
    assert small == (tmp_path / "small.gif").stat().st_size <= large // 2
    with Image.open(tmp_path / "small.gif") as picture:
        assert picture.n_frames == 5


def test_a_contact_sheet_shows_the_middle_of_each_third():
    frames = [np.full((48, 64, 3), i, np.uint8) for i in range(9)]
    sheet = contact_sheet(frames, columns=3, width=192)
    assert sheet.shape == (48, 192, 3)
    assert sheet[0, ::64, 0].tolist() == [1, 4, 7]
    assert contact_sheet(frames[:1], columns=3, width=192).shape == (48, 192, 3)


def test_children_are_ended_with_all_they_started(tmp_path):
    script = "import subprocess; p = subprocess.Popen(['sleep', '60']); print(p.pid, flush=True); p.wait()"
    child = Child("sleeper", [sys.executable, "-c", script], tmp_path / "sleeper.log")
    deadline = time.monotonic() + 20
    while not child.tail().strip().isdigit() and time.monotonic() < deadline:
        time.sleep(0.05)
    child.check()
    grandchild = int(child.tail())
    end_all([child])
    for _ in range(100):
        state = Path(f"/proc/{grandchild}/stat")
        if not state.exists() or ") Z " in state.read_text():
            break
        time.sleep(0.05)
    else:
        pytest.fail("the grandchild lives on")
    with pytest.raises(ChildEnded, match="sleeper ended"):
        child.check()


def test_a_child_that_fails_shows_its_log(tmp_path):
    child = Child(
        "broken", [sys.executable, "-c", "import sys; sys.exit('no camera')"], tmp_path / "broken.log"
    )
    deadline = time.monotonic() + 20
    while "no camera" not in child.tail() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert child.ended(20)
    with pytest.raises(ChildEnded, match="no camera"):
        child.check()


def test_no_recording_fails_with_a_result(tmp_path, monkeypatch):
    def nowhere(name):
        raise InvalidInputError("no recording")

    monkeypatch.setattr(demo, "recording_folder", nowhere)
    assert demo.main(["--output", str(tmp_path / "out")]) == 1
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["ok"] is False
    assert result["error"] == "no recording"


BOX_ASKS = {
    "tabletop": (
        Ask("find red", ACTION),
        Ask("where is the green?", TOPIC),
        Ask("crimson", SERVICES),
        Ask("giraffe", ACTION),
        Ask("giraffe, red", SERVICES),
    ),
    "garage": (Ask("green", TOPIC), Ask("giraffe", TOPIC)),
    "photographs": (
        Ask("red", TOPIC, 0),
        Ask("blue", ACTION, 0),
        Ask("green", SERVICES, 1),
        Ask("emerald", ACTION, 1),
        Ask("yak", TOPIC, 1),
    ),
}


@pytest.fixture
def box_recordings(tmp_path, monkeypatch):
    """Small recordings for the three acts, which ask about boxes; photographs of two sizes. The folder."""
    # red is in each: a service answers by one image, whichever comes
    scenes = [recorded(i, shown=(1,) if i < 4 else (1, 2, 3)) for i in range(8)]
    for name in ("tabletop", "garage"):
        write_recording(tmp_path / "demo" / name, scenes)
    write_photographs(tmp_path / "demo" / "photographs", {"first": (1,), "second": (2,)})
    monkeypatch.chdir(tmp_path)
    acts = tuple(
        # a photograph stays for 4 s: longer than the action looks for what it does not find
        dataclasses.replace(
            act, asks=BOX_ASKS[act.recording], rate_hz=8.0, repeat=32 if act.repeat > 1 else 1
        )
        for act in ACTS
    )
    monkeypatch.setattr(demo_acts, "ACTS", acts)
    return tmp_path


@pytest.fixture
def box_demo(box_recordings, monkeypatch):
    """The demo on two of these, its node the real one with the box segmenter; the output folder."""
    monkeypatch.setattr(demo_acts, "ACTS", [one for one in demo_acts.ACTS if one.recording != "garage"])
    node = ROOT / "test" / "fixtures" / "demo_box_node.py"
    start = demo_stage.Child

    def with_box_node(name, command, log, env, **options):
        if "ovseg_ros.ros.run" in command:
            command = [sys.executable, str(node), *command[3:]]
        return start(name, command, log, env, **options)

    monkeypatch.setattr(demo_stage, "Child", with_box_node)
    return box_recordings / "out" / "demo"


@pytest.mark.ros
def test_the_whole_demo_over_dds(box_demo, capsys):
    assert demo.main([]) == 0, capsys.readouterr().out
    result = json.loads((box_demo / "result.json").read_text())
    assert result["ok"] is True
    got = [(a["recording"], a["word"], a["interface"], a["code"], a["correct"]) for a in result["answers"]]
    assert got == [
        ("tabletop", "red", ACTION, "FOUND", True),
        ("tabletop", "green", TOPIC, "FOUND", True),
        ("tabletop", "crimson", SERVICES, "FOUND", True),
        ("tabletop", "giraffe", ACTION, "NOT_FOUND", True),
        ("tabletop", "giraffe", SERVICES, "NOT_FOUND", True),
        ("tabletop", "red", SERVICES, "FOUND", True),
        ("photographs", "red", TOPIC, "FOUND", True),
        ("photographs", "blue", ACTION, "NOT_FOUND", None),  # known to nobody
        ("photographs", "green", SERVICES, "FOUND", True),
        ("photographs", "emerald", ACTION, "NOT_FOUND", False),  # a word that the segmenter does not know
        ("photographs", "yak", TOPIC, "NOT_FOUND", None),
    ]
    assert [a["counts"] for a in result["answers"]] == [True] * 6 + [False] * 5
    assert result["masks"] == [
        {"recording": "photographs", "preset": "lite", "scene": scene, "thing": thing, "iou": 1.0}
        for scene, thing in (("first", "red"), ("second", "green"))
    ]
    assert {path.name for path in box_demo.glob("masks_*")} == {
        f"masks_photographs{of}.png" for of in ("", "_first", "_second")
    }
    for answer in result["answers"]:
        assert (answer["iou"] == 1.0) is (answer["code"] == "FOUND")
        assert 0 < answer["latency_ms"] < 60_000
    pictures = sorted(box_demo.glob("overlay_*.png"))
    assert len(pictures) == 10
    height, width, _ = cv2.imread(str(pictures[0])).shape
    assert width == 80
    assert {cv2.imread(str(p)).shape[1] for p in pictures if "photographs" in p.name} == {80, 100}
    assert height > 60 + 2 * 14, "under the question and the answer"
    assert (box_demo / "tabletop.png").is_file()
    with Image.open(box_demo / "tabletop.gif") as picture:
        assert picture.n_frames >= 2
    said = capsys.readouterr().out
    assert "6 of 6 answers are right, 2 not judged; 2 of 3 that do not count are right" in said
    assert "2 of 2 things of photographs have a mask" in said


@pytest.mark.ros
def test_a_wrong_answer_is_exit_1(box_demo, monkeypatch, capsys):
    monkeypatch.setattr(demo.Demo, "_film", lambda *_: [])
    monkeypatch.setattr(demo_acts, "ACTS", demo_acts.ACTS[:1])  # one act shows it
    # "scarlet" is a synonym of green to the recording, and red to the segmenter
    assert demo.main(["--queries", "scarlet, giraffe, yak"]) == 1
    answers = json.loads((box_demo / "result.json").read_text())["answers"]
    assert [(a["word"], a["correct"]) for a in answers] == [
        ("scarlet", False),
        ("giraffe", True),
        ("yak", None),
    ]
    assert "1 of 2 answers are right, 1 not judged" in capsys.readouterr().out


@pytest.mark.ros
def test_a_node_that_cannot_start_ends_the_demo(box_demo, monkeypatch, capsys):
    monkeypatch.setattr(
        demo_stage, "Child", lambda name, command, log, env, **_: Child(name, ["false"], log, env)
    )
    assert demo.main([]) == 1
    assert "ended with status 1" in capsys.readouterr().out
    assert json.loads((box_demo / "result.json").read_text())["ok"] is False


@pytest.mark.parametrize("rows", [25, 10])
def test_the_demo_without_ros(rows, box_recordings, monkeypatch, capsys):
    """The same acts in this process; masks too small are exit 1 even where names do not count."""
    monkeypatch.setattr(without_ros, "_load", lambda preset, device: segmenter(rows))
    asks = {"tabletop": (Ask("green", TOPIC),), "garage": (Ask("giraffe", TOPIC),)}
    acts = tuple(dataclasses.replace(a, asks=asks.get(a.recording, a.asks)) for a in demo_acts.ACTS)
    acts = tuple(dataclasses.replace(a, masks_wanted=1.0) if a.masks_wanted else a for a in acts)
    monkeypatch.setattr(demo_acts, "ACTS", acts)
    out = box_recordings / "out"
    assert cli.main(["demo", "--out", str(out)]) == (0 if rows == 25 else 1)
    result = json.loads((out / "result.json").read_text())
    assert [(m["scene"], m["iou"]) for m in result["masks"]] == [("first", rows / 25), ("second", 1.0)]
    assert "2 of 2 answers are right" in capsys.readouterr().out
    assert (out / "masks_photographs.png").is_file()
    assert cli.main(["demo", "yak", "--out", str(out)]) == 0  # the user's words: nobody looks at the masks
    assert json.loads((out / "result.json").read_text())["masks"] == []


@pytest.mark.parametrize("counts", [True, False])
def test_an_answer_about_the_next_photograph_is_asked_for_again(tmp_path, counts):
    """It came too late; at last it is wrong, which is no failure of an interface where names do not count."""
    ask = Ask("red mug", ACTION, 0)
    act = dataclasses.replace(PHOTOGRAPHS, asks=(ask,), names_count=counts)
    stage = demo_stage.Stage(
        act,
        tmp_path,
        Truth([{1: ("red mug",)}, {3: ("blue mug",)}]),
        frames=2,
        domain=0,
        output=tmp_path,
        say=print,
    )
    reply = SimpleNamespace(
        code_name="NOT_FOUND", message="", stamp_ns=7, segments=(), best_score=0.2, latency_s=1
    )
    next_one = np.where(IMAGE == 1, 3, 0).astype(np.uint16)
    stage._client = SimpleNamespace(
        find=lambda text, **how: reply, images=SimpleNamespace(at=lambda topic, stamp: next_one)
    )
    assert stage._ask(ask, 1, last_attempt=False) is None
    (answer,) = stage._ask(ask, 1, last_attempt=True)
    assert (answer.code, answer.correct, answer.counts) == ("NOT_FOUND", False, counts)


def test_the_domain_is_the_environments(monkeypatch):
    monkeypatch.setitem(os.environ, "ROS_DOMAIN_ID", "42")
    assert demo_stage.own_domain() == 42

"""What `ovseg web` computes, without Gradio: answers, reuse, refusals, pictures, tables, choices."""

from __future__ import annotations

import dataclasses
import threading
import time

import numpy as np
import pytest
import torch
from core_fixtures import FixedProposer
from web_fixtures import BOXES, HEIGHT, WIDTH, colour_segmenter, colours, inputs, save

from ovseg_ros.app.web import inference as web_inference
from ovseg_ros.app.web.choices import preset_choices, write_examples, write_png
from ovseg_ros.app.web.html import legend_html, message_html, table_html
from ovseg_ros.app.web.inference import Inference, chosen_options, content_hash, read_words
from ovseg_ros.app.web.results import Answer, LegendRow, MaskRow, map_picture
from ovseg_ros.core.frame import CameraIntrinsics, Frame
from ovseg_ros.core.overlay import label_colour
from ovseg_ros.core.segmenter import SegmenterOptions
from ovseg_ros.errors import ConfigError, InvalidInputError, OutOfMemoryError, OvsegError, WeightsError


@pytest.fixture
def picture(tmp_path):
    return save(tmp_path / "colours.png", colours())


def one(segmenter):
    """An Inference whose every preset is this segmenter."""
    return Inference(lambda preset, proposals_from: segmenter)


# ------------------------------------------------------------------------------------------------ answers


def test_the_map_is_painted_in_the_legends_colours_where_the_masks_are(picture):
    answer = one(colour_segmenter()).answer(inputs(picture, "red, green"))
    assert answer.error == ""
    assert [(row.name, row.masks) for row in answer.legend] == [("green", 1), ("red", 1)]
    colour = {row.name: row.colour for row in answer.legend}
    assert colour == {"green": label_colour(0), "red": label_colour(1)}
    for name, key in (("red", (255, 0, 0)), ("green", (0, 255, 0))):
        top, left, bottom, right = BOXES[key]
        wanted = np.zeros((HEIGHT, WIDTH), bool)
        wanted[top:bottom, left:right] = True
        np.testing.assert_array_equal((answer.map_rgb == colour[name]).all(axis=2), wanted)
    shares = {row.name: row.share for row in answer.legend}
    assert shares == pytest.approx({"red": 256 / 3072, "green": 400 / 3072})
    assert answer.overlay_rgb.shape == (HEIGHT, WIDTH, 3)


def test_the_table_has_every_mask_labelled_ones_first(picture):
    rows = one(colour_segmenter()).answer(inputs(picture, "red, green")).masks
    assert [row.label for row in rows] == ["red", "green", ""]
    red, green, blue = rows
    assert (green.number, green.area_px, green.box_xyxy) == (2, 400, (30, 4, 49, 23))
    assert (red.number, red.area_px, red.box_xyxy) == (1, 256, (4, 4, 19, 19))
    assert red.area_share == pytest.approx(256 / 3072)
    assert red.proposal_score == pytest.approx(0.9)
    assert red.score > 0.9
    assert red.runner_up in ("green", "black")  # black is this preset's background word
    assert red.score + red.runner_up_score <= 1.0 + 1e-6
    assert red.margin == pytest.approx(red.score - red.runner_up_score)
    assert blue.colour is None
    assert blue.runner_up in ("red", "green")  # the nearest word, not the background
    assert blue.margin < 0


def test_order_case_blanks_and_repetitions_make_no_difference(picture):
    inference = one(colour_segmenter())
    wanted = inference.answer(inputs(picture, "green, red"))
    for words in ("red, green", "  RED ;Green,, red", "find the red and the green"):
        answer = inference.answer(inputs(picture, words))
        np.testing.assert_array_equal(answer.map_rgb, wanted.map_rgb)
        np.testing.assert_array_equal(answer.overlay_rgb, wanted.overlay_rgb)
        assert (answer.legend, answer.masks) == (wanted.legend, wanted.masks)


def test_granularity_leaves_all_but_the_best_mask_of_a_word_out_of_map_overlay_and_legend(tmp_path):
    image = colours()
    image[28:44, 10:40] = (200, 60, 0)  # a second mask, nearly as red
    picture = save(tmp_path / "two_reds.png", image)
    segmenter = colour_segmenter(background=())
    masks = torch.from_numpy(np.stack([(image == c).all(axis=2) for c in ((255, 0, 0), (200, 60, 0))]))
    segmenter.proposer = FixedProposer(masks, torch.tensor([0.9, 0.8]))
    inference = one(segmenter)
    coarse, fine = (inference.answer(inputs(picture, "red", granularity=g)) for g in (0.0, 1.0))
    assert [(row.name, row.masks) for row in coarse.legend] == [("red", 2)]
    assert [(row.name, row.masks) for row in fine.legend] == [("red", 1)]
    assert [row.painted for row in coarse.masks] == [True, True]
    assert sorted((row.painted, row.label) for row in fine.masks) == [(False, "red"), (True, "red")]
    assert fine.legend[0].share < coarse.legend[0].share
    assert fine.reused
    assert not np.array_equal(fine.overlay_rgb, coarse.overlay_rgb)
    assert "left out by granularity" in table_html(fine.masks)


def test_no_mask_and_one_mask(tmp_path):
    inference = one(colour_segmenter())
    nothing = inference.answer(inputs(save(tmp_path / "w.png", np.full((40, 40, 3), 255, np.uint8))))
    assert (nothing.error, nothing.masks) == ("", ())
    assert "nothing that stands out" in " ".join(nothing.remarks)
    assert nothing.timing.startswith("0 masks on 40x40")
    assert len(np.unique(nothing.map_rgb.reshape(-1, 3), axis=0)) == 1
    single = np.full((40, 40, 3), 255, np.uint8)
    single[5:25, 5:25] = (255, 0, 0)
    answer = inference.answer(inputs(save(tmp_path / "r.png", single), "red"))
    assert [row.label for row in answer.masks] == ["red"]
    assert answer.timing.startswith("1 mask on 40x40")


def test_words_that_no_mask_has_are_named(picture, tmp_path):
    inference = one(colour_segmenter())
    image = colours()
    image[(image == (0, 255, 0)).all(axis=2)] = 255
    no_green = save(tmp_path / "no_green.png", image)
    assert inference.answer(inputs(no_green, "red, green")).remarks == ("not found: green",)
    unsure = colour_segmenter()
    unsure.clip.logit_scale = 1.0  # no probability comes near 1
    remarks = one(unsure).answer(inputs(picture, "red, green", threshold=1.0)).remarks
    assert "no mask reaches the threshold" in remarks[0]


# ------------------------------------------------------------------------------------------------ reuse


def test_words_threshold_and_granularity_reuse_the_embedding_and_pixels_do_not(picture, tmp_path):
    segmenter = colour_segmenter()
    inference = one(segmenter)
    assert not inference.answer(inputs(picture)).reused
    for changes in ({"words": "blue"}, {"threshold": 0.9}, {"granularity": 1.0}):
        answer = inference.answer(inputs(picture, **changes))
        assert answer.reused
        assert "reused" in answer.timing
    copy = save(tmp_path / "the_same.png", colours())
    assert inference.answer(inputs(copy)).reused  # by content, not by name
    assert segmenter.proposer.calls == 1
    changed = colours()
    changed[0, 0] = 0
    assert not inference.answer(inputs(save(tmp_path / "changed.png", changed))).reused
    assert segmenter.proposer.calls == 2
    assert not inference.answer(inputs(picture)).reused  # only the last one is kept


def test_each_preset_and_generator_has_its_own_last_image_and_few_are_kept(picture):
    loaded = []

    def load(preset, proposals_from):
        loaded.append((preset, proposals_from))
        return colour_segmenter()

    inference = Inference(load)
    for preset, proposals_from in (("a", None), ("b", None), ("a", None)):
        inference.answer(inputs(picture, preset=preset, proposals_from=proposals_from))
    assert loaded == [("a", None), ("b", None)]
    assert inference.answer(inputs(picture, preset="b")).reused
    inference.answer(inputs(picture, preset="a", proposals_from="b"))  # a third: "a" alone goes
    assert len(inference._loaded) == web_inference.MAX_LOADED
    assert not inference.answer(inputs(picture, preset="a")).reused
    assert loaded == [("a", None), ("b", None), ("a", "b"), ("a", None)]


def test_depth_and_intrinsics_are_part_of_the_content():
    image = colours()
    depth = np.ones((HEIGHT, WIDTH), np.float32)
    camera = CameraIntrinsics(50, 50, 32, 24, WIDTH, HEIGHT)
    frames = [
        Frame(image),
        Frame(image, depth, camera),
        Frame(image, depth * 2, camera),
        Frame(image, depth, CameraIntrinsics(60, 60, 32, 24, WIDTH, HEIGHT)),
        Frame(np.ascontiguousarray(image.reshape(WIDTH, HEIGHT, 3))),  # the same bytes in another shape
    ]
    assert len({content_hash(frame) for frame in frames}) == len(frames)
    assert content_hash(frames[1]) == content_hash(Frame(image.copy(), depth.copy(), camera, stamp_ns=5))


def test_one_inference_at_a_time(picture, tmp_path):
    segmenter = colour_segmenter()
    propose, running, most = segmenter.proposer.propose, [], []

    def slow(frame):
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return propose(frame)

    segmenter.proposer.propose = slow
    inference = one(segmenter)
    pictures = []
    for i in range(4):
        image = colours()
        image[0, 0] = i
        pictures.append(save(tmp_path / f"{i}.png", image))
    answers = {}
    threads = [
        threading.Thread(target=lambda p=p: answers.update({p: inference.answer(inputs(p))}))
        for p in pictures
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert len(most) == 4
    assert [answers[p].error for p in pictures] == [""] * 4


# ------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"image": None}, "upload an image"),
        ({"words": ""}, "at least one class name"),
        ({"words": "  "}, "at least one class name"),
        ({"words": "find the"}, "names none"),
        ({"words": "x" * 200}, "no class name is left"),
        ({"words": "x" * 5000}, "at most 4096 bytes"),
        ({"threshold": 2.0}, "threshold in [0, 1]"),
        ({"granularity": -1.0}, "granularity in [0, 1]"),
    ],
)
def test_bad_input_is_said_in_words(picture, changes, part):
    given = {"image": picture} | changes
    answer = one(colour_segmenter()).answer(inputs(given.pop("image"), **given))
    assert part in answer.error
    assert (answer.map_rgb, answer.overlay_rgb, answer.legend, answer.masks) == (None, None, (), ())


def test_depth_missing_says_what_to_do(picture):
    answer = one(colour_segmenter(needs_depth=True)).answer(inputs(picture, preset="/x/mine.yaml"))
    assert "mine cuts its masks from depth: add a depth image" in answer.error


@pytest.mark.parametrize("kind", [WeightsError, ConfigError, OutOfMemoryError])
def test_errors_of_loading_are_shown_and_the_next_request_is_answered(picture, kind):
    failures = [kind("the cure")]

    def load(preset, proposals_from):
        if failures:
            raise failures.pop()
        return colour_segmenter()

    inference = Inference(load)
    assert inference.answer(inputs(picture)).error == "the cure"
    failures.append(kind("the cure"))
    with pytest.raises(kind, match="the cure"):
        inference.preload("a")
    assert inference.answer(inputs(picture)).error == ""


def test_a_bug_goes_to_the_log_and_not_to_the_page(picture, caplog):
    segmenter = colour_segmenter()
    segmenter.proposer.propose = lambda frame: 1 / 0
    answer = one(segmenter).answer(inputs(picture))
    assert answer.error == "the program failed (ZeroDivisionError); its terminal says where"
    assert "Traceback" in caplog.text


def test_words_that_are_refused_are_named_and_the_rest_is_used():
    vocabulary, remarks = read_words(f"Teapot, {'y' * 129}, mug,  MUG")
    assert vocabulary.names == ("mug", "teapot")
    assert len(remarks) == 1
    assert "was not taken: expected at most 128 bytes" in remarks[0]


def test_the_sliders_change_nothing_but_themselves():
    preset = SegmenterOptions(threshold=0.2, background=("wall",), max_masks=7)
    chosen = chosen_options(preset, 0.4, 0.9)
    assert chosen == SegmenterOptions(threshold=0.4, granularity=0.9, background=("wall",), max_masks=7)
    with pytest.raises(ConfigError):
        chosen_options(preset, 1.5, 0.0)


# ------------------------------------------------------------------------------------------------ HTML


def test_the_map_of_no_labels_is_pale_grey():
    empty = map_picture(colours(), np.full((HEIGHT, WIDTH), 255, np.uint8))
    assert empty.min() >= 200
    assert (empty == empty[:, :, :1]).all()


def test_html_escapes_what_people_type():
    name = "<script>alert(1)</script>"
    legend = legend_html((LegendRow(name, (255, 0, 9), 1, 0.25), LegendRow("mug", (0, 0, 0), 0, 0.0)))
    row = MaskRow(3, name, True, (255, 0, 9), 0.9, "<b>", 0.05, 1234, 0.5, (1, 2, 3, 4), 0.75)
    done = Answer(legend=(LegendRow(name, (0, 0, 0), 1, 0.25),), remarks=("<i>",), timing="<u>")
    for html in (legend, table_html((row,)), message_html(done), message_html(Answer(error="<script>"))):
        assert "<script" not in html
        assert "&lt;script&gt;" in html
    assert "#ff0009" in legend
    assert "25.0 %" in legend
    assert "not found" in legend
    assert "1,234 (50.0 %)" in table_html((row,))
    assert "1, 2 to 3, 4" in table_html((row,))
    unsure = dataclasses.replace(row, label="", margin=-0.25, remark="a <mug> of another colour (white)")
    assert "a &lt;mug&gt; of another colour (white)" in table_html((unsure,))
    assert ">-0.25<" in table_html((unsure,))
    assert (legend_html(()), table_html(())) == ("", "")
    assert '<div class="ov-error" role="alert">Upload an' in message_html(Answer(error="upload an image"))
    assert "Nothing found" in message_html(Answer(remarks=("no mask",)))


# ------------------------------------------------------------------------------------------------ choices


def test_presets_that_lack_weights_are_listed_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    here, missing = preset_choices("lite")
    assert [choice.name for choice in here] == ["lite", "mini"]
    assert {"vitb16", "ovseg"} <= {choice.name for choice in missing}
    assert here[0].threshold == pytest.approx(0.3)
    assert here[0].title == "lite (colour masks + depth clusters)"
    assert [(one.title, one.preset) for one in here[0].generators] == [
        ("Colour masks + Depth clusters (where there is depth)", "lite"),
        ("Depth clusters (needs depth)", "mini"),
    ]
    assert next(c for c in missing if c.name == "vitb16").missing


def test_a_generator_whose_weights_are_here_is_offered_with_every_preset(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "sam_vit_b_01ec64.pth").write_bytes(b"x")
    here, missing = preset_choices("mini", tmp_path)
    assert "vitb16" in {choice.name for choice in missing}  # its CLIP is not here
    clusters, anything, both = here[0].generators
    assert both.preset == "lite"
    assert (clusters.title, clusters.preset) == ("Depth clusters (needs depth)", "mini")
    assert anything.title == "Segment Anything (vit_b)"
    assert anything.preset in ("convnext", "vitb16")  # they have the same generator; it is offered once


def test_the_first_preset_may_be_a_file_and_must_exist(tmp_path):
    own = tmp_path / "mine.yaml"
    own.write_text("proposer: {kind: depth_clusters}\nencoder: {kind: mini}\n")
    here, _ = preset_choices(str(own))
    assert here[0].name == str(own)
    assert here[0].title == "mine (depth clusters)"
    with pytest.raises(ConfigError, match="preset"):
        preset_choices("nonsense")


def test_examples_are_the_recordings_frames(tmp_path):
    from ovseg_ros.app.web.images import read_frame
    from ovseg_ros.evaluate.recordings.demo import recording_folder
    from ovseg_ros.evaluate.recordings.recording import read_recording

    examples = write_examples(tmp_path, ["mini"])
    assert [example.preset for example in examples] == ["mini", "mini"]
    recorded = list(read_recording(recording_folder("demo/tabletop")))[34].frame
    frame, remarks = read_frame(examples[0].image, examples[0].depth, None, examples[0].camera)
    np.testing.assert_array_equal(frame.image_rgb, recorded.image_rgb)
    np.testing.assert_allclose(frame.depth_m, recorded.depth_m, atol=1e-6)
    assert frame.intrinsics.fx == pytest.approx(recorded.intrinsics.fx, abs=0.05)
    assert remarks == []


def test_without_recordings_there_are_no_examples(tmp_path, monkeypatch):
    from ovseg_ros.app.web import choices as web_choices

    def lost(name):
        raise InvalidInputError("no recording")

    monkeypatch.setattr(web_choices, "recording_folder", lost)
    assert write_examples(tmp_path, ["mini", "lite"]) == []


def test_a_png_that_cannot_be_written_says_so(tmp_path):
    with pytest.raises(OvsegError, match="cannot write"):
        write_png(tmp_path / "no_folder" / "a.png", np.zeros((4, 4), np.uint16))


def test_words_that_nobody_can_answer_are_said():
    with pytest.raises(InvalidInputError, match="positions tell which one is meant"):
        read_words("mug, the left teapot")
    assert read_words('"Left Shoe"')[0].names == ("left shoe",)
    vocabulary, remarks = read_words("mug, 茶壶", lambda word: "" if word.isascii() else "unknown")
    assert vocabulary.names == ("mug",)
    assert remarks == ["\u201c茶壶\u201d was not taken: unknown"]

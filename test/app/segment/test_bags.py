"""`ovseg segment` on recordings of any robot, once for real."""

from __future__ import annotations

import shutil

import cv2
import numpy as np
import pytest
from bag_fixtures import MCAP, SQLITE, camera_info, image, write_bag
from PIL import Image
from pycocotools import mask as coco_mask
from segment_fixtures import (
    GREEN,
    GREEN_BOX,
    RED,
    RED_BOX,
    blob_segmenter,
    files_in,
    masks_in,
    ovseg_segment,
    picture,
    summary_of,
)

from ovseg_ros.app.cli import main
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.recordings.demo import recording_folder
from ovseg_ros.evaluate.recordings.recording import read_recording
from ovseg_ros.files.recordings import IMAGE

WORDS = ("--labels", "red, green")
COLOUR, DEPTH, CAMERA = (
    "/cam/color/image_raw",
    "/cam/aligned_depth_to_color/image_raw",
    "/cam/color/camera_info",
)


def shot(number, stamp_s):
    return image(np.full((4, 4, 3), number, np.uint8), "rgb8", stamp_s)


def depth_shot(mm, stamp_s):
    return image(np.full((4, 4), mm, np.uint16), "16UC1", stamp_s)


def robot(plugin, path, encoding="bgr8"):
    """Four frames, the third one's image damaged; red and green boxes; depth and camera_info."""
    messages = []
    for i in range(4):
        pixels = picture((RED_BOX, RED), (GREEN_BOX, GREEN) if i % 2 else (RED_BOX, RED))
        message = image(pixels[..., ::-1], encoding, stamp_s=1 + 0.1 * i, padding=7)
        if i == 2:
            message.encoding = "unheard of"
        messages += [
            (COLOUR, 0.1 * i, message),
            (DEPTH, 0.1 * i + 0.01, image(np.full((60, 80), 1.25, np.float32), "32FC1", 1 + 0.1 * i)),
            (CAMERA, 0.1 * i + 0.02, camera_info(1 + 0.1 * i)),
        ]
    return write_bag(path, messages, plugin)


@pytest.mark.parametrize("plugin", [MCAP, SQLITE])
def test_segment_reads_recordings_of_both_kinds_whole_or_as_a_file(tmp_path, plugin, capsys):
    bag = robot(plugin, tmp_path / "bag")
    (storage,) = (f for f in bag.iterdir() if f.suffix in (".mcap", ".db3"))
    for number, path in enumerate((bag, storage)):
        out = tmp_path / f"out{number}"
        segmenter = blob_segmenter(needs_depth=True)
        assert ovseg_segment(path, *WORDS, "--out", out, segmenter=segmenter) == 1
        assert f"{path}#2: expected a colour image" in capsys.readouterr().err
        assert {n.split("/")[1] for n in files_in(out / "labels")} == {f"00000{i}.png" for i in (0, 1, 3)}
        frame = segmenter.proposer.frames[0]
        assert frame.depth_m[0, 0] == 1.25
        assert frame.intrinsics.fx == 70.0
        found = [row["category_id"] for row in masks_in(out)["annotations"]]
        assert found == [0, 0, 1, 0, 1]
        film = cv2.VideoCapture(str(next((out / "overlay").glob("*.mp4"))))
        assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
        assert film.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
        assert COLOUR in summary_of(out)["remarks"][0]


def test_segment_names_what_depth_lacks(tmp_path):
    bag = robot(MCAP, tmp_path / "bag")
    segmenter = blob_segmenter(needs_depth=True)
    with pytest.raises(
        InvalidInputError,
        match=f"no topic of this recording is depth; name one with --depth-topic: it has {DEPTH} ",
    ):
        ovseg_segment(bag, *WORDS, "--out", tmp_path / "a", "--depth-topic", "none", segmenter=segmenter)
    no_camera = ("--camera-info-topic", "none")
    with pytest.raises(
        InvalidInputError,
        match=r"camera_info: there is no such topic; name its topic with --camera-info-topic, or give them "
        r"with --intrinsics \(3 frames\); expected a colour",
    ):
        ovseg_segment(bag, *WORDS, "--out", tmp_path / "b", *no_camera, segmenter=segmenter)
    messages = [(COLOUR, i, shot(9, i + 1)) for i in range(2)] + [(DEPTH, 3, depth_shot(1, 1))]
    write_bag(tmp_path / "sparse", [*messages, (CAMERA, 4, camera_info(size_wh=(4, 4)))])
    assert ovseg_segment(tmp_path / "sparse", *WORDS, "--out", tmp_path / "c", segmenter=segmenter) == 1
    reason = summary_of(tmp_path / "c")["failures"][0]["reason"]
    assert f"depth on {DEPTH} (1 message): the nearest to the image of 2.000 s is 1000 ms earlier" in reason
    assert "raise --depth-tolerance" in reason


def test_depth_of_another_size_is_named(tmp_path):
    depth = image(np.full((30, 40), 1000, np.uint16), "16UC1", 1.0)
    bag = write_bag(tmp_path / "bag", [(COLOUR, 0, image(picture(), "rgb8")), (DEPTH, 0.1, depth)])
    with pytest.raises(InvalidInputError, match="registered to the image"):
        ovseg_segment(bag, *WORDS, "--out", tmp_path / "out")


def test_a_film_of_images_that_change_in_size_and_none_of_single_pixels(tmp_path):
    sizes = ((60, 80), (30, 40), (60, 80))
    messages = [
        (COLOUR, i, image(np.full((*s, 3), 90, np.uint8), "rgb8", 1 + i)) for i, s in enumerate(sizes)
    ]
    assert ovseg_segment(write_bag(tmp_path / "a", messages), *WORDS, "--out", tmp_path / "out") == 0
    film = cv2.VideoCapture(str(tmp_path / "out/overlay/a.mp4"))
    assert film.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    assert film.get(cv2.CAP_PROP_FRAME_WIDTH) == 80
    messages = [(COLOUR, i, image(np.full((1, 1, 3), 90, np.uint8), "rgb8", 1 + i)) for i in range(2)]
    assert ovseg_segment(write_bag(tmp_path / "b", messages), *WORDS, "--out", tmp_path / "out2") == 0
    assert "overlay/b.mp4" not in files_in(tmp_path / "out2")
    assert "no overlay/b.mp4" in summary_of(tmp_path / "out2")["remarks"][-1]


def test_damaged_recordings_are_named_and_what_could_be_read_stays(tmp_path):
    bag = robot(MCAP, tmp_path / "bag")
    messages = [
        (COLOUR, 0, image(picture(), "rgb8")),
        (COLOUR, 1, (IMAGE, b"\x00\x01\x00\x00\x01\x00\x00\x00")),
    ]
    broken_message = write_bag(tmp_path / "one_bad", messages)
    assert ovseg_segment(broken_message, *WORDS, "--out", tmp_path / "out") == 1
    assert "damaged message" in summary_of(tmp_path / "out")["failures"][0]["reason"]
    no_storage = shutil.copytree(bag, tmp_path / "no_storage")
    next(no_storage.glob("*.mcap")).unlink()
    (tmp_path / "text.db3").write_text("no database")
    (tmp_path / "empty.mcap").touch()
    for path in (no_storage, tmp_path / "text.db3", tmp_path / "empty.mcap"):
        with pytest.raises(InvalidInputError, match="not a readable rosbag2 recording") as caught:
            ovseg_segment(path, *WORDS, "--out", tmp_path / "out2")
        assert path.name in str(caught.value)


def test_a_recording_that_breaks_off_is_used_and_its_loss_is_a_remark(tmp_path):
    bag = robot(MCAP, tmp_path / "bag")
    (bag / "metadata.yaml").write_text("nothing: [")
    storage = next(bag.glob("*.mcap"))
    storage.write_bytes(storage.read_bytes()[:-400])
    assert (
        ovseg_segment(bag, *WORDS, "--out", tmp_path / "out", segmenter=blob_segmenter(needs_depth=True)) == 1
    )
    remarks = " ".join(summary_of(tmp_path / "out")["remarks"])
    assert "metadata.yaml cannot be read" in remarks
    assert "breaks off after 0.3 s / " in remarks
    assert "mcap recover" in remarks


def test_a_folder_of_recordings_names_them(tmp_path):
    robot(MCAP, tmp_path / "runs/monday")
    with pytest.raises(InvalidInputError, match="runs; monday in it holds a recording: give that"):
        ovseg_segment(tmp_path / "runs", *WORDS, "--out", tmp_path / "out")


def test_intrinsics_given_go_before_camera_info(tmp_path):
    messages = [
        (COLOUR, 1, image(picture((RED_BOX, RED)), "rgb8", 1.0)),
        (DEPTH, 1, image(np.full((60, 80), 10_000, np.uint16), "16UC1", 1.0)),
        (CAMERA, 1, camera_info(fx=0.0)),
    ]
    bag = write_bag(tmp_path / "bag", messages)
    segmenter = blob_segmenter(needs_depth=True)
    with pytest.raises(InvalidInputError, match="or give them with --intrinsics"):
        ovseg_segment(bag, *WORDS, "--out", tmp_path / "a", segmenter=segmenter)
    given = ("--intrinsics", "50,50,40,30")
    assert ovseg_segment(bag, *WORDS, "--out", tmp_path / "b", *given, segmenter=segmenter) == 0
    assert segmenter.proposer.frames[0].intrinsics.fx == 50.0


def test_pictures_videos_and_recordings_together(tmp_path):
    bag = robot(MCAP, tmp_path / "bag")
    Image.fromarray(picture()).save(tmp_path / "a.png")
    arguments = (tmp_path / "a.png", bag, *WORDS, "--out", tmp_path / "out", "--max-frames", "2")
    assert ovseg_segment(*arguments) == 0
    assert [row["name"] for row in masks_in(tmp_path / "out")["images"]] == ["a", "bag/000000", "bag/000001"]


def test_mini_finds_the_teapot_of_the_tabletop(tmp_path, monkeypatch):
    """The command itself, its real preset, and the recording's ground truth."""
    folder = recording_folder("demo/tabletop")
    arguments = ["segment", str(folder), "--labels", "teapot, giraffe", "--every", "15", "--device", "cpu"]
    arguments += ["--preset", "mini"]
    monkeypatch.setattr("sys.argv", ["ovseg", *arguments])
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 0
    masks = masks_in(tmp_path / "out")
    truth = {
        f"tabletop/{i:06d}": recorded for i, recorded in enumerate(read_recording(folder)) if i % 15 == 0
    }
    assert [row["name"] for row in masks["images"]] == list(truth)
    for row in masks["images"]:
        recorded = truth[row["name"]]
        (teapot,) = (i for i, name in recorded.names.items() if name == "teapot")
        wanted = recorded.mask(teapot)
        found = [a for a in masks["annotations"] if a["image_id"] == row["id"]]
        assert {a["category_id"] for a in found} == {0}
        ious = []
        for annotation in found:
            mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
            ious.append((mask & wanted).sum() / (mask | wanted).sum())
        assert max(ious) > 0.8
        labels = np.array(Image.open(tmp_path / "out/labels" / f"{row['name']}.png"))
        assert (labels == 0)[wanted].mean() > 0.85
        assert row["stamp_ns"] == recorded.frame.stamp_ns
    summary = summary_of(tmp_path / "out")
    assert [(label["name"], label["frames"]) for label in summary["labels"]] == [
        ("teapot", 3),
        ("giraffe", 0),
    ]
    assert summary["preset"]["name"] == "mini"

"""Images with captions: every form they come in, and what is wrong with them."""

from __future__ import annotations

import doctest
import json
from pathlib import Path
from unicodedata import normalize

import cv2
import numpy as np
import pytest
from bag_fixtures import STORE, compressed, image, write_bag
from pair_fixtures import coco
from segment_fixtures import picture, save

from ovseg_ros.app.learn.pairs_sources import open_source
from ovseg_ros.core.frame import Frame
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.pictures import read_image
from ovseg_ros.learn.pairs import caption_texts, captions, nouns
from ovseg_ros.learn.pairs.captions import CaptionedFiles, open_captions, safe_id

SUFFIXES = (".png", ".jpg")


def load(path: Path) -> Frame:
    return Frame(read_image(path))


def opened(folder: Path, captions: Path | None = None, **changes) -> CaptionedFiles:
    return open_captions(folder, captions, load, suffixes=SUFFIXES, **changes)


def said(source) -> dict[str, tuple[str, ...]]:
    return {image.id: image.captions for image in source}


def test_coco_captions(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    file = coco(tmp_path / "c.json", {"a.png": ["One mug.", "Two mugs."], "b.png": []})
    source = opened(tmp_path, file)
    assert said(source) == {"a": ("One mug.", "Two mugs."), "b": ()}
    assert said(opened(tmp_path, file, per_image=1)) == {"a": ("One mug.",), "b": ()}
    assert len(source) == 2
    first = next(iter(source))
    assert first.source == {"file": "a.png"}
    assert np.array_equal(first.load().image_rgb, picture())
    with pytest.raises(InvalidInputError, match=r"b\.png"):
        list(source)[1].load()


def test_captions_of_images_that_are_not_listed_are_said(tmp_path: Path) -> None:
    file = coco(tmp_path / "c.json", {"a.png": ["One."]})
    content = json.loads(file.read_text())
    content["annotations"].append({"image_id": 99, "caption": "Lost."})
    content["images"].append({"id": 11, "file_name": "a.png"})
    file.write_text(json.dumps(content))
    source = opened(tmp_path, file)
    assert said(source) == {"a": ("One.",)}
    assert [remark.split()[0] for remark in source.remarks] == ["1", "1"]
    assert "does not list" in source.remarks[0]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"images": []}', '{"images": [{"id": 1}], "annotations": []}', "3", "\xff"]
)
def test_json_of_another_form_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "c.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(InvalidInputError, match=r"c\.json"):
        opened(tmp_path, tmp_path / "c.json")


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "captions.csv").write_text('image,caption\na.png,"A mug, red."\na.png,A bowl.\nb.png\n')
    source = opened(tmp_path)
    assert said(source) == {"a": ("A mug, red.", "A bowl.")}
    assert source.remarks == ["1 rows of captions.csv have too few columns: left out"]
    (tmp_path / "c.tsv").write_text("text\tfile_name\nA mug, red.\ta.png\n")
    assert said(opened(tmp_path, tmp_path / "c.tsv")) == {"a": ("A mug, red.",)}
    (tmp_path / "c.csv").write_text("a,b\n")
    with pytest.raises(
        InvalidInputError, match=r"expected a header with .*file_name.*caption.*got the columns 'a, b'"
    ):
        opened(tmp_path, tmp_path / "c.csv")


def texts(folder: Path, name: str, content: str | bytes) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    """What a file of captions says of the images in a folder, by their names, and the remarks."""
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    source = opened(folder, folder / name)
    return dict(source.captions), source.remarks


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("s.csv", "file_name;caption\na.jpg;a teapot, red\n", {"a.jpg": ("a teapot, red",)}),
        ("p.csv", "image_name| comment_number| comment\na.jpg| 0| a teapot\n", {"a.jpg": ("a teapot",)}),
        ("t.csv", 'caption\tFile Name\n"no" sign\ta.jpg\n', {"a.jpg": ('"no" sign',)}),
        ("f.txt", "image,caption\na.jpg,a teapot\n", {"a.jpg": ("a teapot",)}),
        ("e.csv", "sep=;\nimage;caption\na.jpg;a teapot, red\n", {"a.jpg": ("a teapot, red",)}),
        ("h.csv", "a.jpg,a teapot, red\nb.jpg,mug\n", {"a.jpg": ("a teapot, red",), "b.jpg": ("mug",)}),
        ("f.token", "a.jpg#0\tA cup\na.jpg#1\tA mug\n", {"a.jpg": ("A cup", "A mug")}),
        ("u.csv", "file_name,caption\na.jpg,a cup\n".encode("utf-16"), {"a.jpg": ("a cup",)}),
        ("b.csv", "\ufefffile_name,caption\r\na.jpg,a cup\r\n", {"a.jpg": ("a cup",)}),
        ("c.csv", "text,image\nred, blue mug,a.jpg\n", {"a.jpg": ("red, blue mug",)}),
        ("n.csv", 'image,caption\na.jpg,"one\nmug"\n', {"a.jpg": ("one\nmug",)}),
        ("l.csv", "image,caption\na.jpg,a\u2028b\x85c\n", {"a.jpg": ("a\u2028b\x85c",)}),
        ("r.csv", 'raw,split,filename\n"[""A cup"", ""A mug""]",x,a.jpg\n', {"a.jpg": ("A cup", "A mug")}),
        ("y.csv", "raw,filename\n\"['A cup', 'A mug']\",a.jpg\n", {"a.jpg": ("A cup", "A mug")}),
        ("l.json", '[{"image": "a.jpg", "caption": "a cup"}]', {"a.jpg": ("a cup",)}),
        ("d.json", '{"a.jpg": "a cup", "b.jpg": ["x", "y"]}', {"a.jpg": ("a cup",), "b.jpg": ("x", "y")}),
        ("o.json", '{"image": "a.jpg", "caption": "x"}\n{"image": "b.jpg", "caption": "y"}', None),
        ("k.json", '{"images": [{"filename": "a.jpg", "sentences": [{"raw": "x"}]}]}', {"a.jpg": ("x",)}),
        ("a.jsonl", '[{"image": "a.jpg", "caption": "x"}]', {"a.jpg": ("x",)}),
    ],
)
def test_the_forms_that_data_sets_come_in(tmp_path: Path, name: str, content: str, expected) -> None:
    assert texts(tmp_path, name, content) == (expected or {"a.jpg": ("x",), "b.jpg": ("y",)}, [])


def test_a_mark_that_never_closes_costs_its_row_alone(tmp_path: Path) -> None:
    table = 'file_name,caption\na.jpg,"a teapot\nb.jpg,a mug\nc.jpg,"a cup, red"\nd.jpg,20" monitor\n'
    found, remarks = texts(tmp_path, "c.csv", table)
    assert found == {"b.jpg": ("a mug",), "c.jpg": ("a cup, red",), "d.jpg": ('20" monitor',)}
    assert len(remarks) == 1
    assert "1 rows of c.csv open a quotation mark that never closes, the first is line 2" in remarks[0]
    found, remarks = texts(tmp_path, "d.csv", 'caption,image\n"a teapot,a.jpg\n"a cup, red",c.jpg\n')
    assert found == {"c.jpg": ("a cup, red",)}
    assert "line 2" in remarks[0]
    assert texts(tmp_path, "e.csv", 'image,caption\nb,x\na,"' + "y\n" * 50)[0] == {"b": ("x",)}


def test_a_caption_is_text_or_nothing(tmp_path: Path) -> None:
    lines = '{"image": "a.jpg", "caption": NaN}\n{"image": "a.jpg", "caption": "a teapot"}\n'
    found, remarks = texts(tmp_path, "a.jsonl", lines)
    assert found == {"a.jpg": ("a teapot",)}
    assert remarks == ["1 captions in a.jsonl are no text, the first is nan in line 1: counted as no caption"]
    mixed = '[{"image": "a.jpg", "captions": ["x", 5, null, true, ["y"], {"raw": "z"}, "", "0.5 0.5"]}]'
    found, remarks = texts(tmp_path, "a.json", mixed)
    assert found == {"a.jpg": ("x", "z")}
    assert "6 captions in a.json are no text, the first is 5 in entry 1" in remarks[0]
    annotations = '[{"image_id": 1, "caption": null}, {"image_id": 1, "caption": "x"}]'
    coco_file = f'{{"images": [{{"id": 1, "file_name": "a.jpg"}}], "annotations": {annotations}}}'
    assert texts(tmp_path, "c.json", coco_file)[0] == {"a.jpg": ("x",)}
    found, remarks = texts(tmp_path, "a.csv", "image,caption\na.jpg,nan\nb.jpg,\nc.jpg,7\n,x\n")
    assert found == {"a.jpg": (), "b.jpg": (), "c.jpg": ()}
    assert "3 captions" in remarks[0]
    assert "1 rows of a.csv name no image, the first is line 5" in remarks[1]


def test_rows_that_are_none_are_told(tmp_path: Path) -> None:
    table = "image,caption\na.jpg,a\0 cup\nb.jpg," + "x" * 200_000 + "\nc.jpg,M\xfcll\n"
    found, remarks = texts(tmp_path, "a.csv", table.encode("latin-1").replace(b"\0", b""))
    assert found == {"a.jpg": ("a cup",), "c.jpg": ("Müll",)}
    assert "1 lines of a.csv are not UTF-8, the first is line 4" in remarks[0]
    assert "more than 100000 characters, the first is line 3" in remarks[1]
    found, remarks = texts(tmp_path, "z.csv", "image,caption\na.jpg,a\0 cup\n")
    assert found == {"a.jpg": ("a cup",)}
    assert "zeros" in remarks[0]
    for empty in ("", "\n\n", "image,caption\n"):
        with pytest.raises(InvalidInputError, match="names none"):
            texts(tmp_path, "e.csv", empty)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"image": 1, "caption": ' * 5000])
def test_what_nests_deeply_is_refused(tmp_path: Path, content: str) -> None:
    for name in ("a.json", "a.jsonl"):
        with pytest.raises(InvalidInputError, match=r"a\.json"):
            texts(tmp_path, name, content)


def test_names_lead_to_files_as_people_write_them(tmp_path: Path) -> None:
    own = [normalize("NFD", "Küche.jpg"), "b.jpg", "c.png", "d.jpg"]
    for name in own:
        (tmp_path / name).write_bytes(b"")
    rows = ["Küche.jpg", f"{tmp_path.name}\\b.JPG", "c", "/home/me/photos/d.jpg", "./d.jpg"]
    table = "image,caption\n" + "".join(f"{name},x{i}\n" for i, name in enumerate(rows))
    found, _ = texts(tmp_path, "c.csv", table)
    assert found == {own[0]: ("x0",), "b.jpg": ("x1",), "c.png": ("x2",), "d.jpg": ("x3", "x4")}


def test_json_lines(tmp_path: Path) -> None:
    lines = [{"file_name": "a.png", "caption": "One."}, {"image": "b.png", "captions": ["Two.", "Three."]}]
    text = "\n".join([*map(json.dumps, lines), "{", "[]", "", '{"caption": "no file"}'])
    (tmp_path / "captions.jsonl").write_text(text)
    source = opened(tmp_path)
    assert said(source) == {"a": ("One.",), "b": ("Two.", "Three.")}
    assert "3 lines" in source.remarks[0]


def test_text_files_beside_images(tmp_path: Path) -> None:
    save(tmp_path / "b" / "x.png")
    save(tmp_path / "a.png")
    (tmp_path / "a.txt").write_text("A mug.\n\n  A bowl. \n")
    (tmp_path / "b" / "x.txt").write_bytes(b"\xff\xfe\xff")
    (tmp_path / "notes.txt").write_text("No image has this name.")
    source = opened(tmp_path)
    assert list(said(source).values()) == [("A mug.", "A bowl."), ()]
    assert "UTF-8" in source.remarks[0]
    (tmp_path / "a.txt").unlink()
    with pytest.raises(InvalidInputError, match=r"expected NAME\.txt"):
        opened(tmp_path)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="not there"):
        opened(tmp_path / "none")
    with pytest.raises(InvalidInputError, match="names none"):
        opened(tmp_path)
    with pytest.raises(InvalidInputError, match="expected captions as"):
        opened(tmp_path, tmp_path / "c.xml")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        opened(tmp_path, tmp_path / "c.json")


def test_images_outside_the_folder_are_not_read(tmp_path: Path) -> None:
    save(tmp_path / "secret.png")
    (tmp_path / "images").mkdir()
    file = coco(tmp_path / "c.json", {"../secret.png": ["A mug."]})
    with pytest.raises(InvalidInputError, match="leads out of it"):
        next(iter(opened(tmp_path / "images", file))).load()


def test_ids_are_unique_and_safe(tmp_path: Path) -> None:
    names = ["a.png", "a.jpg", "b/a.png", "b_a.png", "a b.png", "ä.png", "x.y.png", "n" * 300 + ".png"]
    file = coco(tmp_path / "c.json", {name: ["A mug."] for name in names})
    ids = [image.id for image in opened(tmp_path, file)]
    assert len(set(ids)) == len(names)
    assert ids[0] == "a"
    assert all(len(name) < 140 and not set(name) & set("./ ") for name in ids)
    assert safe_id("000000000139.jpg") == "000000000139"


def test_the_description_tells_captions_apart(tmp_path: Path) -> None:
    one = opened(tmp_path, coco(tmp_path / "c.json", {"a.png": ["A mug."]})).describe()
    two = opened(tmp_path, coco(tmp_path / "c.json", {"a.png": ["A bowl."]})).describe()
    assert one["images"] == two["images"] == 1
    assert one["captions_sha256"] != two["captions_sha256"]


def text(content: str):
    return STORE.types["std_msgs/msg/String"](data=content)


def recording(path: Path, *more) -> Path:
    """Five images, half a second apart from 1 s on; captions at 1.2 s and 2.2 s."""
    messages = [("/camera/image", 1 + i / 2, image(picture(), "rgb8", 1 + i / 2)) for i in range(5)]
    spoken = [("/caption", 1.2, text("A mug.")), ("/caption", 2.2, text(" A bowl. ")), *more]
    return write_bag(path, sorted([*messages, *spoken], key=lambda message: message[1]))


class Options:
    captions = captions_per_image = depth = depth_scale = intrinsics = None
    image_topic = depth_topic = camera_info_topic = caption_topic = None
    every = 1

    def __init__(self, images: Path, **changes) -> None:
        self.images = images
        vars(self).update(changes)


def test_recordings(tmp_path: Path) -> None:
    bag = recording(tmp_path / "bag")
    source = open_source(Options(bag), needs_depth=False)
    assert list(said(source).values()) == [(), ("A mug.",), ("A mug.",), ("A bowl.",), ("A bowl.",)]
    first = next(iter(source))
    assert first.id == "bag-000000"
    assert np.array_equal(first.load().image_rgb, picture())
    assert first.source == {"recording": "bag", "index": 0, "stamp_ns": 1_000_000_000}
    assert len(source) == 5
    assert source.describe()["caption_topic"] == "/caption"
    second = open_source(Options(bag, every=2), needs_depth=False)
    assert list(said(second).values()) == [(), ("A mug.",), ("A bowl.",)]
    assert len(second) == 3


def test_the_caption_topic_must_be_clear(tmp_path: Path) -> None:
    bag = recording(tmp_path / "bag", ("/my/caption_text", 1.6, text("A plate.")))
    with pytest.raises(InvalidInputError, match="/caption, /my/caption_text"):
        open_source(Options(bag), needs_depth=False)
    source = open_source(Options(bag, caption_topic="/my/caption_text"), needs_depth=False)
    assert said(source)["bag-000004"] == ("A plate.",)
    with pytest.raises(InvalidInputError, match="got /none"):
        open_source(Options(bag, caption_topic="/none"), needs_depth=False)
    with pytest.raises(InvalidInputError, match="--caption-topic"):
        open_source(Options(bag, captions=tmp_path / "c.json"), needs_depth=False)
    with pytest.raises(InvalidInputError, match="no such topic"):
        open_source(Options(bag, caption_topic="/caption"), needs_depth=True)


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.mcap").write_bytes(compressed(picture()).data.tobytes())
    with pytest.raises(InvalidInputError, match=r"x\.mcap"):
        open_source(Options(tmp_path / "x.mcap"), needs_depth=False)


def test_depth_lies_beside_the_images(tmp_path: Path) -> None:
    for split in ("images", "depth"):
        (tmp_path / split / "training").mkdir(parents=True)
    save(tmp_path / "images" / "training" / "a.png")
    cv2.imwrite(str(tmp_path / "depth" / "training" / "a.png"), np.full((60, 80), 1500, np.uint16))
    file = coco(tmp_path / "captions_training.json", {"a.png": ["A mug."]})
    options = Options(tmp_path / "images" / "training", captions=file)
    with pytest.raises(InvalidInputError, match="need depth"):
        open_source(options, needs_depth=True)
    camera = {"fx": 70.0, "fy": 70.0, "cx": 39.5, "cy": 29.5, "width": 80, "height": 60}
    (tmp_path / "camera.json").write_text(json.dumps(camera))
    frame = next(iter(open_source(options, needs_depth=True))).load()
    assert frame.depth_m is not None
    assert frame.depth_m.max() == np.float32(1.5)
    assert frame.intrinsics is not None
    assert frame.intrinsics.fx == 70.0
    assert next(iter(open_source(options, needs_depth=False))).load().depth_m is None
    given = Options(options.images, captions=file, depth=tmp_path / "depth" / "training")
    assert next(iter(open_source(given, needs_depth=False))).load().depth_m is not None
    cv2.imwrite(str(tmp_path / "depth" / "training" / "a.png"), np.full((6, 8), 1500, np.uint16))
    with pytest.raises(InvalidInputError, match="registered"):
        next(iter(open_source(options, needs_depth=True))).load()
    (tmp_path / "camera.json").write_text(json.dumps({**camera, "depth_scale": 0.0001}))
    cv2.imwrite(str(tmp_path / "depth" / "training" / "a.png"), np.full((60, 80), 15_000, np.uint16))
    frame = next(iter(open_source(options, needs_depth=True))).load()
    assert frame.depth_m is not None
    assert frame.depth_m.max() == np.float32(1.5)
    frame = next(
        iter(open_source(Options(options.images, captions=file, depth_scale=0.0002), needs_depth=True))
    ).load()
    assert frame.depth_m is not None
    assert frame.depth_m.max() == np.float32(3)
    (tmp_path / "camera.json").write_text("{}")
    with pytest.raises(InvalidInputError, match=r"camera\.json"):
        open_source(options, needs_depth=True)
    with pytest.raises(InvalidInputError, match="expected --depth"):
        open_source(Options(options.images, captions=file, depth=tmp_path / "no"), needs_depth=True)


def test_the_examples_in_the_code_are_right() -> None:
    for module in (captions, caption_texts, nouns):
        result = doctest.testmod(module)
        assert result.attempted
        assert not result.failed

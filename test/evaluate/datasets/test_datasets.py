"""Every data set in every layout, from tiny trees; and what is said of folders that lack something."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from evaluate_trees import quarters, values, write_folder, write_image
from PIL import Image
from repository import ROOT

from ovseg_ros.core.frame import CameraIntrinsics
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.datasets.annotation_files import IGNORE, lookup, read_values
from ovseg_ros.evaluate.datasets.benchmarks import BENCHMARKS
from ovseg_ros.evaluate.datasets.check import check_dataset, expected_trees
from ovseg_ros.evaluate.datasets.class_names import CLASS_LISTS, read_class_file, shipped
from ovseg_ros.evaluate.datasets.dataset import KINDS, open_dataset
from ovseg_ros.evaluate.scores.run import score_each

COUNTS = {
    "ade20k-150": 150,
    "ade20k-full-847": 847,
    "pascal-context-59": 59,
    "pascal-context-459": 459,
    "voc-20": 20,
    "voc-21": 21,
    "coco-stuff-171": 171,
}

# kind, layout, picture, label image, list of names, four numbers in the label image, the class of each
CASES = [
    ("ade20k-150", "as-distributed", "images/validation", "annotations/validation/N.png", None,
     (0, 1, 13, 150), (None, "wall", "person", "flag")),
    ("ade20k-full-847", "maskformer", "images_detectron2/validation",
     "annotations_detectron2/validation/N.tif", None, (65535, 0, 300, 846),
     (None, "wall", "altar", "adding machine")),
    ("pascal-context-59", "fc-clip", "images/validation", "annotations_ctx59/validation/N.png", None,
     (255, 0, 49, 58), (None, "aeroplane", "table", "wood")),
    ("pascal-context-59", "mmsegmentation", "JPEGImages", "SegmentationClassContext/N.png",
     "ImageSets/SegmentationContext/val.txt", (0, 1, 50, 59), (None, "aeroplane", "table", "wood")),
    ("pascal-context-59", "cat-seg", "JPEGImages", "annotations_detectron2/pc59_val/N.png", None,
     (255, 0, 49, 58), (None, "aeroplane", "table", "wood")),
    ("pascal-context-59", "ovseg", "JPEGImages", "annotations_detectron2/pc59_val/N.png", None,
     (255, 0, 1, 2), (None, "table", "aeroplane", "tv monitor")),
    ("pascal-context-459", "ovseg", "JPEGImages", "annotations_detectron2/pc459_val/N.tif", None,
     (65535, 0, 430, 458), (None, "accordion", "unknown", "wool")),
    ("pascal-context-459", "fc-clip", "images/validation", "annotations_ctx459/validation/N.tif", None,
     (65535, 0, 430, 458), (None, "accordion", "unknown", "wool")),
    ("voc-20", "as-distributed", "JPEGImages", "SegmentationClass/N.png", "ImageSets/Segmentation/val.txt",
     (0, 255, 1, 20), (None, None, "aeroplane", "tv monitor")),
    ("voc-21", "as-distributed", "JPEGImages", "SegmentationClass/N.png", "ImageSets/Segmentation/val.txt",
     (0, 255, 1, 20), ("background", None, "aeroplane", "tv monitor")),
    ("voc-20", "fc-clip", "images/validation", "annotations_pascal20/validation/N.png", None,
     (255, 255, 0, 19), (None, None, "aeroplane", "tv monitor")),
    ("voc-21", "fc-clip", "images/validation", "annotations_pascal21/validation/N.png", None,
     (0, 255, 1, 20), ("background", None, "aeroplane", "tv monitor")),
    ("voc-20", "ovseg", "JPEGImages", "annotations_detectron2/val/N.png", None,
     (255, 255, 0, 19), (None, None, "aeroplane", "tv monitor")),
    ("coco-stuff-171", "as-distributed", "val2017", "stuffthingmaps/val2017/N.png", None,
     (255, 11, 12, 181), (None, None, "stop sign", "wood")),
    ("coco-stuff-171", "cat-seg-raw", "images/val2017", "annotations/val2017/N.png", None,
     (255, 0, 90, 91), (None, "person", None, "banner")),
    ("coco-stuff-171", "ovseg", "val2017", "stuffthingmaps_detectron2/val2017/N.png", None,
     (255, 0, 11, 170), (None, "person", "stop sign", "wood")),
    ("coco-stuff-171", "cat-seg", "images/val2017", "annotations_detectron2/val2017/N.png", None,
     (255, 0, 11, 170), (None, "person", "stop sign", "wood")),
]  # fmt: skip
TRUTH = "annotations/validation/a.png"
IDS = [f"{case[0]}-{case[1]}" for case in CASES]


def plant(folder: Path, case, names=("a", "b")) -> Path:
    """Two pictures, the second with its quarters the other way round."""
    _, layout, images, annotations, listing, numbers, _ = case
    for i, name in enumerate(names):
        write_image(folder / images / f"{name}.jpg", quarters(("red", "green", "blue", "")))
        dtype = np.uint16 if annotations.endswith(".tif") else np.uint8
        label = values(numbers if i == 0 else numbers[::-1], dtype=dtype)
        path = folder / annotations.replace("N", name)
        if annotations.startswith("SegmentationClass/"):  # VOC's are palette images
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(label, mode="P")
            image.putpalette([7 * i % 256 for i in range(768)])
            image.save(path)
        else:
            write_image(path, label)
    if listing is not None:
        (folder / listing).parent.mkdir(parents=True, exist_ok=True)
        (folder / listing).write_text("".join(f"{name}\n" for name in names))
    if layout == "ovseg" and "pc59" in annotations:
        (folder / "59_labels.txt").write_text("397: diningtable\n2: aeroplane\n427: tvmonitor\n")
    return folder


def asked_layout(case) -> str | None:
    return case[1] if "pc59" in case[3] else None


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_each_layout_gives_the_classes_that_were_planted(case, tmp_path: Path) -> None:
    dataset = open_dataset(case[0], plant(tmp_path, case), layout=asked_layout(case))
    assert (dataset.layout, len(dataset), len(dataset.class_names)) == (case[1], 2, COUNTS[case[0]])
    expected = [IGNORE if name is None else dataset.class_names.index(name) for name in case[-1]]
    first, second = dataset
    assert (first.name, second.name) == ("a", "b")
    assert np.array_equal(first.truth, values(expected, dtype=np.uint16))
    assert np.array_equal(second.truth, values(expected[::-1], dtype=np.uint16))
    assert first.frame.size_hw == (16, 16)
    report = check_dataset(case[0], tmp_path, layout=asked_layout(case))
    assert report.ok
    assert any("the whole split has" in line for line in report.found)
    # All is called the last planted class, which fills one of the counted quarters of each picture.
    counted = [index for index in expected if index != IGNORE]
    result = score_each(dataset, lambda sample: {"": np.full((16, 16), counted[-1])}, ("",))[""]
    assert result.pixel_accuracy == result.per_class[counted[-1]].iou == pytest.approx(1 / len(counted))
    assert result.miou == result.fwiou == pytest.approx(1 / len(counted) ** 2)


def test_ade20k_full_as_distributed(tmp_path: Path) -> None:
    """Red // 10 · 256 + green is the number; blue tells instances apart."""
    folder = tmp_path / "images/ADE/validation/urban/street"
    classes = shipped("ade20k_full_847", 847)
    numbers = {
        name: classes.codes[classes.names.index(name)] for name in ("wall", "armchair", "adding machine")
    }
    assert (numbers["wall"], numbers["armchair"], numbers["adding machine"]) == (2978, 57, 3148)
    label = np.zeros((16, 16, 3), np.uint8)
    for i, number in enumerate((0, 2978, 57, 3148)):
        rows, columns = slice(i // 2 * 8, i // 2 * 8 + 8), slice(i % 2 * 8, i % 2 * 8 + 8)
        label[rows, columns] = (number // 256 * 10, number % 256, 10 * i)
    write_image(folder / "ADE_val_1.jpg", quarters(("red",) * 4))
    write_image(folder / "ADE_val_1_seg.png", label)
    write_image(folder / "ADE_val_1_parts_1.png", label)
    write_image(folder / "ADE_val_1" / "instance_000_ADE_val_1.png", label)
    dataset = open_dataset("ade20k-full-847", tmp_path)
    (sample,) = dataset
    expected = [IGNORE, *(classes.names.index(name) for name in ("wall", "armchair", "adding machine"))]
    assert np.array_equal(sample.truth, values(expected, dtype=np.uint16))
    assert sample.name == "urban/street/ADE_val_1"
    report = check_dataset("ade20k-full-847", tmp_path)
    assert report.ok
    assert not any("no label image" in line for line in report.found)


@pytest.mark.parametrize("listing", ["pascalcontext_val.txt", "ImageSets/Main/val.txt"])
@pytest.mark.parametrize("kind", ["pascal-context-59", "pascal-context-459"])
def test_pascal_context_as_distributed(kind: str, listing: str, tmp_path: Path) -> None:
    """LabelMap numbers the 459; those outside the 59 are ignored there, and 0 everywhere."""
    scipy_io = pytest.importorskip("scipy.io")
    write_image(tmp_path / "JPEGImages/2008_1.jpg", quarters(("red",) * 4))
    (tmp_path / "trainval").mkdir()
    scipy_io.savemat(
        tmp_path / "trainval/2008_1.mat", {"LabelMap": values((0, 2, 397, 459), dtype=np.uint16)}
    )
    (tmp_path / listing).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / listing).write_text("2008_1\n")
    dataset = open_dataset(kind, tmp_path)
    names = dataset.class_names
    wool = IGNORE if kind.endswith("59") and not kind.endswith("459") else names.index("wool")
    expected = [IGNORE, names.index("aeroplane"), names.index("table"), wool]
    (sample,) = dataset
    assert np.array_equal(sample.truth, values(expected, dtype=np.uint16))


def test_folders_that_two_scripts_fill_differently_must_be_named(tmp_path: Path) -> None:
    case = next(one for one in CASES if one[1] == "ovseg" and one[0] == "pascal-context-59")
    plant(tmp_path, case)
    with pytest.raises(InvalidInputError, match="--layout ovseg or cat-seg"):
        open_dataset("pascal-context-59", tmp_path)
    report = check_dataset("pascal-context-59", tmp_path)
    assert not report.ok
    ours = open_dataset("pascal-context-59", tmp_path, layout="cat-seg")
    theirs = open_dataset("pascal-context-59", tmp_path, layout="ovseg")
    assert (ours.load(0).truth != theirs.load(0).truth).any()


def test_derived_files_of_mmsegmentation_are_no_pictures_of_their_own(tmp_path: Path) -> None:
    case = next(one for one in CASES if one[1] == "cat-seg-raw")
    plant(tmp_path, case)
    write_image(tmp_path / "annotations/val2017/a_labelTrainIds.png", values((0, 0, 0, 0)))
    assert len(open_dataset("coco-stuff-171", tmp_path)) == 2


@pytest.mark.parametrize("kind", sorted(COUNTS))
def test_class_lists_hold_as_many_names_as_the_benchmark(kind: str) -> None:
    classes = BENCHMARKS[kind].classes()
    assert len(classes) == COUNTS[kind]
    assert len(set(classes.names)) == COUNTS[kind]
    for names in classes.synonyms:
        assert all(name == name.strip() and "_" not in name and name for name in names)
    if classes.codes:
        assert len(set(classes.codes)) == COUNTS[kind]
    assert set(COUNTS) | {"folder"} == set(KINDS)


def test_shipped_lists_are_listed_with_their_sources() -> None:
    text = (CLASS_LISTS / "README.md").read_text()
    for path in CLASS_LISTS.glob("*.txt"):
        assert f"`{path.name}` | {path.stem.rsplit('_', 1)[1]} |" in text, path.name
    with pytest.raises(InvalidInputError, match=r"expected 21 classes in voc_20\.txt, got 20"):
        shipped("voc_20", 21)


def test_known_places_in_the_lists() -> None:
    ade = shipped("ade20k_150", 150).names
    assert [ade[i] for i in (0, 12, 20, 149)] == ["wall", "person", "car", "flag"]
    coco = shipped("coco_stuff_171", 171)
    assert [(coco.names[i], coco.codes[i]) for i in (0, 11, 79, 80, 170)] == [
        ("person", 0), ("stop sign", 12), ("toothbrush", 89), ("banner", 91), ("wood", 181),
    ]  # fmt: skip
    context, large = shipped("pascal_context_59", 59), shipped("pascal_context_459", 459)
    for name, code in zip(context.names, context.codes, strict=True):
        assert large.names[code - 1] == name
    full = shipped("ade20k_full_847", 847).names
    assert {"bag", "traveling bag", "handbag", "pot", "flowerpot"} <= set(full)


class TestFolder:
    """The kind of a data set of one's own."""

    def test_everything_it_may_hold(self, tmp_path: Path) -> None:
        folder = write_folder(
            tmp_path,
            {"x": (("red", "", "", ""), (1, 0, 2, 44))},
            [f"c{i}, d{i}" for i in range(60)],
            unseen=["c3"],
        )
        write_image(folder / "depth/validation/x.png", values((1000, 0, 2500, 1), dtype=np.uint16))
        write_image(folder / "instances/validation/x.png", values((1, 0, 300, 2), dtype=np.uint16))
        (folder / "camera.json").write_text(
            '{"fx": 70, "fy": 71, "cx": 8, "cy": 8, "width": 16, "height": 16}'
        )
        dataset = open_dataset("folder", folder)
        (sample,) = dataset
        assert dataset.class_names[2] == "c2"
        assert dataset.classes.synonyms[2] == ("c2", "d2")
        assert dataset.unseen == ("c3",)
        assert np.array_equal(sample.truth, values((0, IGNORE, 1, 43), dtype=np.uint16))
        assert np.unique(sample.frame.depth_m).tolist() == pytest.approx([0, 0.001, 1, 2.5])
        assert sample.frame.intrinsics == CameraIntrinsics(70, 71, 8, 8, 16, 16)
        assert np.unique(sample.instances).tolist() == [0, 1, 2, 300]
        report = check_dataset("folder", folder)
        assert report.ok
        assert any("1 classes are held out: c3" in line for line in report.found)
        assert {"with depth", "with instances"} <= set(report.found)

    def test_depth_in_another_unit(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        rows = dict.fromkeys("xy", (("red",) * 4, (1, 1, 1, 1)))
        folder = write_folder(tmp_path, rows, ["c"])
        for name in rows:
            write_image(folder / f"depth/validation/{name}.png", values((5000,) * 4, dtype=np.uint16))
        list(open_dataset("folder", folder))
        assert caplog.text.count("the nearest surface is 5 m away") == 1
        caplog.clear()
        camera = '{"fx": 70, "fy": 71, "cx": 8, "cy": 8, "depth_scale": 0.0002}'
        (folder / "camera.json").write_text(camera)
        for sample in open_dataset("folder", folder):
            assert sample.frame.depth_m == pytest.approx(1.0)
        assert not caplog.text

    def test_other_names_for_the_same_classes(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path / "d", {"x": (("red",) * 4, (1, 1, 1, 1))}, unseen=["blue"])
        (tmp_path / "names.txt").write_text("rouge\nvert\nbleu\n")
        dataset = open_dataset("folder", folder, classes=tmp_path / "names.txt")
        assert dataset.class_names == ("rouge", "vert", "bleu")
        assert dataset.unseen == ("bleu",)
        (tmp_path / "names.txt").write_text("rouge\n")
        with pytest.raises(InvalidInputError, match=r"expected 3 classes in .*, got 1"):
            open_dataset("folder", folder, classes=tmp_path / "names.txt")

    def test_the_hash_knows_the_list(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path, dict.fromkeys("ab", (("red",) * 4, (1, 1, 1, 1))))
        dataset = open_dataset("folder", folder)
        before = dataset.sha256()
        assert before == open_dataset("folder", folder).sha256()
        assert before != dataset.take(slice(1)).sha256()
        write_image(folder / "annotations/validation/a.png", values((1, 2, 3, 1)))
        assert before != open_dataset("folder", folder).sha256()
        with pytest.raises(InvalidInputError, match="got none"):
            dataset.take(slice(0))


class TestPictures:
    """Which file is a data set's picture, and which of its pixels."""

    @pytest.mark.parametrize("suffix", [".bmp", ".webp", ".tif", ".JPG", ".jfif", ".gif"])
    def test_every_kind_of_picture_is_one(self, tmp_path: Path, suffix: str) -> None:
        folder = write_folder(tmp_path, {"x": (("red", "green", "blue", ""), (1, 2, 3, 0))})
        picture = folder / "images/validation/x.png"
        with Image.open(picture) as image:
            image.save(picture.with_suffix(suffix))
        picture.unlink()
        (sample,) = open_dataset("folder", folder)
        assert sample.frame.image_rgb[2, 2, 0] > 150
        assert check_dataset("folder", folder).ok

    def test_of_several_the_likeliest_is_taken(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path, {"x": (("red",) * 4, (1, 1, 1, 1))})
        for suffix in ("tif", "jpg"):
            write_image(folder / f"images/validation/x.{suffix}", quarters(("blue",) * 4))
        assert open_dataset("folder", folder).items[0].image.suffix == ".jpg"

    def test_a_kind_that_is_not_read_is_named(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path, {"x": (("red",) * 4, (1, 1, 1, 1))})
        (folder / "images/validation/x.png").rename(folder / "images/validation/x.svg")
        with pytest.raises(InvalidInputError, match=r"x\.jpg is not there, nor .*; x\.svg is there"):
            open_dataset("folder", folder).load(0)
        (folder / "annotations/validation/x.png").rename(folder / "annotations/validation/x.jpg")
        with pytest.raises(InvalidInputError, match=r"is empty: .* is NAME\.png; x\.jpg is there"):
            open_dataset("folder", folder)

    def test_canonically_equal_names_belong_together(self, tmp_path: Path) -> None:
        composed, decomposed = (normalize(form, "Küche") for form in ("NFC", "NFD"))
        folder = write_folder(tmp_path, {composed: (("red",) * 4, (1, 2, 3, 0))})
        for part, name in (("images", f"{decomposed}.png"), ("depth", f"{decomposed}.png")):
            write_image(folder / part / "validation" / name, values((1000,) * 4, dtype=np.uint16))
        (folder / f"images/validation/{composed}.png").unlink()
        write_image(folder / f"instances/validation/{decomposed}.PNG", values((1, 2, 3, 0)))
        (sample,) = open_dataset("folder", folder)
        assert sample.frame.depth_m is not None
        assert sample.instances is not None
        assert check_dataset("folder", folder).found[0].startswith("1 pictures")
        assert not any("no label image" in line for line in check_dataset("folder", folder).found)

    @pytest.mark.parametrize("orientation", [1, 3, 6, 8])
    def test_labels_depth_and_instances_lie_in_the_stored_pixels(
        self, tmp_path: Path, orientation: int
    ) -> None:
        """EXIF turns a picture for people; a label image has no orientation and stays as it is."""
        folder = write_folder(tmp_path, {"x": (("red", "green", "blue", ""), (1, 2, 3, 0))})
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = np.concatenate([quarters(("red", "green", "blue", "")), quarters(("blue",) * 4)])  # 32x16
        label = np.concatenate([values((1, 2, 3, 0)), values((3,) * 4)])
        Image.fromarray(stored).save(folder / "images/validation/x.png", exif=exif)
        write_image(folder / "annotations/validation/x.png", label)
        for with_depth in (False, True):
            if with_depth:
                write_image(folder / "depth/validation/x.png", label.astype(np.uint16))
            dataset = open_dataset("folder", folder)
            assert np.array_equal(dataset.load(0).frame.image_rgb, stored)
            assert dataset.check(0) == (orientation != 1)

    def test_pictures_that_were_labelled_turned_fit_only_so(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path, {"x": (("red",) * 4, (1,) * 4)})
        exif = Image.Exif()
        exif[0x0112] = 6
        upright = np.concatenate([quarters(("red", "green", "blue", "")), quarters(("blue",) * 4)])
        Image.fromarray(np.ascontiguousarray(np.rot90(upright))).save(
            folder / "images/validation/x.png", exif=exif
        )
        write_image(folder / "annotations/validation/x.png", np.full((32, 16), 1, np.uint8))
        dataset = open_dataset("folder", folder)
        assert np.array_equal(dataset.load(0).frame.image_rgb, upright)
        assert not dataset.check(0)


class TestBadInput:
    """Every refusal names the file and what was wanted."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        return write_folder(tmp_path, dict.fromkeys("abc", (("red",) * 4, (1, 2, 3, 0))))

    def test_a_picture_and_a_label_image_that_are_not_there(self, folder: Path) -> None:
        (folder / "images/validation/a.png").unlink()
        (folder / "annotations/validation/b.png").unlink()
        dataset = open_dataset("folder", folder)
        assert [item.name for item in dataset.items] == ["a", "c"]
        with pytest.raises(InvalidInputError, match=r"a\.jpg is not there"):
            dataset.load(0)
        report = check_dataset("folder", folder)
        assert len(report.problems) == 1
        assert "1 of 2 pictures are not there" in report.problems[0]
        assert any("1 pictures have no label image and are left out: b" in line for line in report.found)

    @pytest.mark.parametrize(
        ("path", "content", "message"),
        [
            (TRUTH, values((1, 2, 3, 0), side=8), r"a\.png is 8x8, its picture 16x16"),
            ("instances/validation/a.png", values((1, 2, 3, 0), side=8), r"instances/.*/a\.png is 8x8"),
            (TRUTH, values((1, 2, 4, 200)), r"a\.png: .* has: 4 \(64 pixels\), 200 \(64 pixels\)"),
            (TRUTH, quarters(("red",) * 4), "is it a picture in colours"),
            ("unseen.txt", "purple\n", "names no class: purple"),
            ("camera.json", '{"fx": 1}', "expected fx, fy"),
        ],
    )
    def test_what_does_not_fit(self, folder: Path, path: str, content, message: str) -> None:
        if isinstance(content, str):
            (folder / path).write_text(content)
        else:
            write_image(folder / path, content)
        with pytest.raises(InvalidInputError, match=message):
            open_dataset("folder", folder).load(0)
        assert not check_dataset("folder", folder).ok

    def test_numbers_that_are_not_whole(self, folder: Path) -> None:
        write_image(folder / "f.tif", values((1, 2, 3, 0)).astype(np.float32))
        with pytest.raises(InvalidInputError, match="expected whole numbers"):
            read_values(folder / "f.tif")

    def test_damaged_files(self, folder: Path) -> None:
        for part in ("images", "annotations"):
            path = folder / part / "validation/a.png"
            good = path.read_bytes()
            path.write_bytes(good[: len(good) // 2])
            with pytest.raises(InvalidInputError, match=rf"{part}/validation/a\.png cannot be read"):
                open_dataset("folder", folder).load(0)
            path.write_bytes(good)

    def test_an_empty_split_and_missing_folders(self, folder: Path) -> None:
        with pytest.raises(InvalidInputError, match="expected a split of training, validation"):
            open_dataset("folder", folder, "test")
        with pytest.raises(InvalidInputError, match="lacks images/training, annotations/training"):
            open_dataset("folder", folder, "training")
        for part in ("images", "annotations"):
            (folder / part / "training").mkdir()
        with pytest.raises(InvalidInputError, match="'training' is empty"):
            open_dataset("folder", folder, "training")
        assert not check_dataset("folder", folder, "training").ok
        (folder / "classes.txt").unlink()
        with pytest.raises(InvalidInputError, match=r"classes\.txt"):
            open_dataset("folder", folder)
        assert any("not there: classes.txt" in line for line in check_dataset("folder", folder).problems)
        with pytest.raises(InvalidInputError, match="is not there"):
            open_dataset("folder", folder / "nowhere")
        assert not check_dataset("folder", folder / "nowhere").ok
        with pytest.raises(InvalidInputError, match="expected a kind"):
            open_dataset("ade", folder)
        with pytest.raises(InvalidInputError, match="expected a kind"):
            check_dataset("ade", folder)

    def test_a_truth_of_nothing(self, tmp_path: Path) -> None:
        folder = write_folder(tmp_path, {"a": (("red",) * 4, (0, 0, 0, 0))})
        assert "nothing to score" in check_dataset("folder", folder).problems[0]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "has none"),
            ("red\n ,\n", "line 2 of .* has no name"),
            ("red\ngreen\nred\n", "classes of one name"),
            ("1\tred\ngreen\n", "before none"),
            ("x\tred\n", "expected a number before the tab in line 1"),
        ],
    )
    def test_class_files(self, text: str, message: str, tmp_path: Path) -> None:
        (tmp_path / "classes.txt").write_text(text)
        with pytest.raises(InvalidInputError, match=message):
            read_class_file(tmp_path / "classes.txt")

    def test_names_of_data_sets_in_class_files(self, tmp_path: Path) -> None:
        text = "person, individual, someone\r\ntape (cloth, paper)\nmouse_(computer_equipment)\nbaker's peel"
        (tmp_path / "classes.txt").write_bytes(text.encode("utf-16"))
        assert read_class_file(tmp_path / "classes.txt").synonyms == (
            ("person", "individual", "someone"),
            ("tape (cloth, paper)",),
            ("mouse_(computer_equipment)",),
            ("baker's peel",),
        )

    def test_layouts(self, tmp_path: Path) -> None:
        case = CASES[0]
        plant(tmp_path, case)
        with pytest.raises(InvalidInputError, match="expected a layout of as-distributed, got 'x'"):
            open_dataset("ade20k-150", tmp_path, layout="x")
        with pytest.raises(InvalidInputError, match=r"holds no voc-20: .* lacks annotations_pascal20/val"):
            open_dataset("voc-20", tmp_path)
        report = check_dataset("voc-20", tmp_path)
        assert any(
            "layout as-distributed (VOC2012) lacks JPEGImages, Seg" in line for line in report.problems
        )
        with pytest.raises(InvalidInputError, match="expected a split of validation, got 'training'"):
            open_dataset("pascal-context-59", tmp_path, "training", layout="ovseg")

    def test_a_number_beyond_the_table(self) -> None:
        decode = lookup({0: IGNORE, 1: 0})
        assert decode(np.array([[0, 1]], np.uint8)).tolist() == [[IGNORE, 0]]
        for value in (2, 255):
            with pytest.raises(InvalidInputError, match=str(value)):
                decode(np.array([[value]], np.uint8))
        with pytest.raises(InvalidInputError, match="-1"):
            decode(np.array([[-1]], np.int32))
        assert lookup({1: 0}, others=IGNORE)(np.array([[0, 1, 70000, -3]])).tolist() == [
            [IGNORE, 0, IGNORE, IGNORE]
        ]


def test_the_check_reads_some_or_all(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, {f"{i:02}": (("red",) * 4, (1, 1, 1, 1)) for i in range(25)})
    write_image(folder / "annotations/validation/01.png", values((9, 9, 9, 9)))
    seen = []
    assert check_dataset("folder", folder, progress=lambda *at: seen.append(at)).ok
    assert seen[-1] == (10, 10)
    assert not check_dataset("folder", folder, read_all=True).ok


@pytest.mark.parametrize("kind", KINDS)
def test_the_documentation_has_the_trees(kind: str) -> None:
    text = (ROOT / "docs/datasets.md").read_text()
    assert f"### `{kind}`\n\n```text\n{expected_trees(kind)}\n```" in text
    assert all(f"layout {case[1]}:" in text for case in CASES)

"""File names as tables write them, and the files they mean."""

from __future__ import annotations

import os
from pathlib import Path
from unicodedata import normalize

import pytest

from ovseg_ros.errors import InvalidInputError
from ovseg_ros.files.names import FileNames

COMPOSED, DECOMPOSED = normalize("NFC", "Küche"), normalize("NFD", "Küche")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    for name in (
        "a.jpg",
        "b.JPG",
        "sub/c.png",
        "two words.jpg",
        f"{DECOMPOSED}.jpg",
        f"{COMPOSED}/{DECOMPOSED}.png",
        "frame.0001.jpg",
        "._b.jpg",
        "literal%20name.jpg",
        "back\\slash.jpg",
    ):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        (images / name).touch()
    (tmp_path / "outside.jpg").touch()
    return images


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("a.jpg", "a.jpg"),
        ("./a.jpg", "a.jpg"),
        ("sub/../a.jpg", "a.jpg"),
        (" a.jpg\r", "a.jpg"),
        ("a.JPG", "a.jpg"),
        ("b.jpg", "b.JPG"),  # and not ._b.jpg
        ("._b.jpg", "._b.jpg"),
        (f"{COMPOSED}.jpg", f"{DECOMPOSED}.jpg"),
        (f"{COMPOSED}.JPG", f"{DECOMPOSED}.jpg"),
        (f"{DECOMPOSED}/{COMPOSED}.png", f"{COMPOSED}/{DECOMPOSED}.png"),
        ("sub\\c.png", "sub/c.png"),
        (".\\sub\\c.PNG", "sub/c.png"),
        ("back\\slash.jpg", "back\\slash.jpg"),
        ("two%20words.jpg", "two words.jpg"),
        ("K%C3%BCche.jpg", f"{DECOMPOSED}.jpg"),
        ("literal%20name.jpg", "literal%20name.jpg"),
        ("images/sub/c.png", "sub/c.png"),
        ("/home/somebody/images/sub/c.png", "sub/c.png"),
        ("/sub/c.png", "sub/c.png"),
        ("D:\\data\\images\\sub\\c.png", "sub/c.png"),
        ("\\\\server\\share\\a.jpg", "a.jpg"),
        ("file:///home/somebody/two%20words.jpg", "two words.jpg"),
    ],
)
def test_what_a_name_means(folder: Path, name: str, file: str) -> None:
    assert FileNames(folder).find(name) == folder / file


def test_an_absolute_path_below_the_folder_and_a_folder_given_relatively(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert FileNames(folder).find(str(folder / "sub/c.png")) == folder / "sub/c.png"
    monkeypatch.chdir(folder)
    assert FileNames(Path()).find(str(folder / "sub/c.png")) == Path("sub/c.png")
    assert FileNames(Path()).find("images/a.jpg") == Path("a.jpg")


@pytest.mark.parametrize(
    "name",
    ["../outside.jpg", "sub/../../outside.jpg", "..\\outside.jpg", "%2e%2e/outside.jpg", "..", "a/../.."],
)
def test_no_name_leads_out_of_the_folder(folder: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"leads out of it by '\.\.'; nothing outside is read"):
        FileNames(folder).find(name)
    with pytest.raises(InvalidInputError, match="is not there"):
        FileNames(folder).find(str(folder.parent / "outside.jpg"))


@pytest.mark.parametrize(
    "name",
    ["A.jpg", "c.png", "a", "a.png", "sub", "", ".", "/", "a\0.jpg", "x" * 5000, "a.jpg/a.jpg", "no/a.jpg"],
)
def test_what_is_not_there(folder: Path, name: str) -> None:
    with pytest.raises(InvalidInputError, match=r"is not there|expected the name of a file") as caught:
        FileNames(folder).find(name)
    assert len(str(caught.value)) < 500 + len(str(folder))


def test_what_differs_by_its_suffix_alone_is_named(folder: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"expected the picture 'a.png' in .*, a\.jpg is$"):
        FileNames(folder).find("a.png", what="picture")


def test_canonically_equal_files_are_never_guessed_between(folder: Path) -> None:
    (folder / f"{COMPOSED}.jpg").touch()
    names = FileNames(folder)
    assert names.find(f"{COMPOSED}.jpg") == folder / f"{COMPOSED}.jpg"
    assert names.find(f"{DECOMPOSED}.jpg") == folder / f"{DECOMPOSED}.jpg"
    with pytest.raises(InvalidInputError, match=rf"'{COMPOSED}.jpg' and '{DECOMPOSED}.jpg'|equally near"):
        names.find(f"{COMPOSED}.JPG")
    (folder / "b.Jpg").touch()
    with pytest.raises(InvalidInputError, match=r"'b\.JPG' and 'b\.Jpg' are equally near; rename one"):
        FileNames(folder).find("b.jpg")


def test_suffixes_of_other_kinds_where_they_are_meant(folder: Path) -> None:
    names = FileNames(folder)
    assert names.find("frame.0001", (".png", ".jpg")) == folder / "frame.0001.jpg"
    assert names.find("frame.0001.png", (".png", ".jpg")) == folder / "frame.0001.jpg"
    assert names.find(f"{COMPOSED}/{COMPOSED}.tif", (".tif", ".png")).suffix == ".png"
    assert names.find("b", (".jpg",)) == folder / "b.JPG"
    for suffix in (".JPG", ".png"):
        (folder / f"a{suffix}").touch()
    names = FileNames(folder)
    assert names.find("a", (".jpg", ".png")) == folder / "a.jpg"
    assert names.find("a", (".png", ".jpg")) == folder / "a.png"
    with pytest.raises(InvalidInputError, match=r"'a'.* is not there, a\.JPG and a\.jpg and a\.png are"):
        names.find("a", (".tif",))


def test_a_folder_that_is_not_there_has_no_files(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="is not there"):
        FileNames(tmp_path / "none").find("a.jpg", (".jpg",))


def test_loops_and_pipes_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    for name in ("loop", "pipe", "folder"):
        with pytest.raises(InvalidInputError, match="is not there"):
            FileNames(tmp_path).find(f"{name}.jpg", (".jpg",))

"""Text, JSON and YAML as people's machines write them: what is read, and what is refused by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ovseg_ros.errors import ConfigError, InvalidInputError, WeightsError
from ovseg_ros.files.texts import decoded, lines_of, parse_json, read_json, read_text
from ovseg_ros.files.yaml_texts import MAX_DEPTH, parse_yaml, read_yaml

LAUGHS = "".join(
    f"a{i}: &a{i} [{', '.join(['x' if i == 0 else f'*a{i - 1}'] * 9)}]\n" for i in range(12)
)  # 9**12 values in 700 bytes


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_text_in_the_encodings_that_machines_write(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.txt").write_bytes("image,caption\nä.jpg,a mug\n".encode(encoding))
    assert read_text(tmp_path / "a.txt") == "image,caption\nä.jpg,a mug\n"


def test_lines_that_are_not_utf_8_are_windows_1252_where_that_can_be_said(tmp_path: Path) -> None:
    data = "Müll\nein Tisch “rund”\n".encode("cp1252") + "Küche\n".encode() + b"\x81\n"
    with pytest.raises(InvalidInputError, match=r"^f\.csv is not text in UTF-8.*line 1"):
        decoded(data, "f.csv")
    remarks: list[str] = []
    assert decoded(data, "f.csv", remarks=remarks) == "Müll\nein Tisch “rund”\nKüche\n\x81\n"
    assert len(remarks) == 1
    assert "3 lines of f.csv" in remarks[0]
    assert "line 1" in remarks[0]
    assert "1252" in remarks[0]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\xff", b"\xff\xfe\xff"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError, match="UTF-8"):
        decoded(data, "f", remarks=[])


@pytest.mark.parametrize("path", ["/dev/zero", "/", "/no/such/file", "a\0b"])
def test_what_is_no_file_is_refused(path: str) -> None:
    with pytest.raises(InvalidInputError, match=r"device|cannot be read"):
        read_text(Path(path))


def test_too_much_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"12345")
    assert read_text(tmp_path / "a.txt", max_bytes=5) == "12345"
    with pytest.raises(InvalidInputError, match="more than 4 bytes"):
        read_text(tmp_path / "a.txt", max_bytes=4)


def test_only_line_ends_end_a_line() -> None:
    assert lines_of("a\u2028b\x85c\r\nd\re\n\nf") == ["a\u2028b\x85c", "d", "e", "", "f"]
    assert lines_of("") == []
    assert lines_of("a\n") == ["a"]


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "1" * 5000, "{'a': 1}"])
def test_json_that_is_none(text: str) -> None:
    with pytest.raises(WeightsError, match=r"^c\.json is not JSON"):
        parse_json(text, "c.json", refuse=WeightsError)


def test_json_files(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes('{"a": NaN}'.encode("utf-16"))
    assert str(read_json(tmp_path / "a.json")) == "{'a': nan}"


def test_yaml_is_read_by_the_rules_of_1_2() -> None:
    text = "a: 5e-6\nb: no\nc: 1:30\nd: 2024-01-01\ne: 0x1F\nf: 017\ng: 0o17\nh: ~\ni:\nj: True\nk: 1_000"
    assert parse_yaml(text, "x") == {
        **{"a": 5e-6, "b": "no", "c": "1:30", "d": "2024-01-01", "e": 31, "f": 17, "g": 15},
        **{"h": None, "i": None, "j": True, "k": "1_000"},
    }
    assert parse_yaml("b: &b {x: 1, y: 1}\nc: {<<: *b, x: 2}\nd: *b", "x")["c"] == {"x": 2, "y": 1}
    assert parse_yaml("", "x") is None


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ok: 1\na: &a [1, *a]", r"line 2: \*a stands inside"),
        ("&a {b: {c: *a}}", "stands inside"),
        ("[" * 100_000, "nests deeper"),
        ("{a: " * 5000, "nests deeper"),
        ("- " * (MAX_DEPTH + 1) + "x", "nests deeper"),
        (LAUGHS, "aliases"),
        ("a: 1\nb: .inf", "line 2: expected a finite number, got .inf"),
        ("a: -.INF", "finite"),
        ("a: .NaN", "finite"),
        ("a: 1e400", "finite"),
        ("a: 99999999999999999999", "64 bits"),
        ("a: " + "1" * 6000, "whole number"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' stands twice"),
        ("1: 2", "text as a key, got 1"),
        ("? [a]\n: 1", "text as a key"),
        ("a: 1\n---\nb: 2", "line 2, column 1: but found another document"),
        ("a:\n\t- 1", "indent by spaces"),
        ("a: 1\nb: \x00", "line 2: special characters"),
        ("a: [", "is not YAML"),
        ("*a", "undefined alias"),
        ("a: !!python/object:os.system x", "could not determine a constructor"),
        ("a: !!timestamp x", "could not determine a constructor"),
        ("a: !!int x", "expected a whole number, got 'x'"),
        ("a: !!bool x", "expected true or false"),
        ('a: "\\UFFFFFFFF"', "is not YAML"),
    ],
)
def test_yaml_that_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=f"^p.yaml.*{words}"):
        parse_yaml(text, "p.yaml", refuse=ConfigError)


def test_measured_data_may_hold_any_number_and_several_documents(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: .inf\nb: 99999999999999999999\n---\nc: 1\n---\n")
    content = read_yaml(tmp_path / "a.yaml", first=True, finite=False)
    assert content == {"a": float("inf"), "b": 99999999999999999999}

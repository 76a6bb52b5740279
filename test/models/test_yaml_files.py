"""What people write in presets and behind --set: read, checked, and refused by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from ovseg_ros.errors import ConfigError
from ovseg_ros.models.yaml_files import from_mapping, read_yaml, setting


@dataclass
class Options:
    blur: bool = False
    scale: float = 1.0
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("ON", True), ("No", False), ("off", False)])
def test_words_for_true_and_false_still_do(text: str, value: bool) -> None:
    given = dict([setting(f"blur={text}", "--set"), setting("names=[yes, off]", "--set")])
    assert from_mapping(Path("p"), Options, given) == Options(blur=value, names=("yes", "off"))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"blur": "maybe"}, "expected blur as bool, got 'maybe'"),
        ({"blur": [True]}, "expected blur as bool"),
        ({"scale": True}, "expected scale as float"),
        ({"names": "a" * 5000}, "expected names as list, got 'aaa"),
        ([[1]], "as key: value pairs"),
        ({"colour": 1}, "does not know colour"),
    ],
)
def test_values_of_another_kind_are_refused_in_short(given, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as caught:
        from_mapping(Path("p"), Options, given)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("threshold", "expected --set KEY=VALUE, got 'threshold'"),
        ("=3", "expected --set KEY=VALUE"),
        ("a=[", "--set a is not YAML"),
        ("a=&x [*x]", "--set a, line 1: .*stands inside"),
        ("a=" + "[" * 50_000, "nests deeper"),
        ("a=.nan", "expected a finite number, got .nan"),
        ("a=1e999", "expected a finite number, got 1e999"),
        ("a={b: 1, b: 2}", "stands twice"),
        ("a=1\n---\n2", "is not YAML"),
    ],
)
def test_settings_that_are_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        setting(text, "--set")


def test_a_setting_is_read_as_yaml() -> None:
    assert setting(" a = 5e-6", "--set") == ("a", 5e-6)
    assert setting("a=x=y", "--set") == ("a", "x=y")
    assert setting("a=", "--set") == ("a", None)


@pytest.mark.parametrize(
    "content", [b"a: &a [*a]", b"\xff\xfe\xff", b"a: \xff", b"[" * 9999, b"a: \x00", b"a: .inf"]
)
def test_files_that_are_no_configuration(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"p\.yaml"):
        read_yaml(tmp_path / "p.yaml")
    with pytest.raises(ConfigError, match=r"q\.yaml cannot be read"):
        read_yaml(tmp_path / "q.yaml")

"""The documentation site: builds without a warning, fetches nothing, and its reference is true."""

from __future__ import annotations

import argparse
import ast
import html
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from repository import ROOT

pytest.importorskip("mkdocs")
pytest.importorskip("mkdocstrings")

LOADED = re.compile(r"<(?:script|img|iframe|source)\b[^>]*\bsrc=\"([^\"]*)\"|<link\b[^>]*\bhref=\"([^\"]*)\"")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built strictly: a warning fails."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return folder


def text_of(page: Path) -> str:
    """What a reader sees of a page's article, without tags."""
    article = page.read_text(encoding="utf-8").split("<article", 1)[1].split("</article>", 1)[0]
    return html.unescape(re.sub(r"<[^>]+>", "", article))


def cells(page: Path) -> set[str]:
    """The single words in code of a page."""
    codes = re.findall(r"<code>([^<]*)</code>", page.read_text(encoding="utf-8"))
    return {html.unescape(code) for code in codes}


def test_every_page_is_there(site: Path) -> None:
    pages = {page.relative_to(ROOT / "docs").with_suffix(".html") for page in (ROOT / "docs").rglob("*.md")}
    assert len(pages) > 30
    assert [str(page) for page in sorted(pages) if not (site / page).is_file()] == []


def test_pages_load_nothing_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    loaded = [(page, a or b) for page in pages for a, b in LOADED.findall(page.read_text(encoding="utf-8"))]
    assert len(loaded) > len(pages)
    assert [(page.name, url) for page, url in loaded if re.match(r"(https?:)?//", url)] == []
    styles = "".join(page.read_text(encoding="utf-8") for page in site.rglob("*.css"))
    assert not re.search(r"@import|url\(\"?https?:", styles)


def test_markdown_that_only_the_forge_understands_is_not_left(site: Path) -> None:
    """Lists without an empty line before them, and tables, stay raw text in the site."""
    for page in site.rglob("*.html"):
        article = page.read_text(encoding="utf-8").split("<article", 1)[-1].split("</article>", 1)[0]
        article = re.sub(r"<pre.*?</pre>|<code>.*?</code>", "", article, flags=re.DOTALL)
        raw = re.findall(
            r"[^\n]*\|-{3,}[^\n]*|<p>[^<]*\n *(?:[-*]|\d\.) [^\n]*|```[^\n]*|\]\([^)\n]*\)", article
        )
        assert raw == [], page.relative_to(site)


@pytest.mark.ros
@pytest.mark.parametrize(("kind", "name"), [("msg", "messages"), ("srv", "services"), ("action", "actions")])
def test_every_field_of_the_interfaces_is_told(site: Path, kind: str, name: str) -> None:
    """As rosidl has generated them, which reads the files by itself."""
    import importlib

    module = importlib.import_module(f"ovseg_ros.{kind}")
    page = (site / "reference" / f"{name}.html").read_text(encoding="utf-8")
    parts = {"msg": ("",), "srv": ("Request", "Response"), "action": ("Goal", "Result", "Feedback")}[kind]
    files = sorted(path.stem for path in (ROOT / kind).glob(f"*.{kind}"))
    assert files
    for stem in files:
        section = re.split(r'<h2 id="(\w+)"', page)
        told = section[section.index(stem.lower()) + 1]
        rows = re.findall(r"<tr>(.*?)</tr>", told, re.DOTALL)
        for part in parts:
            message = getattr(module, stem)
            message = getattr(message, part) if part else message
            constants = [
                key
                for key in dir(message)
                if key.isupper() and key[0] != "_" and key != "SLOT_TYPES" and "__" not in key
            ]
            for field in (*message.get_fields_and_field_types(), *constants):
                row = next((row for row in rows if f"<code>{field}</code>" in row), None)
                assert row is not None, f"{stem}.{part} {field}"
                assert re.search(r"<td>.*?</td>\s*<td>.*?</td>\s*<td>.*\w.*</td>", row, re.DOTALL), field


def test_every_comment_of_the_interfaces_is_told(site: Path) -> None:
    def words(text: str) -> str:
        return " ".join(re.findall(r"\w+", text))

    for kind, name in (("msg", "messages"), ("srv", "services"), ("action", "actions")):
        told = words(text_of(site / "reference" / f"{name}.html"))
        for path in (ROOT / kind).glob(f"*.{kind}"):
            for line in path.read_text(encoding="utf-8").splitlines():
                comment = re.sub(r"\bdocs/|\.(msg|srv|action)\b", " ", line.partition("#")[2])
                assert words(comment) in told, f"{path.name}: {line}"


def test_every_parameter_is_told(site: Path) -> None:
    from ovseg_ros.ros.parameters.table import rows

    page = site / "reference" / "parameters.html"
    assert {row.name for row in rows()} <= cells(page)
    assert re.sub(r"\s", "", rows()[0].metadata["description"]) in re.sub(r"\s", "", text_of(page))


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    found = [parser]
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                found += parsers(child)
    return found


def test_every_command_and_option_is_told(site: Path) -> None:
    from ovseg_ros.app import cli

    page = (site / "reference" / "command_line.html").read_text(encoding="utf-8")
    sections = re.split(r"<h[23456] id=", page)
    found = parsers(cli._parser())
    assert len(found) > 20
    for parser in found[1:]:
        section = next(
            (part for part in sections if f"<code>{parser.prog}</code>" in part.split("</h")[0]), None
        )
        assert section is not None, parser.prog
        names = [
            name for action in parser._actions for name in action.option_strings if name.startswith("--")
        ]
        for name in set(names) - {"--help"}:
            assert re.search(rf"<td><code>[^<]*{name}\b", section), f"{parser.prog} {name}"


def test_every_preset_and_its_files_are_told(site: Path) -> None:
    from ovseg_ros.models.downloads.files import files_of
    from ovseg_ros.models.presets import list_presets

    page = (site / "reference" / "presets.html").read_text(encoding="utf-8")
    for name in list_presets():
        assert f'<h2 id="{name}">' in page
        for file in files_of(name):
            row = next(row for row in page.split("<tr>") if f"<code>{file.name}</code>" in row)
            assert html.escape(file.licence) in row, file.name


def body_of(file: str) -> list[ast.stmt]:
    return ast.parse((ROOT / "ovseg_ros" / file).read_text(encoding="utf-8")).body


@pytest.mark.parametrize("wing", ["core.trust", "core.words", "memory", "ros.client"])
def test_the_names_that_a_package_offers_are_told(site: Path, wing: str) -> None:
    name = wing.replace("ros.client", "client").replace(".", "_")
    page = (site / "reference" / "python" / f"{name}.html").read_text(encoding="utf-8")
    (offered,) = (
        ast.literal_eval(node.value)
        for node in body_of(f"{wing.replace('.', '/')}/__init__.py")
        if isinstance(node, ast.Assign)
    )
    assert len(offered) > 5
    for member in offered:
        assert re.search(rf'id="ovseg_ros\.{wing}(\.{member})?\.{member}"', page), member


def test_the_front_door_is_told_with_its_arguments(site: Path) -> None:
    page = (site / "reference" / "python" / "finder.html").read_text(encoding="utf-8")
    (finder,) = (node for node in body_of("finder.py") if getattr(node, "name", "") == "Finder")
    methods = [node for node in finder.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"]
    assert len(methods) > 3
    for method in methods:
        told = re.split(
            r'id="ovseg_ros\.finder\.', page.split(f'id="ovseg_ros.finder.Finder.{method.name}"')[1]
        )[0]
        for argument in method.args.args[1:]:
            assert re.search(rf"<span[^>]*>{argument.arg}</span>", told), (method.name, argument.arg)


def test_figures_of_the_pages_are_drawn_by_the_script() -> None:
    drawn = set(
        re.findall(r'"(\w+)": \w+\(', (ROOT / "scripts" / "docs" / "figures.py").read_text(encoding="utf-8"))
    )
    assert drawn == {path.stem for path in (ROOT / "docs" / "images").glob("*.svg")}
    pages = "".join(page.read_text(encoding="utf-8") for page in (ROOT / "docs").rglob("*.md"))
    assert [name for name in drawn if f"images/{name}.svg" not in pages] == []

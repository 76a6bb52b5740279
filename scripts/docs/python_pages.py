"""Pages of the Python interface: what mkdocstrings is asked to show, and under which names."""

from __future__ import annotations

import ast
from pathlib import Path

FRONT_DOORS = {
    "finder": (
        "Finder and results",
        "The front door; [From Python](../../python.md) shows it at work.",
        (
            "finder.load",
            "finder.Finder",
            "result.Result",
            "result.Thing",
            "result.MaskProposals",
            "finder.AnyImage",
            "finder.AnyDepth",
            "finder.AnyIntrinsics",
            "finder.Words",
            "errors",
        ),
    ),
    "client": (
        "Client of a node",
        "What a planner takes to ask a running node; [Asking a node](../../client.md) shows it at work.",
        ("ros.client",),
    ),
    "memory": (
        "Memory",
        "What was seen where, and names taught by example; [Memory](../../memory.md) and "
        "[Names taught by example](../../teaching.md) tell how it decides.",
        ("memory", "memory.store", "memory.teaching"),
    ),
    "presets": (
        "Presets and proposals",
        "Building a segmenter from a preset.",
        ("models.presets", "models.auto"),
    ),
    "learn": (
        "Learning",
        "Pairs from captions, finetuning and mask prompts; [Training](../../training.md) has the commands.",
        (
            "learn.pairs.collect",
            "learn.training.finetune",
            "learn.training.tune_prompts",
            "learn.training.recipes",
        ),
    ),
    "evaluate": (
        "Evaluating",
        "Scores and whether names are right; [The evaluation](../../evaluation.md) defines them.",
        ("evaluate.naming", "evaluate.scores.miou", "evaluate.scores.match", "evaluate.masks"),
    ),
}
"""Page under reference/python/ -> title, what to say first, what is shown: names under `ovseg_ros`."""

STORY = ("frame", "intrinsics", "options", "segmenter", "segmentation", "candidates", "classify", "naming")
"""The modules at the top of `core`, in the order in which they are read."""


def pages(root: Path) -> dict[str, str]:
    """Path under reference/python/ -> text, for each front door and each wing of `core`."""
    package = root / "ovseg_ros"
    made = {f"{name}.md": _page(package, *door) for name, door in FRONT_DOORS.items()}
    made["core.md"] = _page(
        package,
        "The method",
        "`ovseg_ros.core` is the method on tensors, without ROS and files: these modules tell it in order, "
        "its wings have pages of their own.",
        tuple(f"core.{name}" for name in STORY if (package / "core" / f"{name}.py").is_file()),
    )
    for wing in wings(package):
        made[f"core_{wing}.md"] = _page(package, f"core.{wing}", "", (f"core.{wing}",))
    return made


def wings(package: Path) -> list[str]:
    """The folders of `core` whose `__init__.py` offers names."""
    return sorted(
        file.parent.name for file in (package / "core").glob("*/__init__.py") if exported(file) is not None
    )


def exported(file: Path) -> list[str] | None:
    """The names of a module's `__all__`, or None where it has none."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__":
            return list(ast.literal_eval(node.value))
    return None


def _page(package: Path, title: str, first: str, modules: tuple[str, ...]) -> str:
    parts = [f"# {title}\n"]
    if first:
        parts.append(f"{first}\n")
    for name in modules:
        parts.append(_directive(package, name, alone=len(modules) == 1))
    return "\n".join(parts) + "\n"


def _directive(package: Path, name: str, *, alone: bool) -> str:
    module = package.joinpath(*name.split("."))
    file = module.with_suffix(".py") if module.with_suffix(".py").is_file() else module / "__init__.py"
    heading = f"      show_root_heading: {str(not alone).lower()}"
    names = exported(file) if file.is_file() else None
    if names is None:
        return f"::: ovseg_ros.{name}\n    options:\n{heading}\n"
    # A function of the name of its own file: the path names the file, so it is asked for where it is written.
    hidden = [member for member in names if (module / f"{member}.py").is_file()]
    lines = [f"::: ovseg_ros.{name}", "    options:", heading, "      members:"]
    lines += [f"        - {member}" for member in names if member not in hidden]
    lines += [f"\n::: ovseg_ros.{name}.{member}.{member}" for member in hidden]
    return "\n".join(lines) + "\n"

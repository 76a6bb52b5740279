"""Write test/packaging/rosdep_keys.yaml: what rosdep makes of the dependencies in package.xml.

    git clone --depth 1 https://github.com/ros/rosdistro /tmp/rosdistro
    scripts/env.sh python scripts/rosdep_keys.py /tmp/rosdistro

Keys are looked up as rosdep does: in rosdep/base.yaml and rosdep/python.yaml for the Ubuntu of each
distribution, else among the packages that the distribution has released.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
UBUNTU = {"humble": "jammy", "jazzy": "noble", "kilted": "noble"}


def apt_packages(rule: Any, release: str) -> list[str]:
    """The apt packages of a key's rule for one Ubuntu; none where it has none or means pip."""
    if isinstance(rule, dict):
        rule = rule.get("apt", rule[release] if release in rule else rule.get("*"))
    return list(rule) if isinstance(rule, list) else []


def released(folder: Path, distribution: str) -> set[str]:
    """Every package with a release in a distribution."""
    text = (folder / distribution / "distribution.yaml").read_text(encoding="utf-8")
    found: set[str] = set()
    for name, repository in yaml.safe_load(text)["repositories"].items():
        if "version" in repository.get("release", {}):
            found |= set(repository["release"].get("packages", [name]))
    return found


def main(folder: Path) -> int:
    """Write the list; returns 1 and names the keys that some distribution lacks."""
    rules: dict[str, Any] = {}
    for name in ("base", "python"):
        rules |= yaml.safe_load((folder / "rosdep" / f"{name}.yaml").read_text(encoding="utf-8"))
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    keys = sorted({one.text for one in package if one.tag.endswith("depend") and one.text})
    packages = {distribution: released(folder, distribution) for distribution in UBUNTU}
    listed: dict[str, dict[str, list[str]]] = {}
    for key in keys:
        listed[key] = {
            distribution: apt_packages(rules[key].get("ubuntu"), release)
            if key in rules
            else [f"ros-{distribution}-{key.replace('_', '-')}"] * (key in packages[distribution])
            for distribution, release in UBUNTU.items()
        }
    commit = subprocess.run(
        ["git", "-C", folder, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    lines = [f"{key}: {json.dumps(names)}" for key, names in listed.items()]
    text = "\n".join(
        [f"# Written by scripts/rosdep_keys.py from ros/rosdistro at commit {commit}.", *lines, ""]
    )
    (ROOT / "test" / "packaging" / "rosdep_keys.yaml").write_text(text, encoding="utf-8")
    missing = [f"{key} ({name})" for key, names in listed.items() for name, got in names.items() if not got]
    print(f"{len(keys)} keys; missing: {', '.join(missing) or 'none'}")
    return bool(missing)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""List the licence of everything installed: out/licences.md, with what is not permissive on top.

    make licences

A licence is what the package itself states: its licence expression, else its classifiers, else its licence
field, else the package.xml that a ROS package brings. Exits 1 if one is copyleft, proprietary or not stated
and THIRD_PARTY_NOTICES.md does not name it: somebody has to look at it before it is shipped.
"""

from __future__ import annotations

import fnmatch
import re
import sys
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NOTICES = ROOT / "THIRD_PARTY_NOTICES.md"
KINDS = {
    "copyleft": r"\b[AL]?GPL|GNU|\bMPL|Mozilla|\bEPL|\bEUPL|\bCDDL|-SA-",
    "proprietary": r"propriet|nvidia|non-?commercial|-NC-",
    "not stated": r"^(unknown)?$",
}


class Licence(NamedTuple):
    """What one installed package is under; `kind` is a key of KINDS or "permissive"."""

    package: str
    version: str
    stated: str
    kind: str


def installed() -> list[Distribution]:
    """What is installed beside this package; not what setuptools keeps for itself and adds to the path."""
    folders = [folder for folder in sys.path if folder.endswith("-packages")]
    found = distributions(path=folders)
    return [one for one in found if one.metadata["Name"] and one.metadata["Name"] != "ovseg_ros"]


def stated_by(package: Distribution, share: Path) -> str:
    """The licence that a package states, in its own words; empty where it states none."""
    metadata = package.metadata
    classifiers = [one for one in metadata.get_all("Classifier") or [] if one.startswith("License ::")]
    from_classifiers = "; ".join(one.split(" :: ")[-1] for one in classifiers if one.count(" :: ") > 1)
    field = (metadata.get("License") or "").strip().split("\n")[0][:60]
    for said in (metadata.get("License-Expression"), from_classifiers, field):
        if said and said.upper() != "UNKNOWN":
            return said
    name = re.sub(r"^ros-(jazzy-|kilted-)?", "", metadata["Name"]).replace("-", "_")
    file = share / name / "package.xml"
    if not file.is_file():
        return ""
    return "; ".join(one.text or "" for one in ElementTree.parse(file).getroot().iter("license"))


def kind_of(stated: str) -> str:
    """The first kind whose pattern fits; where one may choose (A OR B), the most permissive choice counts."""
    choices = [stated] if "(" in stated else stated.split(" OR ")
    kinds = [
        next(
            (kind for kind, pattern in KINDS.items() if re.search(pattern, choice, re.IGNORECASE)),
            "permissive",
        )
        for choice in choices
    ]
    return "permissive" if "permissive" in kinds else kinds[0]


def licences(packages: Iterable[Distribution], share: Path) -> list[Licence]:
    """One entry for each package, by name."""
    found = {}
    for package in packages:
        said = stated_by(package, share)
        name = re.sub(r"[-_.]+", "-", package.metadata["Name"]).lower()
        found[name] = Licence(name, package.version, said, kind_of(said))
    return [found[name] for name in sorted(found)]


def unnamed(found: Iterable[Licence], notices: str) -> list[Licence]:
    """Those that are not permissive and that no pattern of the notices' table of dependencies names."""
    section = notices.split("## Dependencies")[1].split("\n## ")[0]
    patterns = [
        name
        for row in re.findall(r"^\| (`.*?) \|", section, re.MULTILINE)
        for name in re.findall("`(.+?)`", row)
    ]
    return [
        one
        for one in found
        if one.kind != "permissive" and not any(fnmatch.fnmatch(one.package, pattern) for pattern in patterns)
    ]


def as_markdown(found: list[Licence]) -> str:
    """A table of those that are not permissive, then one of all."""
    parts = ["# Licences of what is installed"]
    for title, rows in (
        ("Not permissive", [one for one in found if one.kind != "permissive"]),
        ("All", found),
    ):
        parts += ["", f"## {title}", "", "| package | version | licence | kind |", "|---|---|---|---|"]
        parts += [f"| {one.package} | {one.version} | {one.stated or '-'} | {one.kind} |" for one in rows]
    return "\n".join([*parts, ""])


def main() -> int:
    """Write the list, and name what nobody has looked at."""
    found = licences(installed(), Path(sys.prefix, "share"))
    (ROOT / "out").mkdir(exist_ok=True)
    (ROOT / "out" / "licences.md").write_text(as_markdown(found), encoding="utf-8")
    new = unnamed(found, NOTICES.read_text(encoding="utf-8"))
    for one in new:
        said = one.stated or "states no licence"
        print(f"{one.package} {one.version}: {said} ({one.kind}); THIRD_PARTY_NOTICES.md does not name it")
    kinds = {kind: sum(one.kind == kind for one in found) for kind in ("permissive", *KINDS)}
    print(", ".join(f"{count} {kind}" for kind, count in kinds.items()) + "; out/licences.md")
    return bool(new)


if __name__ == "__main__":
    sys.exit(main())

"""Set the project's public address in every file that states it.

    python3 scripts/address.py https://HOST/OWNER/ovseg_ros [--mail maintainers@HOST]

package.xml is the one that others follow: setup.py reads it, and test/packaging/test_metadata.py holds the
rest against it.
"""

from __future__ import annotations

import argparse
import re
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILES = (
    "package.xml",
    "CITATION.cff",
    "examples/behaviortree_cpp/package.xml",
    ".github/ISSUE_TEMPLATE/config.yml",
    "docker/Dockerfile.cpu",
    "docker/Dockerfile.cuda",
    "docker/Dockerfile.jetson",
)
"""Every file with the address or the mail of the maintainers in it."""


def stated(root: Path = ROOT) -> tuple[str, str]:
    """The address and the mail that package.xml states."""
    package = ElementTree.parse(root / "package.xml").getroot()
    return package.findtext("url[@type='repository']"), package.find("maintainer").get("email")


def main(arguments: list[str], root: Path = ROOT) -> int:
    """Replace both wherever they stand; returns 0, or 2 where the address is none."""
    parser = argparse.ArgumentParser(description="Set the project's public address.")
    parser.add_argument("address", help="of the repository, without a slash at the end")
    parser.add_argument("--mail", help="of the maintainers")
    given = parser.parse_args(arguments)
    if not re.fullmatch(r"https://[\w.-]+(/[\w.-]+)+", given.address):
        parser.error(f"expected https://HOST/OWNER/NAME, got {given.address!r}")
    address, mail = stated(root)
    for name in FILES:
        path = root / name
        text = path.read_text(encoding="utf-8").replace(address, given.address)
        path.write_text(text.replace(mail, given.mail) if given.mail else text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

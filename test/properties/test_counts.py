"""How many cases `make test` runs."""

from __future__ import annotations

import re
from pathlib import Path

LEAST = 5000


def test_there_are_enough_cases():
    sources = [path.read_text(encoding="utf-8") for path in sorted(Path(__file__).parent.glob("test_*.py"))]
    counts = [
        int(count) for text in sources for count in re.findall(r"(?:@cases|machine_cases)\(\s*(\d+),", text)
    ]
    assert sum(counts) >= LEAST, f"{sum(counts)} cases in {len(counts)} properties"

"""What a collection of pairs amounts to, counted from its journal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


def count_entries(entries: Iterable[Mapping[str, Any]]) -> tuple[dict[str, Any], dict[str, int]]:
    """Counts the journal's lines about images, of this run and earlier ones.

    Args:
        entries: from `PairWriter.entries`.

    Returns:
        `{"pairs", "images", "nouns", "skipped": {reason: count}}` and `{noun: pairs}`, the commonest first.
    """
    images = pairs = 0
    nouns: Counter[str] = Counter()
    skipped: Counter[str] = Counter()
    for entry in entries:
        images += 1
        if "failed" in entry:
            skipped["image that cannot be used"] += 1
            continue
        pairs += entry["pairs"]
        nouns.update(entry["nouns"])
        for note in entry.get("skipped", ()):
            skipped[note["reason"]] += note.get("count", 1)
    ordered = dict(sorted(nouns.items(), key=lambda item: (-item[1], item[0])))
    counts = {
        "pairs": pairs,
        "images": images,
        "nouns": len(nouns),
        "skipped": dict(sorted(skipped.items(), key=lambda item: (-item[1], item[0]))),
    }
    return counts, ordered

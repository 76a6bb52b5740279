"""Sentences that a label is put into before the text tower sees it.

Source: the 14 prompt sentences of ViLD (Gu et al., ICLR 2022), which OVSeg uses (section 4.1).
"""

from __future__ import annotations

VILD_TEMPLATES: tuple[str, ...] = (
    "a photo of a {}.",
    "This is a photo of a {}",
    "There is a {} in the scene",
    "There is the {} in the scene",
    "a photo of a {} in the scene",
    "a photo of a small {}.",
    "a photo of a medium {}.",
    "a photo of a large {}.",
    "This is a photo of a small {}.",
    "This is a photo of a medium {}.",
    "This is a photo of a large {}.",
    "There is a small {} in the scene.",
    "There is a medium {} in the scene.",
    "There is a large {} in the scene.",
)
"""Embeddings of the 14 sentences are normalised, averaged and normalised again."""

SINGLE: tuple[str, ...] = ("a photo of a {}.",)
"""One sentence, 14 times cheaper."""

BARE_TEMPLATE: tuple[str, ...] = ("{}",)
"""The word alone, for text towers trained on words and plain sentences (MiniLM)."""

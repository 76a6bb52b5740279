"""Sets of sentences that presets and parameters call by name."""

from __future__ import annotations

from ovseg_ros.core.words import BARE_TEMPLATE, SINGLE, VILD_TEMPLATES
from ovseg_ros.errors import ConfigError

TEMPLATE_SETS = ("bare", "single", "vild", "imagenet")
"""The word alone; "a photo of a {}."; the 14 of ViLD, as in the paper; the 80 OpenAI used on ImageNet."""


def template_set(name: str) -> tuple[str, ...]:
    """The sentences of a set, with {} where the word goes.

    Raises:
        ConfigError: an unknown name; the message lists the known ones.
    """
    if name == "imagenet":
        from open_clip import OPENAI_IMAGENET_TEMPLATES

        return tuple(sentence("{}") for sentence in OPENAI_IMAGENET_TEMPLATES)
    known = {"bare": BARE_TEMPLATE, "single": SINGLE, "vild": VILD_TEMPLATES}
    if name not in known:
        raise ConfigError(f"expected templates one of {', '.join(TEMPLATE_SETS)}, got {name!r}")
    return known[name]

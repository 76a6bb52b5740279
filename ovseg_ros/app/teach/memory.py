"""Names in a memory, without a node."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ovseg_ros.app.teach.shown import Shown
from ovseg_ros.errors import InvalidInputError

if TYPE_CHECKING:
    from ovseg_ros.core.frame import Frame
    from ovseg_ros.core.segmenter import OpenVocabularySegmenter
    from ovseg_ros.memory import Example


class Memory:
    """A `Place`: writes into a memory's database itself. Use as a context manager."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Opens it; a file is made where something is taught.

        Raises:
            ConfigError: it cannot be opened, or the preset has no weights for taught names.
            StoreError: the database cannot be reached.
        """
        from ovseg_ros.app.memory.selection import open_memory
        from ovseg_ros.memory import open_store
        from ovseg_ros.memory.teaching import weights_of

        self._options = options
        if options.list or options.forget:
            self._store = open_memory(options.memory)
        else:
            weights_of(Path(options.preset).stem, sized=True)
            self._store = open_store(options.memory, crops=not options.no_picture)

    def __enter__(self) -> Memory:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def names(self) -> Mapping[str, int]:
        """See `Place`."""
        from ovseg_ros.memory.teaching import by_name

        taught = by_name(self._store.examples())
        return {examples[0].name: len(examples) for examples in taught.values()}

    def teach(self, name: str, shown: Sequence[Shown]) -> str:
        """See `Place`."""
        frames = [one.frame() for one in shown]  # what cannot be read is said before the networks are loaded
        from ovseg_ros.models.presets import load_preset

        options = self._options
        print(f"ovseg: loading {options.preset}", file=sys.stderr, flush=True)
        segmenter = load_preset(options.preset, device=options.device, weights_dir=options.weights_dir)
        examples = []
        for one, frame in zip(shown, frames, strict=True):
            try:
                examples.append(_example(segmenter, name, one, frame, crops=not options.no_picture))
            except InvalidInputError as error:
                return f"{one.image}: {error}"
        for example in examples:
            self._store.save_example(example)
        return ""

    def forget(self, name: str) -> None:
        """See `Place`."""
        for one in {e.name for e in self._store.examples() if e.name.casefold() == name.casefold()}:
            self._store.forget_name(one)


def _example(
    segmenter: OpenVocabularySegmenter, name: str, shown: Shown, frame: Frame, *, crops: bool
) -> Example:
    """What is shown on a picture as an example.

    Raises:
        InvalidInputError: no mask is there.
    """
    from ovseg_ros.memory.frames import space_of
    from ovseg_ros.memory.teaching import FITS, example_of, no_fit, region_in_box, with_mask

    embedded = segmenter.embed(frame)
    if shown.mask is not None:
        embedded = with_mask(embedded, shown.mask_of(frame.size_hw), segmenter)
        region = len(embedded) - 1
    else:
        region, fit = region_in_box(embedded, shown.box_xywh)
        if fit < FITS:
            raise InvalidInputError(f"{no_fit(fit)}, or draw the thing itself, white on black: --mask")
    space = space_of(segmenter.name, segmenter.options.embedding_key)
    return example_of(embedded, region, name, space, crops=crops)

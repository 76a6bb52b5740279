"""The names that were taught to the node: kept in memory's store, shown by example, asked for as any word."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, StoreError
from ovseg_ros.memory import Example
from ovseg_ros.memory.frames import crop_jpeg
from ovseg_ros.memory.teaching import (
    has_weights,
    is_taught,
    looks_of,
    quoted,
    weights_of,
    with_taught,
    without_taught,
)
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.requests.answers import RequestError

_LOG = logging.getLogger(__name__)
NEWS_EVERY_S = 5.0  # other nodes and commands teach names in the same memory
FITS = 0.3  # IoU from which a mask's box is the one that was drawn


class TaughtNames:
    """Examples by name. Any thread may use it."""

    def __init__(self, store: Any, preset: str, space: Callable[[], str], *, crops: bool) -> None:
        """Reads what is there.

        Args:
            store: see `ovseg_ros.memory.store.Store`.
            preset: whose weights decide.
            space: whose embeddings frames have now.
            crops: whether pictures are kept.
        """
        self._store, self._preset, self._space, self._crops = store, preset, space, crops
        self._can = has_weights(preset)
        self._lock = threading.Lock()
        self._read()

    @property
    def names(self) -> list[str]:
        """As they were taught."""
        return [examples[0].name for examples in self._known().values()]

    def quoted(self, query: str) -> str:
        """A query with taught names in quotation marks."""
        return quoted(query, self.names)

    def knows(self, name: str) -> bool:
        """Whether a name was taught, to this model or another."""
        return is_taught(name, self._known())

    def refusal(self, name: str) -> str:
        """Why a taught name cannot be asked for, "" where it can."""
        examples = self._known()[name.casefold()]
        if any(example.space == self._space() for example in examples):
            return ""
        return f"{name!r} was taught to another model ({examples[0].space}); teach it again"

    def label(self, vocabulary: Vocabulary, label: Callable[[Vocabulary], Segmentation]) -> Segmentation:
        """A frame under words of which some were taught; `label` does it for the others."""
        taught = self._known()
        rest = without_taught(vocabulary, taught)
        if len(rest) == len(vocabulary):
            return label(vocabulary)
        return with_taught(label(rest), vocabulary, taught, self._preset, self._space())

    def teach(self, name: str, segmentation: Segmentation, region: int) -> int:
        """Stores a mask of a frame as one more example; how many the name has then."""
        try:
            weights_of(self._preset, sized=True)
        except ConfigError as error:  # nobody could ask for it
            raise RequestError(ResultCode.INVALID_QUERY, str(error)) from error
        crop = None
        if self._crops:
            box = tuple(segmentation.boxes_xyxy[region].tolist())
            crop = crop_jpeg(segmentation.frame.image_rgb, box)
        looks = looks_of(segmentation.embedded, self._space())
        shown = segmentation.frame.stamp_ns * 1e-9 or time.time()
        self._store.save_example(looks.example(region, name, shown, crop=crop))
        self._read()
        return len(self._known().get(name.casefold(), ()))

    def forget(self, name: str) -> int:
        """Forgets all examples of a name; how many there were."""
        known = self._known().get(name.casefold(), [])
        count = sum(self._store.forget_name(one) for one in {example.name for example in known})
        self._read()
        return count

    def _known(self) -> dict[str, list[Example]]:
        if time.monotonic() - self._read_at > NEWS_EVERY_S:
            try:
                self._read()
            except StoreError as error:  # what is known goes on
                self._read_at = time.monotonic()
                _LOG.warning("taught names cannot be read anew: %s", error)
        return self._taught

    def _read(self) -> None:
        with self._lock:
            taught: dict[str, list[Example]] = {}
            for example in self._store.examples() if self._can else ():
                taught.setdefault(example.name.casefold(), []).append(example)
            self._taught, self._read_at = taught, time.monotonic()


def region_of(segmentation: Segmentation, request: Any) -> int:
    """Which mask a Teach request shows.

    Raises:
        RequestError: INVALID_QUERY: it shows nothing; NOT_FOUND: no mask is there.
    """
    box = request.box
    if request.track_id:
        tracks = segmentation.track_ids.tolist()
        if request.track_id not in tracks:
            raise RequestError(
                ResultCode.NOT_FOUND,
                f"track {request.track_id} is not in the newest image; there: "
                + (", ".join(str(track) for track in tracks if track) or "none"),
            )
        return tracks.index(request.track_id)
    if not (box.width and box.height):
        raise RequestError(ResultCode.INVALID_QUERY, "expected track_id, or a box with width and height")
    drawn = torch.tensor(
        [box.x_offset, box.y_offset, box.x_offset + box.width, box.y_offset + box.height], dtype=torch.float64
    )
    boxes = segmentation.boxes_xyxy.double()
    shared = (torch.minimum(boxes[:, 2:], drawn[2:]) - torch.maximum(boxes[:, :2], drawn[:2])).clamp(min=0)
    inside = shared.prod(dim=1)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=1) + (drawn[2:] - drawn[:2]).prod()
    fit = inside / (areas - inside)
    if not len(fit) or float(fit.max()) < FITS:
        best = f"; the best fits by {float(fit.max()):.2f}" if len(fit) else ""
        raise RequestError(
            ResultCode.NOT_FOUND, f"no mask fits this box (IoU of boxes from {FITS}){best}; draw it closer"
        )
    return int(fit.argmax())

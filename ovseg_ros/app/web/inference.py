"""What `ovseg web` computes: uploads and words in, an answer out. Without Gradio.

The costly half, masks and their embeddings, is kept for the last image of each preset: other words, another
threshold or another granularity then cost one text encoding and one matrix product.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ovseg_ros.app.web.images import read_frame
from ovseg_ros.app.web.results import (
    Answer,
    legend,
    map_picture,
    mask_table,
    painted_masks,
    timing_line,
    what_is_missing,
    without_labels,
)
from ovseg_ros.app.web.teach.picking import Picked, pick, shown
from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.overlay import draw_overlay
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.words import Refuse, Vocabulary, parse_query
from ovseg_ros.errors import InvalidInputError, OvsegError
from ovseg_ros.memory import Example
from ovseg_ros.memory.frames import space_of
from ovseg_ros.memory.teaching import KnownNames, by_name, example_of, has_weights, quoted, weights_of

Loader = Callable[[str, str | None], OpenVocabularySegmenter]
"""(preset, preset whose proposal generator stands in for its own or None) -> segmenter."""

MAX_LOADED = 2
"""Presets held in memory at once, each with its last image; the one unused for longest goes."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What a person has filled in.

    Attributes:
        image: the uploaded picture, None before there is one.
        words: class names as typed.
        preset: name or path.
        proposals_from: another preset, whose proposal generator is used; None for the preset's own.
        granularity: in [0, 1]; 0 coarse, 1 precise.
        threshold: in [0, 1].
        depth: 16-bit depth image, None without.
        field_of_view_deg: horizontal, for the depth; None takes the usual one.
        camera: "fx, fy, cx, cy", blank to go by the field of view.
    """

    image: Path | None
    words: str
    preset: str
    proposals_from: str | None
    granularity: float
    threshold: float
    depth: Path | None = None
    field_of_view_deg: float | None = None
    camera: str = ""


class Inference:
    """Answers, one request at a time, whichever threads ask."""

    def __init__(self, load: Loader) -> None:
        """`load` is called once per preset and generator while these stay in memory."""
        self._load = load
        self._lock = threading.Lock()
        self._loaded: OrderedDict[tuple[str, str | None], _Loaded] = OrderedDict()

    def preload(self, preset: str) -> None:
        """Loads a preset now, so that the first answer comes soon.

        Raises:
            OvsegError: whatever `load` raises.
        """
        with self._lock:
            self._segmenter(preset, None)

    def answer(self, inputs: Inputs, taught: Sequence[Example] = ()) -> Answer:
        """Never raises: what is wrong with the input stands in `Answer.error`, bugs go to the log.

        Args:
            inputs: what to look for and where.
            taught: examples of names that may be among the words.
        """
        try:
            return self._answer(inputs, by_name(taught))
        except OvsegError as error:
            return Answer(error=str(error))
        except Exception as error:
            _log.exception("the request failed")
            return Answer(error=f"the program failed ({type(error).__name__}); its terminal says where")

    def pick(
        self, inputs: Inputs, at: tuple[int, int], before: Picked | None
    ) -> tuple[Picked, npt.NDArray[np.uint8]]:
        """The mask that a click on the answer means, and a picture (h, w, 3) uint8 RGB of it.

        Raises:
            OvsegError: there is none, or the picture cannot be used any more.
        """
        with self._lock:
            _, embedded = self._embedded(inputs)
        found = pick(embedded, content_hash(embedded.frame), at, before)
        return found, shown(embedded, found.region)

    def example(self, inputs: Inputs, picked: Picked | None, name: str) -> Example:
        """What was clicked at as an example of a name.

        Raises:
            OvsegError: nothing was, the picture is another by now, or this preset knows no taught names.
        """
        if picked is None:
            raise InvalidInputError("click on a thing in the overlay first")
        with self._lock:
            loaded, embedded = self._embedded(inputs)
        if content_hash(embedded.frame) != picked.picture or picked.region >= len(embedded):
            raise InvalidInputError("the picture has changed: press Submit, and click on the thing again")
        weights_of(loaded.segmenter.name, sized=True)
        return example_of(embedded, picked.region, name, space_in(loaded.segmenter))

    def _embedded(self, inputs: Inputs) -> tuple[_Loaded, EmbeddedFrame]:
        """The picture's masks, from the last call where they are known."""
        if inputs.image is None:
            raise InvalidInputError("upload an image first, or press one of the examples")
        frame, _ = read_frame(inputs.image, inputs.depth, inputs.field_of_view_deg, inputs.camera)
        loaded = self._segmenter(inputs.preset, inputs.proposals_from)
        _check_depth(loaded.segmenter, frame, inputs.preset)
        return loaded, loaded.embed(frame)[0]

    def _answer(self, inputs: Inputs, taught: Mapping[str, Sequence[Example]]) -> Answer:
        if inputs.image is None:
            raise InvalidInputError("upload an image first, or press one of the examples")
        words = quoted(inputs.words or "", [examples[0].name for examples in taught.values()])
        read_words(words)  # what can be said without the networks is said at once
        frame, converted = read_frame(inputs.image, inputs.depth, inputs.field_of_view_deg, inputs.camera)
        with self._lock:
            loaded = self._segmenter(inputs.preset, inputs.proposals_from)
            segmenter = loaded.segmenter
            known = KnownNames(taught, segmenter.name, space_in(segmenter))
            vocabulary, remarks = read_words(words, lambda word: _refusal(segmenter, known, word))
            start = time.perf_counter()
            _check_depth(segmenter, frame, inputs.preset)
            embedded, reused = loaded.embed(frame)
            options = chosen_options(segmenter.options, inputs.threshold, inputs.granularity)
            result = known.label(vocabulary, lambda some: segmenter.label(embedded, some, options))
            timing = timing_line(result, reused, time.perf_counter() - start)
        label_ids, _ = result.semantic()
        painted = painted_masks(result)
        return Answer(
            map_rgb=map_picture(frame.image_rgb, label_ids),
            overlay_rgb=draw_overlay(frame.image_rgb, without_labels(result, ~painted)),
            legend=legend(result, label_ids, painted),
            masks=mask_table(result, painted),
            remarks=(*converted, *remarks, *what_is_missing(result)),
            timing=timing,
            reused=reused,
        )

    def _segmenter(self, preset: str, proposals_from: str | None) -> _Loaded:
        key = preset, proposals_from
        if key not in self._loaded:
            while len(self._loaded) >= MAX_LOADED:
                self._loaded.popitem(last=False)
            self._loaded[key] = _Loaded(self._load(preset, proposals_from))
        self._loaded.move_to_end(key)
        return self._loaded[key]


class _Loaded:
    """A segmenter and the last image it embedded."""

    def __init__(self, segmenter: OpenVocabularySegmenter) -> None:
        self.segmenter = segmenter
        self._last: tuple[str, EmbeddedFrame] | None = None

    def embed(self, frame: Frame) -> tuple[EmbeddedFrame, bool]:
        """The frame's masks and embeddings, and whether they are those of the last call."""
        key = content_hash(frame)
        if self._last is not None and self._last[0] == key:
            return self._last[1], True
        self._last = None  # the old one's memory goes before the new one takes its own
        embedded = self.segmenter.embed(frame)
        self._last = (key, embedded)
        return embedded, False


def read_words(text: str, refuse: Refuse | None = None) -> tuple[Vocabulary, list[str]]:
    """Class names as typed; their order, case, repetitions and blanks make no difference.

    Args:
        text: as typed.
        refuse: what else stands against a word.

    Returns:
        The vocabulary, sorted by name, and a sentence about each name that was refused.

    Raises:
        InvalidInputError: no name at all, or none that can be taken.
    """
    names = parse_query(text or "")
    if not names:
        raise InvalidInputError("type at least one class name, for example: teapot, mug")
    lower = sorted({type(name)(name.lower()) for name in names})  # what is quoted stays so
    vocabulary, rejected = Vocabulary.empty().replace(lower, refuse=refuse)
    remarks = [f"“{one.name}” was not taken: {one.reason}" for one in rejected]
    if not vocabulary.labels:
        raise InvalidInputError("no class name is left: " + "; ".join(remarks))
    return vocabulary, remarks


def chosen_options(options: SegmenterOptions, threshold: float, granularity: float) -> SegmenterOptions:
    """The preset's options with what the sliders say.

    Raises:
        ConfigError: a value outside [0, 1].
    """
    return dataclasses.replace(options, threshold=float(threshold), granularity=float(granularity))


def content_hash(frame: Frame) -> str:
    """The same for frames of the same pixels, depth and intrinsics, another for others."""
    digest = hashlib.blake2b(digest_size=16)
    for part in (frame.image_rgb, frame.depth_m):
        digest.update(repr(None if part is None else part.shape).encode())
        if part is not None:
            digest.update(np.ascontiguousarray(part))
    digest.update(repr(frame.intrinsics).encode())
    return digest.hexdigest()


def space_in(segmenter: OpenVocabularySegmenter) -> str:
    """Whose embeddings the page's frames have."""
    return space_of(segmenter.name, segmenter.options.embedding_key)


def _refusal(segmenter: OpenVocabularySegmenter, known: KnownNames, word: str) -> str:
    """Why a word cannot be looked for, "" where it can."""
    if not known.knows(word):
        return segmenter.refusal(word)
    if not has_weights(segmenter.name):
        was = known.taught[word.casefold()][0].space.split(" ")[0]
        return f"it was taught to the preset {was}, and {segmenter.name or 'this one'} knows no taught names"
    return known.refusal(word)


def _check_depth(segmenter: OpenVocabularySegmenter, frame: Frame, preset: str) -> None:
    if frame.depth_m is None and segmenter.needs_depth:
        raise InvalidInputError(
            f"the preset {Path(preset).stem} cuts its masks from depth: add a depth image (16-bit PNG in "
            "millimetres, registered to the image), choose a preset that needs none, or press an example"
        )

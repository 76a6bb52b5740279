"""Regions of several frames in one batch: each frame's way stops where its regions are to be encoded.

A way is a generator. It yields what is `ToEncode` at most once, is sent the embeddings, and returns what it
is for. A frame by itself goes the same way, see `alone`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F

from ovseg_ros.core.device import check_finite, now
from ovseg_ros.core.frame import Frame, RegionEncoder
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.regions import View
from ovseg_ros.core.within_memory import crop, encode, encode_pooled

_T = TypeVar("_T")


@dataclass(frozen=True)
class ToEncode:
    """Masks of one frame that wait for their embeddings.

    Attributes:
        frame: the one the masks were proposed on.
        masks: (M, H, W) bool, none of them empty; M may be 0, which costs nothing.
        options: for this frame.
        timings: gains the seconds of "crop" and "encode"; of a batch with others, the part that M has in it.
    """

    frame: Frame
    masks: torch.Tensor
    options: SegmenterOptions
    timings: dict[str, float] = field(default_factory=dict)


Way = Generator[ToEncode, torch.Tensor, _T]
EncodeAll = Callable[[Sequence[ToEncode]], list[torch.Tensor]]


def alone(way: Way[_T], encode_all: EncodeAll) -> _T:
    """Goes one frame's way to its end, and raises what it raises."""
    try:
        asked = next(way)
        try:
            rows = encode_all([asked])[0]
        except Exception as error:
            way.throw(error)
        else:
            way.send(rows)
    except StopIteration as end:
        result: _T = end.value
        return result
    raise AssertionError("a frame's regions are encoded once")


def together(ways: Sequence[Way[_T]], encode_all: EncodeAll) -> list[_T | Exception]:
    """Goes several frames' ways to their ends, one after the other but for the encoding, which is one batch.

    Where a batch fails, or options differ, each frame's regions are encoded by themselves: what is wrong with
    one frame does not cost another.

    Args:
        ways: on frames of the same segmenter.
        encode_all: `OpenVocabularySegmenter.encode_all`.

    Returns:
        For each way what it returned, or the exception that ended it.
    """
    reached = [_reached(partial(next, way)) for way in ways]
    asked = [one for one in reached if isinstance(one, ToEncode)]
    encoded = iter(_encoded(asked, encode_all))
    outcomes: list[_T | Exception] = []
    for way, one in zip(ways, reached, strict=True):
        if isinstance(one, ToEncode):
            rows = next(encoded)
            if isinstance(rows, Exception):
                one = _reached(partial(way.throw, rows))
            else:
                one = _reached(partial(way.send, rows))
        assert isinstance(one, _End), "a frame's regions are encoded once"
        outcomes.append(one.outcome)
    return outcomes


@dataclass(frozen=True)
class _End:
    """What a way returned, or the exception that ended it."""

    outcome: Any


def _reached(step: Callable[[], ToEncode]) -> ToEncode | _End:
    try:
        return step()
    except StopIteration as end:
        return _End(end.value)
    except Exception as error:
        return _End(error)


def _encoded(asked: Sequence[ToEncode], encode_all: EncodeAll) -> list[torch.Tensor | Exception]:
    """The embeddings of each, from one batch where that is possible."""
    if len(asked) > 1 and len({(one.options.embedding_key, one.options.batch_size) for one in asked}) == 1:
        with contextlib.suppress(Exception):  # whose it is shows below
            return list(encode_all(asked))
    return [_encoded_alone(one, encode_all) for one in asked]


def _encoded_alone(one: ToEncode, encode_all: EncodeAll) -> torch.Tensor | Exception:
    try:
        return encode_all([one])[0]
    except Exception as error:
        return error


def encode_regions_of(
    asked: Sequence[ToEncode], clip: RegionEncoder, device: torch.device
) -> list[torch.Tensor]:
    """What an encoder says to masks of one or several frames.

    Args:
        asked: at least one; the options that bear on encoding are the same.
        clip: the encoder.
        device: where crops are made and encoded.

    Returns:
        For each (M, D) float32 unit rows on `device`.

    Raises:
        OutOfMemoryError: the device's memory did not hold half a batch either.
        NotFiniteError: an embedding holds NaN or infinity.
    """
    for one in asked:
        one.timings.update(crop=0.0, encode=0.0)
    filled, options = [one for one in asked if len(one.masks)], asked[0].options
    rows = {id(one): torch.zeros((0, clip.embedding_dim), device=device) for one in asked}
    parts: list[list[torch.Tensor]] = [[] for _ in filled]
    if options.uses_crops and filled:
        views = []
        for one in filled:
            start = now(device)
            views.append(crop(one.frame, one.masks, clip.size, options, device))
            one.timings["crop"] = now(device) - start
        start, counts = now(device), [len(one.masks) for one in filled]
        encoded = encode(clip, _joined(views), options.batch_size, device).split(counts)
        seconds = now(device) - start
        for one, part, of_one in zip(filled, parts, encoded, strict=True):
            part.append(of_one)
            one.timings["encode"] += seconds * len(one.masks) / sum(counts)
    for one, part in zip(filled, parts, strict=True):
        start = now(device)
        if options.uses_pooling:
            part.append(encode_pooled(clip, one.frame, one.masks, device))
        both = part[0] if len(part) == 1 else F.normalize(torch.stack(part).mean(dim=0), dim=-1)
        check_finite(both, "the embeddings of the masks")
        rows[id(one)] = both.to(device, torch.float32)
        one.timings["encode"] += now(device) - start
    return [rows[id(one)] for one in asked]


def _joined(views: Sequence[list[View]]) -> list[View]:
    """The views of several frames as those of one with all their regions."""
    if len(views) == 1:
        return views[0]
    joined: list[View] = []
    for same in zip(*views, strict=True):
        told = [masks for _, masks in same if masks is not None]
        joined.append((torch.cat([pixels for pixels, _ in same]), torch.cat(told) if told else None))
    return joined

"""`~/find_like`: what looks like a picture or a region, in view and in memory."""

from __future__ import annotations

import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.words import Vocabulary
from ovseg_ros.memory import Example, Where
from ovseg_ros.memory.recall import Recalled, confidence
from ovseg_ros.memory.teaching import find_like, looks_of
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.io.conversions import segment_message
from ovseg_ros.ros.memory.remembering import Remembering
from ovseg_ros.ros.memory.showing import region_of

MOST = 10


class _Whole:
    """Proposes the whole image."""

    def propose(self, frame: Frame) -> Proposals:
        """One mask."""
        return Proposals(torch.ones((1, *frame.size_hw), dtype=torch.bool), torch.ones(1))


@dataclass(frozen=True)
class Alike:
    """What is like a thing, the likest first."""

    segments: Sequence[tuple[Any, float]]  # ovseg_ros/Segment
    remembered: Sequence[tuple[Recalled, float]]


def find_alike(remembering: Remembering, engine: Any, request: Any) -> Alike:
    """On the inference thread; see FindLike.srv.

    Raises:
        RequestError, InvalidInputError: there is no such region or picture, or no image.
    """
    most = request.max_results or MOST
    is_given = bool(request.picture.width or request.picture.height)
    context = engine.label(engine.newest(), Vocabulary.empty())
    looks = looks_of(context.segmentation.embedded, remembering.space)
    region = -1
    if is_given:
        example = _example(engine, request.picture, remembering.space)
    else:
        region = region_of(context.segmentation.embedded, request)
        example = looks.example(region, "this", 0.0)
    ranked = find_like([example], looks.embeddings, looks.palettes) if len(looks) else []
    seen = [(i, likeness) for i, likeness in ranked if i != region and looks.embeddings[i].any()]
    entries = remembering.memory.most_alike(example.embedding, most, Where(space=remembering.space))
    return Alike(
        [(segment_message(context, i, with_mask=False), likeness) for i, likeness in seen[:most]],
        [
            (
                Recalled(entry, entry.name, confidence(entry, [entry.name])),
                float(max((entry.views @ example.embedding).max(), entry.embedding @ example.embedding)),
            )
            for entry in entries
        ],
    )


def fill(response: Any, alike: Alike, messages: Sequence[Any]) -> None:
    """A FindLike response; `messages` of what is remembered, in its order."""
    response.segments = [segment for segment, _ in alike.segments]
    response.likeness = array.array("f", [likeness for _, likeness in alike.segments])
    response.remembered = list(messages)
    response.remembered_likeness = array.array("f", [likeness for _, likeness in alike.remembered])
    count = len(response.segments), len(response.remembered)
    response.code = ResultCode.FOUND if any(count) else ResultCode.NOT_FOUND
    response.message = f"{count[0]} in view, {count[1]} remembered"


def _example(engine: Any, picture: Any, space: str) -> Example:
    """All of a picture as one look at a thing."""
    of = engine.segmenter
    whole = OpenVocabularySegmenter(_Whole(), of.clip, of.options, of.device)
    frame, _ = engine.reader.of_messages(picture, None, None)
    return looks_of(whole.embed(frame, engine.options), space).example(0, "this", 0.0)

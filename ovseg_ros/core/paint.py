"""The maps of `core.compose` for masks on the CPU, painted box by box in bytes: what a live node can afford.

The same results as `compose.label_map` and `compose.instance_map`, which are the plain way and the oracle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from ovseg_ros.core.vocabulary import UNLABELLED_ID

Bytes = npt.NDArray[np.uint8]
Box = tuple[slice, slice]

_MANY_PAIRS = 24  # of boxes that meet
_CHUNK_ELEMENTS = 1 << 23  # overlapping pixels times masks or labels held at once


def box_slices(boxes_xyxy: Iterable[Sequence[int]]) -> list[Box]:
    """Rows and columns of boxes x0, y0, x1, y1."""
    return [(slice(y0, y1), slice(x0, x1)) for x0, y0, x1, y1 in boxes_xyxy]


def paint_instances(
    masks: npt.NDArray[np.bool_], priority: npt.NDArray[np.floating], boxes: Sequence[Box]
) -> npt.NDArray[np.uint16]:
    """One mask per pixel.

    Args:
        masks: (N, H, W), N below 65535.
        priority: (N,); the higher wins where masks overlap, the earlier on ties.
        boxes: N, nothing of a mask is outside its box.

    Returns:
        (H, W): 0 for none, i + 1 for mask i.
    """
    worst_first = np.argsort(-priority, kind="stable")[::-1].tolist()
    return _painted(masks, worst_first, boxes).astype(np.uint16, copy=False)


@dataclass
class LabelPainting:
    """What `paint_labels` made.

    Attributes:
        labels: (H, W) uint8 label ids, 255 where no mask is.
        overlap: (P,) flat index of the pixels under several masks.
        overlap_confidence: (P,) float32.
        paint_top: gives (H, W) unsigned, which mask is on top, i + 1; 0 for none.
        best_score: (N,) float32, highest probability of each mask.
    """

    labels: Bytes
    overlap: npt.NDArray[np.int64]
    overlap_confidence: npt.NDArray[np.float32]
    paint_top: Callable[[], npt.NDArray[np.unsignedinteger]]
    best_score: npt.NDArray[np.float32]

    @cached_property
    def confidence(self) -> npt.NDArray[np.float32]:
        """(H, W) in [0, 1]: the winner's probability averaged over the masks that cover the pixel."""
        score_of = np.concatenate(([np.float32(0)], self.best_score)).astype(np.float32)
        confidence = _looked_up(self.paint_top(), score_of)
        confidence.reshape(-1)[self.overlap] = self.overlap_confidence
        return confidence

    def confidence_bytes(self) -> Bytes:
        """`confidence` in bytes, without the floats in between."""
        byte_of = np.concatenate(([np.uint8(0)], confidence_bytes(self.best_score).reshape(-1)))
        painted: Bytes = _looked_up(self.paint_top(), byte_of)
        painted.reshape(-1)[self.overlap] = confidence_bytes(self.overlap_confidence).reshape(-1)
        return painted


def paint_labels(
    masks: npt.NDArray[np.bool_],
    class_probs: npt.NDArray[np.float32],
    label_ids: Sequence[int],
    boxes: Sequence[Box],
    chosen: Sequence[int],
) -> LabelPainting:
    """The label whose probabilities, summed over the masks that cover a pixel, are highest there.

    Args:
        masks: (N, H, W).
        class_probs: (N, K).
        label_ids: K ids in 0…254.
        boxes: N, nothing of a mask is outside its box.
        chosen: which masks are painted.

    Returns:
        Label ids, the first label on ties.
    """
    labels = np.full(masks.shape[1:], UNLABELLED_ID, np.uint8)
    if not label_ids or not len(chosen):
        nothing = np.zeros(masks.shape[1:], np.uint8)
        empty = np.zeros(0, np.float32)
        return LabelPainting(labels, np.zeros(0, np.int64), empty, lambda: nothing, empty)
    ids = np.asarray(label_ids, np.uint8)
    for i, best in zip(chosen, class_probs[list(chosen)].argmax(axis=1).tolist(), strict=True):
        _paint_bytes(labels[boxes[i]], masks[i][boxes[i]], int(ids[best]))
    overlap, involved = _overlap(masks, chosen, boxes)
    confidence = np.zeros(len(overlap), np.float32)
    planes, probs = [masks[i].reshape(-1) for i in involved], class_probs[involved]
    step = max(_CHUNK_ELEMENTS // max(len(masks), len(label_ids)), 1)
    for start in range(0, len(overlap), step):
        at = slice(start, start + step)
        over = np.stack([plane.take(overlap[at]) for plane in planes]).T.astype(np.float32)  # (P,N')
        scores = over @ probs  # (P,K)
        labels.reshape(-1)[overlap[at]] = ids[scores.argmax(axis=1)]
        confidence[at] = scores.max(axis=1) / over.sum(axis=1)
    return LabelPainting(
        labels, overlap, confidence, lambda: _painted(masks, chosen, boxes), class_probs.max(axis=1)
    )


def confidence_bytes(confidence: npt.NDArray[np.float32]) -> Bytes:
    """0 to 255 for 0 to 1, rounded, what is beyond cut off."""
    if confidence.size == 0:
        return np.zeros(confidence.shape, np.uint8)
    return np.asarray(cv2.convertScaleAbs(np.maximum(confidence, 0), alpha=255.0), np.uint8)


def _painted(
    masks: npt.NDArray[np.bool_], order: Iterable[int], boxes: Sequence[Box]
) -> npt.NDArray[np.unsignedinteger]:
    """(H, W) uint8, or uint16 where that is too small: i + 1 of the last of `order` that covers a pixel."""
    if len(masks) >= 255:
        wide = np.zeros(masks.shape[1:], np.uint16)
        for i in order:
            np.copyto(wide[boxes[i]], np.uint16(i + 1), where=masks[i][boxes[i]])
        return wide
    canvas = np.zeros(masks.shape[1:], np.uint8)
    for i in order:
        _paint_bytes(canvas[boxes[i]], masks[i][boxes[i]], i + 1)
    return canvas


def _paint_bytes(part: Bytes, mask: npt.NDArray[np.bool_], value: int) -> None:
    """Sets `part` to `value` on the mask."""
    if part.size:  # OpenCV does not copy nothing
        cv2.copyTo(np.full(part.shape, value, np.uint8), mask.view(np.uint8), part)


def _overlap(
    masks: npt.NDArray[np.bool_], chosen: Sequence[int], boxes: Sequence[Box]
) -> tuple[npt.NDArray[np.int64], list[int]]:
    """Flat index, ascending, of the pixels under several of the chosen masks; and which masks are there."""
    edges = np.array([(r.start, r.stop, c.start, c.stop) for r, c in (boxes[i] for i in chosen)])
    low, high = edges[:, None, ::2], edges[:, None, 1::2]
    meet = (np.minimum(high, high.swapaxes(0, 1)) > np.maximum(low, low.swapaxes(0, 1))).all(axis=2)
    pairs = [(a, b) for a, b in zip(*(i.tolist() for i in meet.nonzero()), strict=True) if a < b]
    if len(pairs) > _MANY_PAIRS:
        return _overlap_of_many(masks, chosen, boxes), list(chosen)
    width, found, involved = masks.shape[2], [np.zeros(0, np.int64)], set()
    for a, b in pairs:
        (rows, columns), (others, across) = boxes[chosen[a]], boxes[chosen[b]]
        top, left = max(rows.start, others.start), max(columns.start, across.start)
        part = slice(top, min(rows.stop, others.stop)), slice(left, min(columns.stop, across.stop))
        y, x = (masks[chosen[a]][part] & masks[chosen[b]][part]).nonzero()
        if len(y):
            found.append((y + top) * width + (x + left))
            involved |= {chosen[a], chosen[b]}
    pixels = np.sort(np.concatenate(found))
    first = np.ones(len(pixels), np.bool_)  # of those that are the same
    np.not_equal(pixels[1:], pixels[:-1], out=first[1:])
    return pixels[first], sorted(involved)


def _overlap_of_many(
    masks: npt.NDArray[np.bool_], chosen: Sequence[int], boxes: Sequence[Box]
) -> npt.NDArray[np.int64]:
    """`_overlap` where so many boxes meet that the whole image is cheaper than the pairs."""
    once = np.zeros(masks.shape[1:], np.bool_)
    twice = np.zeros(masks.shape[1:], np.bool_)
    for i in chosen:
        mask, seen = masks[i][boxes[i]], once[boxes[i]]
        twice[boxes[i]] |= seen & mask
        seen |= mask
    return np.flatnonzero(twice)


def _looked_up(numbers: npt.NDArray[np.unsignedinteger], table: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """`table[numbers]`, by OpenCV's table for bytes where that is what they are."""
    if numbers.dtype != np.uint8 or numbers.size == 0:
        looked_up: npt.NDArray[Any] = table[numbers]
        return looked_up
    whole = np.zeros(256, table.dtype)
    whole[: len(table)] = table
    return np.asarray(cv2.LUT(numbers, whole[None]))

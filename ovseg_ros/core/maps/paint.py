"""Masks painted box by box into a map: what a live node can afford."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float32]
Box = tuple[slice, slice]
LabelIds = npt.NDArray[np.uint8] | npt.NDArray[np.int32]

_NONE = np.int64(-1)  # no label: 255 in 8 bits without a sign, -1 in 32

_MANY_PAIRS = 24  # of boxes that meet: beyond, one look at the whole image is cheaper
_CHUNK_ELEMENTS = 1 << 24  # overlapping pixels times masks, or sets of masks times labels, held at once


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
    canvas = np.zeros(masks.shape[1:], np.uint16)
    worst_first = np.argsort(-priority, kind="stable")[::-1].tolist()
    _paint(canvas, masks, boxes, [(i, i + 1) for i in worst_first])
    return canvas


@dataclass
class LabelMap:
    """A label for each pixel, and how sure it is.

    Attributes:
        labels: (H, W) label ids, 255 (or -1 in 32 bits) where nothing says which.
        draw: makes the map of confidences (H, W) from what a function makes of its float32 values.
    """

    labels: LabelIds
    draw: Callable[[Callable[[Floats], npt.NDArray[Any]]], npt.NDArray[Any]]

    @cached_property
    def confidence(self) -> Floats:
        """(H, W) in [0, 1]: the winner's probability averaged over the masks by their weight in the pixel."""
        return self.draw(lambda values: values)

    def confidence_bytes(self) -> Bytes:
        """`confidence`, 0 to 255 for 0 to 1."""
        return self.draw(confidence_bytes)


def paint_labels(
    masks: npt.NDArray[np.bool_],
    class_probs: npt.NDArray[np.float32],
    label_ids: LabelIds,
    boxes: Sequence[Box],
    chosen: Sequence[int],
) -> LabelMap:
    """The label whose probabilities, summed over the masks that cover a pixel, are highest there.

    Args:
        masks: (N, H, W).
        class_probs: (N, K).
        label_ids: (K,) ids, uint8 in 0…254 or int32.
        boxes: N, nothing of a mask is outside its box.
        chosen: which masks are painted.

    Returns:
        Label ids, the first label on ties.
    """
    labels = np.full(masks.shape[1:], _NONE.astype(label_ids.dtype))
    if not len(label_ids) or not len(chosen):
        return LabelMap(labels, lambda convert: convert(np.zeros(labels.shape, np.float32)))

    def paint(canvas: npt.NDArray[Any], values: npt.NDArray[Any]) -> None:
        _paint(canvas, masks, boxes, zip(chosen, values.tolist(), strict=True))

    probs = class_probs[list(chosen)]
    paint(labels, label_ids[probs.argmax(axis=1)])
    overlap, winners, confidence = _decided(masks, class_probs, boxes, chosen)
    labels.reshape(-1)[overlap] = label_ids[winners]
    best = probs.max(axis=1)

    def draw(convert: Callable[[Floats], npt.NDArray[Any]]) -> npt.NDArray[Any]:
        values = convert(best)  # of one for each mask, not for each pixel
        canvas = np.zeros(labels.shape, values.dtype)
        paint(canvas, values)
        canvas.reshape(-1)[overlap] = convert(confidence)
        return canvas

    return LabelMap(labels, draw)


def confidence_bytes(confidence: npt.NDArray[np.float32]) -> Bytes:
    """0 to 255 for 0 to 1, rounded, what is beyond cut off; of any shape."""
    if confidence.size == 0:
        return np.zeros(confidence.shape, np.uint8)
    scaled = cv2.convertScaleAbs(np.maximum(confidence, 0), alpha=255.0)
    return np.asarray(scaled, np.uint8).reshape(confidence.shape)


def _paint(
    canvas: npt.NDArray[Any],
    masks: npt.NDArray[np.bool_],
    boxes: Sequence[Box],
    values: Iterable[tuple[int, float]],
) -> None:
    """Sets the pixels of mask i to a value, for each pair of i and value in turn."""
    paint = np.empty(max((canvas[box].size for box in boxes), default=0), canvas.dtype)
    for i, value in values:
        part = canvas[boxes[i]]
        if part.size:  # OpenCV does not copy nothing
            plain = paint[: part.size].reshape(part.shape)  # the same memory each time: it is in the cache
            plain.fill(value)
            cv2.copyTo(plain, masks[i][boxes[i]].view(np.uint8), part)


def _decided(
    masks: npt.NDArray[np.bool_],
    class_probs: npt.NDArray[np.float32],
    boxes: Sequence[Box],
    chosen: Sequence[int],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """What is to be said where several of the chosen masks are.

    Returns:
        Flat index of these pixels (P,), the label with the highest sum there (P,), and that sum over the
        number of masks (P,).
    """
    pairs, involved = _pairs_of_boxes(boxes, chosen), list(chosen)
    if len(pairs) <= _MANY_PAIRS:
        found = [(a, b, pixels) for a, b in pairs if len(pixels := _shared_pixels(masks, boxes, a, b))]
        pixels = np.concatenate([np.zeros(0, np.int64), *(part for _, _, part in found)])
        ordered = np.sort(pixels) if len(found) > 1 else pixels
        if not (ordered[1:] == ordered[:-1]).any():  # nowhere more than two: each pair has one sum
            sums = np.array([class_probs[a] + class_probs[b] for a, b, _ in found], np.float32)
            sums = sums.reshape(-1, class_probs.shape[1])
            times = [len(part) for _, _, part in found]
            return pixels, sums.argmax(axis=1).repeat(times), (sums.max(axis=1) / 2).repeat(times)
        involved = sorted({i for a, b, _ in found for i in (a, b)})
    pixels = _overlap(masks, boxes, involved)
    return pixels, *_summed([masks[i] for i in involved], class_probs[involved], pixels)


def _summed(
    masks: Sequence[npt.NDArray[np.bool_]], probs: npt.NDArray[np.float32], pixels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """The label (P,) with the highest sum over the masks at each pixel, and that sum over their number.

    Pixels under the same masks have the same sums, which are made once.
    """
    winners, confidence = np.empty(len(pixels), np.int64), np.empty(len(pixels), np.float32)
    step = max(_CHUNK_ELEMENTS // len(masks), 1)
    for start in range(0, len(pixels), step):
        at = slice(start, start + step)
        covering = np.stack([mask.reshape(-1).take(pixels[at]) for mask in masks])  # (N',P)
        first, group = _pixel_groups(covering)
        best, share = _best_sums(covering[:, first].T, probs)
        winners[at], confidence[at] = best[group], share[group]
    return winners, confidence


def _pixel_groups(masks: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pixels under the same of N masks (N, P): the first pixel of each group (G,), and each one's group (P,).

    Some hundred groups hold the pixels of most images. Neighbours in a row are mostly alike, so only the
    first of each run is sorted.
    """
    count, pixels = masks.shape
    words = max(-(-count // 64), 1)
    packed = np.zeros((8 * words, pixels), np.uint8)
    for i, mask in enumerate(masks.view(np.uint8)):  # ten times faster than np.packbits across rows
        packed[i // 8] |= mask << np.uint8(i % 8)
    bits = np.ascontiguousarray(packed.T).view(np.uint64)  # (P,words)
    begins = np.ones(pixels, np.bool_)
    begins[1:] = (bits[1:] != bits[:-1]).any(axis=1)
    runs = np.flatnonzero(begins)
    _, first, group = np.unique(bits[runs], axis=0, return_index=True, return_inverse=True)
    return runs[first], np.repeat(group.reshape(-1), np.diff(runs, append=pixels))


def _best_sums(
    covering: npt.NDArray[np.bool_], probs: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]:
    """Of G sets of masks (G, N'): the label (G,) with the highest sum, and that sum over their number."""
    best, share = np.empty(len(covering), np.int64), np.empty(len(covering), np.float32)
    step = max(_CHUNK_ELEMENTS // max(probs.shape), 1)
    for start in range(0, len(covering), step):
        at = slice(start, start + step)
        over = covering[at].astype(np.float32)
        sums = over @ probs  # (G,K)
        best[at], share[at] = sums.argmax(axis=1), sums.max(axis=1) / over.sum(axis=1)
    return best, share


def _pairs_of_boxes(boxes: Sequence[Box], chosen: Sequence[int]) -> list[tuple[int, int]]:
    """The pairs of chosen masks whose boxes meet."""
    edges = np.array([(r.start, r.stop, c.start, c.stop) for r, c in (boxes[i] for i in chosen)])
    low, high = edges[:, None, ::2], edges[:, None, 1::2]
    meet = (np.minimum(high, high.swapaxes(0, 1)) > np.maximum(low, low.swapaxes(0, 1))).all(axis=2)
    pairs = zip(*(i.tolist() for i in meet.nonzero()), strict=True)
    return [(chosen[a], chosen[b]) for a, b in pairs if a < b]


def _shared_pixels(
    masks: npt.NDArray[np.bool_], boxes: Sequence[Box], a: int, b: int
) -> npt.NDArray[np.int64]:
    """Flat index of the pixels under two masks."""
    (rows, columns), (others, across) = boxes[a], boxes[b]
    top, left = max(rows.start, others.start), max(columns.start, across.start)
    part = slice(top, min(rows.stop, others.stop)), slice(left, min(columns.stop, across.stop))
    y, x = (masks[a][part] & masks[b][part]).nonzero()
    shared: npt.NDArray[np.int64] = (y + top) * masks.shape[2] + (x + left)
    return shared


def _overlap(
    masks: npt.NDArray[np.bool_], boxes: Sequence[Box], chosen: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Flat index of the pixels under several of the chosen masks."""
    once, twice = np.zeros((2, *masks.shape[1:]), np.bool_)  # of pages that are touched where masks are alone
    top, bottom = masks.shape[1], 0
    for i in chosen:
        mask, seen = masks[i][boxes[i]], once[boxes[i]]
        both = seen & mask
        if both.any():
            twice[boxes[i]] |= both
            top, bottom = min(top, boxes[i][0].start), max(bottom, boxes[i][0].stop)
        seen |= mask
    return np.flatnonzero(twice[top:bottom]) + top * masks.shape[2]

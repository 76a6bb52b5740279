"""What `ovseg web` shows of a segmentation, as plain data: map, legend, table, timing, remarks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
import torch

from ovseg_ros.core.maps import select_by_granularity
from ovseg_ros.core.overlay import Colour, label_colour
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import UNLABELLED_ID

Image = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class LegendRow:
    """One word: its colour, how many masks have it and the share of the picture it covers, in [0, 1]."""

    name: str
    colour: Colour
    masks: int
    share: float


@dataclass(frozen=True)
class MaskRow:
    """One mask.

    Attributes:
        number: from 1, the mask's place among those proposed.
        label: "" where no word reached the threshold.
        painted: it has a label and the granularity does not leave it out.
        colour: of the label, None without one.
        score: probability of the best word, labelled or not; None without words.
        runner_up: what came second, asked for or not; where there is no label, which of the words asked for
            came nearest; "" where nothing did.
        runner_up_score: its probability.
        area_px: pixels.
        area_share: of the picture, in [0, 1].
        box_xyxy: first and last column and row that are inside.
        proposal_score: how sure the generator is that it is one thing, in [0, 1].
        margin: how far the score is above what came second; below 0 where what nobody asked for fits better.
        remark: why it did not get a word it looks like, "" where there is nothing to say.
    """

    number: int
    label: str
    painted: bool
    colour: Colour | None
    score: float | None
    runner_up: str
    runner_up_score: float
    area_px: int
    area_share: float
    box_xyxy: tuple[int, int, int, int]
    proposal_score: float
    margin: float | None = None
    remark: str = ""


@dataclass(frozen=True)
class Answer:
    """What the page shows.

    Attributes:
        error: what is wrong with the input, "" if nothing is; then everything else is empty.
        map_rgb: (H, W, 3) the segmentation map.
        overlay_rgb: (H, W, 3) masks, names and scores over the picture.
        legend: one row per word.
        masks: labelled ones first, each by falling score.
        remarks: what was converted, refused or not found, in sentences.
        timing: one line.
        reused: the masks and embeddings were those of the call before.
    """

    error: str = ""
    map_rgb: Image | None = None
    overlay_rgb: Image | None = None
    legend: tuple[LegendRow, ...] = ()
    masks: tuple[MaskRow, ...] = ()
    remarks: tuple[str, ...] = ()
    timing: str = ""
    reused: bool = False


def map_picture(image_rgb: Image, label_ids: Image) -> Image:
    """The segmentation map: solid label colours, and the rest of the picture as a pale grey ghost.

    Args:
        image_rgb: (H, W, 3) uint8.
        label_ids: (H, W) uint8, 255 for none.

    Returns:
        (H, W, 3) uint8.
    """
    grey = cv2.cvtColor(image_rgb, cv2.COLOR_RGB2GRAY)
    picture = np.repeat((205 + grey // 6)[:, :, None], 3, axis=2).astype(np.uint8)  # 205…247
    for label_id in np.unique(label_ids):
        if label_id != UNLABELLED_ID:
            picture[label_ids == label_id] = label_colour(int(label_id))
    return picture


def painted_masks(result: Segmentation) -> torch.Tensor:
    """(N,) bool: masks with a label that the granularity does not leave out."""
    labelled = result.label_index >= 0
    if result.options.granularity == 0:
        return labelled
    return labelled & select_by_granularity(result.probs, result.options.granularity)


def without_labels(result: Segmentation, masks: torch.Tensor) -> Segmentation:
    """The same with these masks, (N,) bool, unlabelled."""
    filled = result.embedded.filled & ~masks  # what holds nothing gets no label
    return replace(result, embedded=replace(result.embedded, filled=filled))


def legend(result: Segmentation, label_ids: Image, painted: torch.Tensor) -> tuple[LegendRow, ...]:
    """One row per word, in the vocabulary's order, those that were not found too.

    Args:
        result: the segmentation.
        label_ids: (H, W) uint8 its map.
        painted: (N,) bool from `painted_masks`.
    """
    return tuple(
        LegendRow(
            label.name,
            label_colour(label.id),
            int((result.label_index[painted] == place).sum()),
            float(np.count_nonzero(label_ids == label.id) / label_ids.size),
        )
        for place, label in enumerate(result.vocabulary)
    )


def mask_table(result: Segmentation, painted: torch.Tensor) -> tuple[MaskRow, ...]:
    """One row per mask, labelled ones first, each by falling score; `painted` as for `legend`."""
    rows = [_mask_row(result, i, bool(painted[i])) for i in range(len(result))]
    return tuple(sorted(rows, key=lambda row: (not row.label, -(row.score or 0.0), row.number)))


def _mask_row(result: Segmentation, i: int, painted: bool) -> MaskRow:
    mask = result.masks[i].numpy()
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    box = (columns[0], rows[0], columns[-1], rows[-1]) if len(columns) else (0, 0, 0, 0)
    asked, label = len(result.vocabulary) > 0, result.name_of(i)
    runner_up, runner_up_score = result.runner_up[i], float(result.runner_up_score[i])
    if asked and not label:  # of interest is which word came nearest
        runner_up_score = float(result.scores[i])
        runner_up = result.vocabulary.names[int(result.probs[i].argmax())] if runner_up_score > 0 else ""
    area = int(np.count_nonzero(mask))
    return MaskRow(
        number=i + 1,
        label=label,
        painted=painted,
        colour=label_colour(int(result.label_ids[i])) if label else None,
        score=float(result.scores[i]) if asked else None,
        runner_up=runner_up,
        runner_up_score=runner_up_score,
        area_px=area,
        area_share=area / mask.size,
        box_xyxy=tuple(int(edge) for edge in box),  # type: ignore[arg-type]
        proposal_score=float(result.mask_scores[i]),
        margin=float(result.margin[i]) if asked else None,
        remark=result.remarks[i],
    )


def counted_masks(count: int) -> str:
    """A number of masks in words for people."""
    return "1 mask" if count == 1 else f"{count} masks"


def timing_line(result: Segmentation, reused: bool, total_s: float) -> str:
    """How many masks, on which size, and what took how long."""
    height, width = result.frame.size_hw
    masks = counted_masks(len(result))
    stages = [f"{name} {1000 * seconds:.1f} ms" for name, seconds in result.timings.items()]
    if reused:
        fresh = [f"{name} {1000 * result.timings[name]:.1f} ms" for name in ("text", "classify")]
        stages = ["masks and embeddings reused", *fresh]
    return " · ".join([f"{masks} on {width}x{height}", *stages, f"all {1000 * total_s:.0f} ms"])


def what_is_missing(result: Segmentation) -> list[str]:
    """A sentence about words that no mask got, none where each has one."""
    if len(result) == 0:
        return ["the proposal generator found nothing that stands out"]
    labelled = set(result.label_index.tolist())
    missing = [label.name for place, label in enumerate(result.vocabulary) if place not in labelled]
    why = [remark for remark in dict.fromkeys(result.remarks) if remark] if missing else []
    if len(missing) == len(result.vocabulary):
        return why or ["no mask reaches the threshold for any word: lower it, or try other words"]
    return [f"not found: {', '.join(missing)}", *why] if missing else []

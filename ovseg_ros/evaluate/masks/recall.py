"""Average recall of class-agnostic masks, by pycocotools, in two steps: propose on every picture, then match.

COCO's rules hold: of each picture the masks with the highest scores count, each matches one true object at
most, crowds are neither found nor missed, and an object's size is that of its `area`. A mask that fits no
true object costs its place among the best and nothing else, so pictures with incomplete labels may be used.
"""

from __future__ import annotations

import contextlib
import io
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.errors import InvalidInputError
from ovseg_ros.evaluate.scores.run import Progress, each_picture
from ovseg_ros.files.coco import RunLengths
from ovseg_ros.files.instances import InstanceDataset, Picture

LIMITS = (10, 100, 1000)
"""So many masks of each picture count, the best-scored ones."""

SIZES = ("all", "small", "medium", "large")
"""COCO's: small is up to 32², large from 96² pixels on."""

FOUND_LIMIT, FOUND_IOU = 100, 0.5
"""What "found" means of one object: a mask among so many matches it at this IoU."""

BySize = Mapping[str, float | None]
"""Size -> share in [0, 1]; None where no true object has it."""


@dataclass(frozen=True)
class AtLimit:
    """What the best masks of each picture reach, so many at most.

    Attributes:
        average_recall: mean over the IoUs 0.50, 0.55 … 0.95 of the share of objects that a mask matches.
        recall_at_half: that share at IoU 0.5 alone.
        mean_best_iou: mean over the objects of the best IoU any mask has; one mask may serve several.
    """

    average_recall: BySize
    recall_at_half: BySize
    mean_best_iou: BySize


@dataclass(frozen=True)
class ObjectResult:
    """One true object that is no crowd, with `FOUND_LIMIT` masks.

    Attributes:
        picture: its name.
        category: the object's.
        area: in pixels, as the data set says.
        best_iou: of any mask, 0 where none overlaps it.
        found: whether a mask matches it at `FOUND_IOU`.
        rle: its true mask.
        best_rle: the mask with the best IoU; None where none overlaps it.
    """

    picture: str
    category: str
    area: float
    best_iou: float
    found: bool
    rle: RunLengths = field(repr=False, compare=False)
    best_rle: RunLengths | None = field(repr=False, compare=False)


@dataclass(frozen=True)
class MaskScores:
    """What was measured, and on what.

    Attributes:
        dataset: its name.
        images: pictures that were scored.
        failed: (name, reason) of each that was not.
        true_objects: size -> how many; one whose area is exactly a bound counts in both sizes, as in COCO.
        crowds: how many groups were left out.
        at: one of `LIMITS` -> what so many masks reach.
        masks_per_image: mean number proposed.
        median_ms: a picture's median time, from the frame to masks on the CPU.
        objects: every true object, picture by picture.
    """

    dataset: str
    images: int
    failed: tuple[tuple[str, str], ...]
    true_objects: Mapping[str, int]
    crowds: int
    at: Mapping[int, AtLimit]
    masks_per_image: float
    median_ms: float
    objects: tuple[ObjectResult, ...] = field(repr=False)

    def average_recall(self, limit: int = 100, size: str = "all") -> float | None:
        """AR@limit; None where no true object has the size."""
        return self.at[limit].average_recall[size]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "dataset": self.dataset,
            "images": self.images,
            "failed": [{"name": name, "reason": text} for name, text in self.failed],
            "true_objects": dict(self.true_objects),
            "crowds": self.crowds,
            "masks_per_image": self.masks_per_image,
            "median_ms": self.median_ms,
            "at": {str(limit): asdict(values) for limit, values in self.at.items()},
            "objects": [
                {name: getattr(o, name) for name in ("picture", "category", "area", "best_iou", "found")}
                for o in self.objects
            ],
        }


def score_masks(
    dataset: InstanceDataset,
    propose: Callable[[Frame], Proposals],
    *,
    progress: Progress = lambda done, total: None,
) -> MaskScores:
    """Proposes masks on every picture and scores them against the true instances.

    A picture that cannot be read or on which the generator fails counts nowhere; it is named with its reason.

    Args:
        dataset: see `read_instances`.
        propose: frame -> masks with scores, N = 0 included; of several thousand the 1000 best count.
        progress: see `Progress`.

    Raises:
        InvalidInputError: no picture could be scored, or none of the first `GIVE_UP_AFTER`.
        ConfigError, WeightsError: these concern every picture.
    """
    pictures: list[Picture] = []
    proposed: list[_Proposed] = []

    def score(i: int) -> None:
        picture = dataset.pictures[i]
        proposed.append(_propose(propose, Frame(picture.read())))
        pictures.append(picture)

    failed = each_picture([picture.name for picture in dataset.pictures], score, dataset.name, progress)
    evaluator = _evaluate(pictures, proposed)
    return MaskScores(
        dataset=dataset.name,
        images=len(pictures),
        failed=tuple(failed),
        true_objects={size: len(_counted(evaluator, a)) for a, size in enumerate(SIZES)},
        crowds=sum(one.is_crowd for picture in pictures for one in picture.instances),
        at={limit: _at_limit(evaluator, limit) for limit in LIMITS},
        masks_per_image=statistics.fmean(one.count for one in proposed),
        median_ms=1000.0 * statistics.median(one.seconds for one in proposed),
        objects=_object_results(evaluator, pictures),
    )


@dataclass(frozen=True)
class _Proposed:
    """What was proposed on one picture.

    Attributes:
        rles: the best masks, the surest first, as many as count.
        scores: theirs.
        count: of all masks.
        seconds: that it took.
    """

    rles: Sequence[RunLengths]
    scores: Sequence[float]
    count: int
    seconds: float


def _propose(propose: Callable[[Frame], Proposals], frame: Frame) -> _Proposed:
    start = time.perf_counter()
    proposals = propose(frame)
    all_masks = proposals.masks.cpu().numpy()  # (N,H,W); on a GPU this waits for the result
    seconds = time.perf_counter() - start
    proposals.check_size(frame, propose)
    scores = proposals.scores.detach().cpu().double().numpy()  # (N,)
    if not np.isfinite(scores).all():
        raise InvalidInputError("expected finite scores of masks, got nan or inf: they cannot be ranked")
    best = np.argsort(-scores, kind="stable")[: max(LIMITS)]
    rles = [coco_mask.encode(np.asfortranarray(all_masks[i].view(np.uint8))) for i in best]
    return _Proposed(rles, scores[best].tolist(), len(all_masks), seconds)


def _evaluate(pictures: Sequence[Picture], proposed: Sequence[_Proposed]) -> COCOeval:
    """COCO's evaluation, run; picture i has the number i."""
    truth = (
        {"image_id": i, "segmentation": one.rle, "area": one.area, "iscrowd": int(one.is_crowd)}
        for i, picture in enumerate(pictures)
        for one in picture.instances
    )
    guesses = (
        {"image_id": i, "segmentation": rle, "area": float(coco_mask.area(rle)), "score": score}
        for i, one in enumerate(proposed)
        for rle, score in zip(one.rles, one.scores, strict=True)
    )
    with contextlib.redirect_stdout(io.StringIO()):  # it tells of its progress
        evaluator = COCOeval(_indexed(pictures, truth), _indexed(pictures, guesses), "segm")
        evaluator.params.useCats = 0
        evaluator.params.maxDets = list(LIMITS)
        evaluator.evaluate()
        evaluator.accumulate()
    return evaluator


def _indexed(pictures: Sequence[Picture], annotations: Iterable[dict[str, Any]]) -> COCO:
    """A data set of one category. Numbers begin at 1: to pycocotools a match with number 0 is none."""
    coco = COCO()
    coco.dataset = {
        "images": [
            {"id": i, "height": picture.size_hw[0], "width": picture.size_hw[1]}
            for i, picture in enumerate(pictures)
        ],
        "annotations": [{"id": number, "category_id": 1, **one} for number, one in enumerate(annotations, 1)],
        "categories": [{"id": 1, "name": "thing"}],
    }
    coco.createIndex()
    return coco


def _at_limit(evaluator: COCOeval, limit: int) -> AtLimit:
    recall = evaluator.eval["recall"][:, 0, :, LIMITS.index(limit)]  # (10 IoUs, 4 sizes), -1 without objects
    best = _best_ious(evaluator, limit)
    sizes = [_counted(evaluator, a) for a in range(len(SIZES))]
    return AtLimit(
        average_recall={size: _share(recall[:, a].mean()) for a, size in enumerate(SIZES)},
        recall_at_half={size: _share(recall[0, a]) for a, size in enumerate(SIZES)},
        mean_best_iou={
            size: statistics.fmean(best[number][0] for number in numbers) if numbers else None
            for size, numbers in zip(SIZES, sizes, strict=True)
        },
    )


def _share(value: float) -> float | None:
    return None if value < 0 else float(value)


def _counted(evaluator: COCOeval, size: int) -> list[int]:
    """The numbers of the true objects of one of `SIZES` that are no crowds."""
    images = len(evaluator.params.imgIds)
    found = evaluator.evalImgs[size * images : (size + 1) * images]
    return [
        number
        for one in found
        if one is not None  # neither truth nor masks
        for number, is_ignored in zip(one["gtIds"], one["gtIgnore"], strict=True)
        if not is_ignored
    ]


def _best_ious(evaluator: COCOeval, limit: int) -> dict[int, tuple[float, int]]:
    """Number of a true object -> (best IoU of the picture's `limit` best masks, that mask's place or -1)."""
    found = {}
    for (image, _), ious in evaluator.ious.items():  # (masks, true objects); [] where either is missing
        values: npt.NDArray[np.float64] = np.asarray(ious)[:limit]
        for column, number in enumerate(evaluator.cocoGt.getAnnIds(imgIds=[image])):
            place = int(values[:, column].argmax()) if values.size else -1
            iou = float(values[place, column]) if values.size else 0.0
            found[number] = (iou, place if iou > 0.0 else -1)
    return found


def _object_results(evaluator: COCOeval, pictures: Sequence[Picture]) -> tuple[ObjectResult, ...]:
    (half,) = np.flatnonzero(np.isclose(evaluator.params.iouThrs, FOUND_IOU))
    best = _best_ious(evaluator, FOUND_LIMIT)
    results = []
    for one in evaluator.evalImgs[: len(pictures)]:  # of the size "all"
        if one is None:
            continue
        picture = pictures[one["image_id"]]
        instances = dict(
            zip(evaluator.cocoGt.getAnnIds(imgIds=[one["image_id"]]), picture.instances, strict=True)
        )
        counting = set(one["dtIds"][:FOUND_LIMIT])
        matches = dict(zip(one["gtIds"], one["gtMatches"][half], strict=True))
        for number, instance in instances.items():
            if instance.is_crowd:
                continue
            iou, place = best[number]
            guess = evaluator.cocoDt.anns[one["dtIds"][place]]["segmentation"] if place >= 0 else None
            found = int(matches[number]) in counting
            results.append(
                ObjectResult(picture.name, instance.category, instance.area, iou, found, instance.rle, guess)
            )
    return tuple(results)

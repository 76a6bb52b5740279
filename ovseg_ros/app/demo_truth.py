"""What the demo's answers are held against: the recording's ground truth. The node never sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_ros.core.mask_overlap import mask_iou
from ovseg_ros.core.vocabulary import tidy_text
from ovseg_ros.evaluate.demo import GOOD_IOU
from ovseg_ros.evaluate.measures import MIN_PIXELS
from ovseg_ros.evaluate.recording import RecordedFrame
from ovseg_ros.evaluate.scores import instance_masks

GARAGE_IOU = {"motorcycle": 0.8, "shelf": 0.5, "door": 0.5, "bench": 0.5}
"""From which IoU a mask of the garage is right: its truth is drawn by hand; the tabletop's is exact."""


@dataclass(frozen=True)
class Judgement:
    """Whether an answer for one word is right.

    Attributes:
        correct: it is.
        iou: of the answered mask with the instance of the word it fits best; None where the word names
            nothing in the recording or nothing was answered.
        expected: FOUND or NOT_FOUND.
    """

    correct: bool
    iou: float | None
    expected: str


class Truth:
    """The things of one recording by name, and the judge of answers."""

    def __init__(
        self, words_by_instance: Mapping[int, tuple[str, ...]], needed_iou: Mapping[str, float] | None = None
    ) -> None:
        """Takes what is known of the recording.

        Args:
            words_by_instance: instance id -> its name, then its synonyms.
            needed_iou: name -> IoU from which its mask is right, where that is not `GOOD_IOU`.
        """
        self._words_by_instance = words_by_instance
        self._needed_iou = needed_iou or {}

    @classmethod
    def of_frames(
        cls, frames: Iterable[RecordedFrame], needed_iou: Mapping[str, float] | None = None
    ) -> Truth:
        """Takes the names of all scenes."""
        words: dict[int, tuple[str, ...]] = {}
        for one in frames:
            words |= {i: (name, *one.synonyms.get(i, ())) for i, name in one.names.items()}
        return cls(words, needed_iou)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all things, each once."""
        return tuple(dict.fromkeys(words[0] for words in self._words_by_instance.values()))

    def instances(self, word: str) -> list[int]:
        """The things with this name or synonym, or whose name ends with it ("mug": the red mug)."""
        asked = tidy_text(word).casefold()
        return [
            instance
            for instance, words in self._words_by_instance.items()
            if any(asked == w.casefold() for w in words) or words[0].casefold().endswith(" " + asked)
        ]

    def knows(self, word: str) -> bool:
        """Whether anything in the recording has this name."""
        return bool(self.instances(word))

    def is_shown(self, word: str, image: np.ndarray) -> bool:
        """Whether one of the things shows at least `MIN_PIXELS` in an instance image (H, W)."""
        return any(np.count_nonzero(image == i) >= MIN_PIXELS for i in self.instances(word))

    def fits(self, words: Sequence[str], image: np.ndarray) -> bool:
        """Whether it is a moment to ask: each word is in good view, or nowhere in the recording."""
        return all(self.is_shown(word, image) or not self.knows(word) for word in words)

    def judge(self, word: str, answered: Iterable[np.ndarray], image: np.ndarray) -> Judgement | None:
        """Holds an answer against the truth of its own frame.

        Args:
            word: what was asked.
            answered: the masks (H, W) bool that were given this word, best first; only the best counts.
            image: the instance image (H, W) of the frame that was searched.

        Returns:
            None where it cannot be said: the thing is in the recording, but hardly or not in this frame.
        """
        best = next(iter(answered), None)
        instances = self.instances(word)
        if not instances:
            return Judgement(best is None, None, "NOT_FOUND")
        if not self.is_shown(word, image):
            return None
        if best is None:
            return Judgement(False, None, "FOUND")
        ious = dict(zip(instances, mask_iou(best[None], instance_masks(image, instances))[0], strict=True))
        instance = max(ious, key=ious.__getitem__)
        needed = self._needed_iou.get(self._words_by_instance[instance][0], GOOD_IOU)
        return Judgement(bool(ious[instance] >= needed), float(ious[instance]), "FOUND")

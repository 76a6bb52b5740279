"""What the demo's answers are held against: the recording's ground truth. The node never sees it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_ros.core.maps import mask_iou
from ovseg_ros.core.words import tidy_text
from ovseg_ros.evaluate.recordings.demo import GOOD_IOU
from ovseg_ros.evaluate.recordings.measures import ABSENT_WORDS, MIN_PIXELS
from ovseg_ros.evaluate.recordings.recording import RecordedFrame
from ovseg_ros.evaluate.scores.match import best_matches, instance_masks


@dataclass(frozen=True)
class Judgement:
    """What the truth says to an answer for one word.

    Attributes:
        correct: whether the answer is right; None where the truth has no word for what was asked.
        iou: of the answered mask with the instance of the word it fits best; None where the word names
            nothing in the scene or nothing was answered.
        expected: FOUND or NOT_FOUND; "" where the truth has no word for it.
    """

    correct: bool | None
    iou: float | None
    expected: str


@dataclass(frozen=True)
class BestMask:
    """How well the masks of a frame cover one true thing.

    Attributes:
        scene: the title of its scene.
        thing: its name.
        iou: of the mask that fits it best, whatever that is called; 0 where none overlaps it.
        mask: the place of that mask among those that were given; -1 where none overlaps it.
    """

    scene: str
    thing: str
    iou: float
    mask: int


class Truth:
    """The things of one recording by name, and the judge of answers.

    A word the recording has no name for may still name something in it ("can of soup", "Teekanne"): only
    those of `absent` are known to be nowhere.
    """

    def __init__(
        self,
        scenes: Sequence[Mapping[int, tuple[str, ...]]],
        needed_iou: Mapping[str, float] | None = None,
        absent: Iterable[str] = ABSENT_WORDS,
        *,
        titles: Sequence[str] = (),
        good_iou: float = GOOD_IOU,
    ) -> None:
        """Takes what is known of the recording.

        Args:
            scenes: per scene, instance id -> its name, then its synonyms. No two things share an id.
            needed_iou: name -> IoU from which its mask is right, where that is not `good_iou`.
            absent: words for what no scene shows, unless one of the names says otherwise.
            titles: per scene what people call it; () where they are only numbered.
            good_iou: from which IoU a mask is right.
        """
        self._scenes = tuple(dict(scene) for scene in scenes)
        self._words_by_instance = {i: words for scene in self._scenes for i, words in scene.items()}
        self._needed_iou = needed_iou or {}
        self._absent = {word.casefold() for word in absent}
        self.titles = tuple(titles) or tuple(f"scene {n + 1}" for n in range(len(self._scenes)))
        self._good_iou = good_iou

    @classmethod
    def of_frames(
        cls,
        frames: Iterable[RecordedFrame],
        needed_iou: Mapping[str, float] | None = None,
        absent: Iterable[str] = ABSENT_WORDS,
        *,
        good_iou: float = GOOD_IOU,
    ) -> Truth:
        """Takes the names of all scenes: frames that tell of the same things are of one scene."""
        scenes: dict[frozenset[int], dict[int, tuple[str, ...]]] = {}
        titles: dict[frozenset[int], str] = {}
        for one in frames:
            if one.names:
                words = {i: (name, *one.synonyms.get(i, ())) for i, name in one.names.items()}
                scenes[frozenset(one.names)] = words
                titles[frozenset(one.names)] = one.title
        named = list(titles.values()) if all(titles.values()) else []
        return cls(list(scenes.values()), needed_iou, absent, titles=named, good_iou=good_iou)

    @property
    def scenes(self) -> int:
        """How many scenes there are."""
        return len(self._scenes)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all things, each once."""
        return tuple(dict.fromkeys(words[0] for words in self._words_by_instance.values()))

    def instances(self, word: str, scene: int | None = None) -> list[int]:
        """The things with this name or synonym, or whose name ends with it ("mug": the red mug).

        One or many is the same question ("mugs"). `scene` counts from 0; None: those of all scenes.
        """
        asked = tidy_text(word).casefold()
        things = self._words_by_instance if scene is None else self._scenes[scene]
        return [
            instance
            for instance, words in things.items()
            if any(asked in forms(w) for w in words) or any(f.endswith(" " + asked) for f in forms(words[0]))
        ]

    def knows(self, word: str) -> bool:
        """Whether anything in the recording has this name."""
        return bool(self.instances(word))

    def judges(self, word: str) -> bool:
        """Whether it can be said of an answer to this word that it is right or wrong."""
        asked = tidy_text(word).casefold()
        return self.knows(word) or any(asked in forms(one) for one in self._absent)

    def scene_of(self, image: np.ndarray) -> int | None:
        """Which scene an instance image (H, W) shows; None where it shows none of the things."""
        shown = set(np.unique(image).tolist())
        return next((n for n, scene in enumerate(self._scenes) if shown & set(scene)), None)

    def is_shown(self, word: str, image: np.ndarray) -> bool:
        """Whether one of the things shows at least `MIN_PIXELS` in an instance image (H, W)."""
        return any(np.count_nonzero(image == i) >= MIN_PIXELS for i in self.instances(word))

    def fits(self, words: Sequence[str], image: np.ndarray, scene: int | None = None) -> bool:
        """Whether it is a moment to ask: each word is in good view, or nowhere in the scene.

        Args:
            words: what is asked.
            image: the instance image (H, W).
            scene: the one to ask in; None: any, and then each thing must be seen that the recording has.
        """
        if scene is not None and self.scene_of(image) != scene:
            return False
        return all(self.is_shown(word, image) or not self.instances(word, scene) for word in words)

    def judge(
        self, word: str, answered: Iterable[np.ndarray], image: np.ndarray, scene: int | None = None
    ) -> Judgement | None:
        """Holds an answer against the truth of its own frame.

        Args:
            word: what was asked.
            answered: the masks (H, W) bool that were given this word, best first; only the best counts.
            image: the instance image (H, W) of the frame that was searched.
            scene: the one of that frame where it was asked in that one; None: asked wherever the thing is.

        Returns:
            None where the frame does not tell: the thing is in its scene, but hardly or not in view.
        """
        best = next(iter(answered), None)
        if not self.judges(word):
            return Judgement(None, None, "")
        instances = self.instances(word, scene)
        if not instances:
            return Judgement(best is None, None, "NOT_FOUND")
        if not self.is_shown(word, image):
            return None
        if best is None:
            return Judgement(False, None, "FOUND")
        ious = dict(zip(instances, mask_iou(best[None], instance_masks(image, instances))[0], strict=True))
        instance = max(ious, key=ious.__getitem__)
        needed = self._needed_iou.get(self._words_by_instance[instance][0], self._good_iou)
        return Judgement(bool(ious[instance] >= needed), float(ious[instance]), "FOUND")

    def note(self, word: str, scene: int | None = None) -> str:
        """What the table says of a word beside its row; `scene`: the one it was asked in, if in one."""
        if not self.judges(word):
            said = "not judged: the ground truth has no such word"
        elif not self.knows(word):
            said = "absent in this recording"
        else:
            said = "" if self.instances(word, scene) else "absent in this scene"
        where = self.titles[scene] if scene is not None and self.scenes > 1 else ""
        return ": ".join(part for part in (where, said) if part)

    def best_masks(self, masks: Sequence[np.ndarray], image: np.ndarray) -> list[BestMask]:
        """For each thing in good view the one mask that fits it best, whatever it is called.

        Args:
            masks: (H, W) bool each.
            image: the instance image (H, W).
        """
        scene = self.scene_of(image)
        if scene is None:
            return []
        shown = [i for i in self._scenes[scene] if np.count_nonzero(image == i) >= MIN_PIXELS]
        given = np.stack(masks) if len(masks) else np.zeros((0, *image.shape), bool)
        matches = best_matches(mask_iou(given, instance_masks(image, shown)))
        return [
            BestMask(self.titles[scene], self._scenes[scene][i][0], match.iou, match.proposal)
            for i, match in zip(shown, matches, strict=True)
        ]


def forms(name: str) -> tuple[str, ...]:
    """A name in lower case for one and for many: "Mug" -> ("mug", "mugs"); English rules, no exceptions."""
    one = name.casefold()
    if one.endswith(("s", "x", "z", "ch", "sh")):
        many = one + "es"
    elif one.endswith("y") and not one.endswith(("ay", "ey", "oy", "uy")):
        many = one[:-1] + "ies"
    elif one.endswith(("lf", "ife")):  # shelf, knife, and no giraffe
        many = one.removesuffix("e").removesuffix("f") + "ves"
    else:
        many = one + "s"
    return one, many

"""Names taught by example: which region of a frame is the thing that was shown, and how sure that is.

A region speaks for a name by how much it is like the examples, f = weights · features, see `Weights`: by the
cosine of embeddings, colours and size, and by how much it is more like the examples than like anything that
stood beside them or is in memory (`Rivals`). As a thing is in one place or none, all regions of a frame
compete with each other and with "it is not here", whose f is 0:

    p(region) = exp f(region) / (1 + exp f(region) + Σ exp f(other thing))

over the regions that show another thing than this one. So of two that are alike both get less than a half.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.memory.entry import Example, Floats, Vectors
from ovseg_ros.memory.teaching.looks import Looks

FURTHEST_SIZE = 1.0
"""No difference in size counts for more, as a logarithm: parts of a thing may be hidden."""

_MASK_RANGE = 0.02, 0.98  # a mask's score is cut to it before its log odds are taken


@dataclass(frozen=True)
class Weights:
    """What makes likeness a probability; fitted by `benchmark/taught.py fit`.

    f = bias + cosine · c + ahead · (c − r) + colour · k + colour_ahead · (k − q)
        − size · s + mask · m − examples · ln E

    c and k are the cosine and the likeness of palettes with the most alike example, r and q those with the
    most alike rival, s the difference of sizes as a logarithm, at most `FURTHEST_SIZE`, m the log odds of the
    mask's own score, and E the number of examples: the best of many is good by chance.

    Attributes:
        usual_rival: r where no rival is known: the mean where the weights were fitted.
        usual_colour_rival: q, likewise.
        usual_size: s where a size is not known, likewise.
        threshold: from which probability a thing is FOUND.
    """

    bias: float
    cosine: float
    ahead: float
    colour: float
    colour_ahead: float
    size: float
    mask: float
    examples: float
    usual_rival: float
    usual_colour_rival: float
    usual_size: float
    threshold: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(value) for value in vars(self).values()) or not 0 < self.threshold < 1:
            raise ConfigError(f"expected finite weights and a threshold within (0, 1), got {self}")


@dataclass(frozen=True, eq=False)
class Rivals:
    """Looks of M things that are not the one asked for.

    Attributes:
        embeddings: (M, D) float32 unit rows.
        palettes: (M, C) float32; None where colours are not known, as of entries of the object memory.
    """

    embeddings: Vectors
    palettes: Vectors | None = None


@dataclass(frozen=True, eq=False)
class Decision:
    """What a frame says about a taught name.

    Attributes:
        region: the most probable, -1 in a frame without regions.
        score: the probability that it is the thing, in [0, 1].
        found: whether that is enough.
        runner_up: the most probable region that shows another thing, -1 without any.
        margin: `score` less the runner-up's.
        scores: (N,) the probability of each region.
    """

    region: int
    score: float
    found: bool
    runner_up: int
    margin: float
    scores: Floats


NOTHING = Decision(-1, 0.0, False, -1, 0.0, np.zeros(0))
"""Of a frame without regions."""


def find_taught(
    examples: Sequence[Example],
    looks: Looks,
    weights: Weights,
    rivals: Sequence[Rivals] = (),
) -> Decision:
    """Looks for a thing that was shown.

    Args:
        examples: of one name, at least one, with their palettes.
        looks: the regions of a frame, of the same space.
        weights: for this space, with or without sizes: `weights_of(preset, sized=looks.sized)`.
        rivals: what else is known: of the object memory all entries but the thing's own, and other names'
            examples. What stood beside the examples is known from themselves. The thing itself must not be
            among them: nothing is more like it.

    Raises:
        InvalidInputError: no example, examples of two names or of another space, or without a palette.
    """
    if len({example.name for example in examples}) > 1:
        raise InvalidInputError(f"expected examples of one name, got {sorted({e.name for e in examples})}")
    fit = fit_of(examples, looks, weights, rivals)
    return decide(fit, looks, weights.threshold) if len(looks) else NOTHING


def fit_of(
    examples: Sequence[Example], looks: Looks, weights: Weights, rivals: Sequence[Rivals] = ()
) -> Floats:
    """(N,) f of each region, see `Weights`; -inf where nobody has looked at it. Errors as for `features`."""
    evidence = features(examples, looks, rivals)
    rival = np.nan_to_num(evidence["rival"], nan=weights.usual_rival)
    colour_rival = np.nan_to_num(evidence["colour_rival"], nan=weights.usual_colour_rival)
    size = np.nan_to_num(evidence["size"], nan=weights.usual_size)
    fit: Floats = (
        weights.bias
        + weights.cosine * evidence["cosine"]
        + weights.ahead * (evidence["cosine"] - rival)
        + weights.colour * evidence["colour"]
        + weights.colour_ahead * (evidence["colour"] - colour_rival)
        - weights.size * size
        + weights.mask * evidence["mask"]
        - weights.examples * math.log(len(examples))
    )
    fit[~looks.embeddings.any(axis=1)] = -np.inf
    return fit


def features(examples: Sequence[Example], looks: Looks, rivals: Sequence[Rivals] = ()) -> dict[str, Floats]:
    """What speaks for each of N regions, (N,) each: see `Weights`; NaN where no rival or size is known.

    Raises:
        InvalidInputError: see `find_taught`.
    """
    embeddings, palettes, sizes = _shown(examples, looks.space)
    beside = [Rivals(e.others, e.other_palettes) for e in examples if e.others is not None]
    known = [*beside, *rivals]
    scores = np.clip(looks.mask_scores, *_MASK_RANGE)
    return {
        "cosine": _likest(looks.embeddings, [embeddings]),
        "rival": _likest(looks.embeddings, [one.embeddings for one in known]),
        "colour": _likest(looks.palettes, [palettes]),
        "colour_rival": _likest(looks.palettes, [one.palettes for one in known]),
        "size": _size_difference(looks.sizes_m, sizes),
        "mask": np.log(scores / (1 - scores)),
    }


def decide(fit: Floats, looks: Looks, threshold: float) -> Decision:
    """The most probable of N >= 1 regions, by f of each; see the top of this file."""
    best = int(fit.argmax())
    if not np.isfinite(fit[best]):
        return Decision(-1, 0.0, False, -1, 0.0, np.zeros(len(fit)))
    scores = np.zeros(len(fit))
    for i in np.flatnonzero(np.isfinite(fit)):
        others = fit[looks.apart(i)]
        scores[i] = np.exp(fit[i] - np.logaddexp.reduce([0.0, fit[i], *others]))
    apart = np.flatnonzero(looks.apart(best) & np.isfinite(fit))
    second = int(apart[fit[apart].argmax()]) if len(apart) else -1
    score = float(scores[best])
    margin = score - (float(scores[second]) if second >= 0 else 0.0)
    return Decision(best, score, score >= threshold, second, margin, scores)


def find_like(
    examples: Sequence[Example],
    embeddings: Vectors,
    palettes: Vectors | None = None,
) -> list[tuple[int, float]]:
    """Ranks things by their likeness to a picture or a region, the likest first; says not whether it is one.

    Args:
        examples: one or more looks at what is meant; `Looks.example` makes one of a region. A picture of a
            thing is a frame with one region, all of it.
        embeddings: (N, D) float32 unit rows, of regions of a frame or of entries of the same space.
        palettes: (N, C); None where they are not known: embeddings alone are compared then.

    Returns:
        N times (place, likeness): cosine, or the mean of it and of the palettes' likeness.

    Raises:
        InvalidInputError: no example, another width, or no palettes of the examples.
    """
    if not examples or embeddings.ndim != 2 or embeddings.shape[1] != len(examples[0].embedding):
        raise InvalidInputError(
            f"expected an example and (N, D) embeddings like its own, got {embeddings.shape}"
        )
    likeness = _likest(embeddings, [np.stack([e.embedding for e in examples])])
    if palettes is not None:
        shown = _shown(examples, examples[0].space)[1]
        likeness = (likeness + _likest(palettes, [shown])) / 2
    return [(int(i), float(likeness[i])) for i in np.argsort(-likeness, kind="stable")]


def _shown(examples: Sequence[Example], space: str) -> tuple[Vectors, Vectors, Floats]:
    """(E, D) embeddings, (E, C) palettes and (E,) sizes, NaN where not known."""
    if not examples:
        raise InvalidInputError("expected at least one example, got none; teach the name first")
    palettes = [example.palette for example in examples if example.palette is not None]
    if len(palettes) < len(examples):
        raise InvalidInputError(f"{examples[0].name!r} has an example without colours; teach it again")
    foreign = {example.space for example in examples} - {space}
    if foreign:
        raise InvalidInputError(
            f"{examples[0].name!r} was taught with the embeddings of {sorted(foreign)}, not of {space!r}; "
            "teach it again with this model"
        )
    sizes = [np.nan if example.size_m is None else example.size_m for example in examples]
    return np.stack([example.embedding for example in examples]), np.stack(palettes), np.array(sizes, float)


def _likest(rows: Vectors, groups: Sequence[Vectors | None]) -> Floats:
    """(N,) the highest inner product of each row with any of all groups; NaN where they hold none."""
    best = np.full(len(rows), np.nan)
    for group in groups:
        if group is not None and len(group) and len(rows):
            best = np.fmax(best, (rows @ group.T).max(axis=1))
    return best


def _size_difference(sizes_m: Floats, shown_m: Floats) -> Floats:
    """(N,) |ln ratio| with the nearest example, at most `FURTHEST_SIZE`; NaN where a size is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.abs(np.log(sizes_m[:, None]) - np.log(shown_m[None]))  # (N,E)
    return np.asarray(np.minimum(np.fmin.reduce(ratio, axis=1), FURTHEST_SIZE))


WEIGHTS = {
    "lite": (
        Weights(
            bias=-4.17,
            cosine=5.93,
            ahead=4.41,
            colour=4.02,
            colour_ahead=4.99,
            size=3.55,
            mask=0.4,
            examples=1.31,
            usual_rival=0.4,
            usual_colour_rival=0.73,
            usual_size=0.61,
            threshold=0.91,
        ),
        Weights(
            bias=-5.88,
            cosine=7.27,
            ahead=4.94,
            colour=4.39,
            colour_ahead=5.2,
            size=0.0,
            mask=0.76,
            examples=1.21,
            usual_rival=0.4,
            usual_colour_rival=0.73,
            usual_size=0.0,
            threshold=0.91,
        ),
    ),
    "mini": (
        Weights(
            bias=-9.84,
            cosine=12.51,
            ahead=2.35,
            colour=2.61,
            colour_ahead=2.94,
            size=3.41,
            mask=-0.13,
            examples=1.21,
            usual_rival=0.71,
            usual_colour_rival=0.72,
            usual_size=0.47,
            threshold=0.85,
        ),
        Weights(
            bias=-11.73,
            cosine=13.44,
            ahead=3.03,
            colour=2.57,
            colour_ahead=2.83,
            size=0.0,
            mask=0.02,
            examples=1.01,
            usual_rival=0.71,
            usual_colour_rival=0.72,
            usual_size=0.0,
            threshold=0.84,
        ),
    ),
}
"""By preset, with and without sizes: by `benchmark/taught.py fit` on rendered scenes, docs/teaching.md."""


def has_weights(preset: str) -> bool:
    """Whether names can be taught to a preset."""
    return preset in WEIGHTS


def weights_of(preset: str, *, sized: bool) -> Weights:
    """What was fitted for a preset's embeddings.

    Args:
        preset: its name.
        sized: whether sizes are known, as they are with depth: `Looks.sized`.

    Raises:
        ConfigError: nothing was fitted for it.
    """
    if preset not in WEIGHTS:
        raise ConfigError(
            f"names taught by example work with the preset {' or '.join(WEIGHTS)}, got {preset!r}: cosines "
            "of other encoders mean something else (benchmark/taught.py fits weights)"
        )
    return WEIGHTS[preset][0 if sized else 1]

"""Fits the weights of `ovseg_ros.memory.teaching.taught` on trials, for `taught.py`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

from ovseg_ros.memory.teaching import Looks, Weights, decide

MOST_FALSE = 0.03
"""Of the trials without the thing or another of its kind are FOUND at most, at each number of examples."""

RIDGE = 1e-5
"""Holds weights in, where the data is parted without an error."""

FITTED = ("bias", "cosine", "ahead", "colour", "colour_ahead", "size", "mask", "examples")


@dataclass(frozen=True)
class Evidence:
    """A trial as the fit sees it.

    Attributes:
        features: of `ovseg_ros.memory.features`.
        right: (N,) bool.
        unsure: (N,) bool, neither right nor another thing.
        looks: of the frame.
        examples: how many there were.
        counts: whether it counts for the threshold.
    """

    features: dict[str, np.ndarray]
    right: np.ndarray
    unsure: np.ndarray
    looks: Looks
    examples: int
    counts: bool


def fit_weights(trials: Sequence[Evidence], sized: bool) -> Weights:
    """The likeliest weights, and the threshold at which `MOST_FALSE` are FOUND of what is not there."""
    every = {name: np.concatenate([one.features[name] for one in trials]) for name in trials[0].features}
    usual = {name: float(np.nanmean(every[name])) if sized or name != "size" else 0.0
             for name in ("rival", "colour_rival", "size")}  # fmt: skip
    columns = [_columns(one, usual, sized) for one in trials]
    start = np.array([-4.0] + [0.0] * (len(FITTED) - 1))
    fitted = minimize(_loss, start, args=(columns, trials), method="BFGS", options={"maxiter": 100}).x
    false: dict[int, list[float]] = {}  # scores of what is not there, by the number of examples
    for matrix, trial in zip(columns, trials):
        if trial.counts and not trial.right.any():
            score = decide(matrix @ fitted, trial.looks, 0.5).score
            false.setdefault(trial.examples, []).append(score)
    threshold = max(np.quantile(scores, 1 - MOST_FALSE) for scores in false.values())
    values = dict(zip(FITTED, np.round(fitted, 2).tolist()))
    values |= {f"usual_{name}": round(value, 2) for name, value in usual.items()}
    return Weights(**values, threshold=min(float(np.ceil(100 * threshold)) / 100, 0.99))


def as_code(weights: Weights) -> str:
    """As it stands in taught.py."""
    return f"Weights({', '.join(f'{k}={v}' for k, v in dataclasses.asdict(weights).items())})"


def _columns(one: Evidence, usual: dict[str, float], sized: bool) -> np.ndarray:
    """(N, 8) what the weights are multiplied with, in the order of `FITTED`."""
    f = {name: np.nan_to_num(values, nan=usual.get(name, np.nan)) for name, values in one.features.items()}
    size = -f["size"] if sized else np.zeros_like(f["size"])
    ahead, colour_ahead = f["cosine"] - f["rival"], f["colour"] - f["colour_rival"]
    ones, many = np.ones_like(size), np.full_like(size, -np.log(one.examples))
    return np.stack([ones, f["cosine"], ahead, f["colour"], colour_ahead, size, f["mask"], many], 1)


def _loss(weights: np.ndarray, columns: Sequence[np.ndarray], trials: Sequence[Evidence]) -> float:
    """Mean of −log p of the best right region, or of "it is not here", among all that is not unsure."""
    total = 0.0
    for matrix, trial in zip(columns, trials):
        fit = matrix @ weights
        wrong = fit[~trial.right & ~trial.unsure]
        if trial.right.any():
            best = fit[trial.right].max()
            total += np.logaddexp.reduce([0.0, best, *wrong]) - best
        else:
            total += np.logaddexp.reduce([0.0, *wrong])
    return float(total / len(trials) + RIDGE * (weights[1:] ** 2).sum())

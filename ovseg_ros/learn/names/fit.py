"""Learns the map from features to words: softmax regression with the text tower locked.

    logits(x, word) = k · (S(x, word) + (z · W + b) · t(word)),    loss = Σ u(word) · CE + l · k · |W|²

S is what the word's set of classes says already (`ClassSets`), so that W has to learn only what ImageNet has
no class for; z are the features of both views, standardised and in the first principal directions; t is the
word's embedding less the mean of ImageNet's names, made unit length, in the first principal directions of
such names; u evens out how often names come. Of W a part is kept (`Recipe.strength`): at full strength it is
right more often about the names it has seen and wrong more often about all others.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.learn.names.examples import Examples
from ovseg_ros.models.bundled.adapted import AdaptedClassifier
from ovseg_ros.models.bundled.names_map import NamesMap

_SPREAD = 4.0  # root of the summed variance of z


@dataclass(frozen=True)
class Recipe:
    """How the map is learned. Chosen by `folds`, on training pictures alone.

    Attributes:
        features: principal directions of both views' features.
        rank: principal directions of words, R.
        sharpness: k.
        decay: l.
        evenness: a name that comes n times has u = n^(−evenness); 0 counts every mask alike, 1 every name.
        strength: part of W and b that is kept, in [0, 1].
        handicap: see `NamesMap`.
        steps: of L-BFGS.
        seed: of the principal directions' random start.
    """

    features: int = 256
    rank: int = 128
    sharpness: float = 200.0
    decay: float = 0.02
    evenness: float = 0.75
    strength: float = 0.2
    handicap: float = 0.0023
    steps: int = 40
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.features, self.rank, self.steps) < 1:
            raise ConfigError("expected features, rank and steps of at least 1")
        if not self.sharpness > 0 or self.decay < 0 or not 0 <= self.strength <= 1:
            raise ConfigError("expected sharpness > 0, decay >= 0 and strength in [0, 1]")


def fit_map(encoder: AdaptedClassifier, examples: Examples, recipe: Recipe | None = None) -> NamesMap:
    """Learns a map; the names are those of the examples.

    Args:
        encoder: whose features the examples are; not changed.
        examples: at least two, of at least two names.
        recipe: see there.

    Raises:
        InvalidInputError: too few.
    """
    recipe = Recipe() if recipe is None else recipe
    names = sorted(set(examples.words))
    if len(names) < 2:
        raise InvalidInputError(f"expected masks of two names or more, got {len(examples)} of {names}")
    torch.manual_seed(recipe.seed)
    rows = encoder.embed_sentences(names)
    text_mean, text = _text_space(encoder, recipe.rank)
    words = F.normalize(rows - text_mean, dim=-1) @ text  # (K,R)
    truth = torch.tensor([names.index(word) for word in examples.words])
    sets = encoder.sets.weights(names, rows)
    given = class_scores(encoder, examples, sets)  # (N,K)
    features = torch.cat([examples.crop, examples.pooled], dim=1)  # (N,2F)
    mean, deviation = features.mean(dim=0), features.std(dim=0) + 1e-3
    basis = _directions((features - mean) / deviation, recipe.features)  # (2F,Q)
    z = (features - mean) / deviation @ basis
    weight, bias = _regress(z, words, given, truth, recipe)
    whole = recipe.strength * (basis @ weight) / deviation[:, None]  # (2F,R)
    half = len(whole) // 2
    views = 2 * whole[:half], 2 * whole[half:]  # the two views' rows are averaged: each has twice its part
    biases = [
        recipe.strength * bias - part @ view for part, view in zip(mean.split(half), views, strict=True)
    ]
    return NamesMap(*views, *biases, text, text_mean, rows, torch.tensor(recipe.handicap))


@torch.no_grad()
def class_scores(encoder: AdaptedClassifier, examples: Examples, sets: torch.Tensor) -> torch.Tensor:
    """(N, K) what sets of classes (K, C) say of the examples: the mean over both views of p · w."""
    probs = (encoder.probabilities(examples.crop) + encoder.probabilities(examples.pooled)) / 2
    return probs @ sets.T


def _text_space(encoder: AdaptedClassifier, rank: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The mean (D,) of ImageNet's names and the first directions (D, R) in which they differ from it."""
    classes = encoder.sets.class_rows()
    mean = classes.mean(dim=0)
    centred = F.normalize(classes - mean, dim=-1)
    _, _, right = torch.linalg.svd(centred, full_matrices=False)
    return mean, right[: min(rank, len(right))].T.contiguous()


def _directions(standardised: torch.Tensor, count: int) -> torch.Tensor:
    """(F, Q) principal directions, scaled alike so that the features' spread in them is `_SPREAD`."""
    count = min(count, *standardised.shape)
    _, sizes, right = torch.pca_lowrank(standardised, count, center=False, niter=3)
    spread = (sizes.square().sum() / len(standardised)).sqrt()
    directions: torch.Tensor = right * (_SPREAD / spread)
    return directions


def _regress(
    z: torch.Tensor, words: torch.Tensor, given: torch.Tensor, truth: torch.Tensor, recipe: Recipe
) -> tuple[torch.Tensor, torch.Tensor]:
    """W (Q, R) and b (R,); see the module."""
    weight = torch.zeros(z.shape[1], words.shape[1], requires_grad=True)
    bias = torch.zeros(words.shape[1], requires_grad=True)
    counts = torch.bincount(truth, minlength=len(words)).float()
    share = counts[truth] ** -recipe.evenness
    share = share / share.sum()
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=recipe.steps, history_size=10)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = recipe.sharpness * (given + (z @ weight + bias) @ words.T)
        error = (F.cross_entropy(logits, truth, reduction="none") * share).sum()
        total = error + recipe.decay * recipe.sharpness * weight.square().sum()
        total.backward()
        return total

    optimizer.step(loss)  # type: ignore[arg-type]
    return weight.detach(), bias.detach()

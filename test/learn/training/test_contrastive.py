"""The contrastive loss against a naive one, alone and over several processes."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from ovseg_ros.learn.training.contrastive import GlobalBatch, contrastive_loss, noun_ids

NOUNS = ["mug", "mug", "plate", "mug", "book", "plate"]


def embeddings(seed: int = 0, rows: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    images = F.normalize(torch.randn(rows, 5, generator=generator, dtype=torch.float64), dim=1)
    table = {noun: torch.randn(5, generator=generator, dtype=torch.float64) for noun in dict.fromkeys(NOUNS)}
    return images, F.normalize(torch.stack([table[noun] for noun in NOUNS[:rows]]), dim=1)


def naive(images, texts, scale: float, same_noun: str, distance: float) -> float:
    count, total = len(images), 0.0
    for rows, columns in ((images, texts), (texts, images)):
        for i in range(count):
            logits = [scale * float(rows[i] @ columns[j]) for j in range(count)]
            norm = math.log(sum(math.exp(value) for value in logits))
            alike = [j for j in range(count) if j == i or (same_noun == "positive" and NOUNS[i] == NOUNS[j])]
            total -= sum(logits[j] - norm for j in alike) / len(alike) / count / 2
    return total + distance * sum(1 - float(images[i] @ texts[i]) for i in range(count)) / count


@pytest.mark.parametrize("same_noun", ["negative", "positive"])
@pytest.mark.parametrize("distance", [0.0, 2.5])
def test_the_loss_is_the_naive_one(same_noun, distance):
    images, texts = embeddings()
    scale = torch.tensor(7.0, dtype=torch.float64)
    got = contrastive_loss(
        images, texts, noun_ids(NOUNS), scale, same_noun=same_noun, distance=distance
    ).item()
    assert got == pytest.approx(naive(images, texts, 7.0, same_noun, distance), abs=1e-12)


def test_one_pair_has_nothing_to_be_told_from():
    images, texts = embeddings(rows=1)
    assert contrastive_loss(images, texts, noun_ids(["mug"]), torch.tensor(9.0)).item() == 0.0


def test_equal_nouns_have_equal_ids_and_others_do_not():
    ids = noun_ids(NOUNS).tolist()
    assert len(set(ids)) == 3
    assert [ids[i] == ids[j] for i, j in ((0, 1), (2, 5), (0, 2))] == [True, True, False]
    assert ids == noun_ids(NOUNS).tolist()


@pytest.mark.parametrize("ranks", [1, 2, 3])
@pytest.mark.parametrize("same_noun", ["negative", "positive"])
def test_the_mean_gradient_over_processes_is_that_of_the_whole_batch(ranks, same_noun):
    inputs, texts = embeddings(3)
    ids = noun_ids(NOUNS)

    def gradients(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        total = [torch.zeros(5, 5, dtype=torch.float64), torch.zeros((), dtype=torch.float64)]
        share = len(inputs) // count
        for rank in range(count):  # what DistributedDataParallel does: each its own part, then the mean
            weight = torch.eye(5, dtype=torch.float64).requires_grad_()
            scale = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
            part = slice(rank * share, (rank + 1) * share)

            def gather(tensor: torch.Tensor, weight: torch.Tensor = weight) -> torch.Tensor:
                with torch.no_grad():
                    return F.normalize(inputs @ weight, dim=1)

            whole = GlobalBatch(gather, rank, count)
            images = whole.all(F.normalize(inputs[part] @ weight, dim=1))
            loss = contrastive_loss(images, texts, ids, scale.exp(), same_noun=same_noun)
            loss.backward()
            total[0] += weight.grad / count
            total[1] += scale.grad / count
        return total[0], total[1]

    for alone, shared in zip(gradients(1), gradients(ranks), strict=True):
        assert torch.allclose(alone, shared, atol=1e-12)
        assert shared.abs().sum() > 0

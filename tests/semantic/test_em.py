"""Steps of PriMaPs-EM against loops over proposals, and against numbers from the released code."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unseg_d2.semantic.em import PriMaPsEM, enlarge, majority_vote, momentum_decay


def vote_by_loop(predictions: torch.Tensor, proposals: torch.Tensor) -> torch.Tensor:
    labels = torch.full_like(predictions, 255)
    for image in range(len(proposals)):
        for proposal in set(proposals[image].unique().tolist()) - {0, 255}:
            inside = proposals[image] == proposal
            counts = Counter(sorted(predictions[image][inside].tolist()))
            labels[image][inside] = counts.most_common(1)[0][0]
    return labels


def test_majority_vote_equals_a_loop() -> None:
    torch.manual_seed(0)
    proposals = torch.randint(0, 6, (3, 12, 17), dtype=torch.uint8)
    proposals[proposals == 5] = 255
    predictions = torch.randint(0, 4, (3, 12, 17))
    assert torch.equal(majority_vote(predictions, proposals, 4), vote_by_loop(predictions, proposals))


def test_of_two_classes_as_frequent_the_first_wins() -> None:
    predictions = torch.tensor([[[2, 1, 1, 2]]])
    assert majority_vote(predictions, torch.full((1, 1, 4), 254, dtype=torch.uint8), 3).unique().item() == 1


def test_proposals_of_another_size_are_refused() -> None:
    with pytest.raises(ValueError, match=r"proposals \(1, 4, 5\) do not have the size of the image \(1, 4, 4\)"):
        majority_vote(torch.zeros(1, 4, 4, dtype=torch.long), torch.ones(1, 4, 5, dtype=torch.uint8), 2)


def test_momentum_is_a_mean_first_and_an_average_later() -> None:
    decays = [momentum_decay(n, 0.98) for n in range(1, 61)]
    np.testing.assert_allclose(decays[:5], [0, 0, 2 / 3, 3 / 4, 4 / 5])
    assert decays[48] == pytest.approx(48 / 49) and decays[49:] == [0.98] * 11


def test_sixty_updates_equal_published(golden: Path) -> None:
    with np.load(golden / "detector" / "primaps_em.npz") as published:
        online, average = torch.from_numpy(published["ema_online"]), published["ema_average"]
        start = torch.from_numpy(published["ema_online0"])
    em = PriMaPsEM(start[:12].view(3, 4), probe=False)
    for step, expected in zip(online, average):
        em.running.directions.data.copy_(step[:12].view(3, 4))
        em.running.lengths.data.copy_(step[12:])
        em.update_momentum(0.98)
        found = torch.cat([em.momentum.directions.flatten(), em.momentum.lengths])
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_enlarged_products_are_products_of_enlarged_features() -> None:
    torch.manual_seed(1)
    em, features = PriMaPsEM(torch.randn(3, 6), probe=False), torch.randn(2, 6, 5, 4)
    enlarged = F.interpolate(features, size=(20, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(enlarge(em.running(features), (20, 16)), em.running(enlarged))


def test_a_step_moves_the_running_prototypes_only() -> None:
    torch.manual_seed(2)
    em, features = PriMaPsEM(torch.randn(3, 6), probe=True), torch.randn(2, 6, 5, 4)
    labels = em.pseudo_labels(features, torch.ones(2, 10, 8, dtype=torch.uint8))
    assert all(len(image.unique()) == 1 for image in labels)
    (em.loss(features, labels, 2.0) + em.probe_loss(features, labels)).backward()
    assert em.running.directions.grad.abs().sum() > 0 and em.running.lengths.grad.abs().sum() > 0
    assert em.momentum.directions.grad is None and not em.momentum.lengths.requires_grad


def test_the_probe_sees_pixels_with_a_class_only() -> None:
    em, features = PriMaPsEM(torch.eye(3), probe=True), torch.randn(1, 3, 2, 2)
    truth = torch.tensor([[[0, 255], [2, 255]]])
    expected = F.cross_entropy(em.probe(features)[..., 0].movedim(1, -1).flatten(0, 1), torch.tensor([0, 2]))
    torch.testing.assert_close(em.probe_loss(features, truth), expected)
    assert em.probe_loss(features, torch.full_like(truth, 255)).item() == 0

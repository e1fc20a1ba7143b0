from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from unseg_d2.semantic.prototypes import Prototypes, kmeans_loss, principal_directions


def test_logits_are_inner_products_with_unit_rows_times_lengths() -> None:
    prototypes = Prototypes(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    prototypes.lengths.data[1] = 5.0
    logits = prototypes(torch.tensor([10.0, 1.0]).view(1, 2, 1, 1)).flatten()
    torch.testing.assert_close(logits, torch.tensor([6.8, 5.0]))


def test_principal_directions_of_all_batches_are_those_of_one_matrix() -> None:
    generator = torch.Generator().manual_seed(0)
    scale = torch.tensor([5.0, 3.0, 2.0, 1.0, 0.5])
    batches = [torch.randn(2, 5, 7, 6, generator=generator) * scale[:, None, None] + 0.7 for _ in range(4)]
    rows = torch.cat([batch.movedim(1, -1).reshape(-1, 5) for batch in batches]).double()
    expected = np.linalg.svd((rows - rows.mean(0)).numpy())[2][:3]
    found = principal_directions(batches, 3).numpy()
    np.testing.assert_allclose(np.abs((found * expected).sum(1)), 1, atol=1e-6)
    np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-6)
    assert (found @ rows.mean(0).numpy() >= 0).all()


def test_more_prototypes_than_directions_are_refused() -> None:
    features = torch.randn(2, 2, 4, 4)
    flat = torch.cat([features, features[:, :1] - features[:, 1:]], 1)  # three channels, two directions
    with pytest.raises(ValueError, match="3 prototypes are more than the 2 directions that the features have"):
        principal_directions([flat], 3)
    with pytest.raises(ValueError, match="5 prototypes"):
        principal_directions([features], 5)
    with pytest.raises(ValueError, match="there are no features"):
        principal_directions([], 2)


def test_kmeans_loss_is_the_mean_cosine_to_the_nearest_prototype() -> None:
    prototypes = Prototypes(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    features = torch.tensor([[3.0, 4.0], [5.0, 0.0]]).T.reshape(1, 2, 1, 2)
    loss = kmeans_loss(features, prototypes)
    torch.testing.assert_close(loss, torch.tensor(-(0.8 + 1.0) / 2))
    loss.backward()
    assert prototypes.lengths.grad is None


def test_kmeans_by_gradient_finds_clusters() -> None:
    torch.manual_seed(3)
    centres = F.normalize(torch.randn(4, 16), dim=1)
    labels = torch.randint(0, 4, (8, 10, 10))
    features = (centres[labels] + 0.05 * torch.randn(8, 10, 10, 16)).movedim(-1, 1)
    prototypes = Prototypes(principal_directions([features], 4))
    optimizer = torch.optim.Adam([prototypes.directions], lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        kmeans_loss(features, prototypes).backward()
        optimizer.step()
    cosines = F.normalize(prototypes.directions, dim=1) @ centres.T
    assert (cosines.amax(1) > 0.9).all()

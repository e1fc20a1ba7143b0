"""The second eigenvector against SciPy's dense generalised solver."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch

from unseg_d2.graph.affinity import BinaryAffinity
from unseg_d2.graph.ncut import canonical_sign, cohesion, second_eigenvector

EPS = 1e-5


def blocks(sizes: list[int], within: float, between: float, seed: int) -> np.ndarray:
    """A random graph of blocks, each patch connected to itself."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(len(sizes)), sizes)
    probability = np.where(label[:, None] == label, within, between)
    upper = np.triu(rng.random(probability.shape) < probability, 1)
    order = rng.permutation(len(label))
    return (upper | upper.T | np.eye(len(label), dtype=bool))[order][:, order]


def isolated(connected: np.ndarray, nodes: list[int], *, loops: bool) -> np.ndarray:
    connected = connected.copy()
    connected[nodes] = connected[:, nodes] = False
    connected[nodes, nodes] = loops
    return connected


GRAPHS = {
    "random": blocks([180], 0.4, 0.4, 0),
    "sparse random": blocks([240], 0.03, 0.03, 1),
    "two blocks": blocks([70, 110], 0.5, 0.1, 2),
    "two pieces": blocks([60, 90], 0.5, 0.0, 3),
    "almost two pieces": blocks([80, 120], 0.4, 0.0002, 4),
    "three pieces": blocks([40, 60, 100], 0.5, 0.0, 5),
    "one isolated patch": isolated(blocks([150], 0.4, 0.4, 6), [17], loops=True),
    "painted patches": isolated(blocks([90, 60], 0.4, 0.2, 7), list(range(10, 80)), loops=False),
    "painted patches in pieces": isolated(blocks([90, 110], 0.4, 0.0, 8), list(range(50)), loops=False),
    "chain": np.abs(np.subtract.outer(np.arange(200), np.arange(200))) <= 2,
    "two patches": np.array([[True, False], [False, True]]),
}


def dense_solution(connected: np.ndarray, index: int = 1) -> tuple[float, np.ndarray, np.ndarray]:
    affinity = np.where(connected, 1.0, EPS)
    degrees = affinity.sum(1)
    values, vectors = scipy.linalg.eigh(np.diag(degrees) - affinity, np.diag(degrees))
    return values[index], vectors[:, index], degrees


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("max_steps", [256, 2], ids=["lanczos", "dense fallback"])
def test_equals_the_dense_generalised_solver(name, max_steps):
    connected = GRAPHS[name]
    value, vector, degrees = dense_solution(connected)
    cut = second_eigenvector(BinaryAffinity.from_connected(torch.from_numpy(connected[None]), EPS), max_steps=max_steps)
    ours = cut.vectors[0].numpy()
    assert cut.values.item() == pytest.approx(value, abs=1e-12)
    assert ours @ (degrees * ours) == pytest.approx(1, abs=1e-12)
    assert abs(ours @ (degrees * vector)) >= 1 - 1e-8
    sides = (ours > ours.mean()), (vector > vector.mean())
    assert np.array_equal(*sides) or np.array_equal(sides[0], ~sides[1])


def test_a_batch_equals_its_members():
    connected = torch.from_numpy(np.stack([blocks([60, 60], 0.5, p, seed) for seed, p in enumerate((0, 0.1, 0.5))]))
    together = second_eigenvector(BinaryAffinity.from_connected(connected, eps=1e-5))
    for i in range(3):
        alone = second_eigenvector(BinaryAffinity.from_connected(connected[[i]], eps=1e-5))
        torch.testing.assert_close(together.vectors[i], alone.vectors[0], rtol=0, atol=1e-11)
        assert together.values[i].item() == pytest.approx(alone.values.item(), abs=1e-13)


def test_dropped_patches_take_no_part():
    connected = blocks([50, 70], 0.5, 0.1, 9)
    live = np.random.default_rng(0).random(120) < 0.7
    value, vector, degrees = dense_solution(connected[live][:, live])
    affinity = BinaryAffinity.from_connected(torch.from_numpy(connected[None]), EPS)
    cut = second_eigenvector(affinity, torch.from_numpy(live)[None])
    ours = cut.vectors[0].numpy()
    assert (ours[~live] == 0).all()
    assert cut.values.item() == pytest.approx(value, abs=1e-12)
    assert abs(ours[live] @ (degrees * vector)) >= 1 - 1e-8


@pytest.mark.parametrize("connected", [np.ones((30, 30), bool), np.zeros((30, 30), bool), np.ones((1, 1), bool)])
def test_a_graph_of_equal_patches_has_no_cut(connected):
    cut = second_eigenvector(BinaryAffinity.from_connected(torch.from_numpy(connected[None]), eps=1e-5))
    assert cut.values.item() == pytest.approx(1, abs=1e-12)
    assert torch.isfinite(cut.vectors).all()


def test_patches_with_equal_rows_have_equal_entries():
    connected = np.kron(blocks([20, 30], 0.5, 0.1, 10), np.ones((3, 3), bool))
    entries = (
        second_eigenvector(BinaryAffinity.from_connected(torch.from_numpy(connected[None]), eps=1e-5))
        .vectors[0]
        .view(-1, 3)
    )
    assert (entries.amax(1) - entries.amin(1)).max() <= 1e-15


def test_canonical_sign_makes_the_first_largest_entry_positive():
    vectors = torch.tensor([[1.0, -3.0, 2.0], [-3.0, 3.0, 1.0], [3.0, -3.0 * (1 + 1e-12), 1.0], [0.0, 0.0, 0.0]])
    signs = torch.tensor([-1.0, -1.0, 1.0, 1.0])
    assert torch.equal(canonical_sign(vectors.double()), (vectors * signs[:, None]).double())


def test_cohesion_of_a_hand_made_mask():
    connected = torch.tensor([[[1, 1, 0, 0], [1, 1, 1, 0], [0, 1, 1, 1], [0, 0, 1, 1]]]).bool()
    mask = torch.tensor([[True, True, False, False]])
    affinity = BinaryAffinity.from_connected(connected, eps=0)
    assert cohesion(affinity, mask).item() == pytest.approx(4 / 5)
    assert cohesion(affinity, mask, live=torch.tensor([[True, True, False, True]])).item() == 1
    assert cohesion(affinity, torch.zeros_like(mask)).item() == 0


def test_impossible_graphs_are_named():
    affinity = BinaryAffinity.from_connected(torch.zeros(1, 4, 4, dtype=torch.bool), eps=0)
    with pytest.raises(ValueError, match="degree 0"):
        second_eigenvector(affinity)
    with pytest.raises(ValueError, match="live"):
        second_eigenvector(affinity, torch.zeros(1, 4, dtype=torch.bool))

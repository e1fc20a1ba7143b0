from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.affinity import binary_affinity
from unseg_d2.graph.sharpening import PairThresholds


def sharpened(tokens: np.ndarray, importance: np.ndarray, pairing: str) -> np.ndarray:
    """Equation 3 on the dense matrix: ``max(W, 0) ** (1 - s)``."""
    unit = tokens / np.linalg.norm(tokens, axis=0)
    cosines = np.maximum(unit.T @ unit, 0)
    rows, columns = importance[:, None], importance
    if pairing == "row":
        both = cosines ** (1 - rows), cosines ** (1 - columns)
        return np.minimum(*both)
    pairs = {"mean": (rows + columns) / 2, "product": rows * columns, "max": np.maximum(rows, columns)}
    return cosines ** (1 - pairs[pairing])


@pytest.mark.parametrize("pairing", ["mean", "product", "max", "row"])
@pytest.mark.parametrize("tau", [0.15, 0.352])
def test_thresholds_of_pairs_equal_thresholding_the_sharpened_matrix(pairing, tau):
    rng = np.random.default_rng(0)
    tokens, importance = rng.standard_normal((6, 150)), rng.uniform(0.45, 0.999, 150)
    thresholds = PairThresholds(tau, torch.from_numpy(importance), pairing)
    connected = binary_affinity(torch.from_numpy(tokens)[None], [thresholds], eps=1e-5).dense()[0].numpy() == 1
    np.testing.assert_array_equal(connected, sharpened(tokens, importance, pairing) > tau)
    assert (connected == connected.T).all()


@pytest.mark.parametrize("pairing", ["mean", "product", "max", "row"])
def test_compensation_leaves_the_least_important_patches_as_they_are(pairing):
    tokens = torch.randn(1, 6, 150)
    thresholds = PairThresholds(0.15, torch.full((150,), 0.45, dtype=torch.float64), pairing)
    assert not torch.equal(
        binary_affinity(tokens, [thresholds], eps=1e-5).bits, binary_affinity(tokens, 0.15, eps=1e-5).bits
    )
    thresholds = thresholds.compensated(0.45)
    assert torch.equal(
        binary_affinity(tokens, [thresholds], eps=1e-5).bits, binary_affinity(tokens, 0.15, eps=1e-5).bits
    )
    if pairing == "mean":
        assert thresholds.tau == pytest.approx(0.352, abs=5e-4)


def test_every_image_has_its_own():
    tokens = torch.randn(2, 6, 90)
    thresholds = PairThresholds(0.3, torch.rand(90, dtype=torch.float64) / 2, "mean")
    both = binary_affinity(tokens, [0.2, thresholds], eps=1e-5)
    assert torch.equal(both[[0]].bits, binary_affinity(tokens[:1], 0.2, eps=1e-5).bits)
    assert torch.equal(both[[1]].bits, binary_affinity(tokens[1:], [thresholds], eps=1e-5).bits)


def test_a_pair_of_importance_one_needs_a_positive_cosine():
    thresholds = PairThresholds(0.15, torch.ones(3, dtype=torch.float64), "mean")
    tokens = torch.tensor([[[1.0, 1.0, -1.0], [0.0, 5.0, 0.0]]])
    assert (binary_affinity(tokens, [thresholds], eps=0).dense()[0, 0] == torch.tensor([1, 1, 0])).all()


def test_bad_input_is_named():
    ones = torch.ones(3, dtype=torch.float64)
    with pytest.raises(ValueError, match="pairing must be one of"):
        PairThresholds(0.15, ones, "min")
    for value in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match="importance must lie"):
            PairThresholds(0.15, value * ones, "mean")
    with pytest.raises(ValueError, match="tau must lie"):
        binary_affinity(torch.ones(1, 1, 3), [PairThresholds(1.0, ones, "mean")], eps=1e-5)
    with pytest.raises(ValueError, match="threshold for each of 2 images, got 1"):
        binary_affinity(torch.ones(2, 1, 3), [0.1], eps=1e-5)

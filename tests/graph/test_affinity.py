from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2 import compiled
from unseg_d2.graph import affinity as affinity_module
from unseg_d2.graph.affinity import (
    CELLS_ON_A_CARD,
    BinaryAffinity,
    binary_affinity,
    binary_affinity_by_precision,
    items_per_chunk,
    pack_bits,
    unpack_bits,
)
from unseg_d2.graph.sharpening import PairThresholds


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def loops(request, monkeypatch):
    """Every test runs with the compiled loops, where Numba is installed, and without them."""
    if request.param == "compiled" and not compiled.has_numba():
        pytest.skip("needs Numba")
    monkeypatch.setattr(compiled, "has_numba", lambda: request.param == "compiled")


def random_connected(n: int, density: float, seed: int = 0) -> np.ndarray:
    upper = np.triu(np.random.default_rng(seed).random((n, n)) < density)
    return upper | upper.T


@pytest.mark.parametrize("n", [1, 7, 8, 37, 600])
def test_products_and_degrees_equal_those_of_the_dense_matrix(n):
    connected = np.stack([random_connected(n, density, seed) for seed, density in enumerate((0.1, 0.6))])
    affinity = BinaryAffinity.from_connected(torch.from_numpy(connected), eps=1e-3)
    dense = np.where(connected, 1.0, 1e-3)
    vectors = np.random.default_rng(2).standard_normal((2, n))
    np.testing.assert_array_equal(affinity.dense().numpy(), dense)
    product = affinity.product(torch.from_numpy(vectors)).numpy()
    np.testing.assert_allclose(product, np.einsum("bij,bj->bi", dense, vectors), atol=1e-12 * n)
    np.testing.assert_allclose(affinity.products()(torch.from_numpy(vectors)).numpy(), product, atol=1e-12 * n)
    np.testing.assert_allclose(affinity.degrees().numpy(), dense.sum(2), rtol=1e-14)


def test_binary_affinity_is_the_thresholded_cosine():
    tokens = np.random.default_rng(0).standard_normal((2, 16, 90)).astype(np.float32)
    unit = tokens.astype(np.float64) / np.linalg.norm(tokens.astype(np.float64), axis=1, keepdims=True)
    expected = np.where(np.einsum("bci,bcj->bij", unit, unit) > 0.15, 1.0, 1e-5)
    np.testing.assert_array_equal(
        binary_affinity(torch.from_numpy(tokens), tau=0.15, eps=1e-5).dense().numpy(), expected
    )


def test_cosines_that_float32_cannot_tell_from_tau():
    tau = float(np.nextafter(0.6, 0))  # a little less than the cosine of the two patches, and equal to it in float32
    single, double = binary_affinity_by_precision(torch.tensor([[[1.0, 3.0], [0.0, 4.0]]]), tau, eps=1e-5)
    assert single.dense()[0, 0, 1] == 1e-5
    assert double.dense()[0, 0, 1] == 1


def test_zero_features_are_connected_to_nothing():
    tokens = torch.tensor([[[1.0, 0.0, 1.0]]])
    np.testing.assert_array_equal(
        binary_affinity(tokens, tau=0.15, eps=0.25).dense()[0].numpy(), [[1, 0.25, 1], [0.25, 0.25, 0.25], [1, 0.25, 1]]
    )


def test_isolate_equals_zeroing_the_features():
    tokens = torch.randn(2, 5, 50)
    painted = torch.rand(2, 50) < 0.3
    zeroed = binary_affinity(tokens * ~painted[:, None], tau=0.1, eps=1e-5)
    assert torch.equal(binary_affinity(tokens, tau=0.1, eps=1e-5).isolate(painted).bits, zeroed.bits)


def test_pack_bits_has_the_first_flag_highest():
    flags = torch.tensor([[1, 0, 0, 0, 0, 0, 1, 0, 0, 1], [0] * 10], dtype=torch.bool)
    assert pack_bits(flags).tolist() == [[0b10000010, 0b01000000], [0, 0]]
    assert torch.equal(unpack_bits(pack_bits(flags))[:, :10], flags)


@pytest.mark.parametrize("dim", [1, 2])
def test_a_card_packs_the_same_bits(card, dim):
    flags = torch.rand(3, 5, 21) < 0.5
    assert torch.equal(pack_bits(flags.cuda(), dim).cpu(), pack_bits(flags, dim))


def near_ties() -> tuple[torch.Tensor, list[float | PairThresholds]]:
    """Tokens of five images, with pairs at and near their thresholds: one number, or one per pair."""
    tokens = torch.randn(5, 6, 45)
    tokens[:, :, 1] = 3 * tokens[:, :, 0]
    tokens[:, :, 2] = tokens[:, :, 0] * (1 + 1e-6)
    tokens[0, :, 7] = 0
    cosine = torch.nn.functional.cosine_similarity(tokens[2, :, 3].double(), tokens[2, :, 4].double(), dim=0)
    importance = [PairThresholds(0.3, torch.rand(45, dtype=torch.float64), "mean") for _ in range(2)]
    return tokens, [0.2, importance[0], abs(float(cosine)), importance[1], 0.0]


@pytest.mark.parametrize("cells", [2**26, 2 * 45**2, 400])
def test_a_card_connects_the_same_patches(card, cells, monkeypatch):
    """All images together, two at a time, and each in several parts."""
    monkeypatch.setattr(affinity_module, "CELLS_ON_A_CARD", cells)
    monkeypatch.setattr(affinity_module, "ROWS_PER_CHUNK", 8)
    tokens, thresholds = near_ties()
    there = binary_affinity(tokens.cuda(), thresholds, eps=1e-5)
    here = binary_affinity(tokens, thresholds, eps=1e-5)
    assert torch.equal(there.bits.cpu(), here.bits)
    vectors = torch.randn(5, 45, dtype=torch.float64)
    torch.testing.assert_close(there.product(vectors.cuda()).cpu(), here.product(vectors))
    assert torch.equal(there[[3, 0]].bits.cpu(), here[[3, 0]].bits)


@pytest.mark.parametrize(
    ("tokens", "tau", "eps", "message"),
    [
        (torch.full((1, 2, 3), float("nan")), 0.1, 1e-5, "NaN"),
        (torch.full((1, 2, 3), float("inf")), 0.1, 1e-5, "infinite"),
        (torch.zeros(2, 3), 0.1, 1e-5, "shape"),
        (torch.zeros(1, 2, 3), -0.1, 1e-5, "tau"),
        (torch.zeros(1, 2, 3), 1.0, 1e-5, "tau"),
        (torch.zeros(1, 2, 3), 0.1, 1.0, "eps"),
    ],
)
def test_bad_input_is_named(tokens, tau, eps, message):
    with pytest.raises(ValueError, match=message):
        binary_affinity(tokens, tau, eps)


@pytest.mark.parametrize("nodes", [1, 3600, 14400])
def test_a_card_works_on_more_at_a_time_within_its_memory(nodes):
    assert items_per_chunk(32, nodes, torch.device("cpu")) == 32
    on_card = items_per_chunk(32, nodes, torch.device("cuda"))
    assert on_card % 32 == 0
    assert CELLS_ON_A_CARD / 2 < on_card * nodes <= CELLS_ON_A_CARD

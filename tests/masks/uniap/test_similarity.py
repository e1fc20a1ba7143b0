from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2 import compiled
from unseg_d2.masks.uniap import similarity as similarity_module
from unseg_d2.masks.uniap.similarity import pair_distances, products


@pytest.fixture(params=["numba", "torch"])
def loops(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numba" and not compiled.has_numba():
        pytest.skip("Numba is not installed")
    monkeypatch.setattr(compiled, "has_numba", lambda: request.param == "numba")
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pairs_of_rows(loops, dtype, monkeypatch):
    """Compiled loops are for float32; without them some pairs are worked on at a time."""
    monkeypatch.setattr(similarity_module, "IN_CACHE", 300)
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, 20, 99))
    first, second = rng.integers(0, 20, (2, 50))
    rows = [torch.from_numpy(values).to(dtype) for values in (one, other)]
    pairs = [torch.from_numpy(places) for places in (first, second)]
    atol = 1e-5 if dtype == torch.float32 else 1e-12
    found = products(*rows, *pairs)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [one[i] @ other[j] for i, j in zip(first, second)], atol=10 * atol)
    apart = pair_distances(rows[0], *pairs)
    np.testing.assert_allclose(apart, [np.abs(one[i] - one[j]).mean() for i, j in zip(first, second)], atol=atol)
    torch.testing.assert_close(rows[0], torch.from_numpy(one).to(dtype), rtol=0, atol=0)  # copies are changed, not rows


def test_no_pairs(loops):
    none = torch.zeros(0, dtype=torch.int64)
    rows = torch.ones(3, 4)
    assert len(products(rows, rows, none, none)) == len(pair_distances(rows, none, none)) == 0

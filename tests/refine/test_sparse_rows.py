from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.refine.sparse_rows import SparseRows, SplitRows


@pytest.mark.parametrize("lengths", [(1,), (3, 0, 8, 1, 4), (20, 1, 0, 16, 3, 30), (4, 4, 4)])
@pytest.mark.parametrize("longest", [1, 4, 64])
def test_split_rows_are_the_same_matrix_in_short_rows(lengths: tuple[int, ...], longest: int) -> None:
    rng = np.random.default_rng(0)
    columns, weights = rng.integers(0, 9, sum(lengths)), rng.random(sum(lengths))
    dense = np.zeros((len(lengths), 9))
    np.add.at(dense, (np.repeat(np.arange(len(lengths)), lengths), columns), weights)
    starts = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32)
    matrix = SparseRows(torch.from_numpy(columns).int(), torch.from_numpy(weights).float(), starts)
    split = SplitRows.of(matrix, longest)
    values, factors = torch.from_numpy(rng.random((9, 3))).float(), torch.from_numpy(rng.random(9)).float()
    for one in (matrix, split):
        np.testing.assert_allclose((one @ values).numpy(), dense @ values.numpy(), rtol=1e-5)
        scaled = dense * factors.numpy()
        np.testing.assert_allclose((one.scaled(factors) @ values).numpy(), scaled @ values.numpy(), rtol=1e-5)
    assert split.pieces.starts.diff().max() <= longest
    assert split.rows.starts.diff().max() <= max(lengths) // longest + 2

"""The lattice against a slow one written from the paper, and against the Gaussian that it stands for."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
import torch

from unseg_d2 import compiled
from unseg_d2.refine import threads as threads_module
from unseg_d2.refine.compiled import CompiledLattice
from unseg_d2.refine.permutohedral import Lattice, build_lattice


@pytest.fixture(autouse=True, params=["compiled", "torch"])
def loops(request, monkeypatch) -> str:
    """Every test runs with the compiled loops, where Numba is installed, and without them."""
    if request.param == "compiled" and not compiled.has_numba():
        pytest.skip("needs Numba")
    monkeypatch.setattr(compiled, "has_numba", lambda: request.param == "compiled")
    return request.param


def test_the_loops_that_are_asked_for_run(loops):
    expected = {"compiled": CompiledLattice, "torch": Lattice}
    assert type(build_lattice(torch.rand(1, 2, 9))) is expected[loops]


def filter_by_the_paper(positions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Points ``(n, d)`` and values ``(n, c)``; remainders and ranks of section 3, vertices in a dictionary."""
    n, d = positions.shape
    scale = np.sqrt(2 / 3) * (d + 1) / np.sqrt(np.arange(1, d + 1) * np.arange(2, d + 2))
    corners, vertices = [], defaultdict(lambda: np.zeros(values.shape[1]))
    for point, value in zip(positions * scale, values):
        elevated = np.array([point[i:].sum() - i * (point[i - 1] if i else 0) for i in range(d + 1)])
        nearest = np.round(elevated / (d + 1)).astype(int)
        rank = (-(elevated - nearest * (d + 1))).argsort(kind="stable").argsort() + nearest.sum()
        nearest += np.where(rank < 0, 1, np.where(rank > d, -1, 0))
        rank = rank % (d + 1)
        share, rest = np.zeros(d + 2), elevated / (d + 1) - nearest
        for i in range(d + 1):
            share[d - rank[i]] += rest[i]
            share[d + 1 - rank[i]] -= rest[i]
        share[0] += 1 + share[d + 1]
        for k in range(d + 1):
            vertex = tuple(int(z) for z in nearest * (d + 1) + np.where(rank <= d - k, k, k - (d + 1)))
            assert sum(vertex) == 0
            vertices[vertex] += share[k] * value
            corners.append((vertex, share[k]))
    for axis in range(d + 1):
        step = np.ones(d + 1, dtype=int)
        step[axis] = -d
        nothing = np.zeros(values.shape[1])
        around = {
            key: vertices.get(tuple(int(z) for z in key + step), nothing)
            + vertices.get(tuple(int(z) for z in key - step), nothing)
            for key in vertices
        }
        vertices = {key: value + around[key] / 2 for key, value in vertices.items()}
    sliced = np.array([share * vertices[vertex] for vertex, share in corners])
    return sliced.reshape(n, d + 1, -1).sum(1) / (1 + 2.0**-d)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7])
def test_equals_the_paper(d):
    rng = np.random.default_rng(d)
    positions, values = rng.normal(0, 1.5, (200, d)), rng.random((200, 3))
    ours = build_lattice(torch.tensor(positions.T[None], dtype=torch.float32)).filter(torch.tensor(values).float())
    np.testing.assert_allclose(ours, filter_by_the_paper(positions, values), atol=2e-4)


@pytest.mark.parametrize("d", [2, 5])
def test_is_close_to_a_gaussian(d):
    rng = np.random.default_rng(0)
    positions, values = rng.normal(0, 1, (3000, d)), rng.random((3000, 2)) > 0.5
    kernel = np.exp(-0.5 * ((positions[:, None] - positions) ** 2).sum(-1))
    expected = kernel @ values / kernel.sum(1, keepdims=True)
    lattice = build_lattice(torch.tensor(positions.T[None], dtype=torch.float32))
    filtered = lattice.filter(torch.tensor(values).float()) / lattice.filter(torch.ones(3000, 1))
    dense = kernel.sum(1) > 30  # elsewhere a mean over a handful of points
    assert np.abs(filtered.numpy() - expected)[dense].mean() < 0.03
    assert np.corrcoef(filtered.numpy()[dense].ravel(), expected[dense].ravel())[0, 1] > 0.85


def test_images_of_a_batch_do_not_touch():
    positions, values = torch.rand(3, 4, 50) * 5, torch.rand(3, 50, 2)
    together = build_lattice(positions).filter(values.view(150, 2)).view(3, 50, 2)
    for one, value, filtered in zip(positions, values, together):
        torch.testing.assert_close(build_lattice(one[None]).filter(value), filtered)


def test_long_keys_are_sorted_too():
    """A range so wide that key and index do not fit in 63 bits together."""
    positions, values = torch.rand(1, 3, 400), torch.rand(400, 2)
    far = torch.cat([positions, torch.full((1, 3, 1), 4e5)], 2)
    expected = build_lattice(positions).filter(values)
    filtered = build_lattice(far).filter(torch.cat([values, torch.ones(1, 2)]))
    torch.testing.assert_close(filtered[:400], expected)


def test_normalised_equals_its_definition():
    lattice, values = build_lattice(torch.rand(1, 5, 60) * 4), torch.rand(60, 3)
    norm = lattice.filter(torch.ones(60, 1)) ** -0.5
    torch.testing.assert_close(lattice.normalised(2.5).filter(values), 2.5 * norm * lattice.filter(norm * values))


@pytest.mark.parametrize(
    ("positions", "message"),
    [
        (torch.full((1, 2, 3), torch.nan), "finite"),
        (torch.rand(1, 8, 3), "dimensions"),
        (torch.rand(1, 5, 9) * 1e6, "too small"),
    ],
)
def test_what_cannot_be_built_says_why(positions, message):
    with pytest.raises(ValueError, match=message):
        build_lattice(positions)


def test_a_card_filters_alike(card):
    positions, values = torch.rand(2, 5, 500) * 8, torch.rand(1000, 3)
    on_gpu = build_lattice(positions.cuda()).filter(values.cuda())
    torch.testing.assert_close(on_gpu.cpu(), build_lattice(positions).filter(values))


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_change_nothing(threads, monkeypatch):
    monkeypatch.setattr(threads_module, "LEAST_ROWS", 10)
    positions, values = torch.rand(1, 5, 800) * 4, torch.rand(800, 9)
    expected = [build_lattice(positions).filter(part) for part in (values, values[:, :1].contiguous())]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = [build_lattice(positions).filter(part) for part in (values, values[:, :1].contiguous())]
    finally:
        torch.set_num_threads(before)
    for one, other in zip(found, expected):
        assert torch.equal(one, other)


def test_more_vertices_than_points():
    """Points far apart share no vertex: six each, more than the first table of the compiled loops holds."""
    positions = torch.arange(0, 500, 5.0).expand(1, 5, 100) * torch.tensor([1.0, 2, 3, 5, 7])[:, None]
    values = torch.rand(100, 2)
    filtered = build_lattice(positions).filter(values)
    alone = torch.cat([build_lattice(positions[..., i : i + 1]).filter(values[i : i + 1]) for i in range(100)])
    torch.testing.assert_close(filtered, alone)


def test_as_many_vertices_as_no_table_holds_at_first():
    """Points far apart share no vertex: nine thousand vertices."""
    positions, values = torch.rand(1, 5, 1500) * 200, torch.rand(1500, 2)
    filtered = build_lattice(positions).filter(values)
    alone = [build_lattice(positions[..., i : i + 1]).filter(values[i : i + 1]) for i in range(20)]
    torch.testing.assert_close(filtered[:20], torch.cat(alone))


@pytest.mark.parametrize("d", [1, 2, 3])
@pytest.mark.parametrize("spread", [0.5, 6, 60])
def test_one_channel_of_points_close_together(d, spread):
    """A normalised lattice of few dimensions is splatted vertex by vertex."""
    lattice, values = build_lattice(torch.rand(1, d, 700) * spread).normalised(3.0), torch.rand(700, 2)
    expected = lattice.filter(values)[:, :1]
    torch.testing.assert_close(lattice.filter(values[:, :1].contiguous()), expected)

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2 import compiled
from unseg_d2.masks.priors import UnionCutSettings, foreground_union
from unseg_d2.masks.priors.seed_cuts import DIRECTIONS, UNITS
from unseg_d2.masks.priors.unioncut import coarse, grid_graph, union_of_votes


def scene(h: int = 12, w: int = 14, noise: float = 0.1) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens ``(8, h, w)`` of two objects of their own looks, both unlike the background, and where they are."""
    kind = np.zeros((h, w), int)
    kind[h // 4 : h // 2, w // 7 : w // 2] = 1
    kind[h // 2 + 1 : h - 2, w // 2 + 1 : w - 2] = 2
    looks = np.zeros((3, 8))
    looks[0, 0], looks[1, :2], looks[2, [0, 2]] = 1, (-0.6, 0.8), (-0.6, 0.8)
    tokens = looks[kind].transpose(2, 0, 1) + noise * np.random.default_rng(0).standard_normal((8, h, w))
    return torch.from_numpy(tokens).float(), kind > 0


@pytest.fixture(params=["numba", "scipy"])
def solver(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "numba" and not compiled.has_numba():
        pytest.skip("Numba is not installed")
    monkeypatch.setattr(compiled, "has_numba", lambda: request.param == "numba")
    return request.param


def test_the_union_holds_both_objects(solver):
    tokens, objects = scene()
    np.testing.assert_array_equal(foreground_union(tokens), objects)


def test_neither_the_length_nor_the_sign_of_features_matters():
    tokens, objects = scene()
    for changed in (-3 * tokens, tokens.double() * torch.linspace(1, 2, 14), tokens.half()):
        np.testing.assert_array_equal(foreground_union(changed), objects)


def test_a_fine_grid_is_averaged_and_the_union_scaled_back():
    tokens, objects = scene()
    fine = tokens.repeat_interleave(3, 1).repeat_interleave(3, 2)
    found = foreground_union(fine, UnionCutSettings(grid=14))
    np.testing.assert_array_equal(found, objects.repeat(3, 0).repeat(3, 1))


def test_features_without_negative_entries_are_centred():
    tokens, objects = scene(noise=0.02)
    positive = torch.cat([tokens.clamp(min=0), (-tokens).clamp(min=0)])
    np.testing.assert_array_equal(foreground_union(positive), objects)


@pytest.mark.parametrize("tokens", [torch.ones(4, 5, 6), torch.zeros(4, 5, 6), torch.randn(3, 1, 1)])
def test_without_opposites_there_is_no_union(tokens):
    assert not foreground_union(tokens).any()


@pytest.mark.parametrize("size", [(1, 9), (9, 1), (2, 2), (5, 40)])
def test_any_grid(size):
    tokens = torch.randn(4, *size, generator=torch.Generator().manual_seed(0))
    found = foreground_union(tokens, UnionCutSettings(grid=8))
    assert found.shape == size and found.dtype == np.bool_


def test_features_that_are_not_finite_are_named():
    tokens, _ = scene()
    tokens[0, 3, 3] = float("nan")
    with pytest.raises(ValueError, match="NaN or infinite"):
        foreground_union(tokens)


def test_links_and_distances_by_plain_loops():
    cells = coarse(scene(4, 5)[0], 28)
    graph = grid_graph(cells)
    units = cells / np.linalg.norm(cells, axis=0)
    squared, pairs = {}, []
    for k, (down, right) in enumerate(DIRECTIONS):
        for row in range(4):
            for column in range(5):
                if row + down < 4 and 0 <= column + right < 5:
                    difference = units[:, row, column] - units[:, row + down, column + right]
                    squared[k, row, column] = float(difference @ difference)
                    pairs.append(squared[k, row, column])
    beta = 2 * np.mean(pairs)
    for k, (down, right) in enumerate(DIRECTIONS):
        for row in range(4):
            for column in range(5):
                link = graph.links[k, row, column]
                if (k, row, column) in squared:
                    expected = np.exp(-squared[k, row, column] / beta) / (down**2 + right**2) ** 0.5
                    assert link == pytest.approx(UNITS * expected, abs=1)
                else:
                    assert link == 0
    flat = units.reshape(8, -1)
    for first, second in [(0, 1), (3, 17), (12, 12)]:
        assert graph.distances[first, second] == pytest.approx(
            UNITS * np.linalg.norm(flat[:, first] - flat[:, second]), abs=1
        )
        assert graph.opposite[first, second] == (flat[:, first] @ flat[:, second] < 0)


def test_patches_in_few_foregrounds_are_the_union():
    votes = np.full((5, 6), 25)
    votes[1:3, 1:4] = 6
    np.testing.assert_array_equal(union_of_votes(votes, 0.3), votes == 6)


def test_of_three_clusters_only_the_first_is_background():
    votes = np.full((10, 10), 80)
    votes[2:6, 2:7], votes[6:9, 3:9] = 40, 5
    np.testing.assert_array_equal(union_of_votes(votes, 0.1), votes < 80)


def test_of_four_clusters_the_first_two_are_background():
    votes = np.full((10, 10), 90)
    votes[:3, 3:7], votes[4:6, 2:8], votes[7:9, 2:8] = 60, 30, 1
    np.testing.assert_array_equal(union_of_votes(votes, 0.1), votes <= 30)


def test_what_touches_all_corners_is_not_the_union():
    votes = np.full((5, 6), 6)
    votes[1:4, 1:5] = 12
    np.testing.assert_array_equal(union_of_votes(votes, 0.3), votes == 12)


def test_as_many_foregrounds_everywhere_are_no_union():
    assert not union_of_votes(np.full((3, 4), 7), 0.3).any()

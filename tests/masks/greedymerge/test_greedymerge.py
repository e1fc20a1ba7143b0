from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.regions import grid_edges
from unseg_d2.masks.greedymerge import GreedyMergeSettings, greedy_layers, greedymerge
from unseg_d2.masks.uniap import UniAPSettings, uniap


def one_pair_at_a_time(unit: np.ndarray, edges: np.ndarray, tau: float) -> set[frozenset[int]]:
    """Merge the best pair of neighbours of all, found anew each time, until none reaches tau."""
    groups = [frozenset([i]) for i in range(len(unit))]
    while True:
        best = None
        for a in range(len(groups)):
            for b in range(a + 1, len(groups)):
                if any((i in groups[a] and j in groups[b]) or (i in groups[b] and j in groups[a]) for i, j in edges.T):
                    first, second = unit[list(groups[a])].sum(0), unit[list(groups[b])].sum(0)
                    cosine = first @ second / (np.linalg.norm(first) * np.linalg.norm(second))
                    if best is None or cosine > best[0]:
                        best = cosine, a, b
        if best is None or best[0] < tau:
            return set(groups)
        merged = groups[best[1]] | groups[best[2]]
        groups = [group for group in groups if not group <= merged] + [merged]


@pytest.mark.parametrize("seed", range(3))
def test_equals_the_search_for_the_best_pair_each_time(seed):
    unit = np.random.default_rng(seed).standard_normal((20, 3)) + (1.0, 0, 0)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    edges, taus = grid_edges(4, 5), (0.95, 0.8, 0.5)
    for layer, tau in zip(greedy_layers(unit, edges, taus), taus, strict=True):
        found = {frozenset(np.flatnonzero(layer.labels == one).tolist()) for one in range(len(layer.areas))}
        assert found == one_pair_at_a_time(unit, edges, tau)


def planted(seed: int) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Tokens ``(1, 8, 16, 16)`` of an object of two parts on a background, with noise; the parts and the object."""
    rng = np.random.default_rng(seed)
    tokens = np.zeros((8, 16, 16))
    tokens[0] = 1
    parts = [np.zeros((16, 16), bool) for _ in range(2)]
    parts[0][3:12, 3:8] = parts[1][3:12, 8:12] = True
    tokens[:, parts[0]] = np.eye(8)[1][:, None]
    tokens[:, parts[1]] = (0.7 * np.eye(8)[1] + 0.714 * np.eye(8)[2])[:, None]
    tokens += 0.02 * rng.standard_normal(tokens.shape)
    return torch.from_numpy(tokens)[None].float(), [*parts, parts[0] | parts[1]]


@pytest.mark.parametrize("seed", range(3))
def test_planted_parts_are_found_at_their_levels_by_both_methods(seed):
    """Parts have the cosine .7: one region from .6 on; the background has 0. S of UniAP is .6 x .7 + .4 x .9 = .78."""
    tokens, (first, second, whole) = planted(seed)
    for found in (
        greedymerge(tokens, GreedyMergeSettings(taus=(0.9, 0.6)))[0],
        uniap(tokens, UniAPSettings(taus=(0.9, 0.7)))[0],
    ):
        masks = {mask.numpy().tobytes(): index for index, mask in enumerate(found.masks)}
        parts = [masks[part.tobytes()] for part in (first, second)]
        top = masks[whole.tobytes()]
        assert found.levels[parts].tolist() == [0, 0] and found.levels[top] == 1
        assert found.parents[parts].tolist() == [top, top]


def test_thresholds_fall():
    with pytest.raises(ValueError, match="taus must name thresholds that fall"):
        GreedyMergeSettings(taus=(0.5, 0.9))
    assert "MASKS.GREEDYMERGE.TAUS (now 0.9, 0.8" in GreedyMergeSettings().when_empty()

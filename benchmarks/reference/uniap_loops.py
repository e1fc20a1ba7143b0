"""UniAP written straight from its equations: masks of n numbers, the whole affinity, one edge after the other.

It shares no code with the package, whose results and times are compared with it.
"""

from __future__ import annotations

import numpy as np

Layers = list[tuple[np.ndarray, np.ndarray]]


def uniap_loops(
    tokens: np.ndarray,
    taus: tuple[float, ...] = (0.8, 0.7, 0.6, 0.5, 0.4),
    weights: tuple[float, float] = (0.6, 0.4),
    sigma: float = 0.07,
    min_patches: int = 4,
    *,
    sums: bool = False,
    own_patches: bool = False,
    repeat: bool = False,
) -> Layers:
    """Return of ``(C, h, w)`` tokens, for each layer, the masks of its regions and its semantic masks, ``(k, n)`` bool.

    Args:
        tokens: of one image.
        taus: threshold of each layer.
        weights: of the similarity of features, and of the spatial one.
        sigma: temperature of the softmax.
        min_patches: smallest region that takes part in semantic masks.
        sums: sum the affinities of a region's patches in the softmax, in place of the mean.
        own_patches: the softmax runs over the region's patches only.
        repeat: join within a layer until no edge reaches its threshold.
    """
    channels, h, w = tokens.shape
    features = tokens.reshape(channels, -1).T.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    features = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    affinity = features @ features.T
    n = h * w
    masks, nodes = np.eye(n, dtype=bool), features
    neighbours = {(i, i + 1) for i in range(n) if i % w < w - 1} | {(i, i + w) for i in range(n - w)}
    layers: Layers = []
    for tau in taus:
        while True:
            marked = [pair for pair in neighbours if similarity(masks, nodes, affinity, pair, weights) >= tau]
            groups = components(len(masks), marked)
            before = len(masks)
            masks, neighbours = merged(masks, groups), between(neighbours, groups)
            nodes = np.stack([feature(mask, affinity, features, sigma, sums, own_patches) for mask in masks])
            if not repeat or len(masks) == before:
                break
        layers.append((masks, semantic(masks, nodes, affinity, tau, weights, min_patches)))
    return layers


def similarity(masks, nodes, affinity, pair, weights) -> float:
    i, j = pair
    by_feature = float(nodes[i] @ nodes[j])
    first, second = (affinity[masks[k]].sum(0) / masks[k].sum() for k in (i, j))
    by_place = 1 - np.abs(first - second).mean()
    return weights[0] * by_feature + weights[1] * by_place


def feature(mask, affinity, features, sigma, sums, own_patches) -> np.ndarray:
    logits = affinity[mask].sum(0) / sigma
    if not sums:
        logits = logits / mask.sum()
    if own_patches:
        logits = np.where(mask, logits, -np.inf)
    weight = np.exp(logits - logits.max())
    found = (weight / weight.sum()) @ features
    length = np.linalg.norm(found)
    return found / length if length > 0 else found


def components(count: int, pairs) -> list[list[int]]:
    """Return the members of each connected group, in the order of their first members."""
    reachable: dict[int, set[int]] = {i: set() for i in range(count)}
    for i, j in pairs:
        reachable[i].add(j)
        reachable[j].add(i)
    groups, seen = [], set()
    for start in range(count):
        if start in seen:
            continue
        group, waiting = [], [start]
        while waiting:
            node = waiting.pop()
            if node not in seen:
                seen.add(node)
                group.append(node)
                waiting += reachable[node]
        groups.append(sorted(group))
    return groups


def merged(masks: np.ndarray, groups: list[list[int]]) -> np.ndarray:
    return np.stack([np.any(masks[group], axis=0) for group in groups])


def between(neighbours, groups: list[list[int]]) -> set[tuple[int, int]]:
    owner = {node: number for number, group in enumerate(groups) for node in group}
    pairs = {(owner[i], owner[j]) for i, j in neighbours}
    return {(min(pair), max(pair)) for pair in pairs if pair[0] != pair[1]}


def semantic(masks, nodes, affinity, tau, weights, min_patches) -> np.ndarray:
    large = [i for i in range(len(masks)) if masks[i].sum() >= min_patches]
    pairs = [
        (a, b)
        for a in range(len(large))
        for b in range(a + 1, len(large))
        if similarity(masks, nodes, affinity, (large[a], large[b]), weights) >= tau
    ]
    groups = components(len(large), pairs)
    found = [np.any(masks[[large[member] for member in group]], axis=0) for group in groups]
    return np.stack(found) if found else np.zeros((0, masks.shape[1]), bool)

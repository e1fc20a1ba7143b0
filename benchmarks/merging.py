"""Time, memory and regions of greedy merging and of the tree of merges against plain loops.

    python benchmarks/merging.py [--images 4] [--channels 64 384]

The loops look for the best of all pairs of neighbours anew before each merge, on 16 x 16 patches; the methods are timed
on the whole grid too. Times are processor time. Memory is what each side needs beyond libraries and features, in a
process of its own. Exits with status 1 if regions differ.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from common import GRID, parse_args, processor_seconds, synthetic_tokens

SMALL = 16
METHODS = ("greedymerge", "mergetree")


def main() -> int:
    args = parse_args(__doc__.splitlines()[0])
    passed = [compare(args, method, channels) for channels in args.channels for method in METHODS]
    print("PASSED" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


def compare(args: argparse.Namespace, method: str, channels: int) -> bool:
    import torch
    from peak_memory import in_own_process

    from unseg_d2 import masks

    generator = getattr(masks, method)
    rows, equal = [], True
    for seed in range(args.images):
        tokens = synthetic_tokens(seed, channels)
        small = some(tokens)
        whole, _ = processor_seconds(2, lambda tokens=tokens: generator(torch.from_numpy(tokens)[None]))
        ours, found = processor_seconds(3, lambda small=small: merged(small, method))
        theirs, expected = processor_seconds(1, lambda small=small: by_loops(small, method))
        equal &= found == expected
        rows.append((whole, ours, theirs))
    whole, ours, theirs = (statistics.mean(column) for column in zip(*rows))
    small = some(synthetic_tokens(0, channels))
    own_peak, loops_peak = (in_own_process(peak, small, method, loops) for loops in (False, True))
    print(f"{method}, {channels} channels, {torch.get_num_threads()} threads; processor seconds per image:")
    print(f"  masks, {GRID}x{GRID} patches        {whole:8.4f}")
    print(f"  merging, {SMALL}x{SMALL} patches      {ours:8.4f}")
    print(f"  reference, loop by loop    {theirs:8.4f}   {theirs / ours:6.1f} x slower")
    print(
        f"  regions are {'equal' if equal else 'NOT equal'}; peak memory {own_peak:.1f} and {loops_peak:.1f} MB",
        flush=True,
    )
    return equal


def some(tokens):
    """Return every third row and column of the middle of the grid: parts of several objects."""
    first = (GRID - 3 * SMALL) // 2
    return tokens[:, first : first + 3 * SMALL : 3, first : first + 3 * SMALL : 3]


def merged(tokens, method: str):
    """Return what this package finds: the regions at each threshold, or all regions of the tree."""
    import numpy as np

    from unseg_d2.graph.merge_tree import spans, ward_tree
    from unseg_d2.masks import GreedyMergeSettings
    from unseg_d2.masks.greedymerge import greedy_layers

    points, edges = given(tokens, method)
    if method == "greedymerge":
        layers = greedy_layers(points, edges, GreedyMergeSettings().taus)
        return [
            {frozenset(np.flatnonzero(layer.labels == one).tolist()) for one in range(len(layer.areas))}
            for layer in layers
        ]
    tree = ward_tree(points, edges)
    places = spans(tree, len(points))
    return {frozenset(places.leaves(node).tolist()) for node in range(len(points), len(points) + len(tree.children))}


def by_loops(tokens, method: str):
    """Return what the reference finds."""
    from reference.merging_loops import greedy_loops, ward_loops

    from unseg_d2.masks import GreedyMergeSettings

    points, edges = given(tokens, method)
    if method == "greedymerge":
        return greedy_loops(points, edges, GreedyMergeSettings().taus)
    return ward_loops(points, edges)


def given(tokens, method: str):
    """Return the features that a method merges, ``(n, C)`` float64, and the pairs of neighbours."""
    import numpy as np

    from unseg_d2.graph.regions import grid_edges

    points = tokens.reshape(len(tokens), -1).T.astype(np.float64)
    if method == "greedymerge":
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
    return points, grid_edges(*tokens.shape[1:])


def peak(tokens, method: str, loops: bool) -> float:
    """Return the growth of the memory of this process, MB, by one image."""
    import torch
    from peak_memory import PeakMemory

    torch.set_num_threads(1)
    run = by_loops if loops else merged
    run(tokens[:, :4, :4], method)  # load libraries
    with PeakMemory() as memory:
        run(tokens, method)
    return memory.megabytes


if __name__ == "__main__":
    sys.exit(main())

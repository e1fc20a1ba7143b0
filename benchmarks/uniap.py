"""Time, memory and masks of UniAP against its equations in plain loops, and its time beyond that of the affinity.

    python benchmarks/uniap.py [--images 4] [--channels 64 384]

Times are processor time. The loops hold masks of n numbers and the whole affinity, and take one edge after another;
they are timed on 30 x 30 patches with added noise. On the large grid the first layer is compared with one in float64,
and memory is that of one layer with added noise, each side in a process of its own, beyond libraries and features.

Exits with status 1 if masks differ or the bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import sys

from common import GRID, equal_sets, parse_args, processor_seconds, synthetic_tokens

SMALL = 30
MAX_SECONDS = 0.025


def main() -> int:
    args = parse_args(__doc__.splitlines()[0])
    passed = [compare(args, channels) for channels in args.channels]
    print("PASSED" if all(passed) else "FAILED")
    return 0 if all(passed) else 1


def compare(args: argparse.Namespace, channels: int) -> bool:
    import torch
    from peak_memory import in_own_process
    from reference.uniap_loops import uniap_loops

    from unseg_d2.masks import UniAPSettings, uniap

    settings, both = UniAPSettings(), UniAPSettings(masks="both")
    rows, equal = [], True
    for seed in range(args.images):
        tokens = torch.from_numpy(synthetic_tokens(seed, channels))[None]
        affinity, _ = processor_seconds(3, lambda tokens=tokens: product(tokens))
        instances, found = processor_seconds(3, lambda tokens=tokens: uniap(tokens, settings))
        quantile, _ = processor_seconds(3, lambda tokens=tokens: uniap(tokens, UniAPSettings(measure="quantile")))
        semantic, _ = processor_seconds(3, lambda tokens=tokens: uniap(tokens, both))
        small = with_noise(tokens[..., :: GRID // SMALL, :: GRID // SMALL], seed)
        ours, layers = processor_seconds(3, lambda small=small: layers_of(small[0], both))
        theirs, expected = processor_seconds(1, lambda small=small: uniap_loops(small[0].numpy()))
        equal &= equal_sets(first_layer(tokens[0].numpy(), settings), layers_of(tokens[0], both)[0][0])
        for (masks, groups), (instance, semantics) in zip(layers, expected):
            equal &= equal_sets(masks, instance) and equal_sets(groups, semantics)
        hard = with_noise(tokens, seed)
        noisy, _ = processor_seconds(3, lambda hard=hard: uniap(hard, settings))
        left = [len(layers_of(image[0], both)[0][0]) for image in (tokens, hard)]
        rows.append((affinity, instances, quantile, semantic, noisy, *left, theirs, ours, len(found[0])))
    affinity, instances, quantile, semantic, noisy, few, many, theirs, ours, masks = (
        statistics.mean(column) for column in zip(*rows)
    )
    hard = with_noise(torch.from_numpy(synthetic_tokens(0, channels))[None], 0)[0].numpy()
    own_peak, loops_peak = (in_own_process(peak, hard, one) for one in (False, True))
    beside = instances - affinity
    print(f"UniAP, {channels} channels, {masks:.0f} masks each, {torch.get_num_threads()} threads; processor seconds:")
    print(f"  affinity, {GRID}x{GRID} patches       {affinity:8.4f}   (which is not computed as a whole)")
    print(f"  instances                   {instances:8.4f}")
    print(f"  instances, beside it        {beside:8.4f}   (at most {MAX_SECONDS})")
    print(f"  instances, noise added      {noisy:8.4f}   ({many:.0f} regions after the first layer, {few:.0f} without)")
    print(f"  instances, noise, beside it {noisy - affinity:8.4f}   (no bar)")
    print(f"  instances, quantiles        {quantile:8.4f}   (which need all similarities of neighbours)")
    print(f"  semantic masks, beside both {semantic - instances:8.4f}")
    print(f"  all, {SMALL}x{SMALL} patches            {ours:8.4f}")
    print(f"  reference, loop by loop     {theirs:8.4f}   {theirs / ours:6.1f} x slower")
    print(f"  masks of every layer are {'equal' if equal else 'NOT equal'}")
    print(
        f"  peak memory of a layer, {GRID}x{GRID} patches with noise: {own_peak:.0f} MB, loops {loops_peak:.0f} MB",
        flush=True,
    )
    return equal and beside <= MAX_SECONDS


def peak(tokens, loops: bool) -> float:
    """Return the growth of the memory of this process, MB, by the first layer of one image."""
    import torch
    from peak_memory import PeakMemory
    from reference.uniap_loops import uniap_loops

    from unseg_d2.masks import UniAPSettings, uniap

    torch.set_num_threads(1)
    taus = UniAPSettings().taus[:1]

    def run(tokens) -> None:
        if loops:
            uniap_loops(tokens, taus)
        else:
            uniap(torch.from_numpy(tokens)[None], UniAPSettings(taus=taus, masks="both"))

    run(tokens[:, :10, :10])  # load libraries
    with PeakMemory() as memory:
        run(tokens)
    return memory.megabytes


def product(tokens):
    """Return the affinity of the tokens of one image, as every method has to compute it."""
    from torch.nn import functional as F

    unit = F.normalize(tokens[0].flatten(1).T, dim=1).contiguous()
    return unit @ unit.T


def first_layer(tokens, settings) -> list:
    """Return the region masks of the first layer of a large grid: every two neighbours are compared, in float64."""
    import numpy as np
    from scipy import sparse
    from scipy.sparse import csgraph

    unit = tokens.reshape(len(tokens), -1).T.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    affinity, nodes = unit @ unit.T, np.arange(len(unit)).reshape(tokens.shape[1:])
    ends = [(nodes[:, :-1], nodes[:, 1:]), (nodes[:-1], nodes[1:])]
    pairs = [(i, j) for first, second in ends for i, j in zip(first.ravel(), second.ravel())]
    along = [
        (i, j)
        for i, j in pairs
        if settings.feature_weight * affinity[i, j]
        + settings.spatial_weight * (1 - np.abs(affinity[i] - affinity[j]).mean())
        >= settings.taus[0]
    ]
    graph = sparse.coo_array((np.ones(len(along)), np.array(along).T), shape=affinity.shape)
    labels = csgraph.connected_components(graph, directed=False)[1]
    return [labels == one for one in range(labels.max() + 1)]


def with_noise(tokens, seed: int):
    """Return tokens with noise that rises from left to right, so that each layer has regions of its own."""
    import torch

    noise = torch.randn(tokens.shape, generator=torch.Generator().manual_seed(seed))
    return tokens + noise * torch.linspace(0, 1.5, tokens.shape[-1])


def layers_of(tokens, settings) -> list:
    """Return the region masks and the semantic masks of each layer."""
    import numpy as np

    from unseg_d2.masks.uniap import uniap_layers

    found = []
    for layer in uniap_layers(tokens[None], settings)[0]:
        semantic = layer.groups[layer.labels]
        labels = (np.unique(layer.labels), np.unique(semantic[semantic >= 0]))
        found.append(([layer.labels == one for one in labels[0]], [semantic == one for one in labels[1]]))
    return found


if __name__ == "__main__":
    sys.exit(main())

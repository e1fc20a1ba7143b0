"""Pure functions on the graph of an image's patches."""

from __future__ import annotations

from unseg_d2.graph.affinity import BinaryAffinity, binary_affinity, binary_affinity_by_precision
from unseg_d2.graph.ncut import NO_CUT, NormalizedCut, canonical_sign, cohesion, second_eigenvector

__all__ = [
    "NO_CUT",
    "BinaryAffinity",
    "NormalizedCut",
    "binary_affinity",
    "binary_affinity_by_precision",
    "canonical_sign",
    "cohesion",
    "second_eigenvector",
]

"""VoteCut: the eigenvectors of an ensemble's members cut into pieces, which vote on the masks."""

from __future__ import annotations

from unseg_d2.masks.votecut.votecut import VoteCut, VoteCutSettings, cut_vectors, votecut

__all__ = ["VoteCut", "VoteCutSettings", "cut_vectors", "votecut"]

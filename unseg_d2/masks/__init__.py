"""Patch features to object proposals: one file per generator."""

from __future__ import annotations

from unseg_d2.masks.cuts3d import CutS3D, CutS3DSettings, cuts3d
from unseg_d2.masks.localcut import LocalCutSettings, localcut
from unseg_d2.masks.lost import LOST, lost
from unseg_d2.masks.maskcut import MaskCut, maskcut
from unseg_d2.masks.primaps import PriMaPs, PrimapsLabels, PrimapsSettings, primaps, primaps_labels
from unseg_d2.masks.promerge import ProMerge, PromergeSettings, promerge
from unseg_d2.masks.protocol import MaskGenerator
from unseg_d2.masks.registry import MASK_GENERATORS, build_generator, generator_names
from unseg_d2.masks.tokencut import SalientCut, TokenCut, salient_cuts, tokencut
from unseg_d2.masks.votecut import VoteCut, cut_vectors, votecut

__all__ = [
    "LOST",
    "MASK_GENERATORS",
    "CutS3D",
    "CutS3DSettings",
    "LocalCutSettings",
    "MaskCut",
    "MaskGenerator",
    "PriMaPs",
    "PrimapsLabels",
    "PrimapsSettings",
    "ProMerge",
    "PromergeSettings",
    "SalientCut",
    "TokenCut",
    "VoteCut",
    "build_generator",
    "cuts3d",
    "cut_vectors",
    "generator_names",
    "localcut",
    "lost",
    "maskcut",
    "primaps",
    "primaps_labels",
    "promerge",
    "salient_cuts",
    "tokencut",
    "votecut",
]

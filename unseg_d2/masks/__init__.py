"""Patch features to object proposals: one file or folder per generator."""

from __future__ import annotations

from unseg_d2.masks.activation import Activation, ActivationSettings, activation
from unseg_d2.masks.cuts3d import CutS3D, CutS3DSettings, LocalCutSettings, cuts3d, localcut
from unseg_d2.masks.greedymerge import GreedyMerge, GreedyMergeSettings, greedymerge
from unseg_d2.masks.lost import LOST, LOSTSettings, lost
from unseg_d2.masks.maskcut import MaskCut, MaskCutSettings, maskcut
from unseg_d2.masks.mergetree import MergeTree, MergeTreeSettings, mergetree
from unseg_d2.masks.primaps import PriMaPs, PriMaPsLabels, PriMaPsSettings, primaps, primaps_labels
from unseg_d2.masks.priors import PriorSettings, UnionCutSettings, foreground_union
from unseg_d2.masks.promerge import ProMerge, ProMergeSettings, promerge
from unseg_d2.masks.registry import MASK_GENERATORS, ProposalGenerator, build_generator
from unseg_d2.masks.splitting import ObjectFields, SplitSettings, fields_of_masks, split_by_fields, split_masks
from unseg_d2.masks.tokencut import SalientCut, TokenCut, TokenCutSettings, salient_cuts, tokencut
from unseg_d2.masks.uniap import UniAP, UniAPSettings, uniap
from unseg_d2.masks.votecut import VoteCut, VoteCutSettings, cut_vectors, votecut

__all__ = [
    "Activation",
    "ActivationSettings",
    "LOST",
    "LOSTSettings",
    "MASK_GENERATORS",
    "CutS3D",
    "CutS3DSettings",
    "GreedyMerge",
    "GreedyMergeSettings",
    "LocalCutSettings",
    "MaskCut",
    "MaskCutSettings",
    "MergeTree",
    "MergeTreeSettings",
    "ObjectFields",
    "ProposalGenerator",
    "PriMaPs",
    "PriMaPsLabels",
    "PriMaPsSettings",
    "PriorSettings",
    "ProMerge",
    "ProMergeSettings",
    "SalientCut",
    "SplitSettings",
    "TokenCut",
    "TokenCutSettings",
    "UniAP",
    "UniAPSettings",
    "UnionCutSettings",
    "VoteCut",
    "VoteCutSettings",
    "activation",
    "build_generator",
    "cuts3d",
    "cut_vectors",
    "fields_of_masks",
    "foreground_union",
    "greedymerge",
    "localcut",
    "lost",
    "maskcut",
    "mergetree",
    "primaps",
    "primaps_labels",
    "promerge",
    "salient_cuts",
    "split_by_fields",
    "split_masks",
    "tokencut",
    "uniap",
    "votecut",
]

"""What a detector has learnt from besides unlabelled images: recorded in its checkpoints, read from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config.sections.timm import REGISTERED, TIMM_FPN
from unseg_d2.data.builtin import ALIASES, BUILTIN
from unseg_d2.data.catalog import find_annotations
from unseg_d2.data.info import read_info
from unseg_d2.description import read_description
from unseg_d2.errors import UnsegError
from unseg_d2.supervision import from_info, joined
from unseg_d2.timm_networks import supervision_of_tag
from unseg_d2.zoo.store import learnt_from, resolve


def of_training(cfg: CfgNode, start: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what a training learns from: the weights that it starts from, and each of its data sets.

    Args:
        cfg: recipe.
        start: the checkpoint that ``MODEL.WEIGHTS`` names, empty where it names none.

    Returns:
        Words of `unseg_d2.supervision`; a data set that does not record it, of annotations from elsewhere, is
        ``not stated``.
    """
    return joined([_of_start(cfg, start), *(_of_dataset(name, cfg) for name in cfg.DATASETS.TRAIN)])


def of_weights(weights: str | Path, *, trust: bool = False) -> tuple[str, ...]:
    """Return what the weights of a detector have learnt from: what the zoo says, or the checkpoint records; or nothing.

    Args:
        weights: checkpoint, or ``zoo:NAME``.
        trust: see :func:`~unseg_d2.weight_files.read_weight_file`.
    """
    return learnt_from(weights) or read_description(resolve(weights), trust=trust).supervision


def _of_start(cfg: CfgNode, start: Mapping[str, Any]) -> tuple[str, ...]:
    if cfg.MODEL.WEIGHTS:
        return learnt_from(cfg.MODEL.WEIGHTS) or from_info(start)
    if cfg.MODEL.BACKBONE.NAME in (TIMM_FPN, REGISTERED) and cfg.MODEL.TIMM.PRETRAINED:
        import timm  # takes seconds

        known = timm.get_pretrained_cfg(cfg.MODEL.TIMM.BASE_NAME)
        return supervision_of_tag(known.tag or "") if known else ()
    return ("none",)  # random weights


def _of_dataset(name: str, cfg: CfgNode) -> tuple[str, ...]:
    known = BUILTIN.get(ALIASES.get(name, name))
    if known is not None and not known.command:  # annotations of a public data set, not pseudo-masks
        return ("human-masks",)
    try:
        return from_info(read_info(find_annotations(name, cfg)))
    except UnsegError:  # known to Detectron2 only
        return ()

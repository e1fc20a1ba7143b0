"""Saliency heads from files: those that `train-saliency` writes, and the published linear ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.features import single_backend
from unseg_d2.features.linear_head import LinearLayer, check_channels, linear_layer
from unseg_d2.loop.checkpoint import load_checkpoint, read_stored, restore_network
from unseg_d2.loop.recipes import recipe_of, warn_of_other_features
from unseg_d2.refine import BilateralSettings
from unseg_d2.saliency.linear import LinearMasks
from unseg_d2.saliency.predict import SaliencyModel, SempartMasks, build_head
from unseg_d2.saliency.settings import GuidedMaskSettings, LinearSettings, SaliencySettings
from unseg_d2.weight_files import check_values
from unseg_d2.zoo.download import checksum
from unseg_d2.zoo.registry import entries, find
from unseg_d2.zoo.store import PREFIX, resolve

RECIPES = ("configs/saliency/found.yaml", "configs/saliency/unionseg.yaml")
"""What describes a linear head, which does not know its recipe."""

MOST_BYTES = 64 << 20
"""Larger files are no saliency heads: Sempart's has some 6 MB with the state of its optimiser."""

logger = logging.getLogger(__name__)


def load_saliency_model(
    path: str | Path, opts: Sequence[Any] = (), *, recipe: str | Path | None = None, trust: bool = False
) -> tuple[SaliencyModel, CfgNode]:
    """Return the model of a saliency head, and its recipe.

    Args:
        path: checkpoint of ``train-saliency``, which knows its recipe; a published linear head (FOUND, UnionSeg), or
            ``zoo:NAME``.
        opts: ``KEY VALUE`` pairs that differ from the recipe.
        recipe: of a linear head that is not one of the zoo's; the others know theirs.
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Raises:
        UnsegError: there is no such file, it is of another kind, a linear head has no recipe, or the features have
            another width here.
    """
    name = str(path)
    if name.startswith(PREFIX):
        find(name).recipe_file("saliency")  # raises if it is something else, before anything is fetched
    file = Path(resolve(path))
    layer = linear_layer(read_stored(file, trust=trust))
    if layer is not None:
        check_values(name, {"weight": layer.weight, "bias": layer.bias})
        return _linear(layer, load_cfg(_recipe_of_linear(name, file, recipe), opts), name)
    return _trained(file, name, opts, trust)


def is_saliency_head(path: str | Path, *, trust: bool = False) -> bool:
    """Return whether a file is a saliency head, and not a detector.

    Args:
        path: of a checkpoint, or ``zoo:NAME``.
        trust: see :func:`load_saliency_model`.
    """
    name = str(path)
    if name.startswith(PREFIX):
        return find(name).kind == "saliency"
    file = Path(resolve(path))
    if not file.is_file() or file.suffix == ".pkl" or file.stat().st_size > MOST_BYTES:
        return False
    stored = read_stored(file, trust=trust)
    return linear_layer(stored) is not None or (isinstance(stored, dict) and "feature_channels" in stored)


def _trained(file: Path, name: str, opts: Sequence[Any], trust: bool) -> tuple[SaliencyModel, CfgNode]:
    checkpoint = load_checkpoint(file, trust=trust)
    cfg = recipe_of(checkpoint, name, "saliency", opts)
    if LinearSettings.from_config(cfg) != LinearSettings():
        logger.warning("SALIENCY.LINEAR has no effect on %s: it is a head of train-saliency, not a linear one.", name)
    features, channels = single_backend(cfg)
    head = build_head(cfg, channels, features.patch_size)
    restore_network(head, checkpoint, name)
    warn_of_other_features(checkpoint, features.name, features.checksum, name, cfg)
    head = head.to(resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")).eval()
    return _model(SempartMasks(features, head, cfg.SALIENCY.PREDICT_SIZE), cfg), cfg


def _linear(layer: LinearLayer, cfg: CfgNode, name: str) -> tuple[SaliencyModel, CfgNode]:
    if cfg.SALIENCY.PREDICT_SIZE:
        raise UnsegError(
            f"SALIENCY.PREDICT_SIZE has no effect on {name}, a linear head: set SALIENCY.LINEAR.SQUARE, or 0 for both."
        )
    features, channels = single_backend(cfg)
    check_channels(layer, channels, features.name, name)
    masks = LinearMasks(features, layer, LinearSettings.from_config(cfg), BilateralSettings.from_config(cfg))
    return _model(masks, cfg), cfg


def _model(masks: SempartMasks | LinearMasks, cfg: CfgNode) -> SaliencyModel:
    return SaliencyModel(masks, SaliencySettings.from_config(cfg), GuidedMaskSettings.from_config(cfg))


def _recipe_of_linear(name: str, file: Path, recipe: str | Path | None) -> str | Path:
    """Return the recipe of a linear head: that of the zoo's entry with this name or content, else the given one.

    Raises:
        UnsegError: there is none.
    """
    if name.startswith(PREFIX):
        return find(name).recipe_file("saliency")
    content = checksum(file)
    for entry in entries().values():
        if entry.kind == "saliency" and entry.sha256 == content:
            logger.info("%s is zoo:%s; its recipe is configs/%s.", name, entry.name, entry.recipe)
            return entry.recipe_file("saliency")
    if recipe is None:
        raise UnsegError(
            f"{name} is a linear head that the zoo does not know; name what describes it with --config-file: "
            f"{' or '.join(RECIPES)}."
        )
    return recipe

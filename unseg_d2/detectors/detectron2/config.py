"""Translate a configuration of this project to Detectron2, and add its keys to a Detectron2 configuration."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from detectron2.config import get_cfg as detectron2_defaults
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg
from unseg_d2.detectors.detectron2.config_node import adopt_root
from unseg_d2.detectors.detectron2.heads import use_our_heads
from unseg_d2.detectors.norms import available_norms
from unseg_d2.loop.precision import mixed_precision
from unseg_d2.plugins import load_plugins


def add_unseg_config(cfg: CfgNode, *, plugins: Sequence[str] = ()) -> None:
    """Make a Detectron2 configuration know the keys of this package, and those that CutLER added, in place.

    Call it before ``merge_from_file``. Afterwards Detectron2's own ``build_model(cfg)`` builds the heads that the keys
    ask for, whatever the recipe calls them, or raises an error that names the key without effect. Networks of recipes
    without a key of ours are Detectron2's. Values that are there stay, and it may be called again.

    Args:
        cfg: what ``detectron2.config.get_cfg()`` returns, which other projects may extend before or after.
        plugins: modules or files with parts of your own, whose settings become keys too.

    Raises:
        UnsegError: the configuration is frozen or of another project's class, or a plug-in cannot be imported.
    """
    load_plugins(plugins)
    adopt_root(cfg)
    _add_missing(cfg, get_cfg())
    cfg.PLUGINS = [*cfg.PLUGINS, *(name for name in plugins if name not in cfg.PLUGINS)]


def to_detectron2(cfg: CfgNode) -> Detectron2CfgNode:
    """Return the Detectron2 configuration of a recipe of this project.

    All values are copied, except that ``MODEL.DEVICE: auto`` is resolved, RoI heads become those of this package, and
    mixed precision and synchronised BatchNorm, which need CUDA, are replaced on other devices. Detectron2's own
    rescaling (``SOLVER.REFERENCE_WORLD_SIZE``) is off because the recipe has been rescaled already.

    Args:
        cfg: recipe, which is not changed; or a Detectron2 configuration with the keys of this project.

    Raises:
        UnsegError: a plug-in cannot be imported, or the named heads would ignore a key.
    """
    load_plugins(cfg.PLUGINS)  # their sections are among the defaults then; this may be a process of its own
    if isinstance(cfg, Detectron2CfgNode):  # of somebody else's project, perhaps with further keys
        translated = cfg.clone()
        translated.defrost()
    else:
        translated = detectron2_defaults()
        add_unseg_config(translated)
        translated.merge_from_other_cfg(cfg)
    translated.SOLVER.REFERENCE_WORLD_SIZE = 0
    use_our_heads(translated)
    if cfg.MODEL.DEVICE == "auto":
        translated.MODEL.DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
    _replace_unavailable(translated, torch.device(translated.MODEL.DEVICE))
    translated.freeze()
    return translated


def _add_missing(cfg: CfgNode, defaults: CfgNode) -> None:
    """Copy keys that are missing in ``cfg``, recursively."""
    for key, value in defaults.items():
        if key not in cfg:
            cfg[key] = Detectron2CfgNode(value.clone()) if isinstance(value, CfgNode) else value
        elif isinstance(value, CfgNode):
            _add_missing(cfg[key], value)


def _replace_unavailable(cfg: Detectron2CfgNode, device: torch.device) -> None:
    """Replace, in place, settings that need CUDA if the device is another one; the log says so."""
    cfg.SOLVER.AMP.ENABLED = mixed_precision(cfg, device)
    nodes = (cfg.MODEL.RESNETS, cfg.MODEL.FPN, cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.ROI_BOX_HEAD)
    for node, norm in zip(nodes, available_norms(device, *(node.NORM for node in nodes))):
        node.NORM = norm

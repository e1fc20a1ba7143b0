"""A Detectron2 configuration that has its network built by this package where a key of this package needs it.

``build_model`` reads ``cfg.MODEL.META_ARCHITECTURE`` and calls what is registered under that name. Recipes set this
key, so a default of ours would be overwritten, and the key itself must stay what the recipe says: it is dumped,
compared and merged. So only the answer to this reading differs, and only while a key of ours is on.
"""

from __future__ import annotations

from typing import Any

import torch
from detectron2.config import CfgNode as Detectron2CfgNode
from fvcore.common.config import CfgNode

from unseg_d2.detectors.detectron2.heads import REGISTRIES
from unseg_d2.detectors.detectron2.meta_architecture import build_unseg_model
from unseg_d2.detectors.heads import SYNONYMS, asked
from unseg_d2.errors import UnsegError

BUILDER = build_unseg_model.__name__
_PLAIN = (Detectron2CfgNode, CfgNode)
_OURS = "__built_by_unseg_d2__"


class UnsegCfgNode(Detectron2CfgNode):
    """Detectron2's configuration, the same in everything but two answers.

    ``cfg.MODEL.META_ARCHITECTURE`` is `BUILDER` while a key of this package is on, and ``cfg.MODEL.DEVICE`` is a device
    where the recipe says ``auto``. The stored values are those of the recipe: ``cfg.MODEL["META_ARCHITECTURE"]``.
    """

    def __getattr__(self, name: str) -> Any:
        value = super().__getattr__(name)
        if name == "MODEL" and isinstance(value, UnsegCfgNode):
            value.__dict__[_OURS] = needs_builder(self)  # losses and the loader are other sections than MODEL
        elif name == "META_ARCHITECTURE" and self.__dict__.get(_OURS):
            return BUILDER
        elif name == "DEVICE" and value == "auto":
            return "cuda" if torch.cuda.is_available() else "cpu"
        return value

    def __setitem__(self, name: str, value: Any) -> None:
        adopt(value)  # sections that other projects add later; merging needs all of one class
        super().__setitem__(name, value)


def adopt(node: Any) -> None:
    """Make a configuration an `UnsegCfgNode`, in place, with all of its sections; other values stay as they are."""
    if type(node) in _PLAIN:
        object.__setattr__(node, "__class__", UnsegCfgNode)
        for section in node.values():
            adopt(section)


def adopt_root(cfg: CfgNode) -> None:
    """Do so with a whole configuration.

    Raises:
        UnsegError: it is frozen, or of a class of another project.
    """
    if cfg.is_frozen():
        raise UnsegError("The configuration is frozen; call add_unseg_config before cfg.freeze().")
    adopt(cfg)
    if not isinstance(cfg, UnsegCfgNode):
        name = f"{type(cfg).__module__}.{type(cfg).__qualname__}"
        raise UnsegError(f"add_unseg_config needs the configuration of detectron2.config.get_cfg(), not a {name}.")


def needs_builder(cfg: CfgNode) -> bool:
    """Return whether Detectron2 alone would build another network than the configuration describes, or not check it."""
    if any(asked(cfg)):
        return True
    loader, solver, model = (cfg.get(name, {}) for name in ("DATALOADER", "SOLVER", "MODEL"))
    if loader.get("COPY_PASTE") or solver.get("BASE_LR_MULTIPLIER", 1) != 1:
        return True
    names = {part: model.get(part.removeprefix("MODEL."), {}).get("NAME") for part in REGISTRIES}
    return any(name in SYNONYMS and name not in REGISTRIES[part] for part, name in names.items())

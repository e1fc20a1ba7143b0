"""Which heads compute which keys of a recipe, and under which names: one table for both engines.

Heads that do not read a key ignore it in silence, as all of Detectron2's own do with the keys of this package. So every
network is checked before it is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from unseg_d2.config.sections.heads import MaskHeadSettings, RoIHeadsSettings
from unseg_d2.errors import UnsegError
from unseg_d2.losses.registry import LossSettings
from unseg_d2.plugins import load_plugins
from unseg_d2.settings import all_settings, look_up

ROI_HEADS, MASK_HEAD = "MODEL.ROI_HEADS", "MODEL.ROI_MASK_HEAD"
COMPUTED_BY = {
    "MODEL.ROI_HEADS.USE_DROPLOSS": (ROI_HEADS,),
    "MODEL.ROI_HEADS.USE_SOFT_TARGETS": (ROI_HEADS, MASK_HEAD),
    "MODEL.ROI_MASK_HEAD.CONFIDENCE": (MASK_HEAD,),
    "LOSSES.CLASSIFICATION": (ROI_HEADS,),
    "LOSSES.MASK": (MASK_HEAD,),
}
"""Key of this package to the heads that must know it."""

HEADS = {
    ROI_HEADS: ("StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads"),
    MASK_HEAD: ("MaskRCNNConvUpsampleHead",),
}
"""Part of the network to Detectron2's names of the heads that there is a version of which knows the keys."""

SYNONYMS = {
    "CustomCascadeROIHeads": "CascadeROIHeads",  # Custom* are the names in CutLER's and CuVLER's files
    "CustomStandardROIHeads": "StandardROIHeads",
    "CustomMaskRCNNConvUpsampleHead": "MaskRCNNConvUpsampleHead",
    "DropLossCascadeROIHeads": "CascadeROIHeads",  # the rest are this package's names in Detectron2's registries
    "DropLossStandardROIHeads": "StandardROIHeads",
    "DropLossRes5ROIHeads": "Res5ROIHeads",
    "ConfidenceMaskHead": "MaskRCNNConvUpsampleHead",
}
"""Name of heads to Detectron2's name of what they are where no key of this package is on."""

Computes = Callable[[str, str], bool]
"""(``MODEL.ROI_HEADS`` or ``MODEL.ROI_MASK_HEAD``, name of heads) -> whether they know the keys of this package."""


def require_keys(cfg: Mapping[str, Any]) -> None:
    """Raise `UnsegError` unless a Detectron2 configuration has our keys; CutLER's alone are not enough."""
    if "LOSSES" not in cfg:
        raise UnsegError(
            "The configuration lacks the keys of unseg_d2: call add_unseg_config(cfg) before merging files."
        )


def asked(cfg: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the keys that ask for a loss of this package, and their values.

    Args:
        cfg: configuration of either engine; keys that it lacks ask for nothing.
    """
    off = dict(all_settings())
    for key in COMPUTED_BY:
        value = _value(cfg, key)
        if value is not None and _folded(value) != _folded(off[key].default):
            yield key, value


def stock_name(name: str) -> str:
    """Return Detectron2's name of heads.

    >>> stock_name("CustomCascadeROIHeads")
    'CascadeROIHeads'
    """
    return SYNONYMS.get(name, name)


def check_heads(cfg: Mapping[str, Any], computes: Computes) -> None:
    """Refuse a recipe that asks for something that its heads do not compute.

    Args:
        cfg: configuration of either engine.
        computes: which heads know the keys.

    Raises:
        UnsegError: a key has no effect, two settings contradict each other, or a plug-in cannot be imported.
    """
    load_plugins(look_up(cfg, "PLUGINS"))  # register losses; this may be a process of its own
    for settings in (RoIHeadsSettings, MaskHeadSettings, LossSettings):
        settings.from_config(cfg)
    for key, value in asked(cfg):
        for part in COMPUTED_BY[key]:
            name = look_up(cfg, f"{part}.NAME")
            if part == MASK_HEAD and not look_up(cfg, "MODEL.MASK_ON"):
                continue  # a key that needs masks has been refused above
            if not computes(part, name):
                raise UnsegError(
                    f"{key} is {value}, but {part}.NAME is {name}, which ignores it; set the key to "
                    f"{_off(key)}, or choose {' or '.join(HEADS[part])}."
                )


def no_effect(key: str, value: Any, network: str) -> UnsegError:
    """Return the error for a network without the heads that compute a key."""
    heads = " and ".join(COMPUTED_BY[key])
    return UnsegError(
        f"{key} is {value}, but {network} does not use {heads}, which compute it; set the key to {_off(key)}, or "
        "MODEL.META_ARCHITECTURE to GeneralizedRCNN."
    )


def _off(key: str) -> Any:
    return dict(all_settings())[key].default


def _value(cfg: Mapping[str, Any], key: str) -> Any:
    node: Any = cfg
    for name in key.split("."):
        if not isinstance(node, Mapping) or name not in node:
            return None
        node = node[name]
    return node


def _folded(value: Any) -> Any:
    """Return a value to compare: names of losses are the same in small and capital letters."""
    return value.lower() if isinstance(value, str) else value

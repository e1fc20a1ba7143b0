"""Settings of features that follow the device: half precision and batches pay off on a card, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from fvcore.common.config import CfgNode

from unseg_d2.devices import resolve_device

AUTO, AUTO_BATCH = "auto", 0
ON_CARD = {"PRECISION": "float16", "BATCH_SIZE": 8}
ELSEWHERE = {"PRECISION": "float32", "BATCH_SIZE": 1}


def precision_of(cfg: CfgNode) -> torch.dtype:
    """Return the precision of ``cfg.FEATURES`` on its device.

    Raises:
        UnsegError: the device does not exist.
    """
    name = cfg.FEATURES.PRECISION
    dtype: torch.dtype = getattr(torch, _values(cfg)["PRECISION"] if name == AUTO else name)
    return dtype


def batch_size_of(cfg: CfgNode) -> int:
    """Return how many images of ``cfg.FEATURES`` go through the network together on its device.

    Raises:
        UnsegError: the device does not exist.
    """
    size: int = cfg.FEATURES.BATCH_SIZE
    return _values(cfg)["BATCH_SIZE"] if size == AUTO_BATCH else size


def followed(cfg: CfgNode) -> dict[str, Any]:
    """Return by key what the settings of features that follow the device are on it; none that do not follow it.

    Results depend on them: a run takes them once, and remembers what they were.

    Raises:
        UnsegError: the device does not exist.
    """
    values, features = _values(cfg), cfg.FEATURES
    changes: dict[str, Any] = {}
    if features.PRECISION == AUTO:
        changes["FEATURES.PRECISION"] = values["PRECISION"]
    if features.BATCH_SIZE == AUTO_BATCH:
        changes["FEATURES.BATCH_SIZE"] = values["BATCH_SIZE"]
    if any(isinstance(member, Mapping) and member.get("PRECISION") == AUTO for member in features.MEMBERS):
        changes["FEATURES.MEMBERS"] = [_member(member, values["PRECISION"]) for member in features.MEMBERS]
    return changes


def _member(member: Any, precision: str) -> Any:
    """Return the section of a member of an ensemble with its precision."""
    follows = isinstance(member, Mapping) and member.get("PRECISION") == AUTO
    return {**member, "PRECISION": precision} if follows else member


def _values(cfg: CfgNode) -> Mapping[str, Any]:
    return ELSEWHERE if resolve_device(cfg.FEATURES.DEVICE).type == "cpu" else ON_CARD

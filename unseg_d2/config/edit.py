"""A configuration that differs from another in a few keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, nearest


def edited(cfg: CfgNode, changes: Mapping[str, Any] | None = None, /, **more: Any) -> CfgNode:
    """Return a frozen copy of a configuration with other values.

    Values are taken as they are: unlike on the command line, text is not read as a number or list.

    Args:
        cfg: configuration of any kind, frozen or not; it stays as it is.
        changes: values by key, ``{"SOLVER.MAX_ITER": 100}``.
        **more: the same for keys without a section, ``SEED=3``.

    Raises:
        UnsegError: the key does not exist, or names a section.

    >>> cfg = CfgNode({"SEED": 1, "SOLVER": CfgNode({"MAX_ITER": 10})})
    >>> edited(cfg, {"SOLVER.MAX_ITER": 20}, SEED=2).SOLVER.MAX_ITER
    20
    """
    copy = cfg.clone()
    copy.defrost()
    for key, value in {**(changes or {}), **more}.items():
        _set(copy, key, value)
    copy.freeze()
    return copy


def _set(cfg: CfgNode, key: str, value: Any) -> None:
    """Change the value of a dotted key in place."""
    *sections, last = key.split(".")
    node = cfg
    for name in (*sections, last):
        if not isinstance(node, CfgNode) or name not in node:
            known = list(node) if isinstance(node, CfgNode) else []
            raise UnsegError(f"The configuration has no key {key}.{nearest(name, known)}")
        parent, node = node, node[name]
    if isinstance(node, CfgNode):
        raise UnsegError(f"{key} is a section of the configuration; change one of its keys.")
    parent[last] = value

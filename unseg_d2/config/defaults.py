"""The default configuration, made from the settings that this package and its plug-ins register."""

from __future__ import annotations

import copy

from fvcore.common.config import CfgNode

from unseg_d2.plugins import load_plugins
from unseg_d2.settings import all_settings


def get_cfg() -> CfgNode:
    """Return a fresh copy of the default configuration: every key of every section, those of plug-ins included.

    Raises:
        UnsegError: an installed plug-in cannot be imported.
    """
    load_plugins()
    cfg = CfgNode()
    for key, known in all_settings():
        *sections, name = key.split(".")
        node = cfg
        for section in sections:
            node = node.setdefault(section, CfgNode())
        node[name] = copy.deepcopy(known.default)
    return cfg

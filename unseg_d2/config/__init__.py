"""Configuration: sections, loading with clear errors, and rescaling to fewer GPUs."""

from unseg_d2.config.defaults import get_cfg
from unseg_d2.config.edit import edited
from unseg_d2.config.load import load_cfg

__all__ = ["edited", "get_cfg", "load_cfg"]

"""Image to patch tokens: pretrained vision transformers, or descriptors that need no weights."""

from __future__ import annotations

from unseg_d2.features import descriptors  # noqa: F401 (registers itself)
from unseg_d2.features.registry import FEATURE_BACKENDS, FeatureBackend, build_features

__all__ = ["FEATURE_BACKENDS", "FeatureBackend", "build_features"]

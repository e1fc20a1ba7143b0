"""Image to patch tokens: pretrained vision transformers, or descriptors that need no weights."""

from __future__ import annotations

from unseg_d2.features import descriptors, vit  # noqa: F401 (register themselves)
from unseg_d2.features.registry import FEATURE_BACKENDS, FeatureBackend, build_features

__all__ = ["FEATURE_BACKENDS", "FeatureBackend", "build_features"]

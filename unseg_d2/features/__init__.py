"""Image to patch tokens: pretrained vision transformers, or descriptors that need no weights."""

from __future__ import annotations

from unseg_d2.features import cnn, descriptors, palette, vit  # noqa: F401 (register themselves)
from unseg_d2.features.ensemble import Ensemble, build_features, count_channels, join_members, single_backend
from unseg_d2.features.registry import FEATURE_BACKENDS, FeatureBackend

__all__ = [
    "FEATURE_BACKENDS",
    "Ensemble",
    "FeatureBackend",
    "build_features",
    "count_channels",
    "join_members",
    "single_backend",
]

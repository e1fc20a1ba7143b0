"""Synthetic scenes: ray casting, surfaces, composed scenes, and the data sets on disk made of them."""

from __future__ import annotations

from unseg_d2.data.synthetic.dataset import SPLITS, Split, ensure_synthetic, synthetic_scene
from unseg_d2.data.synthetic.film_dataset import ensure_film, synthetic_clip
from unseg_d2.data.synthetic.scenes import CLASSES, Scene

__all__ = [
    "CLASSES",
    "SPLITS",
    "Scene",
    "Split",
    "ensure_film",
    "ensure_synthetic",
    "synthetic_clip",
    "synthetic_scene",
]

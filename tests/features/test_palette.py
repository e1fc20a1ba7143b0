from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.features import build_features
from unseg_d2.features.palette import COLOURS, LENGTH, palette, palette_features


def flat(*colours: tuple[int, int, int]) -> np.ndarray:
    """One patch of 8 px per colour, side by side."""
    return np.repeat(np.repeat(np.uint8([colours]), 8, axis=0), 8, axis=1)


def cosine(features: np.ndarray, one: int, other: int) -> float:
    a, b = features[:, 0, one], features[:, 0, other]
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_a_colour_has_the_same_features_in_every_image() -> None:
    red, noise = (200, 30, 40), np.random.default_rng(0).integers(0, 256, (8, 16, 3), dtype=np.uint8)
    alone = palette_features(flat(red), 8)
    among = palette_features(np.concatenate([noise, flat(red)], axis=1), 8)
    np.testing.assert_allclose(alone[:, 0, 0], among[:, 0, 2], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(among, axis=0), LENGTH, rtol=1e-5)


def test_hue_counts_more_than_shade() -> None:
    features = palette_features(flat((180, 60, 60), (130, 43, 43), (60, 60, 180), (60, 180, 60)), 8)
    assert cosine(features, 0, 1) > 0.4 > max(cosine(features, 0, 2), cosine(features, 0, 3), cosine(features, 2, 3))


def test_the_palette_covers_the_cube() -> None:
    colours = palette()
    assert colours.shape == (COLOURS, 3)
    apart = np.linalg.norm(colours[:, None] - colours[None], axis=-1) + np.eye(COLOURS)
    assert apart.min() > 0.1


def test_backend_and_what_it_refuses() -> None:
    backend = build_features(load_cfg(None, ["FEATURES.NAME", "palette", "FEATURES.DESCRIPTORS.PATCH_SIZE", "4"]))
    found = backend([np.zeros((16, 24, 3), np.uint8)])[0]
    assert found.tokens.shape == (COLOURS, 4, 6) and found.patch_size == 4 and torch.isfinite(found.tokens).all()
    with pytest.raises(ValueError, match="smaller than a patch"):
        palette_features(np.zeros((4, 24, 3), np.uint8), 8)
    with pytest.raises(ValueError, match="uint8 or float32"):
        palette_features(np.zeros((16, 24), np.uint8), 8)

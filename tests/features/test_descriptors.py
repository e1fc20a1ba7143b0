from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.features.descriptors import Descriptors, patch_descriptors


def cosine(tokens: np.ndarray) -> np.ndarray:
    columns = tokens.reshape(len(tokens), -1)
    columns = columns / np.linalg.norm(columns, axis=0)
    return columns.T @ columns


def test_grid_and_type():
    image = np.random.default_rng(0).integers(0, 256, (480, 480, 3), dtype=np.uint8)
    tokens = patch_descriptors(image, 8)
    assert tokens.shape[1:] == (60, 60)
    assert tokens.dtype == np.float32
    assert np.isfinite(tokens).all()


@pytest.mark.parametrize("value", [0, 93, 255])
def test_one_colour_is_finite(value):
    tokens = patch_descriptors(np.full((64, 64, 3), value, np.uint8))
    assert np.isfinite(tokens).all()


def test_alike_patches_are_close_and_unlike_ones_are_not():
    """Left red, right blue: within a half the cosine passes MaskCut's threshold, across it does not."""
    image = np.zeros((128, 128, 3), np.uint8)
    image[:, :64] = (200, 40, 40)
    image[:, 64:] = (40, 40, 200)
    similarity = cosine(patch_descriptors(image)).reshape(16, 16, 16, 16)
    assert similarity[8, 2, 3, 3] > 0.15  # (row, column) against (row, column)
    assert similarity[8, 13, 3, 12] > 0.15
    assert similarity[8, 2, 8, 13] < 0.15


def test_texture_alone_separates():
    """Grey with fine stripes against plain grey of the same mean."""
    image = np.full((128, 128, 3), 128, np.uint8)
    image[:, 64::4], image[:, 66::4] = 178, 78
    similarity = cosine(patch_descriptors(image)).reshape(16, 16, 16, 16)
    assert similarity[8, 2, 3, 3] > 0.15
    assert similarity[8, 2, 8, 13] < 0.15


def test_batch_equals_single_and_repeats():
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    backend = Descriptors(8)
    batch = backend(images)
    for image, features in zip(images, batch):
        assert features.tokens.equal(backend([image])[0].tokens)
    assert backend.checksum == Descriptors(8).checksum
    assert len(backend.checksum) == 64


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float32), np.zeros((4, 4, 3), np.uint8)]
)
def test_refuses_other_input(image):
    with pytest.raises(ValueError, match="image"):
        patch_descriptors(image, 8)

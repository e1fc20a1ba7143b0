"""Views of training images: what is drawn, and that a mask moves with its image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.saliency.settings import SaliencySettings
from unseg_d2.saliency.views import (
    centre_view,
    luminance,
    normalised,
    predicted_size,
    scaled_size,
    training_view,
)


def settings(side, shorter_side, **changes):
    return SaliencySettings(image_size=side, shorter_side=shorter_side, **changes)


@pytest.fixture
def image():
    """Red says the column, green the row."""
    rows, columns = np.mgrid[:60, :90]
    return np.stack([columns * 2, rows * 3, rows * 0], axis=-1).astype(np.uint8)


def test_a_mask_moves_with_its_image(image):
    still = settings(40, 50, jitter_probability=0, grayscale=0)
    for seed in range(8):
        view, mask = training_view(image, still, np.random.default_rng(seed), image[..., 0] / np.float32(255))
        np.testing.assert_allclose(view[..., 0] / 255, mask, atol=1 / 255)
        assert view.shape == (40, 40, 3) and mask.dtype == np.float32


def test_a_view_is_a_function_of_the_generator(image):
    views = [training_view(image, settings(40, 50), np.random.default_rng(k))[0] for k in (0, 0, 1)]
    assert np.array_equal(views[0], views[1]) and not np.array_equal(views[0], views[2])


def test_probabilities_of_one_and_zero(image):
    gray = training_view(image, settings(40, 50, grayscale=1), np.random.default_rng(0))[0]
    assert (gray[..., 0] == gray[..., 2]).all()
    plain = settings(60, 60, flip=0.0, jitter_probability=0.0, grayscale=0.0)
    view = training_view(image, plain, np.random.default_rng(0))[0]
    column = view[0, 0, 0] // 2
    assert np.array_equal(view, image[:, column : column + 60])


def test_the_shorter_side_is_scaled(image):
    assert scaled_size((60, 90), 50) == (50, 75) and scaled_size((90, 60), 120) == (180, 120)
    assert centre_view(image, 60, 60)[0, :, 0].tolist() == (np.arange(15, 75) * 2).tolist()


def test_luminance_undoes_the_normalisation(image):
    gray = luminance(normalised(image[None]))
    np.testing.assert_allclose(gray[0, 0].numpy(), image.mean(2) / 255, atol=1e-6)
    assert normalised(np.full((1, 2, 2, 3), 255, np.uint8))[0, :, 0, 0].tolist() == pytest.approx(
        [(1 - m) / s for m, s in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    )
    assert torch.is_tensor(gray)


def test_images_are_looked_at_in_whole_patches():
    assert predicted_size((300, 404), 8) == (304, 400)
    assert predicted_size((300, 400), 8, 96) == (96, 128)
    assert predicted_size((3, 40), 8) == (16, 40)  # two patches at least: neighbours are compared

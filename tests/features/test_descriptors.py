from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.features.descriptors import Descriptors, DescriptorSettings, patch_descriptors, soft_palette, whiten


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
    tokens = patch_descriptors(np.full((64, 64, 3), value, np.uint8), 8)
    assert np.isfinite(tokens).all()


def scene(background: np.ndarray, *objects: tuple[int, tuple[int, int, int]]) -> np.ndarray:
    """Squares of 32 px on a background of 128 px; each object is (column in px, colour)."""
    image = np.broadcast_to(background, (128, 128, 3)).astype(np.uint8)
    for column, colour in objects:
        image[48:80, column : column + 32] = colour
    return image


def test_objects_differ_from_the_floor_and_from_each_other():
    """A red and a blue square on grey: alike within, below MaskCut's threshold across."""
    image = scene(np.array([128, 128, 128]), (16, (200, 40, 40)), (80, (40, 40, 200)))
    similarity = cosine(patch_descriptors(image, 8)).reshape(16, 16, 16, 16)  # (row, column) against (row, column)
    red, blue, floor = (7, 3), (7, 11), (2, 2)
    assert similarity[red][8, 4] > 0.9
    assert similarity[floor][14, 13] > 0.9
    assert max(similarity[red][blue], similarity[red][floor], similarity[blue][floor]) < 0.15


def test_a_floor_of_two_colours_is_one():
    """Light and dark tiles of a whole patch each are alike, a colour that is not in the floor is not."""
    tile = (np.add.outer(np.arange(128) // 8, np.arange(128) // 8) % 2)[..., None] * 60 + 98
    similarity = cosine(patch_descriptors(scene(tile, (48, (200, 40, 40))), 8)).reshape(16, 16, 16, 16)
    light, dark, solid = (1, 4), (1, 5), (7, 7)
    assert similarity[light][dark] > 0.15
    assert max(similarity[solid][light], similarity[solid][dark]) < 0.15


def test_noise_on_one_colour_is_one_cluster():
    image = np.random.default_rng(0).normal(128, 2, (128, 128, 3)).astype(np.uint8)
    assert cosine(patch_descriptors(image, 8)).min() > 0.15


def test_whitened_reference_has_unit_covariance():
    group = np.random.default_rng(0).normal(size=(3, 60, 60)) * np.array([5.0, 1.0, 0.2])[:, None, None]
    patches = whiten(group, DescriptorSettings(reference="image", ridge=0)).reshape(3, -1)
    np.testing.assert_allclose(np.cov(patches, bias=True), np.diag(1 / (1 + 1e-4 / np.array([25, 1, 0.04]))), atol=0.02)


def test_palette_cosines_approximate_a_gaussian_kernel():
    """Every patch is in the palette: cosines fall with distance, as exp(-d^2 / 4) of a dense palette does."""
    line = np.linspace(0, 12, 64)[None, None]
    similarity = cosine(soft_palette(line, 64))
    distance = np.abs(np.subtract.outer(line[0, 0], line[0, 0]))
    inner = slice(16, 48)  # away from the ends of the line, where the palette ends too
    np.testing.assert_allclose(similarity[inner, inner], np.exp(-(distance[inner, inner] ** 2) / 4), atol=1e-3)


@pytest.mark.parametrize("extra", [{"texture": 1.0}, {"orientation": 1.0}])
def test_texture_alone_separates(extra):
    """A square of fine stripes on plain grey of the same mean: the colour alone does not tell them apart."""
    image = np.full((128, 128, 3), 128, np.uint8)
    image[48:80, 48:80:4], image[48:80, 50:80:4] = 178, 78
    for settings, differs in ((DescriptorSettings(), False), (DescriptorSettings(**extra), True)):
        similarity = cosine(patch_descriptors(image, 8, settings)).reshape(16, 16, 16, 16)
        assert (similarity[7, 7, 1, 1] < 0.15) == differs


def test_batch_equals_single_and_repeats():
    images = list(np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8))
    backend = Descriptors(8)
    batch = backend(images)
    for image, features in zip(images, batch):
        assert features.tokens.equal(backend([image])[0].tokens)
    assert backend.checksum == Descriptors(8).checksum
    assert len(backend.checksum) == 64


def test_float32_of_the_same_range():
    image = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)
    np.testing.assert_array_equal(patch_descriptors(image.astype(np.float32), 8), patch_descriptors(image, 8))


@pytest.mark.parametrize(
    "image", [np.zeros((64, 64), np.uint8), np.zeros((64, 64, 3), np.float64), np.zeros((4, 4, 3), np.uint8)]
)
def test_refuses_other_input(image):
    with pytest.raises(ValueError, match="image"):
        patch_descriptors(image, 8)

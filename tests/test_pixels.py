from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from unseg_d2.pixels import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    adjust_colours,
    cell_coverage,
    centre_crop,
    denormalise,
    normalise,
    resize,
)


def test_normalising_is_that_of_torchvision() -> None:
    pixels = torch.rand(2, 3, 5, 7)
    expected = v2.Normalize(IMAGENET_MEAN, IMAGENET_STD)(pixels)
    torch.testing.assert_close(normalise(pixels), expected)
    torch.testing.assert_close(denormalise(normalise(pixels)), pixels)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_resizing_halves_by_a_triangle_of_four_pixels(dtype: type) -> None:
    plane = np.array([[0, 0, 80, 80, 0, 0, 0, 0]] * 2, dtype=dtype)
    assert resize(plane, (2, 8)) is plane
    halved = resize(plane, (2, 4))  # weights 1, 3, 3, 1 of 8; at the border 3, 3, 1 of 7
    np.testing.assert_allclose(halved[0], [80 / 7, 60, 10, 0], atol=1 if dtype == np.uint8 else 1e-4)
    assert halved.dtype == dtype


def test_the_middle_is_cut_out() -> None:
    image = np.arange(5 * 8 * 3).reshape(5, 8, 3)
    assert np.array_equal(centre_crop(image, 4), image[:4, 2:6])  # half a row too many: Python rounds to even
    assert np.array_equal(centre_crop(image[..., 0], 5), image[:, 2:7, 0])


def test_colours_change_in_the_order_that_is_given() -> None:
    grey = torch.full((3, 2, 2), 0.6)
    grey[:, 0] = 0.3
    twice, flat = 2.0, 0.0  # factors of brightness and contrast
    for order, rows in (([0], [0.6, 1.0]), ([0, 1], [0.8, 0.8]), ([1, 0], [0.9, 0.9])):  # what is over 1 is clipped
        expected = torch.tensor(rows)[:, None].expand(3, 2, 2)
        torch.testing.assert_close(adjust_colours(grey, [twice, flat, 1, 0], order), expected, atol=2e-4, rtol=0)
    red = torch.tensor([1.0, 0, 0])[:, None, None].expand(3, 2, 2)
    torch.testing.assert_close(adjust_colours(red, [1, 1, 1, 1 / 3], range(4)), red[[2, 0, 1]], atol=1e-5, rtol=0)
    assert adjust_colours(red, [0, 0, 0, 0], []) is red


def test_coverage_is_exact_whatever_the_sizes() -> None:
    """Each cell and each pixel is cut into equal tiles, which are counted."""
    rng = np.random.default_rng(0)
    masks = rng.random((3, 5, 7)) > 0.5
    fine = masks.repeat(6, 1).repeat(4, 2)  # 30 x 28
    expected = fine.reshape(3, 3, 10, 4, 7).mean((2, 4))  # 3 rows of 10, 4 columns of 7
    assert np.allclose(cell_coverage(masks, (3, 4)), expected)


def test_padding_at_the_right_and_bottom_is_covered_by_nothing() -> None:
    full = np.ones((1, 4, 6), bool)
    covered = cell_coverage(full, (4, 4), (0.5, 0.75))
    assert np.allclose(covered[0], [[1, 1, 1, 0], [1, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]])

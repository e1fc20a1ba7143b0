from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.features.descriptors import Descriptors
from unseg_d2.features.registry import Resize
from unseg_d2.features.vit import ViT
from unseg_d2.features.weights import create_vit
from unseg_d2.pseudo.geometry import network_input

RESIZE = get_args(Resize)


def photo(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


class TestNetworkInput:
    def test_square(self):
        image = photo(50, 70)
        seen = network_input(image, 14, "square", 100)
        expected = np.asarray(Image.fromarray(image).resize((98, 98), Image.Resampling.LANCZOS))
        np.testing.assert_array_equal(seen.image, expected)
        assert (seen.size, seen.shown) == ((50, 70), (98, 98))

    @pytest.mark.parametrize(("size", "expected"), [((100, 55), (96, 48)), ((24, 40), (32, 32)), ((3, 200), (16, 192))])
    def test_nearest_multiple(self, size, expected):
        """100 / 16 = 6.25, 55 / 16 = 3.4; 1.5 and 2.5 go to the even number; at least one patch; 12.5 to 12."""
        assert network_input(photo(*size), 16, "nearest_multiple", 480).image.shape == (*expected, 3)

    def test_pad(self):
        image = photo(33, 48)
        seen = network_input(image, 16, "pad", 480)
        assert (seen.image.shape, seen.image.dtype, seen.shown) == ((48, 48, 3), np.float32, (33, 48))
        np.testing.assert_array_equal(seen.image[:33], image)
        normalised = (seen.image[33:] / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
        np.testing.assert_allclose(normalised, 0, atol=1e-6)

    @pytest.mark.parametrize("resize", RESIZE)
    def test_what_fits_is_left_alone(self, resize):
        image = photo(64, 64)
        seen = network_input(image, 16, resize, 64)
        np.testing.assert_array_equal(seen.image, image)
        assert seen.image.dtype == np.uint8


class TestBack:
    @pytest.mark.parametrize("resize", RESIZE)
    def test_masks_have_the_size_of_the_image(self, resize):
        seen = network_input(photo(50, 70), 16, resize, 64)
        h, w = (length // 16 for length in seen.image.shape[:2])
        for shape in ((3, h, w), (3, *seen.image.shape[:2])):
            assert seen.to_image(np.ones(shape, dtype=bool)).all()
            assert seen.to_image(np.ones(shape, dtype=bool)).shape == (3, 50, 70)

    def test_padding_is_cut_off(self):
        seen = network_input(photo(20, 30), 8, "pad", 480)
        mask = np.zeros((1, 3, 4), dtype=bool)
        mask[0, 1:, 2:] = True
        expected = np.zeros((20, 30), dtype=bool)
        expected[8:, 16:] = True
        np.testing.assert_array_equal(seen.to_image(mask)[0], expected)
        np.testing.assert_array_equal(seen.boxes(mask), [[16, 8, 30, 20]])

    @pytest.mark.parametrize("size", [(50, 70), (13, 200), (96, 41)])
    def test_nearest_as_in_pytorch(self, size):
        seen = network_input(photo(*size), 16, "nearest_multiple", 480)
        h, w = (length // 16 for length in seen.image.shape[:2])
        grid = np.arange(h * w, dtype=np.float32).reshape(1, h, w)
        expected = torch.nn.functional.interpolate(torch.from_numpy(grid)[None], size=size, mode="nearest")[0]
        np.testing.assert_array_equal(seen.to_image(grid), expected.numpy())

    @pytest.mark.parametrize("resize", RESIZE)
    def test_boxes_enclose_the_masks(self, resize):
        seen = network_input(photo(90, 61), 8, resize, 64)
        h, w = (length // 8 for length in seen.image.shape[:2])
        masks = np.zeros((2, h, w), dtype=bool)
        masks[0, 2:5, 1:3] = masks[1, h - 1, w - 1] = True
        for mask, box in zip(seen.to_image(masks), seen.boxes(masks)):
            rows, columns = np.nonzero(mask)
            found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box, found, atol=1)
            assert (box[2:] <= (61, 90)).all()

    def test_boxes_are_not_rounded(self):
        seen = network_input(photo(30, 33), 8, "nearest_multiple", 480)  # 32 x 32
        mask = np.zeros((1, 4, 4), dtype=bool)
        mask[0, 1, 1:3] = True
        np.testing.assert_allclose(seen.boxes(mask), [[8.25, 7.5, 24.75, 15]])


@pytest.fixture(scope="module")
def vit() -> ViT:
    torch.manual_seed(0)
    return ViT(create_vit("dino_vits16"), device="cpu")


class TestBackends:
    """Backends accept images that are not square, and padded ones."""

    @pytest.mark.parametrize("resize", ["nearest_multiple", "pad"])
    def test_grids_that_are_not_square(self, resize, vit):
        for backend in (vit, Descriptors(16)):
            (features,) = backend([network_input(photo(50, 90), 16, resize, 480).image])
            assert features.grid == ((3, 6) if resize == "nearest_multiple" else (4, 6))
            assert torch.isfinite(features.tokens).all()

    def test_padding_is_zero_after_normalisation(self, vit):
        seen = network_input(photo(40, 64), 16, "pad", 480)
        pixels = vit._normalise([seen.image])
        assert pixels.shape == (1, 3, 48, 64)
        assert pixels[:, :, 40:].abs().max() < 1e-6

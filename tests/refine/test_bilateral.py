"""The bilateral solver against a dense solution of its equations and against outputs of the published code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from unseg_d2.refine import BilateralSettings, bilateral_solver, build_refiner
from unseg_d2.refine.bilateral import second_largest_region


def scene() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    image = ndimage.gaussian_filter(rng.random((20, 30, 3)), (3, 3, 0))
    image = ((image - image.min()) / np.ptp(image) * 255).astype(np.uint8)
    return image, rng.random((2, 20, 30)).astype(np.float32)


def solve_densely(image: np.ndarray, mask: np.ndarray, spatial: float, luma: float, chroma: float) -> np.ndarray:
    """Cells as tuples in a dictionary, matrices in full, a direct solver."""
    cells, index = {}, np.empty(mask.shape, dtype=int)
    for (y, x), _ in np.ndenumerate(mask):
        r, g, b = image[y, x].astype(float)
        luminance = 0.299 * r + 0.587 * g + 0.114 * b
        u, v = (b - luminance) / 1.772 + 128, (r - luminance) / 1.402 + 128
        cell = (x // spatial, y // spatial, luminance // luma, u // chroma, v // chroma)
        index[y, x] = cells.setdefault(cell, len(cells))
    points = np.array(list(cells))
    blur = (np.abs(points[:, None] - points).sum(-1) == 1) + 10.0 * np.eye(len(points))
    size = np.bincount(index.ravel()).astype(float)
    n = np.ones_like(size)
    for _ in range(10):
        n = np.sqrt(n * size / (blur @ n))
    matrix = 256 * (np.diag(n * (blur @ n)) - n[:, None] * blur * n) + np.diag(0.999 * size)
    return np.linalg.solve(matrix, 0.999 * np.bincount(index.ravel(), mask.ravel()))[index]


@pytest.mark.parametrize("sigmas", [(4, 16, 8), (7, 30, 5)])
def test_equals_a_dense_solution(sigmas):
    image, masks = scene()
    names = ("sigma_spatial", "sigma_luma", "sigma_chroma")
    solved = bilateral_solver(image, masks, BilateralSettings(max_iterations=500, **dict(zip(names, sigmas))))
    for ours, mask in zip(solved, masks):
        np.testing.assert_allclose(ours, solve_densely(image, mask, *sigmas), atol=1e-3)


def test_a_constant_stays():
    image, masks = scene()
    np.testing.assert_allclose(bilateral_solver(image, np.full_like(masks, 0.25)), 0.25, atol=1e-4)


def test_second_largest_region():
    mask = np.zeros((6, 8), dtype=bool)
    mask[:2, :2] = mask[4:, 4:8] = True
    expected = np.zeros_like(mask)
    expected[4:, 4:8] = True
    np.testing.assert_array_equal(second_largest_region(mask), expected)
    np.testing.assert_array_equal(second_largest_region(~expected), expected)  # takes the background for the object
    assert second_largest_region(np.ones_like(mask)).all()


def test_golden(shared_data: Path):
    folder = shared_data / "golden"
    if not (folder / "tokencut.npz").is_file():
        pytest.skip(f"no golden data in {folder}")
    golden = np.load(folder / "tokencut.npz")
    described = json.loads((folder / "manifest.json").read_text())["images"]
    expected = np.unpackbits(golden["bs_binary480"], axis=-1).reshape(-1, 480, 480).astype(bool)
    for index, published, binary in zip(golden["bs_image_index"], golden["bs_soft"], expected):
        with Image.open(shared_data / "coco_dev" / "images" / described[index]["file_name"]) as photo:
            image = np.asarray(photo.convert("RGB").resize((480, 480), Image.Resampling.LANCZOS))
        mask = np.unpackbits(golden["component60"][index])[:3600].reshape(60, 60).repeat(8, 0).repeat(8, 1)
        (solved,) = bilateral_solver(image, mask[None].astype(np.float32))
        np.testing.assert_allclose(solved, published.astype(np.float32), atol=2e-3)
        (refined,) = build_refiner("bilateral", parity=True)(image, mask[None].astype(bool))
        assert (refined & binary).sum() / (refined | binary).sum() >= 0.99


def test_a_noisy_mask_snaps_to_the_edge_of_two_colours():
    rng = np.random.default_rng(0)
    image = np.full((64, 80, 3), (30, 60, 160), dtype=np.uint8)
    image[:, 37:] = (220, 180, 40)
    truth = np.zeros((64, 80), bool)
    truth[:, 37:] = True
    noisy = np.where(rng.random(truth.shape) < 0.25, ~truth, truth)
    noisy[:, 33:41] = False  # four columns short of the edge
    solved = bilateral_solver(image, noisy[None].astype(np.float32))[0] > 0.5
    assert (solved == truth).mean() > 0.99 > 0.8 > (noisy == truth).mean()

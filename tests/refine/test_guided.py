from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from unseg_d2.refine.guided import guided_filter


def by_definition(guide: np.ndarray, source: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """Window by window: a least-squares fit in each, averaged over the windows that cover a pixel."""
    channels, height, width = guide.shape
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            window = np.s_[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
            inputs, target = guide[(slice(None), *window)].reshape(channels, -1), source[window].ravel()
            covariance = np.cov(inputs, bias=True).reshape(channels, channels) + eps * np.eye(channels)
            cross = ((inputs - inputs.mean(1, keepdims=True)) * (target - target.mean())).mean(1)
            slope = np.linalg.solve(covariance, cross)
            fitted = np.einsum("c,chw->hw", slope, guide[(slice(None), *window)] - inputs.mean(1)[:, None, None])
            total[window] += fitted + target.mean()
            count[window] += 1
    return total / count


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("radius", "eps"), [(2, 1e-3), (5, 1e-1)])
def test_equals_the_definition(channels, radius, eps):
    rng = np.random.default_rng(0)
    guide, source = rng.random((channels, 14, 17)), rng.random((2, 14, 17))
    filtered = guided_filter(guide, source, radius=radius, eps=eps)
    for ours, plane in zip(filtered, source):
        np.testing.assert_allclose(ours, by_definition(guide, plane, radius, eps), atol=1e-10)


def test_float32_is_close_to_float64():
    rng = np.random.default_rng(0)
    guide, source = rng.random((3, 60, 70)), rng.random((1, 60, 70)) > 0.5
    exact = guided_filter(guide, source.astype(np.float64), radius=8, eps=1e-3)
    single = guided_filter(guide.astype(np.float32), source.astype(np.float32), radius=8, eps=1e-3)
    np.testing.assert_allclose(single, exact, atol=1e-4)


def test_a_constant_stays_and_the_filter_is_linear():
    rng = np.random.default_rng(0)
    guide, first, second = rng.random((3, 20, 30)), rng.random((1, 20, 30)), rng.random((1, 20, 30))

    def filtered(source: np.ndarray) -> np.ndarray:
        return guided_filter(guide, source, radius=4, eps=1e-2)

    np.testing.assert_allclose(filtered(np.full_like(first, 0.3)), 0.3, atol=1e-12)
    np.testing.assert_allclose(filtered(2 * first - second), 2 * filtered(first) - filtered(second), atol=1e-12)


def test_golden(shared_data: Path):
    path = shared_data / "golden" / "losses" / "tricks.npz"
    if not path.is_file():
        pytest.skip(f"no golden data at {path}")
    golden = np.load(path)
    settings = {"radius": int(golden["gf_radius"]), "eps": float(golden["gf_eps"])}
    for i, (image, source) in enumerate(zip(golden["gf_image01"], golden["gf_input"])):
        gray = image.mean(0, keepdims=True)
        exact = guided_filter(gray.astype(np.float64), source.astype(np.float64), **settings)
        np.testing.assert_allclose(exact, golden["gf_gray_float64"][i], atol=1e-9)
        np.testing.assert_allclose(guided_filter(gray, source, **settings), golden["gf_gray_plain"][i], atol=1e-4)
        np.testing.assert_allclose(guided_filter(image, source, **settings), golden["gf_color_plain"][i], atol=1e-4)

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage

from unseg_d2.masks.mergetree.leaves import (
    borders_of,
    edge_strength,
    leaves_of,
    patches_of,
    shares,
    standardised,
    superpixels_of,
    without_lines,
)


def picture() -> np.ndarray:
    """A red disc and a blue bar on grey, ``(96, 120, 3)`` uint8."""
    pixels = np.full((96, 120, 3), 128, np.uint8)
    cv2.circle(pixels, (40, 50), 21, (200, 30, 30), -1)
    pixels[20:70, 85:100] = (30, 30, 200)
    return pixels


def lab_of(pixels: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(pixels.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)


@pytest.mark.parametrize(
    ("size", "count"), [((96, 120), 200), ((90, 31), 40), ((7, 300), 60), ((1, 20), 5), ((3, 3), 99)]
)
def test_superpixels_are_in_one_piece_and_about_as_many_as_asked(size: tuple[int, int], count: int) -> None:
    noise = np.random.default_rng(0).uniform(0, 60, (*size, 3)).astype(np.float32)
    labels = superpixels_of(cv2.GaussianBlur(noise, (0, 0), 2), count)
    found = np.unique(labels)
    assert labels.shape == size and found.tolist() == list(range(len(found)))
    assert 0.75 * min(count, labels.size) <= len(found) <= 1.25 * count
    for label in found:
        assert ndimage.label(labels == label)[1] == 1


def test_superpixels_do_not_cross_strong_edges() -> None:
    pixels = picture()
    labels = superpixels_of(lab_of(pixels), 200)
    parts = [(pixels[..., channel] > 150) for channel in (0, 2)]
    for part in parts:
        inside = np.bincount(labels.ravel(), part.ravel()) / np.bincount(labels.ravel())
        assert np.minimum(inside, 1 - inside)[labels].mean() < 0.01


def test_lines_go_to_the_neighbours_by_hand() -> None:
    lines = np.array([[1, -1, 2], [-1, -1, -1], [-1, -1, 3]], np.int32)
    assert without_lines(lines).tolist() == [[1, 1, 2], [1, 1, 2], [1, 3, 3]]


def test_patches_of_pixels() -> None:
    assert patches_of((2, 6), (1, 3)).tolist() == [[0, 0, 1, 1, 2, 2]] * 2


@pytest.mark.parametrize("grid", [(4, 5), (1, 5), (6, 1), (1, 1), (12, 15)])
def test_features_are_means_of_interpolated_tokens(grid: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    labels, tokens = rng.integers(0, 7, (12, 15)), torch.from_numpy(rng.standard_normal((3, *grid)))
    fine = torch.nn.functional.interpolate(tokens[None], (12, 15), mode="bilinear", align_corners=False)[0].numpy()
    expected = np.stack([fine[:, labels == label].mean(1) for label in range(7)])
    np.testing.assert_allclose(shares(labels, grid) @ tokens.flatten(1).T.numpy(), expected, atol=1e-12)


def test_points_have_unit_variance_over_the_pixels() -> None:
    group, sizes = np.array([[1.0, 5], [3, 5], [9, 7]]), np.array([4, 2, 1])
    found = np.repeat(standardised(group, sizes), sizes, axis=0)
    np.testing.assert_allclose(found.mean(0), 0, atol=1e-12)
    assert found.var(0).sum() == pytest.approx(1)
    assert not standardised(np.full((3, 2), 0.1), sizes).any()


def test_borders_by_hand() -> None:
    """0 touches 1 at two places and 2 at one; the stronger pixel of each pair counts."""
    labels = np.array([[0, 0, 1], [0, 0, 1], [0, 2, 2]])
    strength = np.array([[9, 1, 2], [9, 3, 1], [5, 4, 6.0]])
    edges, borders = borders_of(labels, strength)
    assert edges.tolist() == [[0, 0, 1], [1, 2, 2]]
    assert borders.lengths.tolist() == [2, 2, 1]
    np.testing.assert_allclose(borders.strengths, [(2 + 3) / 2, (4 + 5) / 2, 6])


def test_strength_of_a_slope_is_its_gradient() -> None:
    rows, columns = np.mgrid[:30, :40].astype(np.float32)
    slope = np.stack([rows + 2 * columns, 0 * rows, 2 * rows], axis=-1)
    np.testing.assert_allclose(edge_strength(slope)[2:-2, 2:-2], 3, rtol=1e-4)
    assert (edge_strength(0 * slope) == np.float32(0.1)).all()


@pytest.mark.parametrize("colour", [0.0, 0.3, 1.0])
def test_colour_has_its_share_of_the_variance(colour: float) -> None:
    tokens = np.random.default_rng(2).standard_normal((4, 12, 15))
    leaves = leaves_of(tokens, picture(), 150, colour)
    points = leaves.points[leaves.labels.ravel()]
    assert points[:, 4:].var(0).sum() == pytest.approx(colour)
    assert points[:, :4].var(0).sum() == pytest.approx(1 - colour)

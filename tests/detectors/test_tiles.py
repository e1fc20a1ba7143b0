"""Tiles with a network that finds every bright rectangle of what it is shown, so that every answer is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode

from unseg_d2.cli.demo import main
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.postprocess import Detections
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.detectors.tiles import TiledPredictor, Tiling
from unseg_d2.errors import UnsegError

SMALLEST_SEEN = 6
"""Objects with a shorter side, in pixels of its input, are too small for the network."""


def rectangles(samples: Sequence[Sample]) -> list[Detections]:
    found = []
    for sample in samples:
        _, _, stats, _ = cv2.connectedComponentsWithStats((sample.image[0].numpy() > 100).astype(np.uint8))
        boxes = [[x, y, x + w, y + h] for x, y, w, h, _ in stats[1:] if min(w, h) >= SMALLEST_SEEN]
        count = len(boxes)
        scores, masks = torch.linspace(0.9, 0.5, count), torch.ones(count, 28, 28)
        corners = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
        found.append(Detections(corners, scores, torch.zeros(count, dtype=torch.int64), masks))
    return found


@pytest.fixture
def cfg(tiny_cfg: Callable[..., CfgNode]) -> CfgNode:
    return tiny_cfg(INPUT__MIN_SIZE_TEST=100, INPUT__MAX_SIZE_TEST=200)


def picture(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    pixels = np.zeros((300, 400, 3), np.uint8)
    for left, top, right, bottom in boxes:
        pixels[top:bottom, left:right] = 200
    return pixels


def found(cfg: CfgNode, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    (prediction,) = TiledPredictor(rectangles, cfg, Tiling(100, 0.3)).on_images([pixels])
    order = np.lexsort(prediction.boxes.T)
    assert prediction.size == (300, 400) and (np.diff(prediction.scores) <= 0).all()
    return prediction.boxes[order], prediction.masks[order]


def test_windows_cover_the_image_evenly() -> None:
    for height, width in ((300, 400), (64, 1000), (101, 99)):
        windows = Tiling(100, 0.3).windows(height, width)
        covered = np.zeros((height, width), int)
        for top, left, bottom, right in windows:
            covered[top:bottom, left:right] += 1
            assert bottom - top == min(100, height) and right - left == min(100, width)
        assert covered.min() >= 1
        lefts = sorted({window[1] for window in windows})
        assert np.diff(lefts).max(initial=0) <= 70
    assert Tiling(500).windows(300, 400) == [(0, 0, 300, 400)]


def test_small_objects_are_found_once(cfg: CfgNode) -> None:
    small = [(20, 20, 30, 30), (80, 90, 92, 100), (230, 140, 240, 150)]  # the second lies in the overlap of four tiles
    (whole,) = Predictor(rectangles, cfg).on_images([picture(*small)])
    assert len(whole) == 0, "in the whole image they are too small"
    boxes, masks = found(cfg, picture(*small))
    assert np.allclose(boxes, sorted(small, key=lambda box: box[::-1]), atol=0.6)
    assert [int(mask.sum()) for mask in masks] == pytest.approx([100, 120, 100], abs=3)


def test_an_object_across_tiles_is_one(cfg: CfgNode) -> None:
    thin = (30, 40, 370, 48)  # wider than any tile, too thin to be seen in the whole image
    boxes, masks = found(cfg, picture(thin))
    assert np.allclose(boxes, [thin], atol=0.6) and abs(int(masks.sum()) - 340 * 8) <= 20


def test_a_large_object_comes_from_the_whole_image(cfg: CfgNode) -> None:
    large = (50, 40, 350, 260)
    boxes, masks = found(cfg, picture(large))
    assert np.allclose(boxes, [large], atol=2) and abs(masks.sum() / (300 * 220) - 1) < 0.03


def test_a_part_is_not_taken_for_its_object(cfg: CfgNode) -> None:
    """Two rectangles that only a box of the other covers stay two, in one tile and in several."""
    bars = [(60, 60, 140, 68), (60, 80, 140, 88)]
    boxes, _ = found(cfg, picture(*bars))
    assert np.allclose(boxes, bars, atol=0.6)


def test_nothing_is_found_in_an_empty_image(cfg: CfgNode) -> None:
    boxes, masks = found(cfg, picture())
    assert boxes.shape == (0, 4) and masks.shape == (0, 300, 400)


def test_a_small_image_is_one_tile(cfg: CfgNode) -> None:
    pixels = picture((10, 10, 60, 60))
    (tiled,) = TiledPredictor(rectangles, cfg, Tiling(400)).on_images([pixels])
    (plain,) = Predictor(rectangles, cfg).on_images([pixels])
    assert np.allclose(tiled.boxes, plain.boxes) and tiled.rles == plain.rles


@pytest.mark.parametrize(("size", "overlap", "message"), [(63, 0.2, "at least 64"), (640, 0.9, "between 0 and 0.8")])
def test_a_tiling_out_of_range(size: int, overlap: float, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        Tiling(size, overlap)


def test_an_overlap_alone_has_no_effect(tmp_path: object) -> None:
    with pytest.raises(UnsegError, match="no effect without --tiles"):
        main(["--input", "x.jpg", "--weights", "w.pth", "--output", f"{tmp_path}", "--tile-overlap", "0.1"])

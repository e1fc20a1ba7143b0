from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco

from unseg_d2.pseudo.crop_refine import box_iou, expand, refine_crops
from unseg_d2.refine import build_refiner

refine = partial(refine_crops, min_box_iou=0.5)
IMAGE = np.zeros((40, 60, 3), dtype=np.uint8)


def rectangle(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(IMAGE.shape[:2], dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


class TestRefineCrops:
    def test_the_refiner_sees_the_neighbourhood_of_each_mask(self):
        image = np.random.default_rng(0).integers(0, 256, IMAGE.shape, dtype=np.uint8)
        seen = []

        def grow(crop: np.ndarray, masks: np.ndarray) -> np.ndarray:
            seen.append((crop, masks))
            return np.ones_like(masks)

        masks = np.stack([rectangle(10, 20, 19, 32), rectangle(0, 0, 40, 60)])
        results, refined = refine(image, masks, grow)
        seen.sort(key=lambda shown: shown[0].size)  # threads may show them in either order
        assert [crop.shape for crop, _ in seen] == [(15, 20, 3), (40, 60, 3)]
        np.testing.assert_array_equal(seen[0][0], image[7:22, 16:36])
        np.testing.assert_array_equal(seen[0][1][0], masks[0, 7:22, 16:36])
        assert refined.tolist() == [False, True]  # the first grows to a box of 300 px from one of 108
        np.testing.assert_array_equal(results, masks)

    def test_results_are_pasted_back(self):
        masks = np.stack([rectangle(10, 20, 20, 40), rectangle(30, 5, 40, 11)])
        results, refined = refine(IMAGE, masks, lambda crop, mask: mask & (np.arange(crop.shape[1]) % 2 == 0))
        assert refined.all()
        assert (results.sum((1, 2)) == masks.sum((1, 2)) // 2).all()
        assert not (results & ~masks).any()

    @pytest.mark.parametrize(("bottom", "kept"), [(5, True), (4, False)])
    def test_a_box_that_changes_too_much_keeps_the_mask(self, bottom, kept):
        def cut(crop: np.ndarray, masks: np.ndarray) -> np.ndarray:
            return masks & (np.arange(crop.shape[0])[:, None] < bottom)

        masks = rectangle(0, 10, 10, 20)[None]
        results, refined = refine(IMAGE, masks, cut)  # IoU of the boxes .5 or .4
        assert refined.tolist() == [kept]
        assert results.sum() == (bottom * 10 if kept else 100)

    def test_threads_change_nothing(self):
        image = np.random.default_rng(0).integers(0, 256, IMAGE.shape, dtype=np.uint8)
        masks = np.stack([rectangle(2, 3, 9, 15), rectangle(10, 20, 30, 44), rectangle(31, 5, 40, 11)])
        refiner, before = build_refiner("crf", iterations=2), torch.get_num_threads()
        found = []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                found.append(refine(image, masks, refiner))
        finally:
            torch.set_num_threads(before)
        for one, other in zip(*found):
            np.testing.assert_array_equal(one, other)

    def test_what_vanishes_is_kept(self):
        masks = rectangle(3, 4, 9, 9)[None]
        results, refined = refine(IMAGE, masks, lambda crop, mask: np.zeros_like(mask))
        np.testing.assert_array_equal(results, masks)
        assert not refined.any()

    def test_empty_masks_and_no_masks(self):
        def fail(crop: np.ndarray, masks: np.ndarray) -> np.ndarray:
            raise AssertionError("there is nothing to refine")

        results, refined = refine(IMAGE, np.zeros((2, 40, 60), dtype=bool), fail)
        assert not results.any() and refined.tolist() == [False, False]
        assert refine(IMAGE, np.zeros((0, 40, 60), dtype=bool), fail)[0].shape == (0, 40, 60)

    def test_masks_with_the_same_crop_are_refined_together(self):
        calls = []

        def count(crop: np.ndarray, masks: np.ndarray) -> np.ndarray:
            calls.append((crop.shape[:2], len(masks)))
            return masks & (np.arange(crop.shape[1]) > 3)

        masks = np.stack([rectangle(1, 1, 40, 60), rectangle(20, 20, 30, 40), rectangle(0, 0, 38, 58)])
        results, refined = refine(IMAGE, masks, count)
        assert sorted(calls) == [((16, 32), 1), ((40, 60), 2)]  # threads take them in any order
        assert refined.all()
        for mask, result, first in zip(masks, results, (4, 18, 4)):
            np.testing.assert_array_equal(result, mask & (np.arange(60) >= first))

    def test_leaves_its_input_alone(self):
        masks = rectangle(10, 20, 20, 40)[None]
        before = masks.copy()
        refine(IMAGE, masks, lambda crop, mask: np.ones_like(mask), margin=0)
        np.testing.assert_array_equal(masks, before)

    def test_another_size_is_named(self):
        with pytest.raises(ValueError, match=r"expected \(n, 40, 60\) masks"):
            refine(IMAGE, np.zeros((1, 60, 40), dtype=bool), lambda crop, mask: mask)


def test_a_third_of_a_side_is_rounded_down():
    assert expand((10, 20, 13, 25), 1 / 3, (40, 60)) == (9, 19, 14, 26)
    assert expand((0, 1, 39, 60), 1 / 3, (40, 60)) == (0, 0, 40, 60)
    assert expand((5, 5, 6, 6), 0, (40, 60)) == (5, 5, 6, 6)


def test_iou_of_boxes():
    assert box_iou((0, 0, 4, 4), (2, 2, 6, 6)) == 4 / 28
    assert box_iou((0, 0, 4, 4), (0, 4, 4, 8)) == 0
    assert box_iou((1, 2, 5, 9), (1, 2, 5, 9)) == 1


@pytest.mark.parametrize("index", range(8))
def test_published_masks_of_votecut(index, shared_data: Path):
    """The published CRF turns the published masks on the grid into the published masks of the image."""
    pytest.importorskip("pydensecrf")
    folder = shared_data / "golden"
    if not (folder / "votecut.npz").is_file():
        pytest.skip(f"no golden data in {folder}")
    published = np.load(folder / "votecut.npz")
    record = json.loads((folder / "manifest.json").read_text())["images"][index]
    image = np.array(Image.open(shared_data / "coco_dev" / "images" / record["file_name"]).convert("RGB"))
    rows = np.flatnonzero(published["out_image_index"] == index)
    grid = np.unpackbits(published["out_mask60"][rows], axis=-1).reshape(-1, 60, 60).astype(bool)
    y, x = (np.arange(length) * 60 // length for length in image.shape[:2])
    results, refined = refine(image, grid[:, y[:, None], x], build_refiner("pydensecrf"))
    np.testing.assert_array_equal(refined, published["out_crf_success"][rows])
    for row, mask in zip(rows, results):
        rle = {"size": list(image.shape[:2]), "counts": bytes(published["out_rle"][row])}
        expected = coco.decode(rle).astype(bool)
        assert (mask & expected).sum() / (mask | expected).sum() >= 0.99

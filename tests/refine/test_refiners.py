"""What every registered refiner must cope with."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
from scipy import ndimage

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.refine import (
    REFINERS,
    Refiner,
    build_refiner,
    fill_holes,
    gaussian,
    refiner_from_config,
    threads,
)
from unseg_d2.refine.crf import CRFRefinerSettings

SIDE, BLOCK = 96, 8


def photo(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A textured disc on a textured floor, and its mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    disc = (y - 45) ** 2 + (x - 50) ** 2 < 26**2
    texture = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE, 3)), (2, 2, 0)) * 60
    image = np.where(disc[..., None], (190, 90, 60), (70, 110, 130)) + texture
    return image.clip(0, 255).astype(np.uint8), disc


def blocks(mask: np.ndarray) -> np.ndarray:
    """The mask as a patch grid sees it."""
    cells = mask.reshape(SIDE // BLOCK, BLOCK, SIDE // BLOCK, BLOCK).mean((1, 3)) >= 0.5
    return cells.repeat(BLOCK, 0).repeat(BLOCK, 1)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return (first & second).sum() / (first | second).sum()


@pytest.fixture(params=sorted(name for name, _ in REFINERS))
def refiner(request: pytest.FixtureRequest) -> Refiner:
    if request.param == "pydensecrf":
        pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2")
    return build_refiner(request.param)


class TestEveryRefiner:
    def test_does_not_make_a_good_mask_worse(self, refiner):
        image, disc = photo()
        before = blocks(disc)
        (after,) = refiner(image, before[None])
        assert after.dtype == np.bool_
        assert iou(after, disc) >= iou(before, disc)

    def test_masks_are_independent_and_inputs_stay(self, request, refiner):
        image, disc = photo()
        masks = np.stack([blocks(disc), blocks(np.roll(disc, 20, axis=1)), np.zeros_like(disc)])
        copies = image.copy(), masks.copy()
        together = refiner(image, masks)
        if "crf_labels" not in request.node.callspec.params.values():  # its masks compete
            for mask, refined in zip(masks, together):
                np.testing.assert_array_equal(refiner(image, mask[None])[0], refined)
        np.testing.assert_array_equal(image, copies[0])
        np.testing.assert_array_equal(masks, copies[1])

    def test_an_empty_mask_stays_empty_and_a_full_one_full(self, refiner):
        image, disc = photo()
        assert not refiner(image, np.zeros_like(disc)[None]).any()
        assert refiner(image, np.ones_like(disc)[None]).all()

    def test_soft_masks(self, refiner):
        image, disc = photo()
        hard = np.stack([blocks(disc), np.zeros_like(disc)])
        np.testing.assert_array_equal(refiner(image, hard.astype(np.float32)), refiner(image, hard))
        before = np.stack([ndimage.gaussian_filter(blocks(disc).astype(np.float32), 3), np.zeros(disc.shape, "f4")])
        copy = before.copy()
        after, empty = refiner(image, before)
        assert after.dtype == np.bool_
        assert iou(after, disc) >= iou(before[0] > 0.5, disc) - 0.01
        assert not empty.any()
        np.testing.assert_array_equal(before, copy)

    def test_threads_change_nothing(self, refiner, monkeypatch):
        monkeypatch.setattr(threads, "LEAST_ROWS", 500)
        monkeypatch.setattr(gaussian, "LEAST_ROWS", 16)
        image, disc = photo()
        masks, before = np.stack([blocks(disc), blocks(np.roll(disc, 40, axis=1) & ~disc)]), torch.get_num_threads()
        found = []
        try:
            for number in (1, 3):
                torch.set_num_threads(number)
                found.append(refiner(image, masks))
        finally:
            torch.set_num_threads(before)
        np.testing.assert_array_equal(*found)

    def test_no_masks(self, refiner):
        assert refiner(photo()[0], np.zeros((0, SIDE, SIDE), dtype=bool)).shape == (0, SIDE, SIDE)

    @pytest.mark.parametrize("shape", [(1, 1), (3, 40), (7, 5)])
    def test_any_size_and_one_colour(self, refiner, shape):
        masks = np.zeros((1, *shape), dtype=bool)
        masks[0, : shape[0] // 2 + 1] = True
        assert refiner(np.full((*shape, 3), 128, dtype=np.uint8), masks).shape == masks.shape

    @pytest.mark.parametrize(
        ("image", "masks"),
        [
            (np.zeros((4, 5, 3)), np.zeros((1, 4, 5), bool)),
            (np.zeros((4, 5), np.uint8), np.zeros((1, 4, 5), bool)),
            (np.zeros((4, 5, 3), np.uint8), np.zeros((1, 5, 4), bool)),
            (np.zeros((4, 5, 3), np.uint8), np.zeros((1, 4, 5))),
            (np.zeros((4, 5, 3), np.uint8), np.full((1, 4, 5), 1.1, np.float32)),
            (np.zeros((4, 5, 3), np.uint8), np.full((1, 4, 5), np.nan, np.float32)),
        ],
    )
    def test_wrong_shapes_and_types_are_named(self, refiner, image, masks):
        with pytest.raises(ValueError, match="expected"):
            refiner(image, masks)


def test_guided_recovers_the_edge_of_the_image():
    image, disc = photo()
    before = blocks(disc)
    (after,) = build_refiner("guided")(image, before[None])
    assert iou(before, disc) < 0.92
    assert iou(after, disc) > 0.96


def test_fill_holes():
    mask = np.zeros((2, 7, 9), dtype=bool)
    mask[0, 1:6, 2:8] = True
    mask[0, 3, 4] = mask[0, 2, 6] = False  # two holes
    mask[0, 3, 7] = False  # a bay, open to the border
    expected = mask.copy()
    expected[0, 3, 4] = expected[0, 2, 6] = True
    np.testing.assert_array_equal(fill_holes(mask), expected)
    for ours, plane in zip(fill_holes(mask), mask):
        np.testing.assert_array_equal(ours, ndimage.binary_fill_holes(plane))


def test_a_missing_package_names_the_pip_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(UnsegError, match=r"pip install 'unseg-d2\[crf\]'"):
        build_refiner("pydensecrf")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("guide", {}, "Did you mean 'guided'"),
        ("guided", {"radius": 0}, "radius"),
        ("guided", {"eps": 0.0}, "eps"),
        ("guided", {"sigma": 3}, "sigma"),
        ("bilateral", {"sigma_luma": 0.0}, "sigma_luma"),
    ],
)
def test_wrong_names_and_settings_are_one_sentence(name, settings, message):
    with pytest.raises(UnsegError, match=message):
        build_refiner(name, **settings)


class TestFromConfiguration:
    def test_the_section_of_the_name_holds_the_settings(self):
        cfg = load_cfg(None, ["REFINE.GUIDED.RADIUS", "2", "REFINE.GUIDED.EPS", "0.01"])
        image, mask = np.zeros((16, 16, 3), np.uint8), np.zeros((1, 16, 16), bool)
        image[4:12, 5:12] = 255
        mask[:, 3:11, 3:11] = True
        expected = build_refiner("guided", radius=2, eps=0.01)(image, mask)
        np.testing.assert_array_equal(refiner_from_config(cfg, "guided")(image, mask), expected)
        assert (expected != build_refiner("guided", radius=6, eps=1e-3)(image, mask)).any()

    def test_auto_is_the_device_of_the_features_and_a_device_that_is_named_stays(self):
        assert (
            CRFRefinerSettings.from_config(load_cfg(None, ["FEATURES.DEVICE", "cuda:7"]), "REFINE.CRF").device
            == "cuda:7"
        )
        named = load_cfg(None, ["REFINE.CRF.DEVICE", "cpu", "FEATURES.DEVICE", "cuda:7"])
        assert CRFRefinerSettings.from_config(named, "REFINE.CRF").device == "cpu"
        with pytest.raises(UnsegError, match=r"FEATURES\.DEVICE is 'gpu'"):
            refiner_from_config(load_cfg(None, ["FEATURES.DEVICE", "gpu"]), "crf")

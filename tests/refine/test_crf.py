"""The dense CRF against all pairs of pixels, against pydensecrf, and against outputs of the published code."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.special import softmax

from unseg_d2 import compiled
from unseg_d2.errors import UnsegError
from unseg_d2.refine import CRFSettings, build_refiner, crf_masks, label_probabilities
from unseg_d2.refine import crf as crf_module
from unseg_d2.refine.pydensecrf import infer

CONSTANTS = {
    crf_masks: CRFSettings(
        10, gaussian_sxy=3, gaussian_weight=7, bilateral_sxy=50, bilateral_srgb=5, bilateral_weight=10
    ),
    label_probabilities: CRFSettings(
        10, gaussian_sxy=1, gaussian_weight=3, bilateral_sxy=67, bilateral_srgb=3, bilateral_weight=4
    ),
}
"""What MaskCut and PriMaPs have, written down once more: the defaults must be these."""


def scene(height: int, width: int, labels: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """An image of coloured stripes with noise, and the logits of a noisy, shifted label map ``(labels, H, W)``."""
    rng = np.random.default_rng(0)
    stripe = np.mgrid[:height, :width][1] * labels // width
    texture = ndimage.gaussian_filter(rng.standard_normal((height, width, 3)), (1, 1, 0)) * 12
    colours = rng.integers(30, 220, (labels, 3))
    image = (colours[stripe] + texture).clip(0, 255).astype(np.uint8)
    seen = np.roll(stripe, width // 12, axis=1)
    seen = np.where(rng.random(seen.shape) < 0.2, rng.integers(0, labels, seen.shape), seen)
    return image, (seen == np.arange(labels)[:, None, None]).astype(np.float32)


def to_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image.transpose(2, 0, 1).copy())[None]


def all_pairs(image: np.ndarray, logits: np.ndarray, settings: CRFSettings) -> np.ndarray:
    """Mean field (algorithm 1) with exact Gaussians between all pairs of pixels, each symmetrically normalised."""
    labels, height, width = logits.shape
    y, x = np.mgrid[:height, :width].reshape(2, -1).astype(float)
    place, colour = np.stack([x, y], 1), image.reshape(-1, 3).astype(float)
    potts = np.zeros((x.size, x.size))
    for weight, points in (
        (settings.gaussian_weight, place / settings.gaussian_sxy),
        (settings.bilateral_weight, np.hstack([place / settings.bilateral_sxy, colour / settings.bilateral_srgb])),
    ):
        kernel = np.exp(-0.5 * ((points[:, None] - points) ** 2).sum(-1))
        norm = kernel.sum(1) ** -0.5
        potts += weight * norm[:, None] * kernel * norm
    unary = logits.reshape(labels, -1).astype(float)
    q = softmax(unary, axis=0)
    for _ in range(settings.iterations):
        q = softmax(unary + q @ potts, axis=0)
    return q.reshape(logits.shape)


class TestAgainstAllPairs:
    @pytest.mark.parametrize("steps", [0, 1, 10])
    def test_masks(self, steps):
        image, logits = scene(24, 32)
        masks = logits[:2]
        settings = replace(CONSTANTS[crf_masks], iterations=steps)
        found = crf_masks(to_tensor(image), torch.from_numpy(masks)[None], CRFSettings(iterations=steps))[0].numpy()
        for ours, mask in zip(found, masks):
            exact = all_pairs(image, np.stack([1 - mask, mask]), settings)[1]
            # The lattice is no exact Gaussian: nearly all labels agree, probabilities are close on the average.
            assert ((ours > 0.5) == (exact > 0.5)).mean() >= 0.98
            assert np.abs(ours - exact).mean() <= 0.02

    def test_labels(self):
        image, logits = scene(24, 32, labels=4)
        ours = label_probabilities(to_tensor(image), torch.from_numpy(logits)[None])[0].numpy()
        exact = all_pairs(image, logits, CONSTANTS[label_probabilities])
        np.testing.assert_allclose(ours.sum(0), 1, atol=1e-5)
        assert (ours.argmax(0) == exact.argmax(0)).mean() >= 0.98
        assert np.abs(ours - exact).mean() <= 0.02


class TestAgainstPydensecrf:
    @pytest.mark.parametrize("function", [crf_masks, label_probabilities])
    def test_probabilities(self, function):
        densecrf = pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2")
        image, logits = scene(90, 120, labels=2 if function is crf_masks else 5)
        theirs = infer(image, logits, densecrf, CONSTANTS[function])
        given = logits[1:] if function is crf_masks else logits
        ours = function(to_tensor(image), torch.from_numpy(given)[None])[0].numpy()
        theirs = theirs[1:] if function is crf_masks else theirs
        assert np.abs(ours - theirs).mean() <= 1e-3

    def test_refiners_agree_on_soft_masks(self):
        pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2")
        image, logits = scene(90, 120)
        soft = np.stack([ndimage.gaussian_filter(mask, 4) for mask in logits])
        for ours, theirs in zip(build_refiner("crf")(image, soft), build_refiner("pydensecrf")(image, soft)):
            assert (ours & theirs).sum() / (ours | theirs).sum() >= 0.99


def test_two_labels_are_one_mask():
    image, logits = scene(30, 44, labels=2)
    mask = torch.from_numpy(logits[1:])[None]
    both = label_probabilities(to_tensor(image), torch.cat([1 - mask, mask], 1), CONSTANTS[crf_masks])
    torch.testing.assert_close(crf_masks(to_tensor(image), mask)[:, 0], both[:, 1], atol=1e-4, rtol=0)


@pytest.mark.parametrize("function", [crf_masks, label_probabilities])
def test_order_of_channels_does_not_matter(function):
    image, logits = scene(20, 28, labels=4)
    order = [2, 0, 3, 1]
    found = function(to_tensor(image), torch.from_numpy(logits)[None])
    permuted = function(to_tensor(image), torch.from_numpy(logits[order])[None])
    torch.testing.assert_close(permuted, found[:, order], atol=1e-5, rtol=0)


@pytest.mark.parametrize("function", [crf_masks, label_probabilities])
def test_a_batch_equals_its_images(function):
    image, logits = scene(20, 28)
    images = torch.cat([to_tensor(image), to_tensor(255 - image[::-1])])
    given = torch.from_numpy(np.stack([logits, logits[[1, 2, 0]]]))
    for i, together in enumerate(function(images, given)):
        alone = function(images[i : i + 1], given[i : i + 1])[0]
        torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


def test_one_pixel_and_one_colour():
    mask = torch.ones(1, 1, 1, 1)
    assert crf_masks(torch.zeros(1, 3, 1, 1, dtype=torch.uint8), mask).item() > 0.99
    grey, half = torch.full((1, 3, 12, 40), 99, dtype=torch.uint8), torch.zeros(1, 1, 12, 40)
    half[..., :30] = 1
    found = crf_masks(grey, half)
    assert found.isfinite().all()
    assert (found > 0.5).all()  # nothing but the majority is left to tell pixels apart


def test_labels_stay_disjoint_and_empty_ones_empty():
    image, logits = scene(30, 44, labels=4)
    masks = np.stack([logits[1], np.zeros_like(logits[1]), logits[2]]) > 0
    refined = build_refiner("crf_labels")(image, masks)
    assert refined.sum(0).max() == 1
    assert not refined[1].any()
    assert refined[0].any() and refined[2].any()


@pytest.mark.parametrize("name", ["crf", "crf_labels"])
@pytest.mark.parametrize(
    "settings", [{"bilateral_srgb": 0.0}, {"iterations": -1}, {"gaussian_weight": float("nan")}, {"sigma": 1.0}]
)
def test_settings_out_of_range(name, settings):
    with pytest.raises(UnsegError, match=next(iter(settings))):
        build_refiner(name, **settings)


@pytest.mark.parametrize("function", [crf_masks, label_probabilities])
def test_compiled_loops_change_nothing(function, monkeypatch):
    if not compiled.has_numba():
        pytest.skip("needs Numba")
    image, logits = scene(60, 90)
    given = to_tensor(image), torch.from_numpy(logits)[None]
    found = function(*given)
    monkeypatch.setattr(compiled, "has_numba", lambda: False)
    crf_module._smoothness.cache_clear()
    torch.testing.assert_close(found, function(*given), atol=1e-4, rtol=0)
    crf_module._smoothness.cache_clear()


def test_one_label_has_every_pixel():
    image, logits = scene(8, 9)
    assert (label_probabilities(to_tensor(image), torch.from_numpy(logits[None, :1])) == 1).all()


def test_labels_with_weights_too_large_for_exponentials():
    image, logits = scene(8, 9)
    with pytest.raises(ValueError, match="at most 40"):
        label_probabilities(to_tensor(image), torch.from_numpy(logits)[None], CRFSettings(bilateral_weight=50.0))
    with pytest.raises(UnsegError, match="at most 40"):
        build_refiner("crf_labels", bilateral_weight=50.0)


@pytest.mark.parametrize("function", [crf_masks, label_probabilities])
def test_a_card_finds_the_same(card, function):
    image, logits = scene(60, 90)
    images, given = to_tensor(image), torch.from_numpy(logits)[None]
    on_gpu = function(images.cuda(), given.cuda()).cpu()
    torch.testing.assert_close(on_gpu, function(images, given), atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", ["crf", "pydensecrf"])
@pytest.mark.parametrize("image_index", [0, 3, 6])
def test_golden(shared_data: Path, image_index: int, name: str):
    if name == "pydensecrf":
        pytest.importorskip("pydensecrf.densecrf", reason="needs pydensecrf2")
    folder = shared_data / "golden"
    if not (folder / "maskcut.npz").is_file():
        pytest.skip(f"no golden data in {folder}")
    golden = np.load(folder / "maskcut.npz")
    before, after = (
        np.unpackbits(golden[f"raw_{key}"][image_index], axis=-1).reshape(-1, 480, 480).astype(bool)
        for key in ("out480", "crf480_filled")
    )
    refined = build_refiner(name)(golden_image(shared_data, image_index), before)
    for ours, theirs in zip(refined, after):
        union = (ours | theirs).sum()
        assert union == 0 or (ours & theirs).sum() / union >= 0.99


def test_golden_labels(shared_data: Path):
    folder = shared_data / "golden"
    if not (folder / "primaps.npz").is_file():
        pytest.skip(f"no golden data in {folder}")
    golden = np.load(folder / "primaps.npz")
    for index, published in zip(golden["canon_crf_image_index"], golden["canon_crf480"]):
        labels = torch.from_numpy(golden["canon_labels60"][index].astype(np.int64))
        channels = torch.nn.functional.one_hot(labels, int(golden["canon_K"][index]) + 1).permute(2, 0, 1)[None].float()
        channels = torch.nn.functional.interpolate(channels, size=(480, 480), mode="bilinear", align_corners=False)
        found = label_probabilities(to_tensor(golden_image(shared_data, index)), channels)[0].argmax(0).numpy()
        found = np.where(found == 0, 255, found)
        assert (found == published).mean() >= 0.99


def golden_image(shared_data: Path, index: int) -> np.ndarray:
    described = json.loads((shared_data / "golden" / "manifest.json").read_text())["images"][index]
    with Image.open(shared_data / "coco_dev" / "images" / described["file_name"]) as photo:
        return np.asarray(photo.convert("RGB").resize((480, 480), Image.Resampling.LANCZOS))

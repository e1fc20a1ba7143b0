"""Refiners on a card, on images of a batch together, against the same refiners on the CPU, image by image."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.refine import CardRefiner, Refiner, build_refiner, guided_together, refiner_from_config
from unseg_d2.refine.guided import GuidedSettings

SHAPE = (72, 96)
NAMES = ("guided", "crf", "crf_labels")


def pictures() -> tuple[np.ndarray, list[np.ndarray]]:
    """Three images of discs on noise, with masks of blocks: two with a hole and a far speck; an empty one; three."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    discs = [(rows - y) ** 2 + (columns - x) ** 2 < r * r for y, x, r in ((25, 25, 17), (45, 70, 20), (60, 20, 9))]
    images = rng.integers(80, 110, (3, *SHAPE, 3), dtype=np.uint8)
    for channel, disc in enumerate(discs):
        images[:, disc, channel] += 90
    blocks = np.stack([disc[4::8, 4::8].repeat(8, 0).repeat(8, 1) for disc in discs])
    holed = blocks[:2].copy()
    holed[0, 20:28, 20:28] = False
    holed[1, 0, 0] = True
    return images, [holed, np.zeros((1, *SHAPE), bool), blocks]


def on_card(name: str) -> CardRefiner:
    refiner = build_refiner(name, device="cuda")
    assert isinstance(refiner, CardRefiner)
    return refiner


def refined(refiner: CardRefiner, images: np.ndarray, masks: list[np.ndarray]) -> list[np.ndarray]:
    given = torch.from_numpy(np.concatenate(masks)).cuda()
    pixels = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    with torch.inference_mode():
        found = refiner.refine(pixels, given, [len(part) for part in masks])
    return [part.numpy() for part in found.cpu().split([len(part) for part in masks])]


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_images(card: None, name: str, soft: bool) -> None:
    images, masks = pictures()
    if soft:
        masks = [0.9 * part.astype(np.float32) for part in masks]
    refiner, reference = on_card(name), build_refiner(name, device="cpu")
    expected = [reference(*pair) for pair in zip(images, masks)]
    for ours, theirs in zip(refined(refiner, images, masks), expected):
        np.testing.assert_array_equal(ours, theirs)
    for image, given, theirs in zip(images, masks, expected):
        np.testing.assert_array_equal(refiner(image, given), theirs)
    assert expected[0].any((1, 2)).all() and not expected[1].any()


@pytest.mark.parametrize("name", NAMES)
def test_parts_of_a_batch_change_nothing(card: None, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images, masks = pictures()
    expected = refined(on_card(name), images, masks)
    monkeypatch.setattr(guided_together, "MOST_PIXELS", SHAPE[0] * SHAPE[1] * 2)
    for ours, theirs in zip(refined(on_card(name), images, masks), expected):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", NAMES)
def test_no_masks_and_wrong_ones(card: None, name: str) -> None:
    images, _ = pictures()
    refiner = on_card(name)
    assert refiner(images[0], np.zeros((0, *SHAPE), bool)).shape == (0, *SHAPE)
    with pytest.raises(ValueError, match="expected"):
        refiner(images[0], np.zeros((1, 4, 5), bool))


def test_it_can_be_sent_to_another_process(card: None) -> None:
    images, masks = pictures()
    refiner = on_card("guided")
    sent: Refiner = pickle.loads(pickle.dumps(refiner))
    np.testing.assert_array_equal(sent(images[2], masks[2]), refiner(images[2], masks[2]))


def test_auto_is_the_device_of_the_features(card: None) -> None:
    assert GuidedSettings.from_config(load_cfg(None, ["FEATURES.DEVICE", "cuda:7"]), "REFINE.GUIDED").device == "cuda:7"
    cfg = load_cfg(None, ["FEATURES.DEVICE", "cuda"])
    assert isinstance(refiner_from_config(cfg, "guided"), CardRefiner)
    cfg = load_cfg(None, ["FEATURES.DEVICE", "cuda", "REFINE.GUIDED.DEVICE", "cpu"])
    assert not isinstance(refiner_from_config(cfg, "guided"), CardRefiner)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there")
@pytest.mark.parametrize("name", NAMES)
def test_a_card_that_is_not_there_is_one_sentence(name: str) -> None:
    with pytest.raises(UnsegError, match="sees no CUDA device"):
        build_refiner(name, device="cuda")

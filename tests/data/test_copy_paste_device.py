from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from unseg_d2.data.copy_paste import boxes_from_masks, carry_out, published_boxes
from unseg_d2.data.copy_paste_device import carry_out_on, tight_boxes
from unseg_d2.data.paste_plan import PastePlan, plan_paste
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import DataLoaderSettings

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]


def scene(rng: np.random.Generator, height: int, width: int, number: int, *, confident: bool = True) -> Sample:
    """Ellipses in a smooth picture, each with a smooth confidence."""
    y, x = np.mgrid[:height, :width]
    masks = np.zeros((number, height, width), dtype=bool)
    for mask in masks:
        row, column, radius = rng.uniform(0, height), rng.uniform(0, width), rng.uniform(0.1, 0.3) * height
        mask[:] = (y - row) ** 2 + rng.uniform(0.5, 2) * (x - column) ** 2 < radius**2
    planes = rng.integers(0, 256, (3 + number, 12, 16), dtype=np.uint8)
    smooth = torch.from_numpy(np.stack([cv2.resize(plane, (width, height)) for plane in planes]))
    tensor = torch.from_numpy(masks)
    scores, confidence = torch.from_numpy(rng.random(number, np.float32)), smooth[3:] if confident else None
    return Sample(smooth[:3], boxes_from_masks(tensor), tensor, scores, confidence, "a.png", 1, height, width)


def iou(first: Tensor, second: Tensor) -> float:
    return float((first & second).sum() / (first | second).sum())


def assert_alike(pasted: Sample, expected: Sample) -> None:
    """Equal but for pixels where a mask is cut differently, and rounding."""
    masks = pasted.masks.cpu()
    assert len(pasted) == len(expected)
    large = expected.masks.flatten(1).sum(1) > 150
    assert all(iou(*pair) > 0.97 for pair in zip(masks[large], expected.masks[large]))
    alike = (masks == expected.masks).all(dim=0)
    assert alike.float().mean() > 0.998
    difference = (pasted.image.cpu().int() - expected.image.int()).abs()
    assert difference[:, alike].max() <= 2  # blending adds the rounding of confidence and of a pixel
    torch.testing.assert_close(pasted.boxes.cpu(), expected.boxes, rtol=0, atol=1)
    assert torch.equal(pasted.scores.cpu(), expected.scores)
    assert (pasted.confidence is None) == (expected.confidence is None)
    if expected.confidence is not None:
        assert (pasted.confidence.cpu().int() - expected.confidence.int()).abs().max() <= 1


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("mode", ["default", "parity"])
@pytest.mark.parametrize("blend", ["hard", "confidence"])
@pytest.mark.parametrize("confident", [(True, True), (True, False), (False, True), (False, False)])
def test_a_plan_gives_the_same_in_both(device: str, mode: str, blend: str, confident: tuple[bool, bool]) -> None:
    pasted = 0
    settings = DataLoaderSettings(copy_paste_rate=1.0, copy_paste_min_ratio=0.3, copy_paste_mode=mode)
    for seed in range(6):
        rng = np.random.default_rng(seed)
        source = scene(rng, 120, 160, 5, confident=confident[0])
        target = scene(rng, 100, 150, seed, confident=confident[1])
        plan = plan_paste(source, target.size, rng=rng, settings=settings)
        expected = carry_out(plan, source, target, mode=mode, blend=blend)
        result = carry_out_on(torch.device(device), plan, source, target, mode=mode, blend=blend)
        assert result.image.device.type == device
        assert_alike(result, expected)
        pasted += expected is not target
    assert pasted > 3


def test_without_scaling_both_are_equal() -> None:
    rng = np.random.default_rng(0)
    source, target = scene(rng, 60, 80, 4), scene(rng, 60, 80, 3)
    plan = PastePlan((2, 0), 1.0, (60, 80), 0, 0)
    for blend in ("hard", "confidence"):
        expected = carry_out(plan, source, target, mode="default", blend=blend)
        result = carry_out_on(torch.device("cpu"), plan, source, target, mode="default", blend=blend)
        for name in ("image", "boxes", "masks", "scores", "confidence"):
            assert torch.equal(getattr(result, name), getattr(expected, name)), name


def test_nothing_changes_where_everything_would_be_hidden() -> None:
    source = scene(np.random.default_rng(0), 20, 30, 1)
    source.masks[:] = True
    target = scene(np.random.default_rng(1), 20, 30, 2)
    result = carry_out_on(
        torch.device("cpu"), PastePlan((0,), 1.0, (20, 30), 0, 0), source, target, mode="default", blend="hard"
    )
    assert torch.equal(result.image, target.image) and torch.equal(result.masks, target.masks)


def test_tight_boxes() -> None:
    masks = torch.zeros(3, 7, 9, dtype=torch.bool)
    masks[0, 2:5, 1:8] = True
    masks[1, 6, 8] = True
    assert tight_boxes(masks).tolist() == [[1, 2, 8, 5], [8, 6, 9, 7], [0, 0, 0, 0]]
    assert tight_boxes(masks[:0]).shape == (0, 4)


def test_published_boxes_stay_on_the_device_of_the_sample() -> None:
    source = scene(np.random.default_rng(0), 60, 80, 3)
    away = replace(source, boxes=source.boxes.to("meta"))  # like a card, it takes no tensor from elsewhere
    plan = PastePlan((0, 2), 0.5, (20, 30), 4, 6)
    assert published_boxes(plan, away, (40, 60)).device.type == "meta"
    assert published_boxes(plan, source, (40, 60)).shape == (2, 4)

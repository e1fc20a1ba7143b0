"""Pasting in NumPy against the engine's, which uses torch."""

from __future__ import annotations

import numpy as np
import torch

from unseg_d2.deploy.paste import paste_masks
from unseg_d2.detectors.postprocess import paste_and_encode
from unseg_d2.rle import decode_masks


def test_same_masks_as_with_torch() -> None:
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, 40, (30, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0.3, 30, (30, 2))], axis=1).clip(0, [60, 50, 60, 50])
    boxes[0] = (0, 0, 60, 50)
    masks = rng.random((30, 28, 28)).astype(np.float32)
    ours = decode_masks(paste_masks(masks, boxes.astype(np.float32), 50, 60), 50, 60)
    rles = paste_and_encode(torch.from_numpy(masks), torch.from_numpy(boxes).float(), 50, 60)
    assert (ours != decode_masks(rles, 50, 60)).sum() <= 2 and ours.any(axis=(1, 2)).sum() > 20


def test_no_masks() -> None:
    assert paste_masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), 50, 60) == []

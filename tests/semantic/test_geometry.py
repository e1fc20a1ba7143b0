from __future__ import annotations

import numpy as np
import torch
from torchvision.transforms.v2 import functional as transforms

from unseg_d2.semantic.geometry import centre_square, resize_image, resized


def test_shorter_side_and_centre() -> None:
    assert resized((480, 641), 320) == (320, 427)
    assert resized((641, 480), 320) == (427, 320)
    labels = np.repeat(np.arange(40, dtype=np.uint8)[None], 20, axis=0)
    image = np.repeat(labels[..., None], 3, axis=2)
    square, cut = centre_square(image, labels, 10, antialias=True)
    assert square.shape == (10, 10, 3)
    assert np.abs(cut[0].astype(int) - np.arange(10, 30, 2)).max() <= 1  # every other column of the middle
    assert centre_square(image, None, 10, antialias=True)[1] is None


def test_equals_torchvision() -> None:
    image = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)
    planes = torch.from_numpy(image).permute(2, 0, 1)
    for antialias in (True, False):
        expected = transforms.resize(planes, [24], antialias=antialias).permute(1, 2, 0).numpy()
        found = resize_image(image, resized((37, 50), 24), antialias=antialias)
        assert found.shape == expected.shape
        assert np.abs(found.astype(int) - expected).max() <= 1

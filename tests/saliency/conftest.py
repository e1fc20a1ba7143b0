"""Scenes of which the figures are known."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

NUM_IMAGES = 4


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A bright block on a dark ground; in ``found`` the left half of the block alone, and in ``all`` all of it."""
    root = tmp_path_factory.mktemp("blocks")
    for part in ("images", "masks", "found", "all"):
        (root / part).mkdir()
    for k in range(NUM_IMAGES):
        block = np.zeros((40, 60), bool)
        block[10:30, 10 + k : 30 + k] = True
        half = block.copy()
        half[:, 20 + k :] = False
        image = np.where(block[..., None], (220, 200, 40), (30, 40, 90)).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"{k}.png")
        for part, mask in (("masks", block), ("found", half), ("all", block)):
            Image.fromarray(mask.astype(np.uint8) * 255).save(root / part / f"{k}.png")
    return root

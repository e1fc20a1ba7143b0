from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from unseg_d2.data.images import read_image
from unseg_d2.data.picture import draw_sample, write_sample
from unseg_d2.data.sample import Sample


def test_boxes_and_outlines_are_drawn_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    masks = torch.zeros(1, 20, 30, dtype=torch.bool)
    masks[0, 5:10, 10:20] = True
    image = torch.full((3, 20, 30), 7, dtype=torch.uint8)
    sample = Sample(image, torch.tensor([[8.0, 3, 22, 12]]), masks, torch.ones(1), None, "a", 1, 20, 30)
    drawn = draw_sample(sample)
    expected = np.full((20, 30, 3), 7, dtype=np.uint8)
    for x1, y1, x2, y2 in ((8, 3, 22, 12), (10, 5, 20, 10)):
        expected[y1:y2, x1:x2] = 255, 0, 0
        expected[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] = 7
    np.testing.assert_array_equal(drawn, expected)
    assert (image == 7).all()
    write_sample(tmp_path / "made" / "a.png", sample)
    np.testing.assert_array_equal(read_image(tmp_path / "made" / "a.png"), drawn)

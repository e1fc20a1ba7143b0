from __future__ import annotations

import math

import pytest
import torch

from unseg_d2.detectors.builtin.anchors import AnchorGenerator, cell_anchors


def test_cells_have_the_area_and_ratio_asked_for_and_are_not_rounded() -> None:
    cells = cell_anchors([32.0], [0.5, 1.0, 2.0])
    width, height = (cells[:, 2:] - cells[:, :2]).unbind(1)
    torch.testing.assert_close(width * height, torch.full((3,), 1024.0))
    torch.testing.assert_close(height / width, torch.tensor([0.5, 1.0, 2.0]))
    assert cells[0, 2].item() == pytest.approx(16 * math.sqrt(2))


def test_positions_run_row_by_row_and_anchors_fastest() -> None:
    generator = AnchorGenerator([[8.0], [16.0]], [[1.0, 4.0]], strides=[4, 8], offset=0.5)
    first, second = generator([torch.zeros(1, 2, 3, 2), torch.zeros(1, 2, 1, 1)])
    assert first.shape == (12, 4) and second.shape == (2, 4)
    centres = (first[:, :2] + first[:, 2:]) / 2
    assert centres[::2].tolist() == [[x, y] for y in (2, 6, 10) for x in (2, 6)]
    assert torch.equal(centres[::2], centres[1::2])
    assert second[0].tolist() == [-4, -4, 12, 12]


def test_wrong_number_of_levels() -> None:
    with pytest.raises(ValueError, match="for 3 pyramid levels"):
        AnchorGenerator([[8.0], [16.0]], [[1.0]], strides=[4, 8, 16], offset=0.0)

"""Mask targets against hand-computed cells and RoIAlign of all masks at once, and the memory that they take."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torchvision.ops import roi_align

from unseg_d2.losses.roi_crop import INSTANCES_AT_A_TIME, mask_targets

BENCHMARK = Path(__file__).resolve().parents[2] / "benchmarks" / "roi_memory.py"


def test_targets_are_cells_covered_by_at_least_half() -> None:
    masks = torch.zeros(2, 8, 8, dtype=torch.bool)
    masks[0, :, 2:6] = True
    masks[1, 4:, :] = True
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0], [1.0, 0.0, 5.0, 8.0], [0.0, 0.0, 8.0, 8.0]])
    targets = mask_targets(masks, boxes, torch.tensor([0, 0, 1]), 4)
    assert targets[0, 0].tolist() == [0, 1, 1, 0]
    assert targets[1, 0].tolist() == [0, 1, 1, 1]  # columns 1 to 4 of the image, one cell each
    assert targets[2, :, 0].tolist() == [0, 0, 1, 1]


def test_a_cell_that_is_covered_by_half_counts() -> None:
    masks = torch.zeros(1, 2, 2, dtype=torch.bool)
    masks[0, :, 0] = True
    assert mask_targets(masks, torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([0]), 1).item()


@pytest.mark.parametrize("count", [1, INSTANCES_AT_A_TIME, 2 * INSTANCES_AT_A_TIME + 3])
def test_a_few_at_a_time_gives_what_all_at_once_does(count: int) -> None:
    masks = torch.rand(count, 6, 8).gt(0.5).repeat_interleave(5, 1).repeat_interleave(5, 2)
    corners = torch.rand(60, 2) * 20
    boxes, instances = torch.cat([corners, corners + 15], 1), torch.randint(count, (60,))
    rois = torch.cat([instances[:, None].float(), boxes], dim=1)
    expected = roi_align(masks[:, None].float(), rois, 14, 1.0, sampling_ratio=0, aligned=True)[:, 0] >= 0.5
    assert torch.equal(mask_targets(masks, boxes, instances, 14), expected)


def test_no_masks_and_no_regions() -> None:
    none = torch.zeros(0, dtype=torch.int64)
    for count in (0, 3):
        targets = mask_targets(torch.zeros(count, 8, 8, dtype=torch.bool), torch.zeros(0, 4), none, 28)
        assert targets.shape == (0, 28, 28)


@pytest.mark.slow
def test_memory_does_not_grow_with_the_instances() -> None:
    # 100 instances as float32 would be 390 MB; the benchmark fails above 100 MB.
    command = [sys.executable, BENCHMARK, "--engines", "builtin", "--instances", "100"]
    done = subprocess.run(command, cwd=BENCHMARK.parents[1], env={**os.environ, "PYTHONPATH": "."}, capture_output=True)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()

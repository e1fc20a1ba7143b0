"""The loaders that both engines train on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.detectors.training_data import train_loaders
from unseg_d2.errors import UnsegError


def test_a_data_set_is_required() -> None:
    with pytest.raises(UnsegError, match=r"DATASETS\.TRAIN is empty"):
        train_loaders(load_cfg(None, ["DATASETS.TRAIN", "()"]))


def test_a_loader_starts_at_any_iteration(tmp_path: Path) -> None:
    options = [
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "1",
        "SYNTHETIC.ROOT",
        str(tmp_path),
        "SYNTHETIC.NUM_TRAIN",
        "4",
        "SOLVER.IMS_PER_BATCH",
        "2",
    ]
    cfg = load_cfg(
        None, [*options, "DATASETS.TRAIN", "('synthetic_train',)", "DATALOADER.NUM_WORKERS", "0", "SEED", "1"]
    )
    make_loader = train_loaders(cfg)
    batches = iter(make_loader(cfg, 0))
    first, second = next(batches), next(batches)
    resumed = next(iter(make_loader(cfg, 1)))
    assert len(first) == 2
    assert all(torch.equal(one.image, other.image) for one, other in zip(second, resumed, strict=True))

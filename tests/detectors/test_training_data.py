"""The loaders that both engines train on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.data.records import Records, as_records
from unseg_d2.detectors.training_data import set_aside, train_loaders
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


def records(*counts: int) -> Records:
    annotation = {"bbox": [0, 0, 4, 4], "bbox_mode": 1, "category_id": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    return as_records(
        [
            {"file_name": f"{k}.png", "image_id": k, "height": 8, "width": 8, "annotations": [annotation] * count}
            for k, count in enumerate(counts)
        ]
    )


def test_evenly_spaced_images_with_masks_are_set_aside() -> None:
    train, held = set_aside(records(1, 0, 2, 1, 0, 1, 1, 1, 1, 1), 0.25)
    assert [image["image_id"] for image in held] == [3, 8]
    assert [image["image_id"] for image in train] == [0, 1, 2, 4, 5, 6, 7, 9]
    assert [len(part) for part in set_aside(records(1, 1), 0.01)] == [1, 1]
    assert [len(part) for part in set_aside(records(1, 1), 0.99)] == [1, 1]
    with pytest.raises(UnsegError, match=r"HELD_OUT needs two images with masks"):
        set_aside(records(1, 0), 0.5)

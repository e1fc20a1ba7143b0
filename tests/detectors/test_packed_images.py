"""A training on a label set whose images lie in tars."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from packing import files_of, write_tar
from PIL import Image

from unseg_d2.detectors.builtin.train import train
from unseg_d2.detectors.training_data import train_loaders
from unseg_d2.loop.checkpoint import load_checkpoint
from unseg_d2.rle import encode_mask

COUNT, HEIGHT, WIDTH = 6, 64, 80


def write_set(folder: Path, names: list[str]) -> Path:
    """A label set of pictures with a bright rectangle each."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[10:40, 20:60] = True
    content = {
        "images": [{"id": k, "file_name": name, "height": HEIGHT, "width": WIDTH} for k, name in enumerate(names, 1)],
        "annotations": [
            {
                "id": k,
                "image_id": k,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [20, 10, 40, 30],
                "area": 1200,
                "segmentation": encode_mask(mask),
            }
            for k in range(1, len(names) + 1)
        ],
        "categories": [{"id": 1, "name": "fg"}],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "labels.json").write_text(json.dumps(content))
    return folder / "labels.json"


def trained(tiny_cfg: Callable, spec: str, output: Path) -> dict[str, torch.Tensor]:
    """Two iterations, with loader processes, which read from the same archives at the same time."""
    sizes = {"INPUT__MIN_SIZE_TRAIN": "(64,)", "INPUT__MAX_SIZE_TRAIN": 96}
    cfg = tiny_cfg(
        OUTPUT_DIR=output, SOLVER__MAX_ITER=2, SOLVER__CHECKPOINT_PERIOD=2, DATALOADER__NUM_WORKERS=2, **sizes
    )
    cfg.DATASETS.TRAIN = (spec,)
    cfg.freeze()
    torch.manual_seed(0)
    return load_checkpoint(train(cfg, train_loaders(cfg), resume=False))["model"]


def test_two_iterations_on_tars_are_those_on_a_folder(tiny_cfg: Callable, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for k in range(COUNT):
        pixels = rng.integers(0, 90, (HEIGHT, WIDTH, 3), np.uint8)
        pixels[10:40, 20:60] += 120
        Image.fromarray(pixels).save(tmp_path / "images" / f"{k}.png")
    files = list(files_of(tmp_path / "images").items())
    for number in range(2):
        write_tar(tmp_path / "shards" / f"{number:06d}.tar", files[3 * number : 3 * number + 3])
    plain = write_set(tmp_path / "plain", [name for name, _ in files])
    packed = write_set(tmp_path / "packed", [f"{k // 3:06d}.tar/{name}" for k, (name, _) in enumerate(files)])
    expected = trained(tiny_cfg, f"{plain}::{tmp_path}/images", tmp_path / "out_plain")
    found = trained(tiny_cfg, f"{packed}::{tmp_path}/shards/{{000000..000001}}.tar", tmp_path / "out_packed")
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)

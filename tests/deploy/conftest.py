"""A detector with weights that find something: seeded, then trained on a few bright rectangles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint

SMALL = {
    "ENGINE": "builtin",
    "MODEL.DEVICE": "cpu",
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.2,
    "MODEL.ROI_HEADS.USE_DROPLOSS": False,
    "MODEL.RESNETS.NORM": "FrozenBN",
    "TEST.DETECTIONS_PER_IMAGE": 20,
    "INPUT.MIN_SIZE_TEST": 96,
}
STEPS = 30


def scene(rng: np.random.Generator, height: int, width: int, objects: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Bright rectangles on dark noise: ``(H, W, 3)`` uint8, and their masks ``(n, H, W)`` bool."""
    pixels = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
    masks = np.zeros((objects, height, width), bool)
    for mask in masks:
        side = int(rng.integers(height // 5, height // 3))
        top, left = int(rng.integers(0, height - side)), int(rng.integers(0, width - side))
        mask[top : top + side, left : left + side] = True
        pixels[mask] = rng.integers(120, 255, 3)
    return pixels, masks


def sample(rng: np.random.Generator) -> Sample:
    pixels, masks = scene(rng, 96, 128)
    places = [np.argwhere(mask) for mask in masks]
    boxes = torch.tensor([[*p.min(0)[::-1], *(p.max(0)[::-1] + 1)] for p in places], dtype=torch.float32)
    image = torch.from_numpy(pixels.transpose(2, 0, 1).copy())
    return Sample(image, boxes, torch.from_numpy(masks), torch.ones(len(masks)), None, "", 0, 96, 128)


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``model_final.pth`` with ``config.yaml`` beside it."""
    folder = tmp_path_factory.mktemp("deploy")
    cfg = load_cfg("configs/quickstart.yaml", [str(word) for pair in SMALL.items() for word in pair])
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    model = build_model(cfg).train()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3)
    for _ in range(STEPS):
        optimizer.zero_grad()
        sum(model([sample(rng)]).values()).backward()
        optimizer.step()
    save_checkpoint(folder / "model_final.pth", model)
    (folder / "config.yaml").write_text(cfg.dump())
    return folder / "model_final.pth"


@pytest.fixture(scope="session")
def images() -> list[np.ndarray]:
    """Of several sizes, upright and lying, larger and smaller than the network's; the last one is empty."""
    rng = np.random.default_rng(1)
    sizes = ((96, 128), (240, 320), (150, 97), (100, 300), (70, 66))
    return [*(scene(rng, *size)[0] for size in sizes), np.full((90, 120, 3), 20, np.uint8)]

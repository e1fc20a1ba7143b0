"""Small networks, samples and a data set on disk for tests of both engines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.rle import encode_mask

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
TINY = {
    "MODEL.DEVICE": "cpu",
    "MODEL.BACKBONE.FREEZE_AT": 0,
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "''",
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 200,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 100,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 100,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.0,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "DATALOADER.NUM_WORKERS": 0,
    "SOLVER.IMS_PER_BATCH": 2,
    "SOLVER.BASE_LR": 0.01,
    "SOLVER.WARMUP_ITERS": 2,
    "SOLVER.STEPS": (),
    "SEED": 7,
}


@pytest.fixture
def tiny_cfg() -> Callable[..., CfgNode]:
    """Return ``make(**overrides)``: a recipe of a tiny cascade; dots in keys are written as double underscores."""

    def make(**overrides: Any) -> CfgNode:
        values = {**TINY, **{key.replace("__", "."): value for key, value in overrides.items()}}
        cfg = load_cfg(RECIPE, [text for key, value in values.items() for text in (key, str(value))])
        cfg.defrost()
        return cfg

    return make


@pytest.fixture
def make_sample() -> Callable[..., Sample]:
    """Return ``make(height, width, instances, seed)``: noise with brighter rectangles as instances."""

    def make(height: int = 96, width: int = 128, instances: int = 3, seed: int = 0) -> Sample:
        generator = torch.Generator().manual_seed(seed)

        def draw(low: int, high: int) -> int:
            return int(torch.randint(low, high, (1,), generator=generator))

        image = torch.randint(0, 128, (3, height, width), generator=generator).to(torch.uint8)
        boxes, masks = torch.zeros(instances, 4), torch.zeros(instances, height, width, dtype=torch.bool)
        for box, mask in zip(boxes, masks):
            x, y = draw(0, width // 2), draw(0, height // 2)
            right, bottom = x + draw(16, width // 2), y + draw(16, height // 2)
            mask[y:bottom, x:right] = True
            box[:] = torch.tensor([x, y, right, bottom])
            image[:, mask] += 100
        return Sample(image, boxes, masks, torch.ones(instances), None, f"{seed}.jpg", seed, height, width)

    return make


UNSAMPLED = {
    # Every anchor and proposal counts, and every image has equally many: the mean over processes is that over images.
    "MODEL__MASK_ON": False,
    "MODEL__RESNETS__NORM": "FrozenBN",
    "MODEL__FPN__NORM": "''",
    "MODEL__BACKBONE__FREEZE_AT": 0,
    "MODEL__RPN__BATCH_SIZE_PER_IMAGE": 8192,
    "MODEL__RPN__NMS_THRESH": 1.0,
    "MODEL__RPN__POST_NMS_TOPK_TRAIN": 40,
    "MODEL__ROI_HEADS__BATCH_SIZE_PER_IMAGE": 512,
    "MODEL__ROI_HEADS__USE_DROPLOSS": False,
    "SOLVER__IMS_PER_BATCH": 4,
    "SOLVER__WARMUP_ITERS": 0,
    "SOLVER__CHECKPOINT_PERIOD": 1,
    "INPUT__MIN_SIZE_TRAIN": (72,),
}
"""A recipe without sampling: in it, two processes compute exactly what one does on all of the batch."""


@pytest.fixture
def unsampled() -> dict[str, Any]:
    """Return `UNSAMPLED`."""
    return dict(UNSAMPLED)


HEIGHT, WIDTH = 72, 96


@pytest.fixture(scope="session")
def labels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of the labels of six images of bright rectangles on dark noise."""
    folder = tmp_path_factory.mktemp("rectangles")
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(1, 7):
        pixels = rng.integers(0, 60, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        for _ in range(rng.integers(1, 4)):
            left, top, side = (int(rng.integers(*limits)) for limits in ((0, 60), (0, 40), (16, 32)))
            mask = np.zeros((HEIGHT, WIDTH), dtype=bool)
            mask[top : top + side, left : left + side] = True
            pixels[mask] = rng.integers(100, 255, 3)
            box = [left, top, min(side, WIDTH - left), min(side, HEIGHT - top)]
            annotation = {"id": len(annotations) + 1, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": box}
            annotations.append(annotation | {"area": int(mask.sum()), "segmentation": encode_mask(mask)})
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH})
    categories = [{"id": 1, "name": "object"}]
    path = folder / "labels.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path

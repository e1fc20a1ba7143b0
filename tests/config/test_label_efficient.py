"""The recipes of the label-efficient experiment against the published ones, and their own arithmetic."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import BUILTIN, LABEL_SHARES

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
COCO = 118287  # images of train2017
PUBLISHED = {  # percent: steps, iterations, learning rate, its factor for the layers that begin anew
    1: (2400, 3200, 3600, 0.04, 4),
    2: (2400, 3200, 3600, 0.04, 4),
    5: (3000, 4000, 4500, 0.04, 4),
    10: (6000, 8000, 9000, 0.04, 4),
    20: (12000, 16000, 18000, 0.04, 4),
    30: (18000, 24000, 27000, 0.04, 4),
    40: (24000, 32000, 36000, 0.04, 4),
    50: (30000, 40000, 45000, 0.02, 2),
    60: (36000, 48000, 54000, 0.02, 2),
    80: (48000, 64000, 72000, 0.02, 2),
    100: (60000, 80000, 90000, 0.02, 2),
}
BASE = """
MODEL:
  PIXEL_MEAN: [123.675, 116.280, 103.530]
  PIXEL_STD: [58.395, 57.120, 57.375]
  MASK_ON: True
  BACKBONE: {NAME: build_resnet_fpn_backbone, FREEZE_AT: 0}
  RESNETS: {DEPTH: 50, NORM: SyncBN, STRIDE_IN_1X1: False, OUT_FEATURES: [res2, res3, res4, res5]}
  FPN: {NORM: SyncBN, IN_FEATURES: [res2, res3, res4, res5]}
  ANCHOR_GENERATOR: {SIZES: [[32], [64], [128], [256], [512]], ASPECT_RATIOS: [[0.5, 1.0, 2.0]]}
  RPN:
    IN_FEATURES: [p2, p3, p4, p5, p6]
    PRE_NMS_TOPK_TRAIN: 2000
    PRE_NMS_TOPK_TEST: 1000
    POST_NMS_TOPK_TRAIN: 2000
    POST_NMS_TOPK_TEST: 1000
  ROI_HEADS: {NAME: CustomCascadeROIHeads, IN_FEATURES: [p2, p3, p4, p5]}
  ROI_BOX_HEAD: {NAME: FastRCNNConvFCHead, NUM_FC: 2, POOLER_RESOLUTION: 7, CLS_AGNOSTIC_BBOX_REG: True}
  ROI_MASK_HEAD: {NAME: MaskRCNNConvUpsampleHead, NUM_CONV: 4, POOLER_RESOLUTION: 14}
DATASETS: {TEST: '("coco_2017_val",)'}
SOLVER: {IMS_PER_BATCH: 16, WARMUP_FACTOR: 0.001, WARMUP_ITERS: 1000}
INPUT:
  MIN_SIZE_TRAIN: '(640, 672, 704, 736, 768, 800)'
  MAX_SIZE_TRAIN: 1333
  MASK_FORMAT: bitmask
  FORMAT: RGB
TEST: {PRECISE_BN: {ENABLED: True}, EVAL_PERIOD: 5000}
VERSION: 2
"""
"""What the eleven published files state, with their base; every other key has its default there."""
FASTER = ["roi_heads.mask_head.predictor"] + [
    f"roi_heads.box_predictor.{stage}.{layer}" for stage in range(3) for layer in ("cls_score", "bbox_pred")
]
OURS = {"MODEL.WEIGHTS", "MODEL.ROI_HEADS.NAME", "SOLVER.REFERENCE_WORLD_SIZE", "TEST.EVALUATORS"}
"""Keys in which our recipes are written otherwise: one names the zoo, one the GPUs, one the evaluator with classes."""
OFF = {"SOLVER.CLIP_GRADIENTS.CLIP_TYPE"}
"""Has no effect while clipping is off."""


def name(percent: int) -> str:
    return f"label_efficient/cascade_mask_rcnn_R_50_FPN_{percent}perc.yaml"


def data(percent: int) -> str:
    return "coco_2017_train" if percent == 100 else f"coco_semi_{percent}perc"


@pytest.mark.parametrize("percent", PUBLISHED)
def test_a_recipe_is_the_published_one(percent: int, tmp_path: Path) -> None:
    first, second, last, rate, factor = PUBLISHED[percent]
    published = yaml.safe_load(BASE)
    published["DATASETS"]["TRAIN"] = f"('{data(percent)}',)"
    published["SOLVER"] |= {"BASE_LR": rate, "STEPS": [first, second], "MAX_ITER": last}
    published["SOLVER"] |= {"BASE_LR_MULTIPLIER": factor, "BASE_LR_MULTIPLIER_NAMES": FASTER}
    (tmp_path / "published.yaml").write_text(yaml.safe_dump(published))
    ours, theirs = (dict(leaves(load_cfg(file))) for file in (CONFIGS / name(percent), tmp_path / "published.yaml"))
    different = {key for key in ours if ours[key] != theirs[key]}
    assert different == OURS | OFF
    assert theirs["MODEL.ROI_HEADS.NUM_CLASSES"] == 80 and not ours["SOLVER.CLIP_GRADIENTS.ENABLED"]
    assert data(percent) in BUILTIN


def leaves(node: dict, prefix: str = ""):
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", tuple(value) if isinstance(value, list) else value


@pytest.mark.parametrize("percent", PUBLISHED)
def test_the_arithmetic_of_a_recipe(percent: int) -> None:
    text, solver = (CONFIGS / name(percent)).read_text(), load_cfg(CONFIGS / name(percent)).SOLVER
    images = COCO * percent // 100
    assert f": {images} images." in text
    iterations, seen, passes = re.search(
        r"; (\d+) iterations x 16 images = (\d+) images, ([\d.]+) passes", text
    ).groups()
    assert int(iterations) == solver.MAX_ITER and int(seen) == 16 * solver.MAX_ITER
    assert float(passes) == pytest.approx(int(seen) / images, abs=0.06)
    if percent >= 5:
        assert percent * 90_000 == 100 * solver.MAX_ITER
    assert [step / solver.MAX_ITER for step in solver.STEPS] == pytest.approx([2 / 3, 8 / 9])


def test_every_share_has_a_recipe() -> None:
    files = {path.name for path in (CONFIGS / "label_efficient").glob("cascade*.yaml")}
    assert files == {Path(name(percent)).name for percent in (*LABEL_SHARES, 100)} and set(PUBLISHED) == {
        *LABEL_SHARES,
        100,
    }

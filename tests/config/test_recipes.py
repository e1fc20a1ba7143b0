"""What the recipes are: differences from their base, the rows of the papers' tables, the published files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from unseg_d2.config import load_cfg

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
RECIPES = sorted(CONFIGS.rglob("*.yaml"))
ROOTS = [CONFIGS / "base_cascade_mask_rcnn_R_50_FPN.yaml", *CONFIGS.glob("cutler/cascade*.yaml")]
"""Recipes that state the values of a paper even where they are defaults."""


def leaves(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        elif key != "_BASE_":
            yield f"{prefix}{key}", value


def setting(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        cfg = cfg[part]
    return cfg


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_recipe_explains_itself_and_states_only_what_differs(recipe: Path) -> None:
    text = recipe.read_text()
    assert text.startswith("# ")
    content = yaml.safe_load(text)
    cfg = load_cfg(recipe)
    if cfg.ROUNDS.RECIPE:
        load_cfg(recipe.parent / cfg.ROUNDS.RECIPE)
    if recipe in ROOTS or "_BASE_" not in content:
        return
    base = load_cfg(recipe.parent / content["_BASE_"])
    repeated = {key for key, _ in leaves(content) if setting(cfg, key) == setting(base, key)}
    assert repeated <= {"ROUNDS.RECIPE"}  # relative to the file that it stands in


@pytest.mark.parametrize(
    ("name", "loss", "selection", "blend"),
    [
        ("ablation_none", "none", "random", "hard"),
        ("ablation_selection", "none", "confident", "hard"),
        ("ablation_alpha", "none", "random", "confidence"),
        ("ablation_loss", "spatial", "random", "hard"),
        ("ablation_selection_alpha", "none", "confident", "confidence"),
        ("ablation_scalar", "scalar", "confident", "confidence"),
        ("cascade_mask_rcnn_R_50_FPN", "spatial", "confident", "confidence"),
        ("mask_rcnn_R_50_FPN", "spatial", "confident", "confidence"),
        ("cascade_mask_rcnn_R_50_FPN_self_train", "none", "random", "hard"),
        ("in_domain_coco", "none", "random", "hard"),
        ("released", "none", "random", "hard"),
    ],
)
def test_uses_of_spatial_confidence(name: str, loss: str, selection: str, blend: str) -> None:
    cfg = load_cfg(CONFIGS / "cuts3d" / f"{name}.yaml")
    used = cfg.MODEL.ROI_MASK_HEAD.CONFIDENCE, cfg.DATALOADER.COPY_PASTE_SELECTION, cfg.DATALOADER.COPY_PASTE_BLEND
    assert used == (loss, selection, blend)


def test_the_ladder_of_masks() -> None:
    """CutS3D, table 4: MaskCut, + LocalCut, + Spatial Importance."""
    names = ("cutler/cascade_mask_rcnn_R_50_FPN", "cuts3d/ablation_localcut", "cuts3d/ablation_none")
    rows = [load_cfg(CONFIGS / f"{name}.yaml").MASKS for name in names]
    assert [row.GENERATOR for row in rows] == ["maskcut", "cuts3d", "cuts3d"]
    assert [(row.CUTS3D.LOCAL_CUT, row.CUTS3D.IMPORTANCE) for row in rows[1:]] == [(True, False), (True, True)]


# The keys of the published files; values that all of them share stand in COMMON.
COMMON = """
MODEL:
  MASK_ON: True
  PIXEL_MEAN: [123.675, 116.280, 103.530]
  PIXEL_STD: [58.395, 57.120, 57.375]
  BACKBONE: {FREEZE_AT: 0}
  RESNETS: {DEPTH: 50, NORM: "SyncBN", STRIDE_IN_1X1: False}
  FPN: {NORM: "SyncBN"}
  ROI_HEADS: {NUM_CLASSES: 1, SCORE_THRESH_TEST: 0.0}
DATALOADER: {COPY_PASTE: True, COPY_PASTE_RATE: 1.0, VISUALIZE_COPY_PASTE: False, COPY_PASTE_MAX_RATIO: 1.0}
INPUT:
  MIN_SIZE_TRAIN: '(240, 320, 480, 640, 672, 704, 736, 768, 800, 1024)'
  MAX_SIZE_TRAIN: 1333
  MASK_FORMAT: "bitmask"
  FORMAT: "RGB"
SOLVER:
  IMS_PER_BATCH: 16
  CLIP_GRADIENTS: {ENABLED: True, CLIP_TYPE: norm, CLIP_VALUE: 1.0, NORM_TYPE: 2.0}
TEST: {PRECISE_BN: {ENABLED: True, NUM_ITER: 200}, DETECTIONS_PER_IMAGE: 100}
"""
PUBLISHED = {
    "cutler/cascade_mask_rcnn_R_50_FPN": """
MODEL:
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
  ROI_HEADS: {NAME: CustomCascadeROIHeads, POSITIVE_FRACTION: 0.25, USE_DROPLOSS: True, DROPLOSS_IOU_THRESH: 0.01}
  RPN: {POST_NMS_TOPK_TRAIN: 4000, NMS_THRESH: 0.65}
DATALOADER: {COPY_PASTE_RANDOM_NUM: True, COPY_PASTE_MIN_RATIO: 0.3, NUM_WORKERS: 0}
DATASETS: {TRAIN: '("imagenet_train",)'}
SOLVER: {BASE_LR: 0.01, WEIGHT_DECAY: 0.00005, STEPS: '(80000,)', MAX_ITER: 160000, GAMMA: 0.02, AMP: {ENABLED: True}}
""",
    "cutler/cascade_mask_rcnn_R_50_FPN_self_train": """
MODEL:
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
  ROI_HEADS: {NAME: CustomCascadeROIHeads, POSITIVE_FRACTION: 0.25, USE_DROPLOSS: False}
DATALOADER: {COPY_PASTE_RANDOM_NUM: True, COPY_PASTE_MIN_RATIO: 0.5, NUM_WORKERS: 2}
DATASETS: {TRAIN: '("imagenet_train_r1",)'}
SOLVER: {BASE_LR: 0.005, STEPS: '(79999,)', MAX_ITER: 80000, GAMMA: 1.0, AMP: {ENABLED: True}}
""",
    "cutler/mask_rcnn_R_50_FPN": """
MODEL:
  ROI_HEADS: {NAME: CustomStandardROIHeads, USE_DROPLOSS: True, DROPLOSS_IOU_THRESH: 0.01}
  RPN: {POST_NMS_TOPK_TRAIN: 4000, NMS_THRESH: 0.65}
DATALOADER: {COPY_PASTE_RANDOM_NUM: True, COPY_PASTE_MIN_RATIO: 0.3}
DATASETS: {TRAIN: '("imagenet_train",)'}
SOLVER: {BASE_LR: 0.01, WEIGHT_DECAY: 0.00005, STEPS: '(80000,)', MAX_ITER: 160000}
""",
    # Without the size of images and the number of detections, which are for videos there.
    "cuts3d/released": """
MODEL:
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
  ROI_HEADS: {NAME: CustomCascadeROIHeads, POSITIVE_FRACTION: 0.25}
  RPN: {POST_NMS_TOPK_TRAIN: 4000, NMS_THRESH: 0.65}
DATALOADER: {COPY_PASTE_RANDOM_NUM: True, COPY_PASTE_MIN_RATIO: 0.3, NUM_WORKERS: 4}
DATASETS: {TRAIN: '("imagenet_train_reproduction",)'}
SOLVER: {BASE_LR: 0.01, WEIGHT_DECAY: 0.00005, STEPS: '(80000,)', MAX_ITER: 160000, GAMMA: 0.02, AMP: {ENABLED: True}}
""",
    "cuvler/cascade_mask_rcnn_R_50_FPN": """
MODEL:
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
  ROI_HEADS:
    NAME: CustomCascadeROIHeads
    POSITIVE_FRACTION: 0.25
    USE_DROPLOSS: True
    DROPLOSS_IOU_THRESH: 0.01
    USE_SOFT_TARGETS: True
  ROI_MASK_HEAD: {NAME: CustomMaskRCNNConvUpsampleHead}
  RPN: {POST_NMS_TOPK_TRAIN: 4000, NMS_THRESH: 0.65}
DATALOADER: {COPY_PASTE_RANDOM_NUM: True, COPY_PASTE_MIN_RATIO: 0.3, NUM_WORKERS: 0}
DATASETS: {TRAIN: '("votecut_imagenet_train",)'}
SOLVER: {BASE_LR: 0.01, WEIGHT_DECAY: 0.00005, STEPS: '(80000,)', MAX_ITER: 80000, GAMMA: 0.02, AMP: {ENABLED: True}}
""",
    "cuvler/cascade_mask_rcnn_R_50_FPN_self_train": """
MODEL:
  ROI_BOX_HEAD: {CLS_AGNOSTIC_BBOX_REG: True}
  ROI_HEADS:
    NAME: CustomCascadeROIHeads
    POSITIVE_FRACTION: 0.25
    USE_DROPLOSS: True
    DROPLOSS_IOU_THRESH: 0.01
    USE_SOFT_TARGETS: True
  ROI_MASK_HEAD: {NAME: CustomMaskRCNNConvUpsampleHead}
DATALOADER: {COPY_PASTE_RANDOM_NUM: False, COPY_PASTE_MIN_RATIO: 0.5, NUM_WORKERS: 2}
DATASETS: {TRAIN: '("coco_train_17_self_training",)'}
SOLVER: {BASE_LR: 0.05, STEPS: '(7400,)', MAX_ITER: 14800, GAMMA: 0.02, AMP: {ENABLED: True}}
""",
}
OURS = {"DATALOADER.NUM_WORKERS", "DATASETS.TRAIN", "MODEL.ROI_HEADS.NAME", "MODEL.ROI_MASK_HEAD.NAME"}
"""Keys in which a recipe of ours is written otherwise and means the same."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_load_and_mean_our_recipes(name: str, tmp_path: Path) -> None:
    base = tmp_path / "common.yaml"
    base.write_text(COMMON + f"_BASE_: {CONFIGS / 'base_cascade_mask_rcnn_R_50_FPN.yaml'}\n")
    file = tmp_path / "published.yaml"
    file.write_text(PUBLISHED[name] + "_BASE_: common.yaml\n")
    published, ours = load_cfg(file), load_cfg(CONFIGS / f"{name}.yaml")
    for text in (COMMON, PUBLISHED[name]):
        for key, _ in leaves(yaml.safe_load(text)):
            assert key in OURS or setting(ours, key) == setting(published, key), key

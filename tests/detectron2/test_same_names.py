"""Projects that register the names that published files use, before and after us: in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.detectron2
pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)

THEIRS = """
from detectron2.data import DatasetCatalog
from detectron2.modeling import ROI_HEADS_REGISTRY
from detectron2.modeling.roi_heads import ROI_MASK_HEAD_REGISTRY, CascadeROIHeads, MaskRCNNConvUpsampleHead

for name in ("cls_agnostic_coco", "imagenet_train"):
    DatasetCatalog.register(name, list)

@ROI_HEADS_REGISTRY.register()
class CustomCascadeROIHeads(CascadeROIHeads):
    pass

@ROI_MASK_HEAD_REGISTRY.register()
class CustomMaskRCNNConvUpsampleHead(MaskRCNNConvUpsampleHead):
    pass
"""
OURS = "from unseg_d2.detectron2 import add_unseg_config, register_datasets\n"
BUILD = """
from detectron2.config import get_cfg
from detectron2.modeling import build_model
cfg = get_cfg()
add_unseg_config(cfg)
cfg.merge_from_file({recipe!r})
cfg.MODEL.DEVICE = "cpu"
cfg.MODEL.ROI_HEADS.NAME = "CustomCascadeROIHeads"
cfg.MODEL.ROI_MASK_HEAD.NAME = "CustomMaskRCNNConvUpsampleHead"
for on in (False, True):
    cfg.MODEL.ROI_HEADS.USE_DROPLOSS = on
    heads = build_model(cfg).roi_heads
    print(type(heads).__module__, type(heads).__name__, type(heads.mask_head).__name__)
register_datasets()
print(len(DatasetCatalog.get("imagenet_train")))
"""


@pytest.mark.parametrize("order", ["theirs first", "ours first"])
def test_both_orders(order: str, tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(THEIRS)
    imports = ["from theirs import DatasetCatalog\n", OURS]
    recipe = str(ROOT / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml")
    code = "".join(imports if order == "theirs first" else imports[::-1]) + BUILD.format(recipe=recipe)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{tmp_path}"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "theirs CustomCascadeROIHeads CustomMaskRCNNConvUpsampleHead",  # no key of ours is on
        "unseg_d2.detectors.detectron2.roi_heads DropLossCascadeROIHeads CustomMaskRCNNConvUpsampleHead",
        "0",  # their data set
    ]
    said = (
        "MODEL.ROI_HEADS CustomCascadeROIHeads of theirs is built as DropLossCascadeROIHeads, for MODEL.ROI_HEADS.USE"
    )
    assert said in done.stderr

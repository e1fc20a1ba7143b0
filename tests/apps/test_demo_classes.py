"""A detector of several classes writes each detection with its category."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np

from unseg_d2.apps.demo_results import categories_of, to_annotations
from unseg_d2.config import load_cfg
from unseg_d2.data.classes import write_classes
from unseg_d2.detectors.detector import Detector
from unseg_d2.detectors.prediction import Prediction


def detector(weights: Path, num_classes: int) -> Detector:
    cfg = load_cfg(None, ["MODEL.ROI_HEADS.NUM_CLASSES", str(num_classes)])
    return Detector(str(weights), SimpleNamespace(cfg=cfg))  # type: ignore[arg-type]


def test_categories_have_the_names_of_the_training(tmp_path: Path) -> None:
    weights = tmp_path / "model_final.pth"
    weights.write_bytes(b"")
    assert categories_of(detector(weights, 1)) == []
    assert categories_of(detector(weights, 2)) == [{"id": 1, "name": "class 1"}, {"id": 2, "name": "class 2"}]
    write_classes(tmp_path, [{"id": 17, "name": "cat"}, {"id": 90, "name": "brush"}])
    assert [category["name"] for category in categories_of(detector(weights, 2))] == ["cat", "brush"]


def test_annotations_have_thecategories_of() -> None:
    boxes, scores = np.array([[0, 0, 4, 2], [1, 1, 3, 3]], np.float32), np.array([0.9, 0.8], np.float32)
    prediction = Prediction({"image_id": 1}, (6, 8), boxes, scores, classes=np.array([1, 0]))
    assert [item["category_id"] for item in to_annotations(prediction, [17, 90])] == [90, 17]
    assert [item["category_id"] for item in to_annotations(prediction)] == [2, 1]
    assert [item["area"] for item in to_annotations(prediction)] == [8, 4]

"""The class-agnostic evaluator as Detectron2's users construct it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.data import DatasetCatalog
from detectron2.structures import Boxes, Instances

from unseg_d2.config import load_cfg
from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask

pytestmark = pytest.mark.detectron2


def perfect(record: dict[str, Any], masks: bool = True) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Input and output of a network that finds every object of an image."""
    boxes = torch.tensor([annotation["bbox"] for annotation in record["annotations"]])
    instances = Instances((record["height"], record["width"]))
    instances.pred_boxes = Boxes(torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1).float())
    instances.scores = torch.full((len(boxes),), 0.9)
    if masks:
        size = instances.image_size
        found = [torch.from_numpy(decode_mask(a["segmentation"], *size)) for a in record["annotations"]]
        instances.pred_masks = torch.stack(found)
    return [{"image_id": record["image_id"]}], [{"instances": instances}]


def run(evaluator: ClassAgnosticEvaluator, records: list[dict[str, Any]], **options: bool) -> dict[str, Any]:
    evaluator.reset()
    for record in records:
        evaluator.process(*perfect(record, **options))
    return evaluator.evaluate() or {}


def test_a_registered_name_a_file_and_records_are_the_same(register: Callable[..., str], certain_labels: Path) -> None:
    records = DatasetCatalog.get(register())
    for dataset in ("certain", str(certain_labels), records):
        figures = run(ClassAgnosticEvaluator(dataset), records)
        assert figures["bbox"]["AP"] == figures["segm"]["AP"] == pytest.approx(100)
        missed = run(ClassAgnosticEvaluator(dataset), records[:3])
        assert 0 < missed["segm"]["AR100"] < 100


def test_the_configuration_can_leave_masks_out(register: Callable[..., str]) -> None:
    records = DatasetCatalog.get(register())
    without = load_cfg(None, ["TEST.NO_SEGM", "True", "MODEL.MASK_ON", "True"])
    assert run(ClassAgnosticEvaluator("certain", without), records).keys() == {"bbox"}
    assert run(ClassAgnosticEvaluator("certain", without.clone(), False), records, masks=False).keys() == {"bbox"}


def test_what_it_leaves_in_a_folder(register: Callable[..., str], tmp_path: Path) -> None:
    records = DatasetCatalog.get(register())
    figures = run(ClassAgnosticEvaluator("certain", output_dir=str(tmp_path / "out")), records)
    results = json.loads((tmp_path / "out" / "coco_instances_results.json").read_text())
    assert len(results) == sum(len(record["annotations"]) for record in records)
    assert results[0].keys() == {"image_id", "category_id", "bbox", "score", "segmentation"}
    stated = json.loads((tmp_path / "out" / "figures.json").read_text())
    assert stated["figures"]["bbox"]["AP"] == figures["bbox"]["AP"] and stated["counts"]["images"] == len(records)


def test_wrong_data_are_named(register: Callable[..., str], certain_labels: Path) -> None:
    evaluator = ClassAgnosticEvaluator(register())
    with pytest.raises(UnsegError, match="run on image 77, which is not in certain"):
        evaluator.process([{"image_id": 77}], [{"instances": None}])
    with pytest.raises(UnsegError, match="images has no annotations"):
        ClassAgnosticEvaluator(str(certain_labels.parent / "images"))
    with pytest.raises(UnsegError, match="'nothing' is not a built-in data set"):
        ClassAgnosticEvaluator("nothing")

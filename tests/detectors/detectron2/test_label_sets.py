"""Registered label sets keep what Detectron2's own registration drops."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from detectron2.structures import BoxMode

from unseg_d2.config import load_cfg
from unseg_d2.detectors.detectron2.label_sets import label_file
from unseg_d2.detectors.detectron2.records import dataset_records
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


def test_scores_and_confidence_are_kept(register: Callable[..., str], certain_labels: Path) -> None:
    records = DatasetCatalog.get(register())
    stated = json.loads(certain_labels.read_text())["annotations"]
    read = [annotation for record in records for annotation in record["annotations"]]
    assert [a["score"] for a in read] == pytest.approx([a["score"] for a in stated])
    assert [a.get("confidence") for a in read] == [a.get("confidence") for a in stated]
    assert {a["category_id"] for a in read} == {0} and MetadataCatalog.get("certain").thing_classes == ["object"]
    register_coco_instances("stock", {}, str(certain_labels), str(certain_labels.parent / "images"))
    assert "score" not in DatasetCatalog.get("stock")[0]["annotations"][0]


def test_a_name_is_registered_once_per_content(
    register: Callable[..., str], certain_labels: Path, labels: Path, tmp_path: Path
) -> None:
    register()
    register()
    shutil.copy(certain_labels, tmp_path / "copy.json")
    register(path=tmp_path / "copy.json")
    with pytest.raises(UnsegError, match=f"The name certain belongs to another data set already; .* for {labels}"):
        register(path=labels)
    with pytest.raises(UnsegError, match="The name certain belongs to another"):
        register(image_root=labels.parent / "images")
    DatasetCatalog.remove("certain")
    register(path=labels)
    assert MetadataCatalog.get("certain").json_file == str(labels)
    DatasetCatalog.register("foreign", list)
    with pytest.raises(UnsegError, match="The name foreign belongs to another"):
        register("foreign")


def test_what_is_missing_is_missed_at_once(register: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"data set new cannot be registered: there is no file .*nowhere\.json"):
        register("new", tmp_path / "nowhere.json")
    with pytest.raises(UnsegError, match=r"data set new cannot be registered: there is no folder .*nowhere"):
        register("new", image_root=tmp_path / "nowhere")
    assert "new" not in DatasetCatalog


def test_the_folder_of_a_label_set_and_of_its_images(
    register: Callable[..., str], certain_labels: Path, tmp_path: Path
) -> None:
    shutil.copy(certain_labels, tmp_path / "labels.json")
    images = certain_labels.parent / "images"
    register("folder", tmp_path, image_root=images)
    assert DatasetCatalog.get("folder")[0]["file_name"] == str(images / "1.png")
    assert label_file("folder") == f"{tmp_path}/labels.json::{images}"
    assert label_file("other.json") == "other.json"


def test_records_of_others_are_brought_into_one_form(register: Callable[..., str]) -> None:
    mask = np.zeros((4, 5), np.uint8)
    mask[1:3, 2:4] = 1
    box: dict[str, Any] = {"bbox": [2, 1, 4, 3], "bbox_mode": BoxMode.XYXY_ABS, "category_id": 7, "segmentation": mask}
    given = [{"file_name": "a.png", "height": 4, "width": 5, "annotations": [box]}]
    DatasetCatalog.register("arrays", lambda: given)
    record = dataset_records("arrays")[0]
    assert record["image_id"] == 0 and record["annotations"][0]["bbox"] == [2, 1, 2, 2]
    assert record["annotations"][0]["segmentation"]["size"] == [4, 5]
    assert box["bbox"] == [2, 1, 4, 3] and "image_id" not in given[0]


def test_synthetic_scenes_are_those_of_the_configuration(register: Callable[..., str], tmp_path: Path) -> None:
    from unseg_d2.detectron2 import register_datasets

    sizes = {"SYNTHETIC.NUM_VAL": 2, "SYNTHETIC.ROOT": tmp_path}
    cfg = load_cfg(None, [str(text) for pair in sizes.items() for text in pair])
    register_datasets()
    assert len(dataset_records("synthetic_val", cfg)) == 2

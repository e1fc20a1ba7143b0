"""Built-in data sets through Detectron2's own catalogues and mapper."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.data import DatasetCatalog, DatasetMapper, MetadataCatalog
from detectron2.data import transforms as T

from unseg_d2.data.builtin import BUILTIN
from unseg_d2.data.catalog import SYNTHETIC
from unseg_d2.detectron2 import register_datasets

pytestmark = pytest.mark.detectron2


@pytest.fixture(autouse=True)
def registered() -> None:
    register_datasets()


def test_all_names_are_registered_once() -> None:
    assert {*BUILTIN, *SYNTHETIC} <= set(DatasetCatalog.list())
    assert register_datasets() == []
    assert MetadataCatalog.get("imagenet_train").thing_classes == ["object"]


def test_what_was_registered_before_stays() -> None:
    assert len(MetadataCatalog.get("coco_2017_val").thing_classes) == 80  # Detectron2's own
    DatasetCatalog.remove("cls_agnostic_comic")
    MetadataCatalog.remove("cls_agnostic_comic")
    DatasetCatalog.register("cls_agnostic_comic", lambda: ["a user's"])
    assert register_datasets() == []
    assert DatasetCatalog.get("cls_agnostic_comic") == ["a user's"]
    DatasetCatalog.remove("cls_agnostic_comic")
    assert register_datasets() == ["cls_agnostic_comic"]


def test_records_go_through_the_stock_mapper(labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(labels.parent / "images", tmp_path / "kitti")
    (tmp_path / "kitti" / "annotations").mkdir()
    shutil.copy(labels, tmp_path / "kitti" / "annotations" / "trainval_cls_agnostic.json")
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    records = DatasetCatalog.get("cls_agnostic_kitti")
    assert len(records) == 6
    mapper = DatasetMapper(
        True,
        augmentations=[T.NoOpTransform()],
        image_format="RGB",
        use_instance_mask=True,
        instance_mask_format="bitmask",
    )
    mapped = mapper(records[0])["instances"]
    assert len(mapped) == len(records[0]["annotations"]) > 0
    assert mapped.gt_masks.get_bounding_boxes().tensor.tolist() == mapped.gt_boxes.tensor.tolist()
    assert mapped.gt_classes.unique().tolist() == [0]

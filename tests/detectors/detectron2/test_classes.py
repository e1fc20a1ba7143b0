"""Classes of data sets that Detectron2 itself has registered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.config import get_cfg
from detectron2.data import DatasetCatalog, MetadataCatalog
from detectron2.data.datasets import register_coco_instances
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.detectors.detectron2.config import to_detectron2
from unseg_d2.detectors.detectron2.evaluator import ClassAgnosticEvaluator
from unseg_d2.detectors.detectron2.label_sets import register_label_set
from unseg_d2.detectors.detectron2.records import dataset_records
from unseg_d2.detectron2 import UnsegDatasetMapper, UnsegTrainer, add_unseg_config
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


@pytest.fixture
def name(labels: Path, tmp_path: Path) -> Iterator[str]:
    """The rectangles, in turn of category 3 and 8, registered by Detectron2's own function."""
    content = json.loads(labels.read_text()) | {"categories": [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]}
    for number, annotation in enumerate(content["annotations"]):
        annotation["category_id"] = (3, 8)[number % 2]
    (tmp_path / "named.json").write_text(json.dumps(content))
    register_coco_instances("cats_and_dogs", {}, str(tmp_path / "named.json"), str(labels.parent / "images"))
    yield "cats_and_dogs"
    DatasetCatalog.remove("cats_and_dogs")
    MetadataCatalog.remove("cats_and_dogs")


def test_registered_classes(name: str) -> None:
    records = dataset_records(name, None, 2)
    assert records.categories == [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]
    assert {a["category_id"] for record in records for a in record["annotations"]} == {0, 1}
    assert dataset_records(name).categories == []
    with pytest.raises(UnsegError, match=r"cats_and_dogs has 2 categories, but MODEL\.ROI_HEADS\.NUM_CLASSES is 3"):
        dataset_records(name, None, 3)


def test_the_evaluator_tells_them_apart_where_it_is_asked_to(name: str) -> None:
    options = ["MODEL.ROI_HEADS.NUM_CLASSES", "2", "MODEL.MASK_ON", "True", "TEST.EVALUATORS"]
    apart = ClassAgnosticEvaluator(name, load_cfg(None, [*options, "['per_class']"]))
    assert apart.category_ids == [3, 8]
    assert ClassAgnosticEvaluator(name, load_cfg(None, [*options, "['class_agnostic']"])).category_ids == 1


def test_a_registered_label_set_has_its_classes(tmp_path: Path, labels: Path, name: str) -> None:
    path = Path(MetadataCatalog.get(name).json_file)
    DatasetCatalog.get(name)
    register_label_set("named_labels", path, labels.parent / "images")
    try:
        assert [c["name"] for c in dataset_records("named_labels", None, 2).categories] == ["cat", "dog"]
    finally:
        DatasetCatalog.remove("named_labels")


def test_the_mapper_keeps_them_and_refuses_others(name: str) -> None:
    cfg = get_cfg()
    add_unseg_config(cfg)
    cfg.merge_from_list(["MODEL.ROI_HEADS.NUM_CLASSES", 2, "MODEL.MASK_ON", True, "INPUT.MIN_SIZE_TRAIN", (72,)])
    records = dataset_records(name, None, 2)
    mapper = UnsegDatasetMapper(cfg, True)
    for record in records:
        classes = mapper(record)["instances"].gt_classes.tolist()
        assert classes == [annotation["category_id"] for annotation in record["annotations"]]
    records[0]["annotations"][0]["category_id"] = 2
    with pytest.raises(UnsegError, match="has the class number 2"):
        mapper(records[0])
    cfg.MODEL.ROI_HEADS.NUM_CLASSES = 1
    assert set(UnsegDatasetMapper(cfg, True)(records[0])["instances"].gt_classes.tolist()) == {0}


def test_the_trainer_learns_and_scores_them(name: str, tmp_path: Path, tiny_cfg: Callable[..., CfgNode]) -> None:
    options = {"DATASETS__TRAIN": (name,), "DATASETS__TEST": (name,), "TEST__EVALUATORS": ("per_class",)}
    sizes = {"INPUT__MIN_SIZE_TRAIN": (72,), "INPUT__MIN_SIZE_TEST": 72, "SOLVER__MAX_ITER": 2}
    cfg = tiny_cfg(MODEL__ROI_HEADS__NUM_CLASSES=2, OUTPUT_DIR=tmp_path / "run", **options, **sizes)
    trainer = UnsegTrainer(to_detectron2(cfg))
    trainer.resume_or_load(resume=False)
    metrics = trainer.train()
    assert metrics is not None and {"AP-cat", "AP-dog"} <= metrics["segm"].keys()
    assert [c["name"] for c in json.loads((tmp_path / "run/classes.json").read_text())] == ["cat", "dog"]

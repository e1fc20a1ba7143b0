"""Sources that are not as their format says end in one sentence, and what is written can be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unseg_d2.data.prepare.coco_like import prepare_coco
from unseg_d2.data.prepare.coco_semi import prepare_coco_semi
from unseg_d2.data.prepare.kitti import prepare_kitti, prepare_kitti_instances
from unseg_d2.data.prepare.openimages import BOXES, prepare_openimages
from unseg_d2.data.prepare.sa1b import prepare_sa1b
from unseg_d2.data.prepare.voc import prepare_voc
from unseg_d2.errors import UnsegError

IMAGE = {"id": 1, "file_name": "000000000001.jpg", "height": 20, "width": 30}
OBJECT = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12.0, "iscrowd": 0}


def refused(prepare: Callable[[], Any], target: Path) -> str:
    with pytest.raises(UnsegError) as caught:
        prepare()
    message = str(caught.value)
    assert "\n" not in message and not target.exists()
    return message


@pytest.mark.parametrize(
    ("images", "annotations", "named"),
    [
        ([{**IMAGE, "file_name": None}], [OBJECT], 'image 1 lacks the key "file_name"'),
        ([{**IMAGE, "height": "tall"}], [OBJECT], 'the "height" of image 1 ("000000000001.jpg") is "tall"'),
        ([{**IMAGE, "id": 1.5}], [OBJECT], "1.5"),
        ([None], [OBJECT], "image number 1 is null"),
        ([IMAGE], [{**OBJECT, "image_id": [1]}], 'the "image_id" of annotation 1'),
        ([IMAGE], [{key: OBJECT[key] for key in ("id", "bbox")}], 'annotation 1 lacks the key "image_id"'),
        ([IMAGE], [{**OBJECT, "bbox": [1, 2, 3]}], "bbox"),
        ([IMAGE], [{**OBJECT, "bbox": [1, 2, float("nan"), 4]}], 'the "bbox" of annotation 1 (image 1) holds NaN'),
        ([IMAGE], 7, 'the "annotations" of the file is 7'),
        (None, [OBJECT], "images"),
    ],
)
@pytest.mark.parametrize("kind", ["coco", "semi"])
def test_coco(images: Any, annotations: Any, named: str, kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "coco/annotations"
    folder.mkdir(parents=True)
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    for split in ("train2017", "val2017"):
        (folder / f"instances_{split}.json").write_text(json.dumps(content))
    if kind == "coco":
        target = folder / "coco_cls_agnostic_instances_val2017.json"
        message = refused(lambda: prepare_coco(tmp_path), target)
    else:
        target = folder / "99perc_instances_train2017.json"
        message = refused(lambda: prepare_coco_semi(tmp_path, percent=99), target)
    assert named in message and f"{folder}/instances_" in message


def test_coco_without_a_size(tmp_path: Path) -> None:
    """Merging all classes into one needs it; a split copies the record, whose size the picture gives."""
    folder = tmp_path / "coco/annotations"
    folder.mkdir(parents=True)
    images = [{key: IMAGE[key] for key in ("id", "file_name", "height")}]
    content = {"images": images, "annotations": [OBJECT], "categories": [{"id": 1, "name": "thing"}]}
    (folder / "instances_val2017.json").write_text(json.dumps(content))
    message = refused(lambda: prepare_coco(tmp_path), folder / "coco_cls_agnostic_instances_val2017.json")
    assert 'instances_val2017.json: image 1 lacks the key "width"' in message


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"\xff\xfe\x00", "is not text in UTF-8"),
        (b"Car 0 0 0 a b c d", 'the "left" of line 1 is "a"'),
        (b"\nCar 0 0 0 1 2 nan 4", 'the "right" of line 2 is "nan"'),
    ],
)
def test_kitti_labels(content: bytes, named: str, tmp_path: Path) -> None:
    folder = tmp_path / "kitti/training"
    (folder / "label_2").mkdir(parents=True)
    (folder / "image_2").mkdir()
    Image.new("RGB", (30, 20)).save(folder / "image_2/000001.png")
    (folder / "label_2/000001.txt").write_bytes(content)
    target = tmp_path / "kitti/annotations/trainval_cls_agnostic.json"
    message = refused(lambda: prepare_kitti(tmp_path), target)
    assert named in message and "000001.txt" in message
    Image.new("RGB", (30, 20)).save(folder / "image_2/readme.png")
    (folder / "label_2/000001.txt").rename(folder / "label_2/readme.txt")
    assert "is no number" in refused(lambda: prepare_kitti(tmp_path), target)


def test_kitti_instances_of_a_colour_image(tmp_path: Path) -> None:
    folder = tmp_path / "kitti/semantics/training/instance"
    folder.mkdir(parents=True)
    Image.fromarray(np.zeros((20, 30, 3), np.uint8)).save(folder / "000000_10.png")
    target = tmp_path / "kitti/annotations/instances_cls_agnostic.json"
    assert "one channel" in refused(lambda: prepare_kitti_instances(tmp_path), target)
    (folder / "000000_10.png").write_bytes(b"\x89PNG\r\n\x1a\nand no more")
    assert "is not a label image" in refused(lambda: prepare_kitti_instances(tmp_path), target)


@pytest.mark.parametrize(
    "content",
    [
        {"image": 3, "annotations": []},
        {"image": {"image_id": 1, "file_name": 5, "height": 20, "width": 30}, "annotations": []},
        {"image": {"image_id": 1, "file_name": "a.jpg", "height": 20, "width": 30}, "annotations": [{"area": 1}]},
        {"image": {"image_id": 1, "file_name": "/etc/a.jpg", "height": 20, "width": 30}, "annotations": []},
    ],
)
def test_sa1b(content: Any, tmp_path: Path) -> None:
    (tmp_path / "sa1b/sa_000000").mkdir(parents=True)
    (tmp_path / "sa1b/sa_000000/sa_1.json").write_text(json.dumps(content))
    assert "sa_1.json" in refused(lambda: prepare_sa1b(tmp_path), tmp_path / "sa1b/annotations/sa1b_cls_agnostic.json")


@pytest.mark.parametrize("content", [[1, None], {"images": [{"file_name": "a"}]}, 7, {"images": 7}, [[1]], [1.5]])
def test_lists_of_images(content: Any, tmp_path: Path) -> None:
    folder = tmp_path / "coco/annotations"
    folder.mkdir(parents=True)
    whole = {"images": [IMAGE], "annotations": [OBJECT], "categories": [{"id": 1, "name": "thing"}]}
    (folder / "instances_train2017.json").write_text(json.dumps(whole))
    listed = tmp_path / "list.json"
    listed.write_text(json.dumps(content))
    target = folder / "1perc_instances_train2017.json"
    assert str(listed) in refused(lambda: prepare_coco_semi(tmp_path, percent=1, split_list=listed), target)


BOX = "<xmin>1</xmin><ymin>2</ymin><xmax>9</xmax><ymax>9</ymax>"
SIZE = "<size><width>30</width><height>20</height></size>"


@pytest.mark.parametrize(
    ("names", "xml", "named"),
    [
        (b"\xff\xfe", b"", "trainval.txt is not text in UTF-8"),
        (b"photo", b"", "names are numbers"),
        (b"000001", b"<a>", "000001.xml is missing or not a VOC annotation"),
        (b"000001", b"", "000001.xml is missing or not a VOC annotation"),
        (b"000001", b"<a></a>", '000001.xml: the size of the image lacks the key "height"'),
        (b"000001", SIZE.replace("20", "tall").encode(), 'the "height" of the size of the image is "tall"'),
        (b"000001", f"{SIZE}<object></object>".encode(), 'the box of object 1 lacks the key "xmin"'),
        (b"000001", f"{SIZE}<object><bndbox>{BOX.replace('9', 'nan')}</bndbox></object>".encode(), "object 1"),
    ],
)
def test_voc(names: bytes, xml: bytes, named: str, tmp_path: Path) -> None:
    folder = tmp_path / "voc/VOC2007"
    for part in ("ImageSets/Main", "Annotations"):
        (folder / part).mkdir(parents=True)
    for split in ("trainval", "test"):
        (folder / f"ImageSets/Main/{split}.txt").write_bytes(names)
    text = xml if not xml.startswith(b"<size") else b"<annotation>" + xml + b"</annotation>"
    (folder / "Annotations/000001.xml").write_bytes(text)
    message = refused(lambda: prepare_voc(tmp_path), tmp_path / "voc/annotations/trainvaltest_2007_cls_agnostic.json")
    assert named in message


@pytest.mark.parametrize(
    ("row", "named"),
    [
        ("0001,zero,0.5,0,0.5,0", 'the "XMin" of line 2 is "zero"'),
        ("0001,0,0.5", "Line 2 of"),
        ("0001,0,nan,0,0.5,0", 'the "XMax" of line 2 is "nan"'),
        ("\udcff,0,0,0,0,0", "is not text in UTF-8"),
    ],
)
def test_openimages(row: str, named: str, tmp_path: Path) -> None:
    folder = tmp_path / "openImages"
    for part in ("annotations", "validation"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (30, 20)).save(folder / "validation/0001.jpg")
    table = f"ImageID,XMin,XMax,YMin,YMax,IsGroupOf\n{row}\n"
    (folder / "annotations" / BOXES).write_bytes(table.encode(errors="surrogateescape"))
    message = refused(lambda: prepare_openimages(tmp_path), folder / "annotations/openimages_val_cls_agnostic.json")
    assert named in message and BOXES in message

"""Every converter on a tiny file of the layout that its owners publish, by hand-computed boxes and masks."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as mask_utils

from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import BUILTIN
from unseg_d2.data.catalog import find_annotations, load_dataset
from unseg_d2.data.coco import read_coco
from unseg_d2.data.prepare import coco_like
from unseg_d2.data.prepare.coco_like import (
    prepare_coco,
    prepare_coco20k,
    prepare_lvis,
    prepare_objects365,
    prepare_uvo,
)
from unseg_d2.data.prepare.kitti import prepare_kitti, prepare_kitti_instances
from unseg_d2.data.prepare.openimages import prepare_openimages, prepare_openimages_masks
from unseg_d2.data.prepare.sa1b import prepare_sa1b
from unseg_d2.data.prepare.sources import SOURCES
from unseg_d2.data.prepare.voc import prepare_voc
from unseg_d2.errors import UnsegError
from unseg_d2.rle import decode_mask, encode_mask

REPOSITORY = Path(__file__).resolve().parents[3]
SQUARE = [[10.0, 10.0, 20.0, 10.0, 20.0, 20.0, 10.0, 20.0]]


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    return tmp_path


def picture(path: Path, height: int = 40, width: int = 60) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((height, width, 3), 90, np.uint8)).save(path)


def write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))


def objects(records: list[dict[str, Any]]) -> list[list[tuple]]:
    """Box and crowd flag of every annotation, per image."""
    return [[(*a["bbox"], a["iscrowd"]) for a in record["annotations"]] for record in records]


def loaded(name: str) -> list[dict[str, Any]]:
    """Records of a data set, whose images have to be where the file says."""
    records = load_dataset(name, load_cfg())
    path = find_annotations(name, load_cfg())
    written, read = json.loads(path.read_text()), read_coco(path)
    assert written["annotations"] == json.loads(json.dumps(read.annotations))  # nothing is put right when it is read
    assert written["images"] == read.images
    assert all(Path(record["file_name"]).is_file() for record in records)
    return records


def instances(*images: dict[str, Any]) -> dict[str, Any]:
    """A COCO file with a person and a crowd of category 3 on the first image and nothing on the others."""
    crowd = {"size": [40, 60], "counts": [0, 400, 2000]}
    return {
        "info": {"year": 2017},
        "licenses": [],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "images": [{"height": 40, "width": 60, "license": 1, "date_captured": "", **image} for image in images],
        "annotations": [
            {"id": 71, "image_id": images[0]["id"], "category_id": 1, "iscrowd": 0, "area": 100.0}
            | {"bbox": [10.0, 10.0, 10.0, 10.0], "segmentation": SQUARE},
            {"id": 72, "image_id": images[0]["id"], "category_id": 3, "iscrowd": 1, "area": 400.0}
            | {"bbox": [0.0, 0.0, 10.0, 40.0], "segmentation": crowd},
        ],
    }


BOTH = [[(10.0, 10.0, 10.0, 10.0, 0), (0.0, 0.0, 10.0, 40.0, 1)], []]


def test_coco(root: Path) -> None:
    images = [{"id": key, "file_name": f"{key:012d}.jpg"} for key in (139, 285)]
    write(root / "coco/annotations/instances_val2017.json", instances(*images))
    for image in images:
        picture(root / "coco/val2017" / image["file_name"])
    prepared = prepare_coco(root)
    assert (prepared.images, prepared.without_objects, prepared.objects, prepared.crowds) == (2, 1, 1, 1)
    assert objects(loaded("coco_val2017")) == objects(loaded("cls_agnostic_coco")) == BOTH
    content = json.loads(prepared.path.read_text())
    assert [item["name"] for item in content["categories"]] == ["fg"]
    assert {item["category_id"] for item in content["annotations"]} == {1}
    assert content["info"]["protocol"] == prepared.protocol


def test_a_part_of_a_benchmark_says_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = {"id": 139, "file_name": "000000000139.jpg"}
    write(root / "coco/annotations/instances_val2017.json", instances(image))
    assert "HAS 1 IMAGES INSTEAD OF 5000" in prepare_coco(root).protocol
    monkeypatch.setitem(coco_like.FULL, "val2017", 1)
    prepared = prepare_coco(root)
    assert prepared.protocol.startswith("All images of COCO val2017;") and "HAS" not in prepared.protocol


def test_coco_dev_keeps_every_annotation(root: Path, shared_data: Path) -> None:
    source = json.loads((shared_data / "coco_dev/instances.json").read_text())
    write(root / "coco/annotations/instances_val2017.json", source)
    content = json.loads(prepare_coco(root).path.read_text())
    for key in ("bbox", "area", "iscrowd"):
        kept = [(a["image_id"], a[key]) for a in content["annotations"]]
        assert sorted(kept) == sorted((a["image_id"], a[key]) for a in source["annotations"])
    kept, stated = (
        sorted((a["image_id"], a["bbox"], compressed(a["segmentation"])) for a in file["annotations"])
        for file in (content, source)
    )
    assert kept == stated


def compressed(segmentation: Any) -> str:
    """Return polygons as they are, and run lengths of either form as text, by pycocotools."""
    if isinstance(segmentation, list):
        return json.dumps(segmentation)
    if isinstance(segmentation["counts"], str):
        return segmentation["counts"]
    return mask_utils.frPyObjects(segmentation, *segmentation["size"])["counts"].decode()


def test_coco20k(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = [{"id": key, "file_name": f"COCO_train2014_{key:012d}.jpg"} for key in (9, 25, 30)]
    write(root / "coco/annotations/instances_train2014.json", instances(*images))
    for image in images:
        picture(root / "coco/train2014" / image["file_name"])
    listed = root / "coco_20k_filenames.txt"
    write(listed, "train2014/COCO_train2014_000000000009.jpg\ntrain2014/COCO_train2014_000000000030.jpg\n")
    with pytest.raises(UnsegError, match="names 2 images, but COCO20K has 19817"):
        prepare_coco20k(root, image_list=listed)
    monkeypatch.setattr(coco_like, "COCO20K_IMAGES", 2)
    prepare_coco20k(root, image_list=listed)
    assert [record["image_id"] for record in loaded("coco20k")] == [9, 30]
    assert objects(loaded("coco20k")) == BOTH
    write(listed, "COCO_train2014_000000000009.jpg\nCOCO_train2014_000000000031.jpg\n")
    with pytest.raises(UnsegError, match=r"1 images of .* are not in instances_train2014"):
        prepare_coco20k(root, image_list=listed)
    write(listed, "2007_000027.jpg\n")
    with pytest.raises(UnsegError, match=r"names like COCO_train2014_000000000009.jpg are needed"):
        prepare_coco20k(root, image_list=listed)


def test_lvis_takes_the_folder_from_the_address(root: Path) -> None:
    """Images of LVIS v1 have no file_name, annotations no iscrowd."""
    url = "http://images.cocodataset.org"
    images = [{"id": 397133, "coco_url": f"{url}/val2017/000000397133.jpg", "not_exhaustive_category_ids": [2]}]
    images += [{"id": 25, "coco_url": f"{url}/train2017/000000000025.jpg", "neg_category_ids": [3]}]
    content = instances(*images)
    content["annotations"] = [{k: v for k, v in content["annotations"][0].items() if k != "iscrowd"}]
    write(root / "coco/annotations/lvis_v1_val.json", content)
    picture(root / "coco/val2017/000000397133.jpg")
    picture(root / "coco/train2017/000000000025.jpg")
    prepare_lvis(root)
    assert objects(loaded("lvis_v1_val")) == [BOTH[0][:1], []]


@pytest.mark.parametrize("place", ["images/v2/patch16", "patch16", ""])
def test_objects365_finds_the_images(root: Path, place: str) -> None:
    name = "objects365_v2_00908726.jpg"
    content = instances({"id": 908726, "file_name": f"images/v2/patch16/{name}"})
    for annotation in content["annotations"]:
        del annotation["segmentation"]  # boxes only
    write(root / "objects365/annotations/zhiyuan_objv2_val.json", content)
    picture(root / "objects365/val" / place / name)
    prepare_objects365(root)
    assert objects(loaded("objects365")) == BOTH[:1]


def test_uvo(root: Path) -> None:
    content = instances({"id": 1, "file_name": "-0JEqkvtbrg/10.png"})
    for annotation in content["annotations"]:
        annotation["category_id"] = 1
    write(root / "uvo/annotations/UVO_frame_val.json", content)
    picture(root / "uvo/all_UVO_frames/-0JEqkvtbrg/10.png")
    prepare_uvo(root)
    assert objects(loaded("uvo")) == BOTH[:1]


def test_kitti_boxes(root: Path) -> None:
    lines = "Car 0.00 0 1.85 387.63 181.54 423.81 203.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n"
    lines += "DontCare -1 -1 -10 503.89 169.71 590.61 190.13 -1 -1 -1 -1000 -1000 -1000 -10\n"
    write(root / "kitti/training/label_2/000001.txt", lines)
    picture(root / "kitti/training/image_2/000001.png", 375, 1242)
    prepared = prepare_kitti(root)
    assert (prepared.objects, prepared.crowds) == (1, 1)
    assert objects(loaded("kitti")) == [[(387.63, 181.54, 36.18, 21.58, 0), (503.89, 169.71, 86.72, 20.42, 1)]]
    write(root / "kitti/training/label_2/000001.txt", "Car 0.00\n")
    with pytest.raises(UnsegError, match=r"Line 1 of .*000001.txt is not a KITTI label"):
        prepare_kitti(root)


def test_kitti_sample(root: Path, shared_data: Path) -> None:
    """The sample's own COCO file, made independently, is the oracle."""
    sample = shared_data / "kitti_sample"
    (root / "kitti/training").mkdir(parents=True)
    (root / "kitti/training/label_2").symlink_to(sample / "label_2")
    (root / "kitti/training/image_2").symlink_to(sample / "images")
    prepare_kitti(root)
    expected = json.loads((sample / "instances.json").read_text())
    boxes = [[] for _ in expected["images"]]
    for annotation in expected["annotations"]:
        boxes[annotation["image_id"]].append((*annotation["bbox"], annotation["iscrowd"]))
    records = loaded("kitti")
    assert objects(records) == boxes
    assert [(r["height"], r["width"]) for r in records] == [(i["height"], i["width"]) for i in expected["images"]]


def test_kitti_instances(root: Path) -> None:
    """Class in the high byte, instance in the low one; two cars, one person, road without instances."""
    values = np.full((40, 60), 7 * 256, np.uint16)
    values[5:10, 5:15], values[20:30, 5:15], values[5:10, 30:40] = 26 * 256 + 1, 26 * 256 + 2, 24 * 256 + 1
    path = root / "kitti/semantics/training/instance/000000_10.png"
    path.parent.mkdir(parents=True)
    Image.fromarray(values).save(path)
    picture(root / "kitti/semantics/training/image_2/000000_10.png")
    prepare_kitti_instances(root)
    record = loaded("kitti_instances")[0]
    masks = [decode_mask(a["segmentation"], 40, 60) for a in record["annotations"]]
    wanted = [24 * 256 + 1, 26 * 256 + 1, 26 * 256 + 2]
    assert all(np.array_equal(mask, values == value) for mask, value in zip(masks, wanted, strict=True))
    assert objects([record]) == [[(30, 5, 10, 5, 0), (5, 5, 10, 5, 0), (5, 20, 10, 10, 0)]]


@pytest.mark.parametrize(
    ("difficult", "expected"), [("count", [(47, 19, 10, 20, 0), (0, 0, 5, 5, 0)]),
                                ("crowd", [(47, 19, 10, 20, 0), (0, 0, 5, 5, 1)]),
                                ("drop", [(47, 19, 10, 20, 0)])],
)  # fmt: skip
def test_voc(root: Path, difficult: str, expected: list[tuple]) -> None:
    """VOC counts from 1 and includes the last pixel: 48..57 is 10 px wide from 47 on."""
    box = "<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox>"
    first = "<object><name>dog</name><difficult>0</difficult>" + box.format(48, 20, 57, 39) + "</object>"
    second = "<object><name>car</name><difficult>1</difficult>" + box.format(1, 1, 5, 5) + "</object>"
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    folder = root / "voc/VOC2007"
    write(folder / "Annotations/000005.xml", f"<annotation>{size}{first}{second}</annotation>")
    write(folder / "Annotations/000001.xml", f"<annotation>{size}</annotation>")
    write(folder / "ImageSets/Main/trainval.txt", "000005\n")
    write(folder / "ImageSets/Main/test.txt", "000001\n")
    picture(folder / "JPEGImages/000001.jpg")
    picture(folder / "JPEGImages/000005.jpg")
    prepared = prepare_voc(root, difficult=difficult)
    assert objects(loaded("voc07")) == [[], expected]
    assert prepared.left_out == ({"difficult": 1} if difficult == "drop" else {})
    prepare_voc(root, difficult=difficult, subset="trainval")
    assert objects(loaded("voc07_trainval")) == [expected]


def test_voc_of_2012(root: Path) -> None:
    size = "<size><width>60</width><height>40</height><depth>3</depth></size>"
    folder = root / "voc/VOC2012"
    write(folder / "Annotations/2008_000002.xml", f"<annotation>{size}</annotation>")
    write(folder / "ImageSets/Main/trainval.txt", "2008_000002\n")
    picture(folder / "JPEGImages/2008_000002.jpg")
    prepare_voc(root, subset="trainval", year=2012)
    record = loaded("voc12_trainval")[0]
    assert (record["image_id"], record["height"]) == (2008000002, 40)
    with pytest.raises(UnsegError, match="VOC 2012 has no trainvaltest with annotations; add --subset trainval"):
        prepare_voc(root, year=2012)


def test_openimages(root: Path) -> None:
    head = "ImageID,Source,LabelName,Confidence,XMin,XMax,YMin,YMax,"
    head += "IsOccluded,IsTruncated,IsGroupOf,IsDepiction,IsInside\n"
    rows = "0001eeaf4aed83f9,xclick,/m/0cmf2,1,0.25,0.75,0.5,1.0,0,0,0,0,0\n"
    rows += "0001eeaf4aed83f9,xclick,/m/02xwb,1,0,0.5,0,0.5,0,0,1,0,0\n"
    table = root / "openImages/annotations/validation-annotations-bbox.csv"
    write(table, head + rows)
    picture(root / "openImages/validation/0001eeaf4aed83f9.jpg")
    picture(root / "openImages/validation/000595fe6fee6369.jpg")
    prepare_openimages(root)
    assert objects(loaded("openimages")) == [[(15, 20, 30, 20, 0), (0, 0, 30, 20, 1)], []]
    write(table, head + rows.replace("0001eeaf4aed83f9", "ffff"))
    with pytest.raises(UnsegError, match=r"1 images of the table are not in .*, ffff.jpg for example"):
        prepare_openimages(root)


def test_openimages_masks_of_another_size(root: Path) -> None:
    mask = np.zeros((20, 30), bool)
    mask[5:10, 10:20] = True
    name = "0001eeaf4aed83f9_m0cmf2_54af7d71.png"
    (root / "openImages/masks").mkdir(parents=True)
    Image.fromarray(mask).save(root / "openImages/masks" / name)
    columns = "MaskPath,ImageID,LabelName,BoxID,BoxXMin,BoxXMax,BoxYMin,BoxYMax,PredictedIoU,Clicks"
    row = f"{name},0001eeaf4aed83f9,/m/0cmf2,54af7d71,0.33,0.66,0.25,0.5,0.9,0.1 0.2 1"
    write(root / "openImages/annotations/validation-annotations-object-segmentation.csv", f"{columns}\n{row}\n")
    picture(root / "openImages/validation/0001eeaf4aed83f9.jpg")
    picture(root / "openImages/validation/000595fe6fee6369.jpg")  # has no masks
    prepare_openimages_masks(root)
    records = loaded("openimages_masks")
    assert objects(records) == [[(20, 10, 20, 10, 0)]]
    assert np.array_equal(
        decode_mask(records[0]["annotations"][0]["segmentation"], 40, 60), mask.repeat(2, 0).repeat(2, 1)
    )


def test_sa1b(root: Path) -> None:
    mask = np.zeros((40, 60), bool)
    mask[5:15, 20:50] = True
    for number in (1, 10):
        picture(root / f"sa1b/sa_000000/sa_{number}.jpg")
        image = {"image_id": number, "width": 60, "height": 40, "file_name": f"sa_{number}.jpg"}
        annotation = {"bbox": [20.0, 5.0, 29.0, 9.0], "area": 300, "segmentation": encode_mask(mask)}
        annotation |= {"predicted_iou": 0.9, "point_coords": [[30.0, 8.0]], "crop_box": [0.0, 0.0, 60.0, 40.0]}
        annotation |= {"id": 1205816776 + number, "stability_score": 0.97}
        write(root / f"sa1b/sa_000000/sa_{number}.json", {"image": image, "annotations": [annotation]})
    prepared = prepare_sa1b(root)
    assert "1 of the 1000 parts of SA-1B" in prepared.protocol
    assert objects(loaded("sa1b")) == [[(20, 5, 29, 9, 0)]] * 2
    write(root / "sa1b/sa_000001/sa_1.json", (root / "sa1b/sa_000000/sa_1.json").read_text())
    with pytest.raises(UnsegError, match="image id 1 occurs twice"):
        prepare_sa1b(root)
    assert prepared.path.is_file()  # the old file stays when writing fails


@pytest.mark.parametrize("name", SOURCES)
def test_nothing_there(root: Path, name: str) -> None:
    source = SOURCES[name]
    given = {"coco20k": {"image_list": root / "list.txt"}, "coco_semi": {"percent": 1}}.get(name, {})
    with pytest.raises(UnsegError, match=re.escape(str(root))):
        source.prepare(root, **given)
    assert not list(root.rglob("*cls_agnostic*"))


@pytest.mark.parametrize("name", SOURCES)
def test_script_catalog_and_page_know_the_data_set(name: str) -> None:
    script = f"prepare_{name}.py"
    assert (REPOSITORY / "datasets" / script).is_file()
    datasets = [dataset for dataset in BUILTIN.values() if dataset.prepare.split(" ")[0] == name]
    assert len(datasets) == {"voc": 3, "coco_semi": 10}.get(name, 1)
    page = (REPOSITORY / "datasets/README.md").read_text()
    assert script in page and all(Path(dataset.annotations).stem in page for dataset in datasets)

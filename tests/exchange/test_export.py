"""Label sets in the formats of other tools, read again by readers that are not ours."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
import yaml
from PIL import Image
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO

from unseg_d2.errors import UnsegError
from unseg_d2.exchange.export import export_labels
from unseg_d2.exchange.formats import FORMATS

CLASSES = ["cat, \"big\" <b>&'x'", "Größe: 数"]


def truth(path: Path) -> dict[str, list[tuple[str, np.ndarray]]]:
    """Class and mask of each annotation by file name."""
    content = json.loads(path.read_text())
    names = {image["id"]: image["file_name"] for image in content["images"]}
    found: dict[str, list[tuple[str, np.ndarray]]] = {name: [] for name in names.values()}
    for item in content["annotations"]:
        mask = mask_utils.decode(item["segmentation"]).astype(bool)
        found[names[item["image_id"]]].append((CLASSES[item["category_id"] - 1], mask))
    return found


def changed(path: Path, **fields: Any) -> Path:
    """The label set with other fields, beside the first."""
    content = json.loads(path.read_text())
    (path.parent / "changed.json").write_text(json.dumps(content | fields))
    return path.parent / "changed.json"


def iou(mask: np.ndarray, other: np.ndarray) -> float:
    return float((mask & other).sum() / (mask | other).sum())


@pytest.mark.parametrize("polygons", [False, True])
def test_coco_is_read_by_pycocotools(label_set: Path, tmp_path: Path, polygons: bool) -> None:
    written = export_labels(label_set, tmp_path / "out" / "labels.json", polygons=polygons)
    assert (written.images, written.masks, written.left_out) == (3, 9, "")
    coco = COCO(str(written.path))
    for name, objects in truth(label_set).items():
        (image,) = (image for image in coco.imgs.values() if image["file_name"] == name)
        found = coco.loadAnns(coco.getAnnIds(image["id"]))
        assert [coco.cats[item["category_id"]]["name"] for item in found] == [label for label, _ in objects]
        assert all((coco.annToMask(item) == mask).all() for item, (_, mask) in zip(found, objects, strict=True))
        assert isinstance(found[0]["segmentation"], list) == polygons
    assert (written.path.parent / coco.dataset["info"]["image_root"] / "a.jpg").is_file()


@pytest.mark.parametrize("placing", ["link", "copy"])
def test_yolo_is_read_as_ultralytics_reads_it(label_set: Path, tmp_path: Path, placing: Any) -> None:
    written = export_labels(label_set, tmp_path / "images" / "yolo", format="yolo", images_as=placing)
    about = yaml.safe_load(written.path.read_text(encoding="utf-8"))
    assert about["names"] == CLASSES
    folder = Path(about["path"]) / about["train"]
    for name, objects in truth(label_set).items():
        assert (folder / name).is_symlink() == (placing == "link")
        width, height = Image.open(folder / name).size
        # The rule of Ultralytics: the last folder "images" of the path is "labels".
        labels = Path("/labels/".join(str(folder / name).rsplit("/images/", 1)).rsplit(".", 1)[0] + ".txt")
        for line, (label, mask) in zip(labels.read_text().splitlines(), objects, strict=True):
            number, *values = line.split()
            corners = (np.array(values, float).reshape(-1, 2) * (width, height)).astype(np.int32)
            drawn = np.zeros((height, width), np.uint8)
            cv2.fillPoly(drawn, [corners], 1)
            assert about["names"][int(number)] == label and iou(drawn.astype(bool), mask) > 0.9
            assert 0 <= min(map(float, values)) and max(map(float, values)) <= 1


def test_supervision_reads_the_boxes_of_yolo(label_set: Path, tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision")
    content = json.loads(label_set.read_text())
    (label_set.parent / "photos" / "sub").rename(label_set.parent / "photos" / "gone")
    flat = changed(label_set, images=content["images"][:1], annotations=content["annotations"][:3])
    written = export_labels(flat, tmp_path / "yolo", format="yolo-boxes", images_as="copy")
    folder = written.path.parent
    data = sv.DetectionDataset.from_yolo(str(folder / "images"), str(folder / "labels"), str(written.path))
    (found,) = data.annotations.values()
    expected = [[x, y, x + w, y + h] for x, y, w, h in (item["bbox"] for item in content["annotations"][:3])]
    np.testing.assert_allclose(found.xyxy, expected, atol=0.01)
    assert [data.classes[number] for number in found.class_id] == [CLASSES[0], CLASSES[1], CLASSES[0]]


def test_a_picture_below_a_folder_called_images_has_its_labels_where_they_are_looked_for(
    label_set: Path, tmp_path: Path
) -> None:
    content = json.loads(label_set.read_text())
    (label_set.parent / "photos" / "sub").rename(label_set.parent / "photos" / "images")
    content["images"][1]["file_name"] = "images/b é.png"
    export_labels(changed(label_set, images=content["images"]), tmp_path / "yolo", format="yolo")
    assert len((tmp_path / "yolo" / "images" / "labels" / "b é.txt").read_text().splitlines()) == 3


def read_cvat_mask(shape: ElementTree.Element, height: int, width: int) -> np.ndarray:
    """A mask or polygon of CVAT's XML, from the description of the format."""
    if shape.tag == "polygon":
        points = [float(value) for pair in shape.get("points").split(";") for value in pair.split(",")]
        return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects([points], height, width))).astype(bool)
    left, top, columns, rows = (int(shape.get(key)) for key in ("left", "top", "width", "height"))
    lengths = [int(value) for value in shape.get("rle").split(",")]
    flat = np.concatenate([np.full(length, place % 2 == 1) for place, length in enumerate(lengths)])
    mask = np.zeros((height, width), bool)
    mask[top : top + rows, left : left + columns] = flat.reshape(rows, columns)
    return mask


@pytest.mark.parametrize("polygons", [False, True])
def test_cvat(label_set: Path, tmp_path: Path, polygons: bool) -> None:
    written = export_labels(label_set, tmp_path / "cvat", format="cvat", polygons=polygons)
    root = ElementTree.parse(written.path).getroot()
    assert root.findtext("version") == "1.1"
    labels = [label["name"] for label in json.loads((tmp_path / "cvat" / "labels.json").read_text())]
    assert labels == [*CLASSES, "done"] == [label.findtext("name") for label in root.iter("label")]
    images = {image.get("name"): image for image in root.iter("image")}
    assert list(images) == sorted(images)  # CVAT numbers the pictures of a task in the order of their names
    for name, objects in truth(label_set).items():
        height, width = (int(images[name].get(key)) for key in ("height", "width"))
        whole: dict[str, tuple[str, np.ndarray]] = {}
        for number, shape in enumerate(images[name]):
            if shape.tag != "tag":
                key, mask = shape.get("group_id", f"alone {number}"), read_cvat_mask(shape, height, width)
                whole[key] = (shape.get("label"), mask | whole[key][1] if key in whole else mask)
        for (label, mask), (wanted, expected) in zip(whole.values(), objects, strict=True):
            assert label == wanted and (mask == expected).all()
        assert [tag.get("label") for tag in images[name].iter("tag")] == ["done"] * (name == "sub/b é.png")


def test_datumaro_reads_cvat(label_set: Path, tmp_path: Path) -> None:
    dm = pytest.importorskip("datumaro")
    export_labels(label_set, tmp_path / "cvat", format="cvat", images_as="copy")
    data = dm.Dataset.import_from(str(tmp_path / "cvat" / "annotations.xml"), "cvat")
    labels = data.categories()[dm.AnnotationType.label]
    expected = {Path(name).with_suffix("").as_posix(): objects for name, objects in truth(label_set).items()}
    for item in data:
        found = [shape for shape in item.annotations if shape.type == dm.AnnotationType.mask]
        for shape, (label, mask) in zip(found, expected[item.id], strict=True):
            assert labels[shape.label].name == label and (shape.image.astype(bool) == mask).all()


def test_label_studio_reads_its_masks(label_set: Path, tmp_path: Path) -> None:
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    written = export_labels(label_set, tmp_path / "tasks", format="label-studio")
    for task in json.loads(written.path.read_text()):
        results = [item for item in task["predictions"][0]["result"] if item["type"] == "brushlabels"]
        for item, (label, mask) in zip(results, truth(label_set)[task["data"]["file_name"]], strict=True):
            painted = brush.decode_rle(item["value"]["rle"]).reshape(*mask.shape, 4)[..., 3] > 0
            assert item["value"]["brushlabels"] == [label] and (painted == mask).all()


def test_label_studio(label_set: Path, tmp_path: Path) -> None:
    written = export_labels(label_set, tmp_path / "tasks", format="label-studio", image_prefix="https://x/")
    config = ElementTree.parse(tmp_path / "tasks" / "labels.xml").getroot()
    assert [label.get("value") for label in config.find("BrushLabels")] == CLASSES
    tasks = json.loads(written.path.read_text())
    assert [task["data"]["image"] for task in tasks][:2] == ["https://x/a.jpg", "https://x/sub/b%20%C3%A9.png"]
    done = ["choices" in [item["type"] for item in task["predictions"][0]["result"]] for task in tasks]
    assert done == [False, True, False]


def test_voc_is_read_by_supervision(label_set: Path, tmp_path: Path) -> None:
    sv = pytest.importorskip("supervision")
    content = json.loads(label_set.read_text())
    content["categories"][1]["name"] = "Größe 数"  # the list of classes has no colons
    flat = changed(
        label_set,
        images=content["images"][:1],
        annotations=content["annotations"][:3],
        categories=content["categories"],
    )
    export_labels(flat, tmp_path / "voc", format="voc", images_as="copy")
    data = sv.DetectionDataset.from_pascal_voc(
        str(tmp_path / "voc" / "JPEGImages"), str(tmp_path / "voc" / "Annotations")
    )
    (found,) = data.annotations.values()
    expected = [[x, y, x + w, y + h] for x, y, w, h in (item["bbox"] for item in content["annotations"][:3])]
    np.testing.assert_array_equal(found.xyxy, expected)
    assert [data.classes[number] for number in found.class_id] == [CLASSES[0], "Größe 数", CLASSES[0]]


def test_pictures_of_objects_have_the_smaller_mask_on_top(label_set: Path, tmp_path: Path) -> None:
    for kind, picture in (("png", "a.png"), ("voc", "SegmentationObject/a.png")):
        content = json.loads(label_set.read_text())
        content["categories"][1]["name"] = "b"
        export_labels(changed(label_set, categories=content["categories"]), tmp_path / kind, format=kind)
        image = Image.open(tmp_path / kind / picture)
        assert image.mode == "P"
        values = np.asarray(image)
        masks = [mask for _, mask in truth(label_set)["a.jpg"]]
        order = sorted(range(3), key=lambda place: masks[place].sum(), reverse=True)
        expected = np.zeros(values.shape, np.uint8)
        for place in order:
            expected[masks[place]] = place + 1
        np.testing.assert_array_equal(values, expected)
    classes = np.asarray(Image.open(tmp_path / "voc" / "SegmentationClass" / "a.png"))
    np.testing.assert_array_equal(classes, np.array([0, 1, 2, 1])[values])
    listed = json.loads((tmp_path / "png" / "objects.json").read_text())["images"]["a.jpg"]["objects"]
    assert [(item["value"], item["class"]) for item in listed] == [(1, CLASSES[0]), (2, "b"), (3, CLASSES[0])]


def test_more_objects_than_a_byte_numbers(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(label_set.read_text())
    many = [content["annotations"][0] | {"id": number} for number in range(1, 301)]
    path = changed(label_set, annotations=many, categories=[{"id": 1, "name": "a"}, {"id": 2, "name": "b"}])
    export_labels(path, tmp_path / "png", format="png", ignore_unlabelled=True)
    values = np.asarray(Image.open(tmp_path / "png" / "a.png"))
    assert sorted(np.unique(values)) == [300, 65535]
    with pytest.raises(UnsegError, match=r'holds at most 254 objects per image, but "a\.jpg" has 300'):
        export_labels(path, tmp_path / "voc", format="voc")


def test_what_nobody_labelled_is_ignored_where_a_format_can(label_set: Path, tmp_path: Path) -> None:
    options = {"ignore_below": 0.4, "ignore_unlabelled": True}
    written = export_labels(label_set, tmp_path / "coco.json", **options)
    assert written.masks == 6
    assert written.left_out == (
        "3 masks of a score below 0.4 are regions to ignore; 2 images got a region to ignore where no mask is"
    )
    coco = COCO(str(written.path))
    for image, (name, objects) in zip(coco.imgs.values(), truth(label_set).items(), strict=True):
        crowds = [coco.annToMask(item).astype(bool) for item in coco.loadAnns(coco.getAnnIds(image["id"], iscrowd=1))]
        covered = np.any([mask for _, mask in objects], axis=0)
        expected = [objects[0][1]] if name == "sub/b é.png" else [objects[0][1], ~covered]
        assert len(crowds) == len(expected) and all((a == b).all() for a, b in zip(crowds, expected))
    export_labels(label_set, tmp_path / "png", format="png", **options)
    values = np.asarray(Image.open(tmp_path / "png" / "a.png"))
    (_, low), (_, second), (_, third) = truth(label_set)["a.jpg"]
    np.testing.assert_array_equal(values == 255, (low | ~(second | third)) & ~(second | third))


@pytest.mark.parametrize("name", [name for name, kind in FORMATS.items() if not kind.ignored and name != "youtube-vis"])
def test_regions_to_ignore_are_counted_where_a_format_has_none(label_set: Path, tmp_path: Path, name: str) -> None:
    content = json.loads(label_set.read_text())
    content["annotations"][0]["iscrowd"] = 1
    written = export_labels(changed(label_set, annotations=content["annotations"]), tmp_path / "out", format=name)
    assert written.masks == 8 and written.left_out.startswith("1 regions to ignore were left out")
    with pytest.raises(UnsegError, match="has no regions to ignore"):
        export_labels(label_set, tmp_path / "out", format=name, ignore_below=0.4)


def test_predictions_with_the_data_set_that_they_are_for(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(label_set.read_text())
    results = [
        {key: item[key] for key in ("image_id", "category_id", "segmentation", "score")}
        for item in content["annotations"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    with pytest.raises(UnsegError, match=r"name the data set \(--gt\)"):
        export_labels(tmp_path / "results.json", tmp_path / "out.json")
    written = export_labels(tmp_path / "results.json", tmp_path / "out" / "labels.json", ground_truth=label_set)
    coco = COCO(str(written.path))
    assert len(coco.anns) == 9 and {item["name"] for item in coco.cats.values()} == set(CLASSES)
    assert [item["score"] for item in coco.anns.values()] == [item["score"] for item in content["annotations"]]


def test_fiftyone_has_pictures_beside_labels(label_set: Path, tmp_path: Path) -> None:
    written = export_labels(label_set, tmp_path / "fo", format="fiftyone")
    content = json.loads((written.path / "labels.json").read_text())
    assert all((written.path / "data" / image["file_name"]).is_file() for image in content["images"])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("yollo", {}, "There is no format yollo. Did you mean 'yolo'"),
        ("yolo", {"images_as": "reference"}, "needs the pictures beside the labels"),
        ("yolo", {"polygons": True}, "--polygons has no effect on yolo"),
        ("coco", {"image_prefix": "x"}, "--image-prefix has no effect on coco"),
        ("coco", {"images_as": "move"}, "but not as move"),
        ("voc", {}, "cannot hold"),
    ],
)
def test_what_has_no_effect_or_cannot_be_held_is_refused(
    label_set: Path, tmp_path: Path, name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UnsegError, match=message):
        export_labels(label_set, tmp_path / "out", format=name, **options)


@pytest.mark.parametrize("name", ["yolo", "label-studio", "cvat", "voc"])
@pytest.mark.parametrize(
    ("names", "message"), [(["a", "a"], 'are both called "a"'), (["a", "two\nlines"], "cannot hold the class name")]
)
def test_class_names_that_a_format_cannot_hold(
    label_set: Path, tmp_path: Path, name: str, names: list[str], message: str
) -> None:
    categories = [{"id": number, "name": text} for number, text in enumerate(names, 1)]
    with pytest.raises(UnsegError, match=message):
        export_labels(changed(label_set, categories=categories), tmp_path / "out", format=name)


def test_pictures_that_would_share_a_file_and_boxes_without_masks(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(label_set.read_text())
    shutil.copy(label_set.parent / "photos" / "c,'d' & <e>.jpg", label_set.parent / "photos" / "a.png")
    content["images"][2]["file_name"] = "a.png"
    with pytest.raises(UnsegError, match=r'"a\.jpg" and "a\.png" would share one file in YOLO'):
        export_labels(changed(label_set, images=content["images"]), tmp_path / "out", format="yolo")
    content = json.loads(label_set.read_text())
    del content["annotations"][0]["segmentation"]
    boxed = changed(label_set, annotations=content["annotations"])
    with pytest.raises(UnsegError, match="1 annotations are boxes without masks"):
        export_labels(boxed, tmp_path / "out", format="yolo")
    root = ElementTree.parse(export_labels(boxed, tmp_path / "cvat", format="cvat").path).getroot()
    (box,) = root.iter("box")
    left, top, width, height = content["annotations"][0]["bbox"]
    assert [float(box.get(key)) for key in ("xtl", "ytl", "xbr", "ybr")] == [left, top, left + width, top + height]


def test_an_unfinished_label_set_and_missing_pictures(label_set: Path, tmp_path: Path) -> None:
    (label_set.parent / "photos" / "a.jpg").unlink()
    with pytest.raises(UnsegError, match=r"1 of the 3 images are not in .*photos; the first is a\.jpg"):
        export_labels(label_set, tmp_path / "out", format="yolo")
    assert export_labels(label_set, tmp_path / "cvat", format="cvat").masks == 9  # needs no pictures


@pytest.mark.parametrize(("kind", "output"), [("coco", ""), ("coco", "labels.json"), ("cvat", ""), ("fiftyone", "")])
def test_what_is_exported_is_not_overwritten(label_set: Path, kind: str, output: str) -> None:
    before = label_set.read_bytes()
    with pytest.raises(UnsegError, match=r"labels\.json is what is read, and would be overwritten"):
        export_labels(label_set, label_set.parent / output, format=kind)
    assert label_set.read_bytes() == before


def test_pictures_are_not_overwritten_by_masks_of_their_names(label_set: Path) -> None:
    photos = label_set.parent / "photos"
    with pytest.raises(UnsegError, match="photos is what is read, and would be overwritten"):
        export_labels(label_set, photos, format="png")
    with pytest.raises(UnsegError, match="--ignore-below is nan"):
        export_labels(label_set, label_set.parent / "out", ignore_below=float("nan"))

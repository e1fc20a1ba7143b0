"""Corrections from every tool, into a label set: a person's masks, and nothing lost of the rest."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.data.coco import read_coco
from unseg_d2.data.label_studio import DONE, encode_brush
from unseg_d2.errors import UnsegError
from unseg_d2.exchange.export import export_labels
from unseg_d2.exchange.import_ import import_corrections
from unseg_d2.rle import encode_mask

CLASSES = ["cat, \"big\" <b>&'x'", "Größe: 数"]
SQUARE = np.zeros((44, 60), bool)
SQUARE[10:20, 5:25] = True
NAME = "a.jpg"


def without_done(path: Path) -> Path:
    """The label set, with no image done."""
    content = json.loads(path.read_text())
    for image in content["images"]:
        image.pop("done", None)
    path.write_text(json.dumps(content))
    return path


def label_studio(labels: Path, folder: Path, edit: Callable[[list[dict]], None], done: bool = False) -> Path:
    """What Label Studio would export after a person changed the masks of the first image and submitted all tasks."""
    tasks = json.loads(export_labels(labels, folder / "tasks", format="label-studio").path.read_text())
    for task in tasks:
        result = task.pop("predictions")[0]["result"]
        task["annotations"] = [{"result": result, "was_cancelled": False, "updated_at": "2026-01-01"}]
    result = tasks[0]["annotations"][0]["result"]
    edit(result)
    if done:
        result.append({"type": "choices", "from_name": "done", "to_name": "image", "value": {"choices": [DONE]}})
    (folder / "project.json").write_text(json.dumps(tasks))
    return folder / "project.json"


def painted(label: str = CLASSES[1]) -> dict[str, Any]:
    value = {"format": "rle", "rle": encode_brush(SQUARE), "brushlabels": [label]}
    return {"type": "brushlabels", "original_width": 60, "original_height": 44, "value": value}


def cvat(labels: Path, folder: Path, polygons: bool, done: bool = False, zipped: bool = False) -> Path:
    """The first mask of the first image is gone, and a square of the second class is new."""
    path = export_labels(labels, folder / "cvat", format="cvat", polygons=polygons).path
    tree = ElementTree.parse(path)
    image = next(image for image in tree.getroot().iter("image") if image.get("name") == NAME)
    first = image[0].get("group_id", "0")
    for shape in [item for item in image if item is image[0] or item.get("group_id", "0") == first != "0"]:
        image.remove(shape)
    corners = "5.25,10.25;24.75,10.25;24.75,19.75;5.25,19.75"
    ElementTree.SubElement(image, "polygon", {"label": CLASSES[1], "points": corners, "source": "manual"})
    if done:
        ElementTree.SubElement(image, "tag", {"label": "done"})
    tree.write(path, encoding="utf-8")
    if zipped:
        with zipfile.ZipFile(folder / "task.zip", "w") as archive:
            archive.write(path, "annotations.xml")
        return folder / "task.zip"
    return path


def coco(labels: Path, folder: Path, done: bool = False) -> Path:
    content = json.loads(export_labels(labels, folder / "out" / "labels.json").path.read_text())
    polygon = [5.25, 10.25, 24.75, 10.25, 24.75, 19.75, 5.25, 19.75]
    new = {"id": 99, "image_id": 1, "category_id": 2, "segmentation": [polygon], "bbox": [5, 10, 20, 10], "iscrowd": 0}
    content["annotations"] = [*content["annotations"][1:], new]
    if done:
        content["images"][0]["done"] = True
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def corrections(kind: str, labels: Path, folder: Path, done: bool = False) -> Path:
    """The first mask of the first image is gone, and a square of the second class is new."""
    if kind == "label studio":
        return label_studio(labels, folder, lambda result: result.__setitem__(0, painted()), done)
    if kind == "coco":
        return coco(labels, folder, done)
    return cvat(labels, folder, kind == "cvat polygons", done, zipped=kind == "cvat zip")


KINDS = ["label studio", "coco", "cvat", "cvat polygons", "cvat zip"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_person_drew_has_score_1_and_the_rest_stays(label_set: Path, tmp_path: Path, kind: str) -> None:
    labels = without_done(label_set)
    before = json.loads(labels.read_text())
    report = import_corrections(corrections(kind, labels, tmp_path), labels=labels, output=tmp_path / "new" / "a.json")
    assert (report.images, report.unchanged, report.new, report.removed) == (1, 2, 1, 1)
    assert (report.done, report.approved, report.left_out) == (0, 0, {})
    after = read_coco(tmp_path / "new" / "a.json")
    by_id = {item["id"]: item for item in after.annotations}
    assert all(by_id[item["id"]] == item for item in before["annotations"][1:])
    (new,) = (item for item in after.annotations if item["id"] not in range(2, 10))
    assert (mask_utils.decode(new["segmentation"]) == SQUARE).all()
    assert (new["score"], new["corrected"], new["category_id"], new["image_id"]) == (1.0, True, 2, 1)
    assert new["bbox"] == [5, 10, 20, 10] and new["area"] == 200 and "confidence" not in new
    assert not any("done" in image for image in after.images)
    assert (tmp_path / "new" / after.info["image_root"] / NAME).is_file()
    assert after.info["corrections"][0] | {"file": ""} == {
        "file": "", "images": 1, "new": 1, "approved": 0, "removed": 1, "done": 0
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_all_masks_of_an_image_that_is_done_are_the_persons(label_set: Path, tmp_path: Path, kind: str) -> None:
    labels = without_done(label_set)
    path = corrections(kind, labels, tmp_path, done=True)
    report = import_corrections(path, labels=labels, output=tmp_path / "a.json")
    assert (report.images, report.done, report.new, report.approved, report.removed) == (1, 1, 1, 2, 1)
    after = read_coco(tmp_path / "a.json")
    assert [image.get("done") for image in after.images] == [True, None, None]
    assert all(
        (item.get("corrected"), item["score"] == 1) == ((True, True) if item["image_id"] == 1 else (None, False))
        for item in after.annotations
    )
    again = import_corrections(path, labels=tmp_path / "a.json", output=tmp_path / "b.json")
    assert (again.images, again.unchanged) == (0, 3)
    assert read_coco(tmp_path / "b.json").annotations == after.annotations


def test_a_flag_says_that_all_images_that_come_back_are_done(label_set: Path, tmp_path: Path) -> None:
    labels = without_done(label_set)
    report = import_corrections(coco(labels, tmp_path), labels=labels, output=tmp_path / "a.json", all_done=True)
    assert (report.done, report.approved) == (3, 8)


@pytest.mark.parametrize("kind", ["label studio", "cvat"])
def test_an_image_may_be_done_no_longer(label_set: Path, tmp_path: Path, kind: str) -> None:
    """The second image is done when it is exported; the person takes that back."""
    path = corrections(kind, label_set, tmp_path)
    if kind == "cvat":
        tree = ElementTree.parse(path)
        for image in tree.getroot().iter("image"):
            for tag in image.findall("tag"):
                image.remove(tag)
        tree.write(path)
    else:
        tasks = json.loads(path.read_text())
        tasks[1]["annotations"][0]["result"] = tasks[1]["annotations"][0]["result"][:3]
        path.write_text(json.dumps(tasks))
    report = import_corrections(path, labels=label_set, output=tmp_path / "a.json")
    assert report.undone == 1 and "1 images are no longer done." in report.lines()
    assert not any("done" in image for image in read_coco(tmp_path / "a.json").images)


def test_other_images_and_other_sizes_are_one_line_each(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(coco(label_set, tmp_path).read_text())
    content["images"][1]["file_name"], content["images"][2]["width"] = "elsewhere.jpg", 61
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 3]
    (tmp_path / "coco.json").write_text(json.dumps(content))
    before = read_coco(label_set)
    report = import_corrections(tmp_path / "coco.json", labels=label_set, output=tmp_path / "a.json")
    assert report.lines()[1:] == [
        '1 images that came back are not in the label set; the first is "elsewhere.jpg".',
        """1 images came back with another size; the first is "c,'d' & <e>.jpg" (61x52 instead of 60x52 pixels).""",
    ]
    after = read_coco(tmp_path / "a.json")
    assert [item for item in after.annotations if item["image_id"] > 1] == before.annotations[3:]
    content["images"] = content["images"][1:2]
    content["annotations"] = []
    (tmp_path / "coco.json").write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"Nothing in .* can be used for .*, so nothing was written"):
        import_corrections(tmp_path / "coco.json", labels=label_set, output=tmp_path / "b.json")
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize(
    ("address", "found"),
    [
        ("/data/local-files/?d=photos/sub/b%20%C3%A9.png", 1),
        ("/data/upload/3/0a1b2c3d-a.jpg", 0),
        ("https://host/bucket/photos/a.jpg?token=1", 0),
        ("s3://bucket/other.jpg", None),
    ],
)
def test_names_of_label_studio(label_set: Path, tmp_path: Path, address: str, found: int | None) -> None:
    labels = without_done(label_set)
    result = painted()
    result |= {"original_height": 44 + 4 * (found or 0)}
    result["value"]["rle"] = encode_brush(np.pad(SQUARE, ((0, 4 * (found or 0)), (0, 0))))
    tasks = [{"data": {"image": address}, "annotations": [{"result": [result]}]}]
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    if found is None:
        with pytest.raises(UnsegError, match=r"not in the label set; the first is .*other\.jpg"):
            import_corrections(tmp_path / "project.json", labels=labels, output=tmp_path / "a.json")
        return
    import_corrections(tmp_path / "project.json", labels=labels, output=tmp_path / "a.json")
    after = read_coco(tmp_path / "a.json").annotations
    assert [item["image_id"] for item in after if item.get("corrected")] == [found + 1] and len(after) == 7


def test_the_annotation_of_a_task_that_counts(label_set: Path, tmp_path: Path) -> None:
    """The ground truth before the last one; what was skipped does not count, nor does a task that nobody did."""
    labels = without_done(label_set)
    old, new = painted(CLASSES[0]), painted(CLASSES[1])
    annotations = [
        {"result": [old], "updated_at": "2026-01-02"},
        {"result": [new], "updated_at": "2026-01-01", "ground_truth": True},
        {"result": [], "updated_at": "2026-01-03", "was_cancelled": True},
    ]
    tasks = [{"data": {"image": "a.jpg"}, "annotations": annotations}]
    tasks.append({"data": {"image": "sub/b é.png"}, "annotations": annotations[2:]})
    (tmp_path / "project.json").write_text(json.dumps(tasks))
    report = import_corrections(tmp_path / "project.json", labels=labels, output=tmp_path / "a.json")
    after = read_coco(tmp_path / "a.json").annotations
    assert [item["category_id"] for item in after if item["image_id"] == 1] == [2] and len(after) == 7
    assert {what: number for what, (number, _) in report.left_out.items()} == {
        "tasks have several annotations, of which the last or the ground truth counts": 1,
        "tasks that nobody submitted were left out": 1,
    }


def test_a_new_class_becomes_a_category(label_set: Path, tmp_path: Path) -> None:
    labels = without_done(label_set)
    path = label_studio(labels, tmp_path, lambda result: result.append(painted("dog")))
    import_corrections(path, labels=labels, output=tmp_path / "a.json")
    after = read_coco(tmp_path / "a.json")
    assert [category["name"] for category in after.categories] == [*CLASSES, "dog"]
    assert after.annotations[3]["category_id"] == 3


def test_a_class_that_changed_is_a_correction(label_set: Path, tmp_path: Path) -> None:
    labels = without_done(label_set)
    path = label_studio(labels, tmp_path, lambda result: result[0]["value"].update(brushlabels=[CLASSES[1]]))
    report = import_corrections(path, labels=labels, output=tmp_path / "a.json")
    assert (report.new, report.removed) == (1, 1)


def test_a_damaged_mask_changes_nothing_in_its_image(label_set: Path, tmp_path: Path) -> None:
    labels = without_done(label_set)
    path = cvat(labels, tmp_path, polygons=True)
    tree = ElementTree.parse(path)
    image = next(image for image in tree.getroot().iter("image") if image.get("name") == NAME)
    image[-1].set("points", "5,5;6,6")
    tree.write(path)
    with pytest.raises(UnsegError, match=r'the image "a\.jpg" is damaged: a polygon needs at least three points'):
        import_corrections(path, labels=labels, output=tmp_path / "a.json")
    project = label_studio(labels, tmp_path, lambda result: result[0]["value"].update(rle=[1, 2, 3]))
    with pytest.raises(UnsegError, match=r"task 1 is damaged \(its run lengths are not bytes\)"):
        import_corrections(project, labels=labels, output=tmp_path / "a.json")
    polygon = {"points": [[0, 0], [9, 9]], "polygonlabels": [CLASSES[0]]}
    item = {"type": "polygonlabels", "original_width": 60, "original_height": 44, "value": polygon}
    project = label_studio(labels, tmp_path, lambda result: result.append(item))
    report = import_corrections(project, labels=labels, output=tmp_path / "a.json")
    assert list(report.left_out) == ["images came back with a damaged mask"]
    assert read_coco(tmp_path / "a.json").annotations == read_coco(labels).annotations


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "[1, 2]", "is neither an export of Label Studio"),
        ("a.json", "{}", "is neither an export of Label Studio"),
        ("a.json", '[{"image": "a.jpg", "mask": []}]', "is neither an export of Label Studio"),
        ("a.xml", "<annotations><image", "is no XML"),
        ("a.xml", "<annotations/>", "holds no images"),
        ("a.xml", "<annotations><track id='0'/></annotations>", "holds tracks of a video"),
        ("missing.json", None, "There is no file"),
    ],
)
def test_what_is_no_correction_is_refused(
    label_set: Path, tmp_path: Path, name: str, content: str | None, message: str
) -> None:
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UnsegError, match=message):
        import_corrections(tmp_path / name, labels=label_set, output=tmp_path / "out.json")


RECTANGLE = {"x": 10, "y": 10, "width": 50, "height": 50}


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({"x": float("inf")}, "a box holds what is no finite number"),
        ({"height": float("nan")}, "a box holds what is no finite number"),
        ({"width": -50}, "a box of -30x22 pixels at 6, 4.4 covers nothing of the image"),
        ({"y": 100}, "a box of 30x22 pixels at 6, 44 covers nothing of the image"),
        ({"rectanglelabels": [7]}, "its class is 7, which is no text"),
        ({"rectanglelabels": [{"a": 1}]}, 'its class is {"a": 1}, which is no text'),
    ],
)
def test_a_damaged_box_changes_nothing_in_its_image(
    label_set: Path, tmp_path: Path, value: dict[str, Any], reason: str
) -> None:
    labels = without_done(label_set)
    value = {**RECTANGLE, "rectanglelabels": [CLASSES[0]], **value}
    item = {"type": "rectanglelabels", "original_width": 60, "original_height": 44, "value": value}
    report = import_corrections(
        label_studio(labels, tmp_path, lambda result: result.append(item)), labels=labels, output=tmp_path / "a.json"
    )
    assert report.left_out == {"images came back with a damaged mask": (1, f'"a.jpg" ({reason})')}
    assert read_coco(tmp_path / "a.json").annotations == read_coco(labels).annotations


@pytest.mark.parametrize(
    ("size", "mask", "reason"),
    [
        ((10**9, 10**9), {"left": "0"}, "it is said to have 1000000000x1000000000 pixels"),
        ((-60, -44), {"left": "0"}, "it is said to have -60x-44 pixels"),
        ((60, 44), {"left": "inf"}, "cannot convert float infinity to integer"),
    ],
)
def test_sizes_that_no_image_has_take_no_memory(
    label_set: Path, tmp_path: Path, size: tuple[int, int], mask: dict[str, str], reason: str
) -> None:
    image = ElementTree.Element("image", {"name": NAME, "width": str(size[0]), "height": str(size[1])})
    ElementTree.SubElement(image, "mask", {"top": "0", "width": "2", "height": "2", "rle": "1,3", **mask})
    root = ElementTree.Element("annotations")
    root.append(image)
    ElementTree.ElementTree(root).write(tmp_path / "a.xml")
    with pytest.raises(UnsegError, match=f'the image "a.jpg" is damaged: {reason}'):
        import_corrections(tmp_path / "a.xml", labels=label_set, output=tmp_path / "out.json")


def test_entities_that_multiply_are_not_unfolded(label_set: Path, tmp_path: Path) -> None:
    entities = '<!ENTITY e0 "xxxxxxxxxx">' + "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    (tmp_path / "a.xml").write_text(f"<!DOCTYPE a [{entities}]><annotations><image name='&e9;'/></annotations>")
    with pytest.raises(UnsegError):
        import_corrections(tmp_path / "a.xml", labels=label_set, output=tmp_path / "out.json")


def test_boxes_that_come_back_keep_their_masks(label_set: Path, tmp_path: Path) -> None:
    """A tool that has boxes only must not cost the masks; a box that was moved is a box."""
    labels = without_done(label_set)
    content = json.loads(labels.read_text())
    for item in content["annotations"]:
        del item["segmentation"]
    content["annotations"][0]["bbox"] = [1, 1, 20, 20]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    report = import_corrections(tmp_path / "boxes.json", labels=labels, output=tmp_path / "a.json")
    after = read_coco(tmp_path / "a.json").annotations
    assert [item for item in after if "segmentation" in item] == read_coco(labels).annotations[1:]
    (box,) = (item for item in after if "segmentation" not in item)
    assert box["bbox"] == [1, 1, 20, 20] and box["corrected"]
    assert list(report.left_out) == ["boxes without masks came back, which a detector with masks is not trained on"]


def test_what_was_exported_before_the_last_corrections_does_not_undo_them(label_set: Path, tmp_path: Path) -> None:
    """Two tools get the same masks; the second knows nothing of what was corrected in the first."""
    labels = without_done(label_set)
    first = label_studio(labels, tmp_path, lambda result: result.__setitem__(0, painted(CLASSES[0])), done=True)
    second = cvat(labels, tmp_path, polygons=False)
    tree = ElementTree.parse(second)
    other = next(image for image in tree.getroot().iter("image") if image.get("name") != NAME)
    other.remove(other[0])
    tree.write(second)
    import_corrections(first, labels=labels, output=tmp_path / "a.json")
    report = import_corrections(second, labels=tmp_path / "a.json", output=tmp_path / "b.json")
    assert (report.images, report.removed, report.new, report.undone) == (1, 1, 0, 0)
    ((what, (number, example)),) = report.left_out.items()
    assert (number, example) == (1, '"a.jpg"') and what.startswith("images came back without masks that a person drew")
    before, after = read_coco(tmp_path / "a.json"), read_coco(tmp_path / "b.json")
    assert [item for item in after.annotations if item["image_id"] == 1] == [
        item for item in before.annotations if item["image_id"] == 1
    ]
    assert after.images == before.images
    report = import_corrections(second, labels=tmp_path / "a.json", output=tmp_path / "c.json", overwrite=True)
    assert (report.images, report.undone, report.left_out) == (2, 1, {})


def test_an_empty_image_that_is_done_stays_empty(label_set: Path, tmp_path: Path) -> None:
    """The second image is done and has no masks; an older file still has them, and knows nothing of it."""
    content = json.loads(label_set.read_text())
    images = [{key: value for key, value in image.items() if key != "done"} for image in content["images"]]
    (tmp_path / "old.json").write_text(json.dumps(content | {"images": images}))
    content["annotations"] = [item for item in content["annotations"] if item["image_id"] != 2]
    label_set.write_text(json.dumps(content))
    report = import_corrections(tmp_path / "old.json", labels=label_set, output=tmp_path / "a.json", overwrite=False)
    assert (report.unchanged, report.images, len(report.left_out)) == (2, 0, 1)
    after = read_coco(tmp_path / "a.json")
    assert after.images[1]["done"] and not [item for item in after.annotations if item["image_id"] == 2]


def test_the_label_set_says_that_a_person_was_asked(label_set: Path, tmp_path: Path) -> None:
    content = json.loads(without_done(label_set).read_text())
    content["info"]["supervision"] = {"none": ""}
    label_set.write_text(json.dumps(content))
    import_corrections(coco(label_set, tmp_path), labels=label_set, output=tmp_path / "a.json")
    assert list(read_coco(tmp_path / "a.json").info["supervision"]) == ["human-masks"]


def changed_copy(labels: Path, folder: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    content = json.loads(labels.read_text())
    change(content)
    (folder / "coco.json").write_text(json.dumps(content))
    return folder / "coco.json"


def test_masks_that_come_back_as_regions_to_ignore_stay(label_set: Path, tmp_path: Path) -> None:
    """As `export --ignore-below` writes them; and some tools mark every mask so that is no polygon."""
    labels = without_done(label_set)
    exported = export_labels(labels, tmp_path / "out" / "labels.json", ignore_below=0.4).path
    report = import_corrections(exported, labels=labels, output=tmp_path / "a.json")
    assert (report.unchanged, report.removed, report.left_out) == (3, 0, {})
    after = sorted(read_coco(tmp_path / "a.json").annotations, key=lambda item: item["id"])
    assert after == read_coco(labels).annotations

    def mark(content: dict[str, Any]) -> None:
        new = content["annotations"][0] | {"id": 99, "bbox": [5, 10, 20, 10], "segmentation": encode_mask(SQUARE)}
        content["annotations"] = [item | {"iscrowd": 1} for item in [*content["annotations"], new]]

    report = import_corrections(changed_copy(labels, tmp_path, mark), labels=labels, output=tmp_path / "a.json")
    assert (report.unchanged, report.new, report.removed) == (3, 0, 0)
    assert report.left_out == {"regions to ignore (iscrowd 1) came back and are no masks": (1, 'in "a.jpg"')}


def test_a_file_without_classes_changes_none(label_set: Path, tmp_path: Path) -> None:
    def strip(content: dict[str, Any]) -> None:
        del content["categories"]
        content["annotations"] = [item | {"category_id": None} for item in content["annotations"][1:]]

    labels = without_done(label_set)
    report = import_corrections(changed_copy(labels, tmp_path, strip), labels=labels, output=tmp_path / "a.json")
    assert (report.new, report.removed, report.unchanged) == (0, 1, 2)
    after = read_coco(tmp_path / "a.json")
    assert [item["category_id"] for item in after.annotations] == [2, 1] + [1, 2, 1] * 2
    assert [category["name"] for category in after.categories] == CLASSES


def test_the_corrections_are_not_overwritten(label_set: Path, tmp_path: Path) -> None:
    corrections = changed_copy(without_done(label_set), tmp_path, lambda content: None)
    with pytest.raises(UnsegError, match=r"coco\.json is what is read"):
        import_corrections(corrections, labels=label_set, output=corrections)
    assert import_corrections(corrections, labels=label_set, output=label_set).unchanged == 3

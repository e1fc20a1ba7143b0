from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unseg_d2.data.results import read_results
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import read_label_set, write_label_set
from unseg_d2.pseudo.merge import merge, merge_files
from unseg_d2.pseudo.tally import Tally
from unseg_d2.rle import encode_mask

HEIGHT, WIDTH = 40, 50


def annotation(image: int, columns: slice, score: float | None = None, *, height: int = HEIGHT) -> dict[str, Any]:
    """A mask of whole columns."""
    mask = np.zeros((height, WIDTH), bool)
    mask[:, columns] = True
    item = {"image_id": image, "segmentation": encode_mask(mask)}
    return item if score is None else item | {"score": score}


def columns(annotations: list[dict[str, Any]]) -> list[tuple[int, int, int]]:
    """Image, first column and number of columns of each annotation."""
    return [(a["image_id"], int(a["bbox"][0]), int(a["bbox"][2])) for a in annotations]


def test_previous_masks_survive_where_no_detection_covers_them() -> None:
    """IoU of 20 columns with 10 of them is exactly 0.5, which is covered; with 9 it is less."""
    previous = [annotation(1, slice(0, 20)), annotation(1, slice(30, 50))]
    predictions = [annotation(1, slice(0, 10), 0.9), annotation(1, slice(30, 39), 0.8)]
    merged = merge(previous, predictions, score_threshold=0.7, match_iou=0.5)
    assert columns(merged.annotations) == [(1, 0, 10), (1, 30, 9), (1, 30, 20)]
    assert (merged.kept_predictions, merged.kept_previous, merged.mismatched) == (2, 1, [])


def test_detections_below_the_score_cover_nothing() -> None:
    previous = [annotation(1, slice(0, 20))]
    predictions = [annotation(1, slice(0, 20), 0.69), annotation(2, slice(0, 5), 0.7)]
    merged = merge(previous, predictions, score_threshold=0.7, match_iou=0.5)
    assert columns(merged.annotations) == [(1, 0, 20), (2, 0, 5)]
    assert [item["id"] for item in merged.annotations] == [1, 2]
    assert "score" not in merged.annotations[0] and merged.annotations[1]["score"] == 0.7


def test_detections_of_another_size_are_reported_and_previous_masks_kept() -> None:
    previous = [annotation(1, slice(0, 20)), annotation(2, slice(0, 20))]
    predictions = [annotation(1, slice(30, 40), 0.9, height=44), annotation(2, slice(30, 40), 0.9)]
    merged = merge(previous, predictions, score_threshold=0.7, match_iou=0.5)
    assert merged.mismatched == [1]
    assert columns(merged.annotations) == [(1, 0, 20), (2, 30, 10), (2, 0, 20)]


def test_area_is_that_of_the_mask_unless_the_published_one_is_wanted() -> None:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:10, :10] = mask[20:30, 20:30] = True
    (found,) = merge(
        [], [{"image_id": 1, "segmentation": encode_mask(mask), "score": 1}], score_threshold=0, match_iou=0.5
    ).annotations
    assert found["area"] == 200 and found["bbox"] == [0, 0, 30, 30] and "width" not in found
    (published,) = merge([found], [], score_threshold=0, match_iou=0.5, parity=True).annotations
    assert published["area"] == 900 and (published["width"], published["height"]) == (HEIGHT, WIDTH)


def test_crowd_regions_stay_what_they_are_until_an_object_is_found_there() -> None:
    previous = [annotation(1, slice(0, 20)) | {"iscrowd": 1}, annotation(1, slice(30, 50)) | {"iscrowd": 1}]
    found = [annotation(1, slice(30, 50), 0.9)]
    merged = merge(previous, found, score_threshold=0.7, match_iou=0.5).annotations
    assert columns(merged) == [(1, 30, 20), (1, 0, 20)] and [item["iscrowd"] for item in merged] == [0, 1]
    published = merge(previous, found, score_threshold=0.7, match_iou=0.5, parity=True).annotations
    assert [item["iscrowd"] for item in published] == [0, 0]


def test_unfit_annotations() -> None:
    with pytest.raises(ValueError, match="image 3 has no score"):
        merge([], [annotation(3, slice(0, 5))], score_threshold=0, match_iou=0.5)
    with pytest.raises(ValueError, match="image 3 has no RLE"):
        merge([{"image_id": 3, "bbox": [0, 0, 1, 1]}], [], score_threshold=0, match_iou=0.5)


def test_masks_that_a_person_has_drawn_win() -> None:
    """IoU of 20 columns with 10 of them is exactly 0.5: the same object; with 9 it is less: another one."""
    previous = [annotation(1, slice(0, 20)) | {"corrected": True}, annotation(1, slice(30, 50))]
    over = [annotation(1, slice(0, 10), 0.9), annotation(1, slice(0, 9), 0.9), annotation(1, slice(30, 50), 0.9)]
    merged = merge(previous, over, score_threshold=0.7, match_iou=0.5)
    assert columns(merged.annotations) == [(1, 0, 9), (1, 30, 20), (1, 0, 20)]
    assert (merged.kept_predictions, merged.kept_previous, merged.yielded) == (2, 1, 1)
    assert [item.get("corrected") for item in merged.annotations] == [None, None, True]
    again = merge(merged.annotations, over, score_threshold=0.7, match_iou=0.5)
    assert columns(again.annotations)[-1] == (1, 0, 20) and again.annotations[-1]["corrected"]


def test_nothing_is_added_to_an_image_that_is_done() -> None:
    previous = [annotation(1, slice(0, 20)), annotation(2, slice(0, 20))]
    over = [annotation(key, slice(0, 20), 0.9) for key in (1, 2, 3)] + [annotation(1, slice(30, 40), 0.9, height=44)]
    merged = merge(previous, over, score_threshold=0.7, match_iou=0.5, done={1, 3})
    assert columns(merged.annotations) == [(1, 0, 20), (2, 0, 20)] and "score" not in merged.annotations[0]
    assert merged.yielded == 3 and merged.mismatched == []


@pytest.mark.parametrize("threshold", [0.7, 0.65])
def test_published_merges_are_reproduced(golden: Path, threshold: float) -> None:
    folder = golden / "detector" / "selftrain"
    read = {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}
    previous = [item | {"origin": f"prev{item['id']}"} for item in read["previous"]["annotations"]]
    predictions = [item | {"origin": f"pred{item['id']}"} for item in read["predictions"]]
    merged = merge(previous, predictions, score_threshold=threshold, match_iou=0.5, parity=True)
    assert merged.annotations == read[f"merged_thr{threshold}"]["annotations"]
    assert merged.mismatched == [6]


@pytest.fixture()
def label_set(tmp_path: Path) -> Path:
    images = [{"id": key, "file_name": f"{key}.png", "height": HEIGHT, "width": WIDTH} for key in (1, 2)]
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "1.png").touch()
    write_label_set(tmp_path / "labels.json", {"description": "by hand"}, images, [annotation(1, slice(0, 20))])
    return tmp_path / "labels.json"


def test_merged_files_are_label_sets_that_say_how_they_were_made(label_set: Path, tmp_path: Path) -> None:
    (tmp_path / "predictions.json").write_text(json.dumps([annotation(2, slice(0, 9), 0.9)]))
    path = tmp_path / "next" / "labels.json"
    merge_files(label_set, tmp_path / "predictions.json", path, score_threshold=0.7, match_iou=0.5)
    merge_files(path, tmp_path / "predictions.json", path, score_threshold=0.65, match_iou=0.5)
    dataset = read_label_set(path)
    assert len(dataset.images) == 2 and columns(dataset.annotations) == [(1, 0, 20), (2, 0, 9)]
    assert dataset.info["description"] == "by hand" and dataset.info["image_root"] == "../images"
    assert [record["score_threshold"] for record in dataset.info["rounds"]] == [0.7, 0.65]
    first = {"score_threshold": 0.7, "match_iou": 0.5, "kept_predictions": 1, "kept_previous": 1}
    assert dataset.info["rounds"][0] == first | {"mismatched_images": []}


def test_what_a_person_has_done_outlives_the_rounds(
    label_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Image 1 has a corrected mask, image 2 is done and empty; after two merges both still are."""
    content = json.loads(label_set.read_text())
    content["annotations"][0]["corrected"] = content["images"][1]["done"] = True
    label_set.write_text(json.dumps(content))
    found = [annotation(1, slice(0, 15), 0.9), annotation(1, slice(30, 40), 0.9), annotation(2, slice(0, 9), 0.9)]
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    with caplog.at_level("INFO"):
        for _ in range(2):
            merge_files(label_set, tmp_path / "predictions.json", label_set, score_threshold=0.7, match_iou=0.5)
    merged = read_label_set(label_set)
    assert columns(merged.annotations) == [(1, 30, 10), (1, 0, 20)] and merged.annotations[1]["corrected"] is True
    assert [image.get("done") for image in merged.images] == [None, True]
    assert [record["yielded_to_corrections"] for record in merged.info["rounds"]] == [2, 2]
    assert "2 detections yield to masks that a person has drawn" in caplog.text
    assert "human-masks" in merged.info["supervision"]


@pytest.mark.parametrize("seed", range(3))
def test_files_are_merged_as_what_is_in_memory(tmp_path: Path, seed: int) -> None:
    """Masks and detections in no order of images, images without either, detections of images without masks."""
    rng = np.random.default_rng(seed)
    keys = [3, "b", 12, 7, 1, 5, 9, 4]
    images = [{"id": key, "file_name": f"{key}.png", "height": HEIGHT, "width": WIDTH} for key in keys]
    images[2]["done"] = images[4]["done"] = True
    (tmp_path / "3.png").touch()
    previous, found = [], []
    for _ in range(30):
        first = int(rng.integers(0, 40))
        stripe = slice(first, first + int(rng.integers(2, 10)))
        previous.append(annotation(keys[rng.integers(6)], stripe) | ({"corrected": True} if rng.random() < 0.2 else {}))
        moved = slice(max(first - int(rng.integers(0, 2)), 0), stripe.stop)
        found.append(annotation(keys[rng.integers(1, 8)], moved, round(float(rng.random()), 1)))
    found.append(annotation(7, slice(0, 9), 0.9, height=44))
    labels, predictions, output = (tmp_path / name for name in ("labels.json", "found.json", "next.json"))
    write_label_set(labels, {}, images, [previous[place] for place in rng.permutation(30)])
    predictions.write_text(json.dumps(found))
    merge_files(labels, predictions, output, score_threshold=0.5, match_iou=0.5)

    known = read_label_set(labels)
    whole = merge(known.annotations, read_results(predictions), score_threshold=0.5, match_iou=0.5, done={12, 1})
    info = json.loads(output.read_text())["info"]
    (record,) = info["rounds"]
    assert record["mismatched_images"] == whole.mismatched == [7]
    numbers = [record[name] for name in ("kept_predictions", "kept_previous", "yielded_to_corrections")]
    assert numbers == [whole.kept_predictions, whole.kept_previous, whole.yielded] and whole.yielded > 0
    assert info["counts"] == Tally.of_annotations(known.images, whole.annotations).to_info()
    write_label_set(tmp_path / "whole.json", info, known.images, whole.annotations)
    assert output.read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_polygons_are_merged_and_boxes_left_out(
    label_set: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    content = json.loads(label_set.read_text())
    content["annotations"][0]["segmentation"] = [[0, 0, 20, 0, 20, HEIGHT, 0, HEIGHT]]
    content["annotations"] += [{"id": 2, "image_id": 2, "bbox": [0, 0, 5, 5]}]
    label_set.write_text(json.dumps(content))
    box = {"image_id": 2, "bbox": [0, 0, 9, HEIGHT], "segmentation": [0, 0, 9, 0, 9, HEIGHT, 0, HEIGHT], "score": 0.9}
    (tmp_path / "predictions.json").write_text(json.dumps([box]))
    with caplog.at_level("INFO"):
        path = merge_files(label_set, tmp_path / "predictions.json", label_set, score_threshold=0.7, match_iou=0.5)
    assert columns(read_label_set(path).annotations) == [(1, 0, 20), (2, 0, 9)]
    assert "Left out 1 boxes" in caplog.text


def test_images_that_lie_elsewhere_can_be_named(label_set: Path, tmp_path: Path) -> None:
    (tmp_path / "images").rename(tmp_path / "pictures")
    (tmp_path / "predictions.json").write_text("[]")
    with pytest.raises(UnsegError, match=r"images of .* were not found"):
        merge_files(label_set, tmp_path / "predictions.json", tmp_path / "out.json", score_threshold=0.7, match_iou=0.5)
    named = f"{label_set}::{tmp_path / 'pictures'}"
    path = merge_files(named, tmp_path / "predictions.json", tmp_path / "out.json", score_threshold=0.7, match_iou=0.5)
    assert read_label_set(path).info["image_root"] == "pictures"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "is not JSON"),
        ('{"images": []}', "is not a list of COCO results"),
        (json.dumps([annotation(9, slice(0, 9), 0.9)]), "detections of image 9, which .* does not list"),
        (json.dumps([annotation(1, slice(0, 9))]), "cannot be merged: a detection of image 1 has no score"),
    ],
)
def test_says_what_is_wrong(label_set: Path, tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "predictions.json").write_text(content)
    with pytest.raises(UnsegError, match=message):
        merge_files(label_set, tmp_path / "predictions.json", tmp_path / "out.json", score_threshold=0.7, match_iou=0.5)
    with pytest.raises(UnsegError, match="There is no file"):
        merge_files(label_set, tmp_path / "missing.json", tmp_path / "out.json", score_threshold=0.7, match_iou=0.5)
    assert not (tmp_path / "out.json").exists()

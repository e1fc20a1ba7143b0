from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unseg_d2.config import get_cfg
from unseg_d2.data.builtin import BUILTIN
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.coco import encode_mask
from unseg_d2.errors import UnsegError

CFG = get_cfg()


def write_set(images: Path, annotations: Path, file_name: str = "sub/a.png", **info: str) -> None:
    """One image with one annotation of category 17."""
    (images / file_name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((6, 8, 3), dtype=np.uint8)).save(images / file_name)
    mask = np.zeros((6, 8), dtype=bool)
    mask[1:3, 2:6] = True
    annotation = {"id": 1, "image_id": 5, "category_id": 17, "bbox": [2, 1, 4, 2], "segmentation": encode_mask(mask)}
    content = {
        "info": info,
        "images": [{"id": 5, "file_name": file_name, "height": 6, "width": 8}],
        "annotations": [annotation],
        "categories": [{"id": 17, "name": "cat"}],
    }
    annotations.parent.mkdir(parents=True, exist_ok=True)
    annotations.write_text(json.dumps(content))


def check(records: list[dict], image: Path) -> None:
    (record,) = records
    assert record["file_name"] == str(image.resolve()) and record["image_id"] == 5
    assert (record["height"], record["width"]) == (6, 8)
    assert record["annotations"][0]["category_id"] == 0 and record["annotations"][0]["bbox"] == [2, 1, 4, 2]


@pytest.mark.parametrize("name", ["imagenet_train", "coco_2017_val", "cls_agnostic_voc"])
def test_builtin_names_follow_the_environment(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    write_set(tmp_path / BUILTIN[name].images, tmp_path / BUILTIN[name].annotations)
    check(load_dataset(name, CFG), tmp_path / BUILTIN[name].images / "sub/a.png")


def test_names_of_another_machine_below_a_named_folder(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", tmp_path / "labels.json")
    content = json.loads((tmp_path / "labels.json").read_text())
    content["images"][0]["file_name"] = "C:\\set\\sub\\a.png"
    (tmp_path / "labels.json").write_text(json.dumps(content))
    check(load_dataset(f"{tmp_path}/labels.json::{tmp_path}/photos", CFG), tmp_path / "photos/sub/a.png")


def test_missing_pictures_are_counted_before_any_work(tmp_path: Path) -> None:
    write_set(tmp_path, tmp_path / "labels.json")
    content = json.loads((tmp_path / "labels.json").read_text())
    content["images"] += [{"id": key, "file_name": f"{key}.png", "height": 6, "width": 8} for key in (6, 7)]
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"2 of the 3 images of .* are not in .*; the first is 6\.png"):
        load_dataset(f"{tmp_path}/labels.json", CFG)


def test_missing_builtin_data_names_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(UnsegError, match=r"needs the file .*cutler_imagenet1k_train_r2\.json, which is not there"):
        load_dataset("imagenet_train_r2", CFG)
    (tmp_path / "imagenet/annotations").mkdir(parents=True)
    (tmp_path / BUILTIN["imagenet_train_r2"].annotations).write_text("{}")
    with pytest.raises(UnsegError, match=r"needs the folder .*imagenet/train"):
        load_dataset("imagenet_train_r2", CFG)


@pytest.mark.parametrize(
    ("name", "makes"),
    [("votecut_imagenet_train", "MASKS.GENERATOR votecut"), ("coco_train_17_self_training", "self-train")],
)
def test_cuvlers_names_are_known(name: str, makes: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(
        UnsegError, match=rf"needs the file .*\.json, which is not there; unseg-d2 .*{makes} makes such a"
    ):
        load_dataset(name, CFG)


def test_json_with_its_image_root(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", tmp_path / "labels.json")
    check(load_dataset(f"{tmp_path}/labels.json::{tmp_path}/photos", CFG), tmp_path / "photos/sub/a.png")
    with pytest.raises(UnsegError, match=r"labels\.json::FOLDER"):
        load_dataset(f"{tmp_path}/labels.json", CFG)
    with pytest.raises(UnsegError, match=r"There is no folder nowhere"):
        load_dataset(f"{tmp_path}/labels.json::nowhere", CFG)
    with pytest.raises(UnsegError, match=r"are not in .*labels\.json::FOLDER"):
        load_dataset(f"{tmp_path}/labels.json::{tmp_path}", CFG)


def test_json_that_knows_its_image_root(tmp_path: Path) -> None:
    write_set(tmp_path / "photos", tmp_path / "made/labels.json", image_root="../photos")
    check(load_dataset(f"{tmp_path}/made/labels.json", CFG), tmp_path / "photos/sub/a.png")


def test_folder_of_images(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.png", "a/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(np.zeros((4, 4, 3), dtype=np.uint8)).save(tmp_path / name)
    records = load_dataset(str(tmp_path), CFG)
    assert [record["file_name"] for record in records] == [str(tmp_path / n) for n in ("a/c.png", "a/z.png", "b.png")]
    assert [record["image_id"] for record in records] == [1, 2, 3]
    assert all(record["annotations"] == [] for record in records)


def test_synthetic_names(tmp_path: Path) -> None:
    cfg = get_cfg()
    cfg.SYNTHETIC.ROOT, cfg.SYNTHETIC.SIZE, cfg.SYNTHETIC.NUM_VAL = str(tmp_path), (64, 80), 2
    records = load_dataset("synthetic_val", cfg)
    assert len(records) == 2 and all(len(record["annotations"]) >= 2 for record in records)
    assert (records[0]["height"], records[0]["width"]) == (64, 80) and Path(records[0]["file_name"]).is_file()


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnsegError, match=r"'imagenet_trian' is not a built-in .* Did you mean 'imagenet_train'"):
        load_dataset("imagenet_trian", CFG)
    with pytest.raises(UnsegError, match=r"Built-in names are .*synthetic_val"):
        load_dataset("/no/such/place", CFG)


def test_missing_json() -> None:
    with pytest.raises(UnsegError, match=r"no file nowhere\.json"):
        load_dataset("nowhere.json", CFG)


def test_the_page_on_data_sets_lists_every_path() -> None:
    page = (Path(__file__).parents[2] / "datasets" / "README.md").read_text()
    stems = {"imagenet_train_r2", "imagenet_train_r3", "cls_agnostic_watercolor", "cls_agnostic_comic"}  # "..."
    for name, dataset in BUILTIN.items():
        if name not in stems:
            assert f"`{name}`" in page and f"`{dataset.images}`" in page and f"`{dataset.annotations}`" in page


def test_several_categories_count_as_one_and_this_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_set(tmp_path, tmp_path / "labels.json")
    content = json.loads((tmp_path / "labels.json").read_text())
    first = content["annotations"][0]
    content["annotations"] = [first | {"id": n, "category_id": n} for n in (1, 90)]
    (tmp_path / "labels.json").write_text(json.dumps(content))
    with caplog.at_level("INFO"):
        (record,) = load_dataset(str(tmp_path / "labels.json"), CFG)
    assert [annotation["category_id"] for annotation in record["annotations"]] == [0, 0]
    assert "has objects of 2 categories, which are treated as one" in caplog.text

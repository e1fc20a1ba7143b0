from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask

from unseg_d2.config import get_cfg
from unseg_d2.data.synthetic.dataset import ensure_synthetic, synthetic_scene
from unseg_d2.errors import UnsegError


def config(root: Path, **keys: object):
    cfg = get_cfg()
    cfg.SYNTHETIC.ROOT = str(root)
    cfg.SYNTHETIC.SIZE = (96, 128)
    cfg.SYNTHETIC.NUM_TRAIN = cfg.SYNTHETIC.NUM_VAL = 3
    for key, value in keys.items():
        cfg.SYNTHETIC[key] = value
    return cfg


def test_files_hold_the_rendered_scenes(tmp_path: Path) -> None:
    cfg = config(tmp_path)
    images, json_path = ensure_synthetic(cfg, "val")
    labels = json.loads(json_path.read_text())
    assert len(labels["images"]) == 3
    assert [p.name for p in tmp_path.iterdir()] == [images.parent.name]  # nothing temporary is left
    for index, entry in enumerate(labels["images"]):
        scene = synthetic_scene(cfg, "val", index)
        np.testing.assert_array_equal(cv2.imread(str(images / entry["file_name"]))[..., ::-1], scene.image)
        depth = cv2.imread(str(images.parent / "depth" / entry["file_name"]), cv2.IMREAD_UNCHANGED)
        assert depth.dtype == np.uint16
        near = scene.depth < 65
        assert np.abs(depth[near] / 1000 - scene.depth[near]).max() <= 0.0005 + 1e-9
        assert (depth[np.isinf(scene.depth)] == 0).all()
        classes = cv2.imread(str(images.parent / "semantic" / entry["file_name"]), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(classes, scene.classes)
        assert entry["one_colour"] == scene.one_colour
        annotations = [a for a in labels["annotations"] if a["image_id"] == entry["id"]]
        assert len(annotations) == len(scene.shapes)
        for number, annotation in enumerate(annotations, start=1):
            mask = scene.instances == number
            np.testing.assert_array_equal(coco_mask.decode(annotation["segmentation"]).astype(bool), mask)
            assert annotation["area"] == mask.sum()
            assert annotation["bbox"] == coco_mask.toBbox(annotation["segmentation"]).tolist()
            assert labels["categories"][annotation["category_id"] - 1]["name"] == scene.shapes[number - 1]
    assert len({a["id"] for a in labels["annotations"]}) == len(labels["annotations"])


def test_a_scene_depends_on_its_seed_and_split_only(tmp_path: Path) -> None:
    base = synthetic_scene(config(tmp_path), "train", 2).image
    np.testing.assert_array_equal(base, synthetic_scene(config(tmp_path, SEED=2), "train", 0).image)
    np.testing.assert_array_equal(base, synthetic_scene(config(tmp_path, NUM_TRAIN=9), "train", 2).image)
    assert not np.array_equal(base, synthetic_scene(config(tmp_path), "val", 2).image)


def test_a_finished_set_is_not_made_again_and_other_settings_give_another_folder(tmp_path: Path) -> None:
    images, json_path = ensure_synthetic(config(tmp_path), "train")
    before = json_path.stat().st_mtime_ns
    assert ensure_synthetic(config(tmp_path), "train") == (images, json_path)
    assert json_path.stat().st_mtime_ns == before
    others = [config(tmp_path), config(tmp_path, ONE_COLOUR=1.0), config(tmp_path, SURFACES="by_class")]
    assert len({ensure_synthetic(cfg, "train")[0] for cfg in others}) == 3


def test_a_set_that_was_interrupted_leaves_nothing_that_looks_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("unseg_d2.data.synthetic.dataset.write_json", full_disk)
    with pytest.raises(UnsegError, match="No space left on device"):
        ensure_synthetic(config(tmp_path), "train")
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]  # and whoever comes next takes it


@pytest.mark.parametrize(
    ("key", "value"),
    [("MAX_OBJECTS", 1), ("ONE_COLOUR", 1.5), ("NUM_TRAIN", 0), ("SIZE", (10, 10)), ("SURFACES", "own")],
)
def test_impossible_settings_name_their_key(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(UnsegError, match=rf"SYNTHETIC do not work: {key.lower()} must be"):
        ensure_synthetic(config(tmp_path, **{key: value}), "train")

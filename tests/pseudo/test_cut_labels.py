"""LocalCut over a label set."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.cli.cut_masks import main
from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.masks.cuts3d.localcut import LocalCutSettings
from unseg_d2.pseudo.cut_labels import build_cut_pipeline, cut_pixels
from unseg_d2.rle import decode_mask, encode_mask
from unseg_d2.structures import DepthMap

HEIGHT, WIDTH = 120, 180
DEPTH_OPTIONS = ["DEPTH.SOURCE", "files", "DEPTH.KIND", "metric"]


def steps(height: int, width: int) -> np.ndarray:
    """Depth of two planes that meet at two thirds of the width; the near one is the larger."""
    return np.where(np.arange(width) < 2 * width // 3, 1.0, 3.0)[None].repeat(height, 0)


def bar() -> np.ndarray:
    """A mask across both planes."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[40:80, 10:170] = True
    return mask


def test_pixels_follow_the_nearest_cell() -> None:
    small = np.zeros((HEIGHT, WIDTH), bool)
    small[3, 100:140:2] = True  # covers less than half of every cell
    masks = np.stack([bar(), small])
    cut, confidence = cut_pixels(masks, DepthMap(torch.from_numpy(steps(60, 60)).float(), "metric"), LocalCutSettings())
    assert np.array_equal(cut[0], bar() & (np.arange(WIDTH) < 120))
    assert np.array_equal(cut[1], small)
    assert confidence.shape == (2, 60, 60) and confidence[1].max() == 1
    assert confidence[0, 30, 20] == 1 and confidence[0, 5, 5] == 0


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    """A label set from elsewhere: a COCO file, images and depth; the second image has no depth."""
    for name in ("images", "depth"):
        (tmp_path / name).mkdir()
    content = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "fg"}]}
    for index in (1, 2):
        Image.fromarray(np.zeros((HEIGHT, WIDTH, 3), np.uint8)).save(tmp_path / "images" / f"{index}.png")
        content["images"].append({"id": index, "file_name": f"{index}.png", "height": HEIGHT, "width": WIDTH})
        mask = {"id": index, "image_id": index, "category_id": 1, "iscrowd": 0, "area": 6400, "score": 0.7}
        content["annotations"].append(mask | {"bbox": [10, 40, 160, 40], "segmentation": encode_mask(bar())})
    np.save(tmp_path / "depth" / "1.npy", steps(HEIGHT, WIDTH))
    (tmp_path / "labels.json").write_text(json.dumps(content))
    return tmp_path / "labels.json"


def test_a_label_set_is_cut(labels: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = labels.parent / "cut"
    main(["--labels", str(labels), "--output", str(output), "--num-workers", "0", *DEPTH_OPTIONS])
    cut = read_coco(output / "labels.json")
    (annotation,) = cut.annotations
    assert np.array_equal(decode_mask(annotation["segmentation"], HEIGHT, WIDTH), bar() & (np.arange(WIDTH) < 120))
    assert annotation["score"] == 0.7 and annotation["confidence"]["size"] == [60, 60]
    assert "it has no depth file" in (output / "failures.jsonl").read_text()
    assert cut.info["depth"] == {"name": "files", "kind": "metric"}
    assert "lost a part" in capsys.readouterr().out


def test_without_a_depth_source_it_says_so(labels: Path) -> None:
    with pytest.raises(UnsegError, match=r"set DEPTH\.SOURCE"):
        main(["--labels", str(labels), "--output", str(labels.parent / "cut"), "--num-workers", "0"])


def test_boxes_without_a_mask_are_left_out_and_counted(labels: Path, caplog: pytest.LogCaptureFixture) -> None:
    path, root = labels, str(labels.parent / "depth")
    content = json.loads(path.read_text())
    box = {"id": 99, "image_id": content["images"][0]["id"], "bbox": [0, 0, 4, 4]}
    path.write_text(json.dumps(content | {"annotations": [*content["annotations"], box]}))
    with caplog.at_level("INFO"):
        pipeline = build_cut_pipeline(load_cfg(None, [*DEPTH_OPTIONS, "DEPTH.FILES.ROOT", root]), path)
    assert sum(map(len, pipeline.masks.values())) == len(content["annotations"])
    assert "1 boxes have no mask to cut and were left out" in caplog.text


def test_parents_that_are_left_out_are_bridged(labels: Path) -> None:
    """A part of a box of a whole."""
    content = json.loads(labels.read_text())
    about = {"image_id": 1, "category_id": 1, "iscrowd": 0, "bbox": [10, 40, 160, 40], "area": 6400, "granularity": 1.0}
    mask = {"segmentation": encode_mask(bar())}
    content["annotations"] = [
        about | {"id": node + 1, "node": node, "level": node} | ({} if node == 1 else mask) | parent
        for node, parent in enumerate(({"parent": 1}, {"parent": 2}, {}))
    ]
    labels.write_text(json.dumps(content))
    pipeline = build_cut_pipeline(load_cfg(None, [*DEPTH_OPTIONS, "DEPTH.FILES.ROOT", str(labels.parent)]), labels)
    assert [(one["node"], one.get("parent")) for one in pipeline.masks["1.png"]] == [(0, 2), (2, None)]


def test_masks_that_a_person_has_drawn_are_not_cut(labels: Path) -> None:
    content = json.loads(labels.read_text())
    content["annotations"][1]["corrected"] = True
    labels.write_text(json.dumps(content))
    with pytest.raises(UnsegError, match=r"1 masks of .* are a person's, .*; cut first, then correct"):
        build_cut_pipeline(load_cfg(None, DEPTH_OPTIONS), labels)

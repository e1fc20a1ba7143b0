"""Masks that contain one another, on their way from the generator to the label set of the next round."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pseudo_fakes import MeanColour, pipeline_of

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import open_label_set, write_label_set
from unseg_d2.pseudo.merge import merge
from unseg_d2.pseudo.pipeline import best, build_pipeline
from unseg_d2.rle import encode_mask
from unseg_d2.structures import PatchFeatures, Proposals

LEVELS, PARENTS = [0, 1, 2, 0], [1, 2, -1, 2]


def nested() -> Proposals:
    """On 4 x 4 patches: one patch in a row of two in a half of the image, and another patch of this half."""
    masks = torch.zeros(4, 4, 4, dtype=torch.bool)
    masks[0, 0, 0] = masks[1, 0, :2] = masks[2, :, :2] = masks[3, 3, 0] = True
    scores = torch.tensor([0.9, 0.8, 0.7, 0.6])
    return Proposals(masks, scores, levels=torch.tensor(LEVELS), parents=torch.tensor(PARENTS))


def propose(features: list[PatchFeatures]) -> list[Proposals]:
    return [nested() for _ in features]


def image() -> np.ndarray:
    return np.zeros((32, 32, 3), np.uint8)


def test_masks_of_all_levels_overlap_and_stay() -> None:
    (found,) = pipeline_of(MeanColour(), propose, lambda image, masks: masks, 32)([image()])
    assert [int(one.mask.sum()) for one in found] == [64, 128, 512, 64]
    assert [(one.place.level, one.place.node, one.place.parent) for one in found] == [
        *((0, 0, 1), (1, 1, 2), (2, 2, None), (0, 3, 2))
    ]
    sides = np.sqrt([64, 128, 512, 64])
    expected = 0.1 + 0.9 * (sides - sides[0]) / (sides[2] - sides[0])
    np.testing.assert_allclose([one.place.granularity for one in found], expected)


def test_what_refinement_drops_is_bridged() -> None:
    """Without the row of two, its patch hangs on the half; sides are those that are left."""

    def lose_the_second(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
        return masks & np.array([True, False, True, True])[:, None, None]

    (found,) = pipeline_of(MeanColour(), propose, lose_the_second, 32)([image()])
    assert [(one.place.level, one.place.node, one.place.parent) for one in found] == [
        (0, 0, 1),
        (2, 1, None),
        (0, 2, 1),
    ]
    assert [round(one.place.granularity, 6) for one in found] == [0.1, 1.0, 0.1]


def test_the_best_of_many_keep_their_places() -> None:
    proposals = nested()
    proposals.scores[1] = 0.1
    found = best(proposals, 3)
    assert found.levels.tolist() == [0, 2, 0] and found.parents.tolist() == [1, -1, 1]
    assert best(proposals, 0).parents.tolist() == PARENTS


def annotations() -> list[dict[str, Any]]:
    (found,) = pipeline_of(MeanColour(), propose, lambda image, masks: masks, 32)([image()])
    return found.to_coco(image_id=1)


def test_a_label_set_holds_the_places(tmp_path: Path) -> None:
    images = [{"id": 1, "file_name": "a.png", "height": 32, "width": 32}]
    write_label_set(tmp_path / "labels.json", {}, images, annotations())
    dataset = read_coco(tmp_path / "labels.json")
    expected = [{"level": 0, "granularity": 0.1, "node": 0, "parent": 1}, {"level": 1, "node": 1, "parent": 2}]
    expected += [{"level": 2, "granularity": 1.0, "node": 2}, {"level": 0, "granularity": 0.1, "node": 3, "parent": 2}]
    for item, place in zip(dataset.annotations, expected, strict=True):
        assert place.items() <= item.items() and ("parent" in item) == ("parent" in place)
    (of_image,) = [items for _, items in open_label_set(tmp_path / "labels.json")]
    assert of_image == dataset.annotations
    write_label_set(tmp_path / "again.json", {}, dataset.images, dataset.annotations)
    assert read_coco(tmp_path / "again.json").annotations == dataset.annotations


def test_other_meanings_of_the_names_are_said_and_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    item = {
        key: value for key, value in annotations()[0].items() if key not in ("level", "granularity", "node", "parent")
    }
    odd = [{"level": "high"}, {"parent": "car"}, {"granularity": 2.0}, {"level": True, "node": 4}, {"level": 3}]
    content = {
        "images": [{"id": 1, "file_name": "a.png", "height": 32, "width": 32}],
        "annotations": [item | more | {"id": number} for number, more in enumerate(odd)],
    }
    (tmp_path / "odd.json").write_text(json.dumps(content))
    with caplog.at_level("INFO"):
        dataset = read_coco(tmp_path / "odd.json")
    places = [{k: v for k, v in one.items() if k not in item and k != "id"} for one in dataset.annotations]
    assert places == [{}, {}, {}, {"node": 4}, {"level": 3}]
    assert '4 annotations use "level"' in caplog.text


def test_the_merge_of_a_round_bridges_what_a_detection_covers() -> None:
    row = np.zeros((32, 32), bool)
    row[:8, :16] = True
    detection = {"image_id": 1, "segmentation": encode_mask(row), "score": 0.9}
    merged = merge(annotations(), [detection], score_threshold=0.5, match_iou=0.6)
    places = [(item.get("level"), item.get("node"), item.get("parent")) for item in merged.annotations]
    assert places == [(None, None, None), (0, 0, 2), (2, 2, None), (0, 3, 2)]


def test_a_refiner_in_which_masks_compete_is_refused() -> None:
    cfg = load_cfg(None, ["MASKS.GENERATOR", "uniap", "REFINE.NAME", "crf_labels", "FEATURES.NAME", "descriptors"])
    with pytest.raises(UnsegError, match=r"set REFINE\.NAME to crf, guided or none"):
        build_pipeline(cfg)

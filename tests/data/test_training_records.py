"""Records that cannot be trained on are left out or refused, in one sentence that says what to do."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.data.training_records import usable_records
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_confidence, encode_mask

CONFIDENT = {
    "MODEL.ROI_MASK_HEAD.CONFIDENCE": "spatial",
    "DATALOADER.COPY_PASTE_SELECTION": "confident",
    "DATALOADER.COPY_PASTE_BLEND": "confidence",
}


def records(count: int = 3, **annotation: Any) -> list[dict[str, Any]]:
    """Records of images with two masks each; the files are not there."""
    mask = encode_mask(np.ones((4, 5), bool))
    masks = [{"bbox": [0, 0, 5, 4], "iscrowd": 0, "segmentation": mask, **annotation} for _ in range(2)]
    size = {"height": 4, "width": 5}
    return [
        {"file_name": f"{number}.png", "image_id": number, "annotations": copy.deepcopy(masks), **size}
        for number in range(count)
    ]


def config(**options: Any) -> CfgNode:
    options = {"MODEL__MASK_ON": True, **options}
    return load_cfg(None, [text for key, value in options.items() for text in (key.replace("__", "."), str(value))])


def test_images_without_annotations_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    given = records()
    given[1]["annotations"] = []
    given[2]["annotations"] = [{**given[2]["annotations"][0], "iscrowd": 1}]
    with caplog.at_level("INFO"):
        assert usable_records(given, config()) == given[:1]
    assert "Left out 2 of 3 images" in caplog.text
    assert usable_records(given, config(DATALOADER__FILTER_EMPTY_ANNOTATIONS=False)) == given


def test_crowd_regions_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    given = records()
    given[0]["annotations"][0]["iscrowd"] = given[1]["annotations"][0]["iscrowd"] = 1
    with caplog.at_level("INFO"):
        usable_records(given, config())
    assert "Left out 2 crowd regions" in caplog.text
    with pytest.raises(UnsegError, match="none of the 2 images has an annotation: all 4 annotations are crowd regions"):
        usable_records(records(2, iscrowd=1), config())


def test_nothing_to_train_on() -> None:
    with pytest.raises(UnsegError, match="none of the 2 images has an annotation"):
        usable_records([record | {"annotations": []} for record in records(2)], config())
    with pytest.raises(UnsegError, match="no images"):
        usable_records([], config())


def test_boxes_without_masks_are_left_out_of_a_detector_with_masks(caplog: pytest.LogCaptureFixture) -> None:
    given = records()
    del given[0]["annotations"][1]["segmentation"]
    with caplog.at_level("INFO"):
        kept = usable_records(given, config())
    assert [len(record["annotations"]) for record in kept] == [1, 2, 2]
    assert "Left out 1 boxes without masks" in caplog.text
    assert usable_records(given, config(MODEL__MASK_ON=False)) == given


def test_only_boxes_need_a_detector_without_masks() -> None:
    given = records()
    for record in given:
        for annotation in record["annotations"]:
            del annotation["segmentation"]
    with pytest.raises(UnsegError, match=r"0\.png and all other images have boxes without masks"):
        usable_records(given, config())
    assert usable_records(given, config(MODEL__MASK_ON=False)) == given


@pytest.mark.parametrize("key", CONFIDENT)
def test_a_recipe_for_confidence_needs_masks_that_have_one(key: str, caplog: pytest.LogCaptureFixture) -> None:
    pasting = {"DATALOADER__COPY_PASTE": True, "DATALOADER__COPY_PASTE_RATE": 1.0}
    cfg, given = config(**pasting, **{key.replace(".", "__"): CONFIDENT[key]}), records()
    with pytest.raises(UnsegError, match=f"asks for {key} {CONFIDENT[key]}, but no mask has a spatial confidence"):
        usable_records(given, cfg)
    given[0]["annotations"][0]["confidence"] = encode_confidence(np.ones((2, 2)))
    with caplog.at_level("INFO"):
        usable_records(given, cfg)
    assert "5 of 6 masks have no spatial confidence" in caplog.text


def test_copy_paste_that_is_off_needs_no_confidence() -> None:
    usable_records(records(), config(DATALOADER__COPY_PASTE_SELECTION="confident"))


def test_soft_targets_need_scores_that_are_probabilities(caplog: pytest.LogCaptureFixture) -> None:
    cfg, given = config(MODEL__ROI_HEADS__USE_SOFT_TARGETS=True), records()
    with pytest.raises(UnsegError, match="USE_SOFT_TARGETS True, but no mask has a score"):
        usable_records(given, cfg)
    given[0]["annotations"][0]["score"] = 0.0
    with caplog.at_level("INFO"):
        usable_records(given, cfg)
    assert "5 of 6 masks have no score" in caplog.text
    given[2]["annotations"][1]["score"] = 1.5
    with pytest.raises(UnsegError, match=r"score 1\.5, but soft targets need scores from 0 to 1"):
        usable_records(given, cfg)
    caplog.clear()
    usable_records(records(score=0.5), cfg)
    assert not caplog.text


def test_an_image_that_is_done_and_empty_is_background_to_learn_from() -> None:
    given = records()
    given[1] |= {"annotations": [], "done": True}
    given[2]["annotations"] = []
    assert usable_records(given, config()) == given[:2]


def test_an_image_whose_boxes_are_left_out_is_not_done() -> None:
    given = records()
    given[0] |= {"done": True}
    given[1] |= {"done": True}
    del given[0]["annotations"][1]["segmentation"]
    assert [bool(record.get("done")) for record in usable_records(given, config())] == [False, True, False]

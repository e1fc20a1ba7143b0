from __future__ import annotations

from typing import Any

import numpy as np

from unseg_d2.pseudo.corrections import is_corrected, yield_to_corrections
from unseg_d2.rle import encode_mask


def stripe(first: int, last: int, **more: Any) -> dict[str, Any]:
    mask = np.zeros((10, 40), bool)
    mask[:, first:last] = True
    return {"image_id": 1, "segmentation": encode_mask(mask), **more}


def test_the_same_object_yields_to_the_mask_of_a_person_and_others_stand_beside_it() -> None:
    """IoU of columns 0-20 with 0-10 is exactly 1/2, with 0-9 it is less."""
    masks = [stripe(0, 20, corrected=True), stripe(30, 40)]
    found = [stripe(0, 10, score=0.9), stripe(0, 9, score=0.9), stripe(30, 40, score=0.9)]
    assert yield_to_corrections(found, masks, match_iou=0.5) == found[1:]
    assert yield_to_corrections(found, masks[1:], match_iou=0.5) == found
    assert yield_to_corrections([], masks, match_iou=0.5) == []


def test_nothing_stands_beside_the_masks_of_an_image_that_is_done() -> None:
    assert yield_to_corrections([stripe(30, 40, score=1.0)], [], match_iou=0.5, done=True) == []


def test_only_what_says_so_is_corrected() -> None:
    assert [is_corrected(item) for item in ({}, {"corrected": False}, {"corrected": True})] == [False, False, True]

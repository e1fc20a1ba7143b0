"""Boxes fitted by a signed distance field."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.splitting import FieldSettings, ObjectFields, fields_of_masks
from unseg_d2.masks.splitting.box_fit import Box, BoxFit, box_of, cosines

SIZE = (60, 100)
FIRST, SECOND = Box(20, 40, 10, 40), Box(20, 40, 40, 70)
BOTH = Box(20, 40, 10, 70)


def rectangles(*boxes: Box) -> np.ndarray:
    masks = np.zeros((len(boxes), *SIZE), bool)
    for mask, box in zip(masks, boxes):
        mask[box.window] = True
    return masks


def fit_of(*boxes: Box, **changes: float) -> BoxFit:
    return BoxFit(fields_of_masks(rectangles(*boxes)), FieldSettings(**changes))


def test_boxes() -> None:
    assert box_of(rectangles(FIRST)[0]) == FIRST and box_of(np.zeros((3, 4), bool)) is None
    assert FIRST.area == 600 and FIRST.centre == (29.5, 24.5)
    assert FIRST.iou(SECOND) == 0 and FIRST.iou(FIRST._replace(right=25)) == 0.5
    assert Box(0, 10, 0, 20).grown(1.5, Box(0, 12, 0, 100)) == Box(0, 12, 0, 25)
    assert Box(0, 5, 0, 5).clipped(Box(7, 9, 0, 5)).area == 0
    assert Box(1, 2, 3, 4).shifted(10, 20) == Box(11, 12, 23, 24)


@pytest.mark.parametrize(
    "start",
    [FIRST, Box(24, 30, 15, 30), Box(5, 55, 5, 41), Box(20, 40, 10, 34), Box(20, 33, 10, 44), Box(20, 30, 10, 55)],
    ids=["right", "inside", "around", "short", "into the neighbour", "half of the neighbour"],
)
@pytest.mark.parametrize("neighbours", [(), (SECOND,)], ids=["alone", "touching"])
def test_a_box_ends_at_the_outline_of_its_object(start: Box, neighbours: tuple[Box, ...]) -> None:
    assert fit_of(FIRST, *neighbours).fit(start) == FIRST


def test_one_round_by_hand() -> None:
    """The largest depth is 10 px. Along the right side, at column 29, there are pixels 10 px from the top: the field is
    1 there, so it moves by 10 px and by half of that more. The others lie on outlines, at a depth of 1 px, and move by
    1.5, which rounds to 2."""
    box = Box(20, 40, 10, 30)
    for overshoot, expected in ((0.5, Box(18, 42, 8, 45)), (0.0, Box(19, 41, 9, 40))):
        fit = fit_of(FIRST, overshoot=overshoot)
        seen = fit.seen(box)
        found = box_of(seen)
        assert found == Box(0, 20, 0, 20)
        assert fit._moved(box, found, seen) == expected


def test_sides_outside_stay_within_the_slack_and_move_to_the_object_beyond_it() -> None:
    fit, box = fit_of(FIRST, slack=0.125), Box(17, 40, 3, 43)  # 3 of 23 rows above, 7 and 3 of 40 columns beside
    seen = fit.seen(box)
    found = box_of(seen)
    assert found == Box(3, 23, 7, 37)
    assert fit._moved(box, found, seen) == Box(20, 42, 10, 43)  # 3 of 23 is more than an eighth, 3 of 40 is less


def test_what_holds_no_object_has_no_box() -> None:
    fit = fit_of(FIRST, SECOND)
    assert fit.fit(Box(0, 15, 0, 100)) is None  # nothing but background
    assert fit.fit(Box(40, 30, 10, 20)) is None  # empty
    assert fit.agreement(BOTH) <= 0.5 and fit.agreement(FIRST) == 1
    assert fit_of(FIRST, SECOND, min_pixels=601).fit(FIRST) is None
    assert fit_of(FIRST, SECOND, min_pixels=600).fit(FIRST) == FIRST
    for factor, expected in ((0.5, None), (0.51, FIRST)):  # the largest depth must be above one half
        weak = ObjectFields(fit.fields.centre, fit.fields.boundary * np.float32(factor))
        assert BoxFit(weak, FieldSettings()).fit(FIRST) == expected


def test_an_object_must_have_most_of_its_box() -> None:
    """Another one hides its upper right corner, a quarter of its box; some of that looks as if it were its own."""
    corner = Box(20, 30, 25, 40)
    shares = [fit_of(FIRST, corner).agreement(FIRST), 1.0]
    assert 0.75 < shares[0] < 0.95
    assert [fit_of(FIRST, corner, min_agreement=share).fit(FIRST) for share in shares] == [FIRST, None]


def test_the_score_by_hand() -> None:
    assert fit_of(FIRST).score(FIRST) == pytest.approx(600**0.25)  # all pixels are its own, the largest depth is 1


def test_the_best_boxes_overlap_little() -> None:
    fit = fit_of(FIRST, SECOND)
    assert sorted(fit.best([FIRST, Box(24, 30, 15, 30), SECOND]), key=lambda box: box.left) == [FIRST, SECOND]
    whole = fit_of(FIRST, SECOND, nms=0.0)
    assert len(whole.best([FIRST, SECOND])) == 2  # they touch and do not overlap


def test_a_box_sees_one_object() -> None:
    """From the middle of both, the vectors of either half of each point away from elsewhere."""
    fit = fit_of(FIRST, SECOND)
    seen = fit.seen(BOTH)
    assert seen.any() and (not seen[:, :30].any() or not seen[:, 30:].any())
    assert fit.seen(FIRST).all()
    vectors = FIRST.of(fit.fields.centre)
    np.testing.assert_allclose(cosines(FIRST, vectors, FIRST), 1, atol=1e-6)


def test_an_image_of_one_row_and_one_that_is_all_object() -> None:
    for size in ((1, 80), (30, 30)):
        fit = BoxFit(fields_of_masks(np.ones((1, *size), bool)), FieldSettings())
        assert fit.fit(Box(0, size[0], 0, size[1])) == Box(0, size[0], 0, size[1])

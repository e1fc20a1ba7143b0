"""Panoptic quality by hand, and against its definition in plain loops over label maps."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.evaluation.panoptic_quality import PanopticQuality, Segment, panoptic_quality, without_overlap


def columns(first: int, last: int) -> np.ndarray:
    mask = np.zeros((10, 100), bool)
    mask[:, first:last] = True
    return mask


def test_by_hand() -> None:
    """Cats: IoU 30 / 40, one false, one missed; the dog is found as it is."""
    truth = [Segment("cat", columns(0, 40)), Segment("cat", columns(50, 60)), Segment("dog", columns(60, 80))]
    found = [Segment("cat", columns(0, 30)), Segment("cat", columns(50, 55)), Segment("dog", columns(60, 80))]
    quality = panoptic_quality([found], [truth])
    cats = quality.of_class["cat"]
    assert (cats.matched, cats.false, cats.missed) == (1, 1, 1)  # half of the second cat is not more than half
    assert (cats.sq, cats.rq, cats.pq) == pytest.approx((0.75, 0.5, 0.375))
    assert quality.of_class["dog"].pq == 1
    assert quality.means() == pytest.approx(((0.375 + 1) / 2, 0.875, 0.75))


def test_another_class_does_not_match() -> None:
    quality = panoptic_quality([[Segment("dog", columns(0, 9))]], [[Segment("cat", columns(0, 9))]])
    assert quality.of_class["dog"].false == quality.of_class["cat"].missed == 1 and quality.means() == (0, 0, 0)
    assert all(np.isnan(panoptic_quality([[]], [[]]).means()))


def test_pixels_without_a_label_and_crowds_count_for_neither_side() -> None:
    truth = [Segment("cat", columns(0, 20)), Segment("cat", columns(80, 100), is_crowd=True)]
    found = [Segment("cat", columns(0, 50)), Segment("cat", columns(79, 90)), Segment("cat", columns(60, 79))]
    void = columns(20, 50)
    cats = panoptic_quality([found], [truth], [void]).of_class["cat"]
    assert (cats.iou, cats.matched, cats.false, cats.missed) == (1, 1, 1, 0)
    dogs = panoptic_quality([[Segment("dog", columns(80, 100))]], [truth]).of_class["dog"]
    assert dogs.false == 1  # the crowd is of cats


def test_segments_that_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="must not overlap"):
        PanopticQuality().add([Segment("a", columns(0, 9)), Segment("b", columns(8, 12))], [])


def test_the_definition_in_loops() -> None:
    """Random label maps of segments, of which each pixel has one; all pairs are compared."""
    rng = np.random.default_rng(0)
    sums: dict[int, list[float]] = {}
    found, known = [], []
    for _ in range(20):
        maps = np.repeat(np.repeat(rng.integers(0, 4, (3, 4)), 4, 0), 4, 1)
        moved = np.roll(maps, rng.integers(0, 3), axis=1)
        classes = rng.integers(0, 2, 4), rng.integers(0, 2, 4)
        known.append([Segment(int(classes[0][k]), maps == k) for k in range(4) if (maps == k).any()])
        found.append([Segment(int(classes[1][k]), moved == k) for k in range(4) if (moved == k).any()])
        for label in (0, 1):
            ours = [one.mask for one in found[-1] if one.category == label]
            theirs = [one.mask for one in known[-1] if one.category == label]
            ious = [(a & b).sum() / (a | b).sum() for a in ours for b in theirs]
            hits = [iou for iou in ious if iou > 0.5]
            for place, value in enumerate((sum(hits), len(hits), len(ours) - len(hits), len(theirs) - len(hits))):
                sums.setdefault(label, [0, 0, 0, 0])[place] += value
    quality = panoptic_quality(found, known)
    for label, (iou, hits, false, missed) in sums.items():
        assert quality.of_class[label].pq == pytest.approx(iou / (hits + (false + missed) / 2))


def test_the_higher_score_is_on_top() -> None:
    masks = [columns(0, 10), columns(8, 20), columns(0, 12)]
    kept = without_overlap(masks, [0.5, 0.9, 0.4])
    assert np.array_equal(kept[1], columns(8, 20)) and np.array_equal(kept[0], columns(0, 8)) and kept[2] is None

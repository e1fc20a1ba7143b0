"""Figures against hand-computed ones and against all permutations."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest

from unseg_d2.evaluation.semantic import Confusion, semantic_scores


def iou_of(prediction: np.ndarray, truth: np.ndarray, label: int) -> float:
    found, there = (prediction == label) & (truth != 255), truth == label
    return 100 * (found & there).sum() / max((found | there).sum(), 1)


def test_confusion_counts_pixels_and_leaves_ignored_ones_out() -> None:
    confusion = Confusion(3, 2)
    confusion.add(np.array([[0, 1], [2, 2]]), np.array([[0, 1], [255, 1]]))
    confusion.add(np.array([[2]], dtype=np.uint8), np.array([[7]], dtype=np.uint8))  # a class that does not count
    np.testing.assert_array_equal(confusion.counts, [[1, 0], [0, 1], [0, 1]])


def test_the_best_permutation_is_found() -> None:
    rng = np.random.default_rng(0)
    prediction, truth = rng.integers(0, 4, (2, 40, 40))
    truth = np.where(rng.random(truth.shape) < 0.6, (prediction + 1) % 4, truth)
    truth[:3] = 255
    confusion = Confusion(4, 4)
    confusion.add(prediction, truth)
    scores = semantic_scores(confusion.counts, "hungarian")
    best = max(permutations(range(4)), key=lambda order: (np.array(order)[prediction] == truth).sum())
    assert tuple(scores.matching) == best == (1, 2, 3, 0)
    named = np.array(best)[prediction]
    assert scores.accuracy == pytest.approx(100 * (named == truth)[3:].mean())
    np.testing.assert_allclose(scores.iou, [iou_of(named, truth, label) for label in range(4)])
    assert scores.miou == pytest.approx(scores.iou.mean())


def test_classes_that_do_not_occur_and_are_not_predicted_do_not_count() -> None:
    scores = semantic_scores(np.array([[4, 0, 0], [0, 4, 0], [0, 0, 0]]), "hungarian")
    assert scores.miou == 100 and np.isnan(scores.iou[2])


def test_more_clusters_than_classes() -> None:
    counts = np.array([[6, 0], [0, 8], [4, 2]])  # the third cluster is over
    hungarian = semantic_scores(counts, "hungarian")
    assert list(hungarian.matching) == [0, 1, -1]
    assert hungarian.accuracy == pytest.approx(100 * 14 / 20)
    np.testing.assert_allclose(hungarian.iou, [100 * 6 / 10, 100 * 8 / 10])
    majority = semantic_scores(counts, "majority")
    assert list(majority.matching) == [0, 1, 0]
    np.testing.assert_allclose(majority.iou, [100 * 10 / 12, 100 * 8 / 10])


def test_fewer_clusters_than_classes_leave_a_class_without() -> None:
    scores = semantic_scores(np.array([[5, 0, 3]]), "hungarian")
    np.testing.assert_allclose(scores.iou, [100 * 5 / 8, np.nan, 0])
    assert scores.accuracy == pytest.approx(62.5)


def test_a_classifier_is_not_matched() -> None:
    assert semantic_scores(np.array([[0, 4], [4, 0]]), "none").accuracy == 0


def test_what_does_not_fit_is_refused() -> None:
    confusion = Confusion(2, 2)
    with pytest.raises(ValueError, match=r"\(2, 3\) does not have the size of the labels \(3, 2\)"):
        confusion.add(np.zeros((2, 3), int), np.zeros((3, 2), int))
    with pytest.raises(ValueError, match="clusters outside of 0 to 1"):
        confusion.add(np.array([2]), np.array([0]))
    with pytest.raises(ValueError, match="no labelled pixel"):
        semantic_scores(confusion.counts, "hungarian")
    with pytest.raises(ValueError, match="hungarian, majority, none"):
        semantic_scores(np.eye(2, dtype=int), "best")

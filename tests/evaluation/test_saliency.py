"""Saliency figures by hand, and against another implementation, written threshold by threshold and pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.evaluation.saliency import f_measures, s_measure, score_image, score_saliency


def blob(seed, height=23, width=31):
    """A soft mask and a truth that overlap in part."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    centre, radius = rng.uniform(0.3, 0.7, 2) * (height, width), rng.uniform(4, 9)
    distance = np.hypot(y - centre[0], x - centre[1])
    mask = np.clip(1 / (1 + np.exp(distance - radius)) + rng.normal(0, 0.1, (height, width)), 0, 1)
    return mask, np.hypot(y - centre[0] - 2, x - centre[1] + 1) < radius


def f_by_loop(mask, truth):
    values = []
    for k in range(255):
        predicted = [p > k / 255 for p in mask.ravel().tolist()]
        hits = sum(p and t for p, t in zip(predicted, truth.ravel().tolist()))
        precision = hits / sum(predicted) if any(predicted) else 1.0
        recall = hits / truth.sum() if truth.any() else 1.0
        below = 0.3 * precision + recall
        values.append(1.3 * precision * recall / below if below else 0.0)
    return values


def s_by_paper(mask, truth):
    """Fan et al., equations 3 to 8, region by region; the centre as in their code, which counts from one."""
    height, width = truth.shape
    rows = [y for y in range(height) for x in range(width) if truth[y, x]]
    columns = [x for y in range(height) for x in range(width) if truth[y, x]]
    y0, x0 = round(np.mean(rows)) + 1, round(np.mean(columns)) + 1
    region = 0.0
    for ys in (range(y0), range(y0, height)):
        for xs in (range(x0), range(x0, width)):
            p = np.array([mask[y, x] for y in ys for x in xs])
            t = np.array([float(truth[y, x]) for y in ys for x in xs])
            if len(p) > 1:
                covariance = np.cov(p, t)
                above = 4 * p.mean() * t.mean() * covariance[0, 1]
                below = (p.mean() ** 2 + t.mean() ** 2) * (covariance[0, 0] + covariance[1, 1])
                region += len(p) / mask.size * (above / below if above else float(below == 0))

    def likeness(values):
        return 2 * values.mean() / (values.mean() ** 2 + 1 + np.std(values, ddof=1))

    share = truth.mean()
    return 0.5 * (share * likeness(mask[truth]) + (1 - share) * likeness(1 - mask[~truth])) + 0.5 * region


@pytest.mark.parametrize("seed", range(4))
def test_measures_equal_other_implementations(seed):
    mask, truth = blob(seed)
    np.testing.assert_allclose(f_measures(mask, truth), f_by_loop(mask, truth), rtol=1e-12)
    assert s_measure(mask, truth) == pytest.approx(s_by_paper(mask, truth), rel=1e-9)


def test_by_hand():
    """Four pixels, two of them the object: one hit, one miss, one false alarm."""
    mask, truth = np.array([[0.8, 0.2], [0.6, 0.0]]), np.array([[True, True], [False, False]])
    accuracy, iou, f, _, error = score_image(mask, truth)
    assert (accuracy, iou) == (0.5, pytest.approx(1 / 3))
    assert error == pytest.approx((0.2 + 0.8 + 0.6) / 4)
    assert f[0] == pytest.approx(1.3 * (2 / 3) * 1 / (0.3 * 2 / 3 + 1))  # above 0: three pixels, two of them right
    assert f[51] == pytest.approx(1.3 * 0.5 * 0.5 / (0.3 * 0.5 + 0.5))  # 0.2 is not above 51 / 255
    assert f[200] == pytest.approx(1.3 * 1 * 0.5 / (0.3 + 0.5))  # 0.8 alone
    assert f[254] == 0  # nothing above: precision 1, recall 0


def test_a_perfect_mask():
    _, truth = blob(0)
    scores = score_saliency([(truth.astype(float), truth)]).means()
    assert scores == {"Acc": 1, "IoU": 1, "maxF": pytest.approx(1), "Sm": pytest.approx(1), "MAE": 0}


def test_empty_masks_and_truths():
    nothing, everything = np.zeros((4, 5)), np.ones((4, 5))
    no, yes = nothing.astype(bool), everything.astype(bool)
    assert np.isnan(score_image(nothing, no)[1]) and score_image(nothing, no)[2].min() == 1  # right to find nothing
    assert score_image(everything, no)[1:2] == (0,) and score_image(everything, no)[2].max() == 0
    assert (s_measure(nothing, no), s_measure(everything, no), s_measure(everything, yes)) == (1, 0, 1)
    means = score_saliency([(nothing, no), (everything, yes)]).means()
    assert means["IoU"] == 1  # the image without object and mask does not count


def test_the_best_threshold_is_one_for_all_images():
    truth = np.array([[True, True, False, False]])
    low, high = np.array([[0.3, 0.3, 0.1, 0.1]]), np.array([[0.9, 0.9, 0.5, 0.5]])
    scores = score_saliency([(low, truth), (high, truth)])
    assert scores.f_measure.max(1).tolist() == pytest.approx([1, 1])
    both_found = 1.3 * 0.5 / (0.3 * 0.5 + 1)  # the second image at a threshold that the first one needs
    assert scores.means()["maxF"] == pytest.approx((1 + both_found) / 2)
    assert scores.means(np.array([1, 1]))["maxF"] == pytest.approx(1)


def test_a_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match=r"\(2, 3\) px does not fit a truth of \(3, 2\)"):
        score_image(np.zeros((2, 3)), np.zeros((3, 2), bool))
    with pytest.raises(ValueError, match="no masks"):
        score_saliency([])

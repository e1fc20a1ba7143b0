from __future__ import annotations

import numpy as np

from unseg_d2.masks.cuts3d.spatial_confidence import confidence_score, spatial_confidence, threshold_range


def test_thresholds_are_even_and_end_at_tau():
    np.testing.assert_allclose(threshold_range(0.115, 0.5, 6), 0.0575 + 0.0115 * np.arange(6))
    assert threshold_range(0.115, 0.5, 1).tolist() == [0.115]


def test_mean_of_the_cuts_with_a_floor_within_the_mask():
    cuts = np.zeros((6, 1, 4), bool)
    for patch, count in enumerate([6, 4, 1, 5]):
        cuts[6 - count :, 0, patch] = True
    mask = np.array([[True, True, True, False]])
    confidence = spatial_confidence(cuts, mask, minimum=0.5)
    np.testing.assert_allclose(confidence, [[1, 4 / 6, 0.5, 0]], rtol=1e-6)
    assert confidence.dtype == np.float32
    assert abs(confidence_score(confidence, mask) - (1 + 4 / 6 + 0.5) / 3) < 1e-6
    assert confidence_score(confidence, ~mask & False) == 0

from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.masks.bipartition import foreground_side
from unseg_d2.masks.priors import Guide, PriorSettings, guides

EVERYTHING = np.ones((5, 6), dtype=bool)


def halves(corners: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An eigenvector whose peak lies in a block that touches so many corners, and the block."""
    block = np.zeros((5, 6), dtype=bool)
    block[1:4, 2:5] = True
    for corner in [(0, 0), (0, 5), (4, 0), (4, 5)][:corners]:
        block[corner] = True
    vector = np.where(block, 1.0, -0.1)
    vector[2, 3] = 2.0
    return vector, block


def guide(union: np.ndarray | None, **settings: float) -> Guide:
    return Guide(union, PriorSettings(**settings))


class TestSide:
    @pytest.mark.parametrize("sign", [1, -1])
    @pytest.mark.parametrize("first", [True, False])
    def test_the_side_that_lies_more_in_the_union(self, sign, first):
        vector, block = halves(corners=2)
        for union, expected in ((block, block), (~block, ~block)):
            side, seed = guide(union).side(sign * vector, None, first=first)
            np.testing.assert_array_equal(side, expected)
            assert side.flat[seed]

    def test_in_the_first_cut_three_corners_are_the_background_whatever_the_union(self):
        vector, block = halves(corners=3)
        np.testing.assert_array_equal(guide(block).side(vector, None, first=True)[0], ~block)
        np.testing.assert_array_equal(guide(block).side(vector, None, first=False)[0], block)
        vector, block = halves(corners=0)  # the rest touches all of them
        np.testing.assert_array_equal(guide(~block).side(vector, None, first=True)[0], block)

    @pytest.mark.parametrize("union", [EVERYTHING, ~EVERYTHING])
    def test_of_equal_sides_that_of_the_peak(self, union):
        vector, block = halves(corners=2)
        np.testing.assert_array_equal(guide(union).side(-vector, None, first=False)[0], block)

    def test_shares_are_of_the_patches_that_are_left(self):
        vector, block = halves(corners=2)
        live = np.ones((5, 6), dtype=bool)
        live[0] = live[:, :2] = False
        side, seed = guide(~block & live).side(vector, live, first=False)
        np.testing.assert_array_equal(side, ~block & live)
        assert side.flat[seed]

    @pytest.mark.parametrize("corners", range(5))
    def test_without_a_union_it_is_the_published_side(self, corners):
        vector, _ = halves(corners)
        for first in (True, False):
            ours, published = guide(None).side(vector, None, first=first), foreground_side(vector)
            np.testing.assert_array_equal(ours[0], published[0])
            assert ours[1] == published[1]

    def test_a_constant_vector_has_no_side(self):
        assert not guide(EVERYTHING).side(np.full((5, 6), 0.25), None, first=True)[0].any()


def test_the_mask_is_the_component_of_the_seed():
    vector, block = halves(corners=2)
    expected = block.copy()
    expected[0, 0] = expected[0, 5] = False
    np.testing.assert_array_equal(guide(block).mask(vector, None, first=True), expected)
    np.testing.assert_array_equal(guide(None).mask(vector, None, first=True), expected)


def test_a_mask_of_which_too_little_lies_in_the_union_is_refused():
    union = np.zeros((5, 6), dtype=bool)
    union[:, :3] = True
    mask = np.zeros((5, 6), dtype=bool)
    mask[0, :4] = True  # three of four patches
    assert not guide(union).refuses(mask)
    mask[0, 4] = True
    assert guide(union).refuses(mask)
    assert not guide(union, min_precision=0.6).refuses(mask)
    assert not guide(None).refuses(mask)


def test_a_union_is_covered_from_four_fifths_on():
    union = np.zeros((5, 6), dtype=bool)
    union[:, 0] = True
    taken = np.zeros((5, 6), dtype=bool)
    taken[:4, 0] = taken[:, 5] = True
    assert guide(union).is_covered(taken)
    assert not guide(union, coverage=0.9).is_covered(taken)
    taken[3, 0] = False
    assert not guide(union).is_covered(taken)
    assert guide(~EVERYTHING).is_covered(taken & False)
    assert not guide(None).is_covered(EVERYTHING)


class TestGuides:
    tokens = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))

    def test_what_is_not_asked_for_has_no_union(self):
        assert [one.union for one in guides(self.tokens, PriorSettings(), asked=False)] == [None, None]
        with pytest.raises(ValueError, match="no effect"):
            guides(self.tokens, PriorSettings(), asked=False, unions=[EVERYTHING, EVERYTHING])

    def test_unions_come_from_unioncut_or_from_elsewhere(self):
        found = guides(self.tokens, PriorSettings(), asked=True)
        assert all(one.union is not None and one.union.shape == (5, 6) for one in found)
        (first, second) = guides(self.tokens, PriorSettings(), asked=True, unions=[EVERYTHING, ~EVERYTHING])
        assert first.union is EVERYTHING and second.union is not None and not second.union.any()

    @pytest.mark.parametrize("unions", [[EVERYTHING], [EVERYTHING, EVERYTHING[:4]], [EVERYTHING, EVERYTHING * 1.0]])
    def test_unions_of_another_grid_are_refused(self, unions):
        with pytest.raises(ValueError, match=r"expected 2 bool unions of shape \(5, 6\)"):
            guides(self.tokens, PriorSettings(), asked=True, unions=unions)

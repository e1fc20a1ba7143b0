from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.splitting import Fragment, SplitSettings, split_masks
from unseg_d2.masks.splitting.bgp import merged

HEIGHT, WIDTH = 20, 30


def box(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:bottom, left:right] = True
    return mask


def wall(column: int, strength: float = 1.0) -> np.ndarray:
    """Edges two pixels wide, from column - 1 to column."""
    edges = np.zeros((HEIGHT, WIDTH), np.float32)
    edges[:, column - 1 : column + 1] = strength
    return edges


def test_a_mask_is_divided_at_an_edge_and_nothing_is_lost():
    fragments = split_masks(box(5, 15, 4, 26)[None], wall(16))
    assert [one.parents for one in fragments] == [(0,), (0,)]
    np.testing.assert_array_equal(fragments[0].mask, box(5, 15, 4, 16))  # the larger one first
    np.testing.assert_array_equal(fragments[1].mask, box(5, 15, 16, 26))


def test_weak_edges_do_not_separate():
    mask = box(5, 15, 4, 26)
    (only,) = split_masks(mask[None], wall(16, 0.4))
    np.testing.assert_array_equal(only.mask, mask)
    assert len(split_masks(mask[None], wall(16, 0.4), SplitSettings(strength=0.3))) == 2


def test_an_edge_with_a_gap_does_not_separate():
    edges = wall(16)
    edges[9] = 0
    assert len(split_masks(box(5, 15, 4, 26)[None], edges)) == 1


def test_small_fragments_are_shared_out():
    """The wall cuts off a twenty-second of the mask, which is too little for an object of its own."""
    mask = box(5, 15, 4, 26)
    (only,) = split_masks(mask[None], wall(24))
    np.testing.assert_array_equal(only.mask, mask)
    assert len(split_masks(mask[None], wall(24), SplitSettings(min_area=0.02))) == 2


def test_parts_are_disjoint_and_cover_the_mask_whatever_the_edges():
    rng = np.random.default_rng(0)
    edges = (rng.random((HEIGHT, WIDTH)) < 0.45).astype(np.float32)
    mask = box(2, 18, 2, 14) | box(2, 18, 18, 28)
    mask[10, 16] = True  # a pixel apart
    fragments = split_masks(mask[None], edges, SplitSettings(min_area=0.02))
    assert len(fragments) > 2
    np.testing.assert_array_equal(sum(one.mask.astype(int) for one in fragments), mask)


def test_equal_parts_of_two_masks_become_one():
    masks = np.stack([box(5, 15, 4, 26), box(5, 15, 16, 29)])
    fragments = split_masks(masks, wall(16))
    assert [one.parents for one in fragments] == [(0,), (0, 1)]
    np.testing.assert_array_equal(fragments[1].mask, box(5, 15, 16, 29))  # 100 of 130 pixels in common
    assert len(split_masks(masks, wall(16), SplitSettings(merge_above=0.8))) == 3


def test_merging_goes_on_until_nothing_changes():
    """1 and 2 are the most alike; then their union is like 0."""
    masks = [box(0, 20, 0, 20), box(0, 20, 0, 9), box(0, 20, 1, 12)]
    left = merged([Fragment(mask, (i,)) for i, mask in enumerate(masks)], 0.5)
    assert [one.parents for one in left] == [(0, 1, 2)]
    np.testing.assert_array_equal(left[0].mask, masks[0])
    left = merged([Fragment(mask, (i,)) for i, mask in enumerate(masks)], 0.65)
    assert [one.parents for one in left] == [(0,), (1, 2)]


def test_nothing_to_split():
    assert split_masks(np.zeros((0, HEIGHT, WIDTH), bool), wall(3)) == []
    assert split_masks(np.zeros((1, HEIGHT, WIDTH), bool), wall(3)) == []
    (only,) = split_masks(box(5, 15, 4, 26)[None], np.ones((HEIGHT, WIDTH)))  # edges everywhere
    np.testing.assert_array_equal(only.mask, box(5, 15, 4, 26))


@pytest.mark.parametrize(
    ("masks", "edges", "message"),
    [
        (np.zeros((1, 4, 5)), np.zeros((4, 5)), "must be bool"),
        (np.zeros((1, 4, 5), bool), np.zeros((5, 4)), "resize one of them"),
        (np.zeros((1, 4, 5), bool), np.full((4, 5), 2.0), r"\[0, 1\]"),
        (np.zeros((1, 4, 5), bool), np.full((4, 5), np.nan), r"\[0, 1\]"),
    ],
)
def test_bad_input_is_named(masks, edges, message):
    with pytest.raises(ValueError, match=message):
        split_masks(masks, edges)

"""Which masks continue which track, where it can be told by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest

from unseg_d2.tracks.link import FrameMasks, Links, assign, link
from unseg_d2.tracks.placed import PlacedMask
from unseg_d2.tracks.settings import TrackSettings

BY_OVERLAP = TrackSettings(appearance=0.0)
RED, BLUE = np.eye(2, dtype=np.float32)


def square(left: int, top: int = 0, side: int = 10) -> PlacedMask:
    return PlacedMask(top, left, np.ones((side, side), bool))


def numbers(frames: list[FrameMasks], settings: TrackSettings = BY_OVERLAP) -> list[list[int]]:
    return [links.tracks.tolist() for links in link(frames, settings)]


def test_objects_keep_their_numbers_whatever_the_order_of_the_masks() -> None:
    frames = [FrameMasks(0, [square(0), square(50)]), FrameMasks(1, [square(52), square(3)])]
    frames.append(FrameMasks(2, [square(6), square(100), square(54)]))
    assert numbers(frames) == [[1, 2], [2, 1], [1, 3, 2]]


def test_a_fast_object_is_expected_where_its_speed_takes_it() -> None:
    """It moves by 4 px per frame; after a gap nothing of it is where it was, and all of it where it should be."""
    frames = [FrameMasks(t, [square(4 * t)]) for t in range(3)] + [FrameMasks(5, [square(40), square(20)])]
    assert numbers(frames) == [[1], [1], [1], [2, 1]]


def test_a_track_ends_after_the_longest_gap() -> None:
    gone = [FrameMasks(t, []) for t in range(1, 4)]
    assert numbers([FrameMasks(0, [square(0)]), *gone, FrameMasks(4, [square(0)])])[-1] == [1]
    short = replace(BY_OVERLAP, max_gap=2, max_filled=2)
    assert numbers([FrameMasks(0, [square(0)]), *gone, FrameMasks(4, [square(0)])], short)[-1] == [2]
    assert numbers([FrameMasks(0, [square(0)]), FrameMasks(4, [square(0)])], short)[-1] == [2]


def test_features_decide_where_the_overlap_is_the_same() -> None:
    """Two squares meet in one place; by overlap alone nobody can tell which is which afterwards."""
    both = np.stack([RED, BLUE])
    frames = [
        FrameMasks(0, [square(0), square(12)], both),
        FrameMasks(1, [square(6), square(6)], both[::-1]),
        FrameMasks(2, [square(12), square(0)], both),
    ]
    assert numbers(frames, TrackSettings(appearance=0.8, reach=3.0)) == [[1, 2], [2, 1], [1, 2]]


def test_likeness_alone_does_not_reach_across_the_picture() -> None:
    frames = [FrameMasks(0, [square(0)], RED[None]), FrameMasks(1, [square(20)], RED[None])]
    assert numbers(frames, TrackSettings(appearance=0.5)) == [[1], [1]]  # 20 px, and two diagonals are 28
    frames[1] = FrameMasks(1, [square(30)], RED[None])
    assert numbers(frames, TrackSettings(appearance=0.5)) == [[1], [2]]
    assert numbers([frames[0], FrameMasks(1, [square(0)], BLUE[None])], TrackSettings(appearance=0.8)) == [[1], [2]]


def test_agreement_is_the_overlap_of_the_shapes() -> None:
    half = PlacedMask(0, 3, np.ones((10, 5), bool))
    found = list(link([FrameMasks(0, [square(0)]), FrameMasks(1, [square(2)]), FrameMasks(2, [half])], BY_OVERLAP))
    assert isinstance(found[0], Links) and np.isnan(found[0].agreements[0])
    assert found[1].agreements[0] == 1 and found[2].agreements[0] == pytest.approx(0.5)


@pytest.mark.parametrize("seed", range(5))
def test_the_assignment_has_the_largest_sum(seed: int) -> None:
    similarity = np.random.default_rng(seed).random((4, 4))
    best = max(sum(similarity[row, column] for row, column in enumerate(order)) for order in permutations(range(4)))
    assert sum(similarity[pair] for pair in assign(similarity)) == pytest.approx(best)
    assert assign(np.zeros((2, 3))) == [] and assign(np.zeros((0, 3))) == []


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="no track has a gap of more than 3"):
        TrackSettings(max_gap=3, max_filled=5)


def test_a_mask_without_features_goes_by_its_overlap_alone() -> None:
    """An IoU of a third is enough by itself, but half of it is not, with a cosine of 0 for what is not known."""
    nothing = np.zeros((1, 2), np.float32)
    frames = [FrameMasks(0, [square(0)], RED[None]), FrameMasks(1, [square(5)], nothing)]
    assert numbers(frames, TrackSettings()) == [[1], [1]]
    assert numbers([frames[1], FrameMasks(2, [square(0)], RED[None])], TrackSettings()) == [[1], [1]]
    assert numbers([frames[0], FrameMasks(1, [square(5)], BLUE[None])], TrackSettings()) == [[1], [2]]

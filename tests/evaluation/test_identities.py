"""Identity switches, counted by hand."""

from __future__ import annotations

import numpy as np

from unseg_d2.evaluation.identities import FrameOverlaps, identity_switches


def frame(objects: str, tracks: str, *pairs: str, iou: float = 0.8) -> FrameOverlaps:
    """Objects and tracks are letters; each pair of them that overlaps is ``Aa``."""
    ious = np.zeros((len(objects), len(tracks)))
    for known, track in pairs:
        ious[objects.index(known), tracks.index(track)] = iou
    return FrameOverlaps(list(objects), list(tracks), ious)


def test_two_tracks_that_change_places_are_two_switches() -> None:
    before = frame("AB", "ab", "Aa", "Bb")
    after = frame("AB", "ab", "Ab", "Ba")
    assert identity_switches([before, before, after, after], 0.5) == 2
    assert identity_switches([before, before], 0.5) == 0


def test_a_new_number_after_an_absence_is_a_switch_and_the_old_one_is_none() -> None:
    seen, away = frame("A", "a", "Aa"), frame("", "")
    assert identity_switches([seen, away, frame("A", "b", "Ab")], 0.5) == 1
    assert identity_switches([seen, away, away, seen], 0.5) == 0
    assert identity_switches([seen, frame("A", "b", "Ab", iou=0.4)], 0.5) == 0  # too small an overlap to be a match


def test_an_object_stays_with_its_track_even_where_another_overlaps_more() -> None:
    first = frame("A", "a", "Aa")
    both = FrameOverlaps(["A"], ["b", "a"], np.array([[0.9, 0.6]]))
    assert identity_switches([first, both], 0.5) == 0
    assert identity_switches([both, first], 0.5) == 1


def test_the_sum_of_overlaps_decides_for_new_objects() -> None:
    """A takes b although it overlaps a more, because B has only a; both keep their tracks then."""
    shared = FrameOverlaps(["A", "B"], ["a", "b"], np.array([[0.7, 0.6], [0.7, 0.0]]))
    alone = frame("AB", "ab", "Ab", "Ba")
    assert identity_switches([shared, alone], 0.5) == 0

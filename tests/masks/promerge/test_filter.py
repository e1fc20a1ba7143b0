"""What the filter of ProMerge turns down, counted by hand."""

from __future__ import annotations

from collections import Counter

from unseg_d2.masks.promerge.filter import cascade_filter


def test_each_limit_counts_what_it_turns_down() -> None:
    """Of five masks one is accepted, one is a duplicate, one is too like the background and two lie in it."""
    sets = [0b000001, 0b000001, 0b000110, 0b111000, 0b011000]
    rejected = Counter[str]()
    kept = cascade_filter(
        sets,
        [0.0, 0.0, 0.5, 0.0, 0.0],
        background=0b111000,
        max_background=0.8,
        max_likeness=0.4,
        rejected=rejected,
    )
    assert kept == [0] and rejected == {"max_likeness": 1, "max_background": 2}

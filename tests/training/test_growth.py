"""The growth of a label set over the rounds, from what its files say about themselves."""

from unseg_d2.training.growth import COLUMNS, Growth, growth_table

COUNTS = {"images": 4, "masks": 6, "images_without_masks": 1, "most_masks_on_an_image": 3}
MERGED = {
    "counts": {**COUNTS, "masks": 9, "images_without_masks": 0},
    "rounds": [{"kept_predictions": 100, "kept_previous": 1}, {"kept_predictions": 5, "kept_previous": 4}],
}


def test_the_first_label_set_came_from_nothing():
    first = Growth.of("round 0", {"counts": COUNTS})
    assert first is not None and first.row() == ["round 0", "6", "1.50", "-", "-", "-", "1"]
    assert first.line() == "label set of round 0: 6 masks: 1.50 per image; 1 image has none"


def test_a_merge_adds_keeps_and_replaces():
    grown = Growth.of("round 2", MERGED, {"counts": COUNTS})
    assert grown is not None and grown.row() == ["round 2", "9", "2.25", "5", "4", "2", "0"]
    assert "5 masks added, 4 kept, 2 replaced" in grown.line()
    assert [len(row) for row in growth_table([grown])] == [len(COLUMNS)] * 2


def test_a_label_set_of_others_says_nothing():
    assert Growth.of("round 0", {"description": "exported elsewhere"}) is None
    foreign = Growth.of("round 1", MERGED, {})
    assert foreign is not None and foreign.replaced is None and "replaced" not in foreign.line()

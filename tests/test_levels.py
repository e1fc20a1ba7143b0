from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest

from unseg_d2.levels import annotated_within, granularities, is_within, reconnected, surviving_parents


class TestSurvivors:
    def test_the_nearest_ancestor_that_is_kept(self):
        """0 < 1 < 2 < 3, and 4 < 2: without 1 and 2 both hang on 3."""
        assert surviving_parents([1, 2, 3, -1, 2], [True, False, False, True, True]) == [1, -1, 1]
        assert surviving_parents([1, 2, 3, -1, 2], [True] * 5) == [1, 2, 3, -1, 2]
        assert surviving_parents([1, -1], [True, False]) == [-1]
        assert surviving_parents([], []) == []

    def test_against_a_walk_over_all_masks(self):
        """The tree among the kept: whoever contains a mask is all its ancestors, in their order."""
        rng = np.random.default_rng(0)
        for _ in range(20):
            parents = [-1, *(int(rng.integers(-1, i)) for i in range(1, 12))]
            kept = (rng.random(12) < 0.6).tolist()
            names = [i for i in range(12) if kept[i]]
            for mask, found in zip(names, surviving_parents(parents, kept)):
                ancestors, at = [], mask
                while parents[at] >= 0:
                    at = parents[at]
                    ancestors.append(at)
                expected = next((one for one in ancestors if kept[one]), -1)
                assert (names[found] if found >= 0 else -1) == expected


class TestGranularity:
    def test_by_hand(self):
        """Sides 2, 4 and 6 of one tree: (4 - 2) / (6 - 2) is a half. Another tree has sides of its own."""
        found = granularities([4, 16, 36, 100, 9, 900], [1, 2, -1, -1, 5, -1])
        np.testing.assert_allclose(found, [0.1, 0.55, 1.0, 1.0, 0.1, 1.0])

    def test_a_tree_of_one_size(self):
        assert granularities([7, 7], [1, -1]).tolist() == [1.0, 1.0]
        assert granularities([], []).tolist() == []

    def test_long_chains(self):
        areas = [(i + 1) ** 2 for i in range(50)]
        found = granularities(areas, [*range(1, 50), -1])
        np.testing.assert_allclose(found, 0.1 + 0.9 * np.arange(50) / 49)


class TestAnnotations:
    before: ClassVar = [
        {"id": 5, "node": 0, "parent": 1},
        {"id": 6, "node": 1, "parent": 2},
        {"id": 7, "node": 2},
        {"id": 8},
    ]

    def test_what_is_left_hangs_on_what_is_left(self):
        assert reconnected(self.before, [self.before[0], self.before[2], self.before[3]]) == [
            {"id": 5, "node": 0, "parent": 2},
            {"id": 7, "node": 2},
            {"id": 8},
        ]
        assert reconnected(self.before, self.before[:1]) == [{"id": 5, "node": 0}]
        assert reconnected(self.before, self.before) == self.before

    @pytest.mark.parametrize("parents", [(1, 0), (9, 9), (0, 1)])
    def test_circles_and_strangers_of_other_files_end(self, parents):
        items = [{"node": node, "parent": parent} for node, parent in enumerate(parents)]
        assert reconnected(items, items[:1]) == [{"node": 0}]


class TestIntervals:
    def test_ends_belong_to_an_interval_also_after_rounding_to_float32(self):
        stated = np.array([0.1, 0.3, 0.7, 1.0], dtype=np.float32)
        assert is_within(stated, (0.3, 0.7)).tolist() == [False, True, True, False]
        assert is_within(stated.astype(np.float64), (0.1, 1)).all()

    def test_what_states_no_granularity_counts_as_a_whole_object(self):
        items = [{}, {"granularity": None}, {"granularity": "fine"}, {"granularity": True}, {"granularity": 0.2}]
        assert annotated_within(items, (0.5, 1)) == items[:4]
        assert annotated_within(items, (0.1, 0.5)) == items[4:]

    def test_crowd_regions_are_of_no_level(self):
        items = [{"iscrowd": 1}, {"iscrowd": 0}, {"iscrowd": 1, "granularity": 0.9}, {"granularity": 0.2}]
        assert annotated_within(items, (0.1, 0.5)) == [items[0], items[2], items[3]]

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from unseg_d2.masks.promerge.filter import cascade_filter, merge, to_masks, to_sets
from unseg_d2.masks.promerge.promerge import ProMerge, ProMergeSettings, promerge, promerge_steps
from unseg_d2.masks.promerge.prompts import (
    components,
    feature_lengths,
    majority,
    prompt_indices,
    sides_covered,
    similar_patches,
)
from unseg_d2.structures import PatchFeatures

LIMITS = {"max_background": 0.8, "max_likeness": 0.1}
RULES = {"merge_above": 0.5, "compare_above": 0.1, "min_similarity": 0.1}


def blocks() -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Tokens ``(1, 4, 12, 12)`` of a background, two orthogonal objects and one opposite to it; the objects."""
    tokens = torch.zeros(1, 4, 12, 12)
    tokens[0, 0] = 2
    boxes = [np.s_[3:6, 3:6], np.s_[3:6, 7:9], np.s_[7:11, 7:11]]
    masks = []
    for box, feature in zip(boxes, ([0.0, 3, 0, 0], [0.0, 0, 1, 0], [-1.0, 0, 0, 0])):
        tokens[0][(slice(None), *box)] = torch.tensor(feature)[:, None, None]
        mask = torch.zeros(12, 12, dtype=torch.bool)
        mask[box] = True
        masks.append(mask)
    return tokens, masks


class TestByHand:
    def test_clusters(self):
        """Scores are (1 - 0) / 2 for the orthogonal objects and (1 + 1) / 2 for the opposite one."""
        tokens, (first, second, opposite) = blocks()
        (proposals,) = promerge(tokens)
        assert torch.equal(proposals.masks, torch.stack([opposite, first, second]))
        torch.testing.assert_close(proposals.scores, torch.tensor([1.0, 0.5, 0.5]))

    def test_parity_has_no_scores_and_puts_the_largest_first(self):
        tokens, (first, second, opposite) = blocks()
        (proposals,) = promerge(tokens, ProMergeSettings(mode="parity"))
        assert torch.equal(proposals.masks, torch.stack([opposite, first, second]))
        assert proposals.scores.tolist() == [1.0, 1.0, 1.0]

    def test_steps(self):
        """Prompts at rows and columns 0, 4, 8: three lie in objects, six in the background."""
        tokens, masks = blocks()
        (steps,) = promerge_steps(tokens, ProMergeSettings())
        assert steps.num_votes == 6
        np.testing.assert_array_equal(steps.background, ~torch.stack(masks).any(0).numpy())
        assert len(steps.proposals) == 3

    def test_without_a_background_a_mask_on_one_side_votes(self):
        """Either half covers one side, and of top and bottom just a half; prompts in columns 0 and 4 are left, 8 right.

        The published rule finds no background and drops the image.
        """
        tokens = torch.zeros(1, 3, 12, 12)
        tokens[0, 0, :, :6], tokens[0, 1, :, 6:] = 1, 1
        tokens[0, :, 3:6, 3:6] = torch.tensor([0.0, 0, 1])[:, None, None]
        assert len(promerge(tokens, ProMergeSettings(mode="parity"))[0]) == 0
        (steps,) = promerge_steps(tokens, ProMergeSettings())
        np.testing.assert_array_equal(steps.background, (tokens[0, 0] > 0).numpy())
        (proposals,) = promerge(tokens)
        assert {tuple(mask.nonzero()[0].tolist()) for mask in proposals.masks} == {(0, 6), (3, 3)}

    def test_without_any_background_everything_is_kept(self):
        tokens = torch.eye(16).view(1, 16, 4, 4)
        assert len(promerge(tokens, ProMergeSettings(stride=1, mode="parity"))[0]) == 0
        (proposals,) = promerge(tokens, ProMergeSettings(stride=1))
        assert torch.equal(proposals.masks.flatten(1), torch.eye(16, dtype=torch.bool))
        assert proposals.scores.tolist() == [0.5] * 16  # nothing is left to contrast with

    def test_a_batch_is_its_images(self):
        tokens = torch.cat([blocks()[0], blocks()[0].flip(3), torch.randn(1, 4, 12, 12), torch.ones(1, 4, 12, 12)])
        for image, together in zip(tokens, promerge(tokens)):
            (alone,) = promerge(image[None])
            assert torch.equal(alone.masks, together.masks)
            torch.testing.assert_close(alone.scores, together.scores)


class TestPrompts:
    def test_indices_of_a_grid_that_is_not_square(self):
        assert prompt_indices(5, 3, 2).tolist() == [0, 2, 6, 8, 12, 14]
        assert prompt_indices(1, 1, 4).tolist() == [0]

    @pytest.mark.parametrize(("offset", "expected"), [(-1e-9, True), (1e-9, False)])
    def test_affinities_next_to_tau_are_decided_in_float64(self, offset, expected):
        tokens = torch.randn(1, 32, 20)
        unit = tokens[0].double() / (tokens[0].double().norm(dim=0) + 1e-5)
        affinity = unit.T @ unit
        pair = int((affinity[0] - 0.2).abs().argmin())
        similar = similar_patches(tokens, feature_lengths(tokens), np.array([0]), float(affinity[0, pair]) + offset)
        assert bool(similar[0, 0, pair]) is expected

    def test_more_than_half_of_a_side(self):
        """Half of four is not more than half (2 / 4 rounds to even, 0), three of five is."""
        mask = torch.zeros(2, 4, 5, dtype=torch.bool)
        mask[0, 0, :3] = True  # top: 3 of 5; left: 1 of 4
        mask[1, :2, 0] = True  # left: 2 of 4
        mask[1, 3, 2:] = True  # bottom: 3 of 5
        assert sides_covered(mask).tolist() == [1, 1]
        mask[1, 2, 0] = True  # left: 3 of 4
        assert sides_covered(mask).tolist() == [1, 2]
        assert sides_covered(torch.ones(1, 1, 1, dtype=torch.bool)).tolist() == [4]

    def test_majority(self):
        masks = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=torch.bool).view(1, 3, 1, 3)
        assert majority(masks, torch.tensor([[True, True, False]])).flatten().tolist() == [True, False, False]
        assert not majority(masks, torch.zeros(1, 3, dtype=torch.bool)).any()

    def test_components_are_measured_by_the_one_with_the_prompt(self):
        row = np.array([1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 1, 1], dtype=bool)  # sizes 2, 4, 1, 3
        masks = np.stack([row, row, ~row])[:, None]
        found = components(masks, np.array([0, 4, 0]), 0.5)  # the last mask does not hold its prompt
        starts = [int(np.flatnonzero(mask[0])[0]) for mask in found]
        # Prompt in the component of 2: all of size 1 and more. Prompt in that of 4: of size 2 and more.
        assert starts == [3, 10, 0, 8, 3, 10, 0]
        assert [int(mask.sum()) for mask in found] == [4, 3, 2, 1, 4, 3, 2]

    def test_components_touch_at_sides_and_not_across_masks(self):
        masks = np.zeros((2, 2, 2), dtype=bool)
        masks[0] = [[0, 0], [1, 0]]
        masks[1] = [[1, 0], [0, 1]]
        found = components(masks, np.array([2, 0]), 0.5)
        assert [mask.tolist() for mask in found] == [
            [[False, False], [True, False]],
            [[True, False], [False, False]],
            [[False, False], [False, True]],
        ]
        assert components(masks[:0], np.array([], dtype=int), 0.5).shape == (0, 2, 2)


class TestFilter:
    def test_sets_and_back(self):
        masks = np.random.default_rng(0).random((5, 21)) > 0.5
        np.testing.assert_array_equal(to_masks(to_sets(masks), 21), masks)
        assert to_masks([], 21).shape == (0, 21)

    def test_what_adds_nothing_is_a_duplicate(self):
        """The second is equal to the first, the last one the union of those before it."""
        sets = [0b0011, 0b0011, 0b1100, 0b1111]
        assert cascade_filter(sets, [0.0] * 4, 0, **LIMITS) == [0, 2]

    def test_only_what_is_new_is_compared_with_the_background(self):
        """The large mask adds five patches, four of them background: a share of 0.8, which is too much."""
        small, large = 0b11, 0b1111111
        assert cascade_filter([large, small], [0.0, 0.0], 0b1111000, **LIMITS) == [1]
        assert cascade_filter([large, small], [0.0, 0.0], 0b1110000, **LIMITS) == [1, 0]

    def test_likeness_of_the_limit_is_too_much(self):
        assert cascade_filter([0b01, 0b10], [0.1, 0.0999], 0, **LIMITS) == [1]


class TestMerge:
    def test_by_hand(self):
        """The mask of four lies for a half in the cluster: not more than a half, so their likeness decides."""
        cluster, mask = 0b111111000000, 0b000011110000
        assert merge([mask, cluster], lambda *_: 0.1, **RULES) == [cluster | mask]
        assert merge([mask, cluster], lambda *_: 0.0999, **RULES) == [cluster, mask]

    def test_likeness_is_not_asked_for_where_it_does_not_matter(self):
        def fail(*_):
            raise AssertionError

        assert merge([0b1111, 0b0111], fail, **RULES) == [0b1111]  # covered
        assert merge([0b111100, 0b000011], fail, **RULES) == [0b111100, 0b000011]  # apart

    def test_a_mask_can_join_two_clusters(self):
        left, right, bridge = 0b1111100000000000, 0b0000000011111000, 0b0000100010000000 | 0b0000010100000000
        assert merge([left, right, bridge], lambda *_: 1.0, **RULES) == [left | right | bridge]

    @pytest.mark.parametrize("seed", range(5))
    def test_the_order_of_masks_does_not_matter(self, seed):
        rng = random.Random(seed)
        sets = {}  # one of each size: equal sizes have no order of their own
        for _ in range(60):
            start, length = rng.randrange(180), rng.randrange(3, 40)
            sets[length] = ((1 << length) - 1) << start
        masks = list(sets.values())

        def similarity(first: int, second: int) -> float:
            return float((first * 31 + second) % 7 > 3)

        expected = merge(masks, similarity, **RULES)
        rng.shuffle(masks)
        assert merge(masks, similarity, **RULES) == expected


class TestAttention:
    def features(self, attention: torch.Tensor | None) -> list[PatchFeatures]:
        return [PatchFeatures(blocks()[0][0], 8, attention)]

    def test_drops_what_the_backbone_does_not_look_at(self):
        _, (first, second, opposite) = blocks()
        attention = torch.ones(12, 12)
        attention[first], attention[second], attention[opposite] = 9, 0.1, 1
        (found,) = ProMerge(ProMergeSettings(min_attention=0.6))(self.features(attention))
        assert torch.equal(found.masks, first[None])
        assert len(ProMerge()(self.features(attention))[0]) == 3

    def test_a_backend_without_attention(self):
        with pytest.raises(ValueError, match="set it to 0"):
            ProMerge(ProMergeSettings(min_attention=0.6))(self.features(None))


@pytest.mark.parametrize(
    "setting", [{"mode": "paper"}, {"stride": 0}, {"tau": 1.0}, {"min_component": 1.5}, {"max_likeness": -2.0}]
)
def test_settings_out_of_range_are_named(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        ProMerge(ProMergeSettings(**setting))

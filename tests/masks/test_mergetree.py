from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.graph.merge_tree import Merges, spans
from unseg_d2.masks.mergetree import MergeTreeSettings, chosen_nodes, mergetree, separation


def scene(*objects: tuple[slice, slice], noise: float = 0.02) -> tuple[torch.Tensor, np.ndarray]:
    """Tokens ``(1, 8, 20, 24)`` of objects on a background, each of a direction of its own; and their masks."""
    masks = np.zeros((len(objects), 20, 24), bool)
    tokens = np.zeros((8, 20, 24))
    tokens[0] = 1
    for number, (mask, place) in enumerate(zip(masks, objects), start=1):
        mask[place] = True
        tokens[:, mask] = np.eye(8)[number][:, None]
    tokens += noise * np.random.default_rng(0).standard_normal(tokens.shape)
    return torch.from_numpy(tokens)[None].float(), masks


def test_separation_by_hand() -> None:
    """Leaves 0 to 3; 4 = 0 + 1 at 1, 5 = 2 + 3 at 4, 6 = 4 + 5 at 5; then a lower last merge, which counts as 4."""
    children = np.array([[0, 1], [2, 3], [4, 5]])
    assert separation(children, np.array([1.0, 4, 5]), 4).tolist() == [1, 1, 4, 4, 5, 5, 0]
    assert separation(children, np.array([1.0, 4, 2]), 4).tolist() == [1, 1, 4, 4, 4, 4, 0]


def test_nodes_that_a_better_one_covers_are_left_out() -> None:
    """Node 5 has three of the four patches of node 6, and node 4 two of the three of node 5."""
    places = spans(Merges(np.array([[0, 1], [2, 4], [3, 5]]), np.array([1.0, 2, 3])), 4)
    allowed = places.areas > 1
    scores = np.array([9.0, 9, 9, 9, 0.5, 0.9, 0.7])
    assert chosen_nodes(places, scores, allowed, 9, 0.76) == [5, 6, 4]
    assert chosen_nodes(places, scores, allowed, 9, 0.7) == [5, 4]
    assert chosen_nodes(places, scores, allowed, 9, 0.6) == [5]
    assert chosen_nodes(places, scores, allowed, 2, 1.0) == [5, 6]


def test_planted_objects_come_first() -> None:
    tokens, masks = scene((slice(3, 9), slice(3, 10)), (slice(11, 18), slice(14, 22)))
    (found,) = mergetree(tokens)
    first = {mask.numpy().tobytes() for mask in found.masks[:4]}
    assert {mask.tobytes() for mask in masks} <= first
    assert found.scores[0] == 1 and (found.scores.diff() <= 0).all()


def test_parts_lie_within_their_object() -> None:
    left, right = (slice(4, 16), slice(4, 10)), (slice(4, 16), slice(10, 16))
    tokens, masks = scene(left, right)
    tokens[0, :, masks.any(0)] += 3 * torch.eye(8)[5][:, None]  # what both have in common
    (found,) = mergetree(tokens, MergeTreeSettings(min_patches=30))
    place = {mask.numpy().tobytes(): number for number, mask in enumerate(found.masks)}
    whole = place[masks.any(0).tobytes()]
    parts = [place[mask.tobytes()] for mask in masks]
    assert found.parents[parts].tolist() == [whole, whole]
    assert (found.levels[parts] < found.levels[whole]).all()
    for child, parent in enumerate(found.parents.tolist()):
        assert parent < 0 or (found.masks[child] <= found.masks[parent]).all()


def test_sizes_are_kept_within_limits() -> None:
    tokens, _ = scene((slice(3, 9), slice(3, 10)))
    areas = mergetree(tokens, MergeTreeSettings(min_patches=10, max_share=0.5, num_masks=7))[0].masks.flatten(1).sum(1)
    assert len(areas) == 7 and areas.min() >= 10 and areas.max() <= 240


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_where_all_is_alike_there_is_nothing(value: float) -> None:
    (found,) = mergetree(torch.full((1, 5, 9, 9), value))
    assert len(found) == 0 and found.rejected == {"no region differs from what is around it": 1}

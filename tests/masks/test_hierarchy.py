from __future__ import annotations

import numpy as np
import pytest

from unseg_d2.masks.hierarchy import Layer, contrast, masks_of_layers


def layer(labels: list[int], scores: list[float], groups: list[int] | None = None) -> Layer:
    found = np.array(labels)
    return Layer(found, np.bincount(found), np.array(scores), None if groups is None else np.array(groups))


def described(layers: list[Layer], kinds: str, *, least: int = 2, most: float = 0.9) -> dict[tuple[int, ...], tuple]:
    """Patches of each mask to its score, level, and the patches of its parent."""
    found = masks_of_layers(layers, (2, 4), kinds=kinds, min_patches=least, max_share=most)
    if not len(found):
        return {}
    assert (found.scores[:-1] >= found.scores[1:]).all()
    patches = [tuple(np.flatnonzero(mask.numpy()).tolist()) for mask in found.masks]
    parents = [patches[parent] if parent >= 0 else None for parent in found.parents.tolist()]
    scores = [round(score, 6) for score in found.scores.tolist()]
    return dict(zip(patches, zip(scores, found.levels.tolist(), parents)))


LAYERS = [
    layer([0, 0, 1, 2, 3, 3, 4, 4], [0.1, 0.2, 0.3, 0.4, 0.5], [0, -1, -1, 1, 0]),
    layer([0, 0, 1, 1, 0, 0, 1, 1], [0.6, 0.7], [0, 1]),
    layer([0, 0, 0, 0, 0, 0, 0, 0], [0.0], [0]),
]
"""Pairs of patches and two patches alone, then two halves, then all; the first and the last pair are one group."""


def test_regions_once_in_their_finest_layer():
    assert described(LAYERS, "instance") == {
        (2, 3, 6, 7): (0.7, 1, None),
        (0, 1, 4, 5): (0.6, 1, None),
        (6, 7): (0.5, 0, (2, 3, 6, 7)),
        (4, 5): (0.4, 0, (0, 1, 4, 5)),
        (0, 1): (0.1, 0, (0, 1, 4, 5)),
    }


def test_groups_are_masks_wherever_their_regions_lie():
    """A group of one region is the region; the score is the mean by area."""
    assert described(LAYERS, "semantic") == {
        (2, 3, 6, 7): (0.7, 1, None),
        (0, 1, 4, 5): (0.6, 1, None),
        (4, 5): (0.4, 0, (0, 1, 4, 5)),
        (0, 1, 6, 7): (0.3, 0, None),
    }


def test_a_parent_is_a_region_before_it_is_a_group():
    found = described(LAYERS, "both")
    assert found[0, 1] == (0.1, 0, (0, 1, 4, 5)) and found[0, 1, 6, 7] == (0.3, 0, None)
    alone = [LAYERS[0]]
    assert described(alone, "both")[0, 1] == (0.1, 0, (0, 1, 6, 7))


@pytest.mark.parametrize(("least", "most", "count"), [(1, 0.9, 7), (3, 0.9, 2), (2, 0.4, 3), (9, 0.9, 0)])
def test_limits(least, most, count):
    assert len(described(LAYERS, "instance", least=least, most=most)) == count


def test_what_was_turned_down_is_that_of_the_last_layer():
    found = masks_of_layers(LAYERS, (2, 4), kinds="instance", min_patches=2, max_share=0.4)
    assert found.rejected == {"max_share": 1}
    found = masks_of_layers(LAYERS[:1], (2, 4), kinds="both", min_patches=3, max_share=0.4)
    assert len(found) == 0 and found.rejected == {"min_patches": 5}


def test_contrast_by_hand():
    """A path of three: the middle one has the mean similarity (.8 + .4) / 2."""
    found = contrast(np.array([[0, 1], [1, 2]]), 4, np.array([0.8, 0.4], dtype=np.float32))
    np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.0], atol=1e-7)

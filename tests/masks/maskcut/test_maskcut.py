from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.masks import MaskCutSettings, PriorSettings
from unseg_d2.masks.maskcut.maskcut import maskcut
from unseg_d2.masks.maskcut.parity import parity_steps

SETTINGS = {"tau": 0.15, "eps": 1e-5, "num_masks": 3, "max_overlap": 0.5, "min_area": 0.01}


def scene(h: int = 20, w: int = 28, noise: float = 0.05, seed: int = 0) -> tuple[torch.Tensor, list[np.ndarray]]:
    """Tokens ``(1, 8, h, w)`` of two objects on a background, and the objects' masks, the more distinct one first."""
    objects = [np.zeros((h, w), dtype=bool) for _ in range(2)]
    objects[0][3:10, 3:12] = True
    objects[1][8:17, 15:25] = True
    kind = objects[0] + 2 * objects[1]
    prototypes = np.array([[1, 0, 0.0], [0, 1, 0], [0.3, 0, 1]])  # the second object is a little like the background
    tokens = np.zeros((8, h, w))
    tokens[:3] = prototypes[kind].transpose(2, 0, 1)
    tokens += noise * np.random.default_rng(seed).standard_normal(tokens.shape)
    return torch.from_numpy(tokens[None]).float(), objects


class TestDefault:
    def test_finds_the_objects_and_stops(self):
        tokens, objects = scene()
        (proposals,) = maskcut(tokens, MaskCutSettings(num_masks=5, tau=0.4))
        np.testing.assert_array_equal(proposals.masks.numpy(), np.stack(objects))
        assert 0.99 < proposals.scores[0] <= 1
        assert 0.8 < proposals.scores[1] < 0.9

    def test_masks_are_disjoint_and_not_small(self):
        tokens, _ = scene(noise=0.5)
        (proposals,) = maskcut(tokens, MaskCutSettings(num_masks=6, min_area=0.05))
        assert len(proposals) > 1
        assert proposals.masks.sum(0).max() == 1
        assert (proposals.masks[1:].float().mean((1, 2)) > 0.05).all()

    def test_a_batch_equals_its_members(self):
        tokens = torch.cat([scene(noise=0.4, seed=seed)[0] for seed in range(3)] + [torch.ones(1, 8, 20, 28)])
        for together, image in zip(maskcut(tokens), tokens):
            (alone,) = maskcut(image[None])
            assert torch.equal(together.masks, alone.masks)
            torch.testing.assert_close(together.scores, alone.scores)


class TestParity:
    def test_a_stalled_image_blanks_its_mask_and_accepts_it_one_iteration_later(self):
        """One object on a noisy background: no cut of what is left is cheaper than that of the painted block."""
        tokens, objects = scene()
        tokens[:, :, objects[1]] = tokens[:, :, :2].flatten(2)[:, :, torch.arange(int(objects[1].sum())) % 56]
        (steps,) = parity_steps(tokens, **SETTINGS)
        for step in steps:
            np.testing.assert_array_equal(step.component, objects[0])
        assert [bool(step.mask.any()) for step in steps] == [True, False, True]
        assert [bool(step.output.any()) for step in steps] == [True, False, False]
        (published,), (default,) = maskcut(tokens, MaskCutSettings(mode="parity")), maskcut(tokens)
        assert len(published) == len(default) == 1

    def test_outputs_are_disjoint_and_scored_one(self):
        (proposals,) = maskcut(scene(noise=0.5)[0], MaskCutSettings(mode="parity", num_masks=4))
        assert proposals.masks.sum(0).max() == 1
        assert (proposals.scores == 1).all()

    def test_small_masks_after_the_first_are_blanked(self):
        (steps,) = parity_steps(scene()[0], **{**SETTINGS, "min_area": 0.99})
        assert steps[0].mask.any()
        assert not any(step.mask.any() for step in steps[1:])


class TestPrior:
    """The union of the image chooses the sides and ends the search."""

    @staticmethod
    def settings(**prior: float) -> MaskCutSettings:
        return MaskCutSettings(num_masks=6, tau=0.4, stop="prior", prior=PriorSettings(**prior))

    def test_the_search_ends_where_the_union_is_covered(self):
        tokens, objects = scene(noise=0.45)
        counted = maskcut(tokens, MaskCutSettings(num_masks=6, tau=0.4))[0]
        assert len(counted) > 2  # pieces of the background too
        (guided,) = maskcut(tokens, self.settings(), [objects[0] | objects[1]])
        assert len(guided) == 2
        for mask, one in zip(guided.masks.numpy(), objects):
            assert (mask & one).sum() > 0.8 * (mask | one).sum()

    def test_the_search_ends_where_a_mask_lies_outside(self):
        tokens, objects = scene()
        union = objects[0].copy()
        union[objects[1]] = np.arange(objects[1].sum()) % 2  # half of the second object
        assert len(maskcut(tokens, self.settings(), [union])[0]) == 1
        (found,) = maskcut(tokens, self.settings(min_precision=0.4), [union])
        np.testing.assert_array_equal(found.masks.numpy(), np.stack(objects))

    @pytest.mark.parametrize("coverage", [0.3, 1.0])
    def test_the_share_that_is_covered_decides(self, coverage):
        tokens, objects = scene()
        (found,) = maskcut(tokens, self.settings(coverage=coverage), [objects[0] | objects[1]])
        assert len(found) == (1 if coverage < 0.4 else 2)

    def test_without_a_union_one_mask_is_kept(self):
        tokens, objects = scene()
        (found,) = maskcut(tokens, self.settings(), [objects[0] & False])
        np.testing.assert_array_equal(found.masks.numpy(), objects[0][None])

    def test_the_union_chooses_the_side(self):
        """Without the objects only two halves of the background are left, and the smaller one has the peak."""
        tokens = torch.zeros(1, 2, 10, 12)
        tokens[0, 0, :, :5], tokens[0, 1, :, 5:] = 1, 1
        right = np.zeros((10, 12), dtype=bool)
        right[:, 5:] = True
        for union in (right, ~right):
            (found,) = maskcut(tokens, self.settings(), [union])
            np.testing.assert_array_equal(found.masks[0].numpy(), union)

    def test_a_batch_equals_its_members(self):
        tokens = torch.cat([scene(noise=0.45, seed=seed)[0] - 0.3 for seed in range(3)] + [torch.ones(1, 8, 20, 28)])
        for together, image in zip(maskcut(tokens, self.settings()), tokens):
            (alone,) = maskcut(image[None], self.settings())
            assert torch.equal(together.masks, alone.masks)

    def test_the_published_variant_counts(self):
        with pytest.raises(ValueError, match=r"MASKS\.STOP prior needs MASKS\.MODE default"):
            MaskCutSettings(mode="parity", stop="prior")

    def test_unions_without_effect_are_refused(self):
        tokens, objects = scene()
        with pytest.raises(ValueError, match="no effect"):
            maskcut(tokens, MaskCutSettings(), [objects[0]])


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"mode": "exact"}, "mode"), ({"num_masks": 0}, "num_masks"), ({"tau": 1.5}, "tau"), ({"eps": -1.0}, "eps")],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        maskcut(scene()[0], MaskCutSettings(**settings))

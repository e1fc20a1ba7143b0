from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from unseg_d2.config import get_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.masks import MaskCutSettings
from unseg_d2.masks.cuts3d.cuts3d import CutS3D, CutS3DSettings, cuts3d, cuts3d_traces, literal
from unseg_d2.masks.maskcut.maskcut import maskcut
from unseg_d2.structures import DepthMap, PatchFeatures

SETTINGS = CutS3DSettings(num_masks=4)
PLAIN = replace(SETTINGS, importance=False, local_cut=False)


def scene(h: int = 24, w: int = 32, noise: float = 0.05) -> tuple[torch.Tensor, DepthMap, list[np.ndarray]]:
    """Tokens of two objects that look alike and touch, before a background, their depth, and their masks."""
    near, far = np.zeros((2, h, w), dtype=bool)
    near[6:18, 5:16] = True
    far[8:18, 16:26] = True
    tokens = np.zeros((6, h, w))
    tokens[0, near | far] = 1
    tokens[1, ~(near | far)] = 1
    tokens += noise * np.random.default_rng(0).standard_normal(tokens.shape)
    tokens[0, 10, 10] += 1  # the peak of the eigenvector
    depth = np.linspace(20, 6, h)[:, None].repeat(w, 1)
    depth[near], depth[far] = 2, 4
    return torch.from_numpy(tokens[None]).float(), DepthMap(torch.from_numpy(depth).float(), "metric"), [near, far]


class TestCutS3D:
    def test_it_separates_what_maskcut_cannot(self):
        tokens, depth, (near, far) = scene()
        together = maskcut(tokens, MaskCutSettings(num_masks=4))[0].masks
        np.testing.assert_array_equal(together[0], near | far)
        proposals = cuts3d(tokens, [depth], SETTINGS)[0]
        found = {mask.tobytes() for mask in proposals.masks[:2].numpy()}
        assert found == {near.tobytes(), far.tobytes()}
        np.testing.assert_array_equal(proposals.confidence[:2] == 1, proposals.masks[:2])
        assert proposals.scores[:2].tolist() == [1, 1]

    def test_without_both_of_its_parts_it_is_maskcut(self):
        tokens = scene(noise=0.4)[0]
        depth = [scene()[1]]
        expected = maskcut(tokens, MaskCutSettings(num_masks=3))[0].masks
        (proposals,) = cuts3d(tokens, depth, replace(PLAIN, num_masks=3, max_rest=1.0))
        assert torch.equal(proposals.masks, expected)

    @pytest.mark.parametrize("removal", ["remove", "zero"])
    def test_masks_are_disjoint(self, removal):
        tokens, depth, _ = scene(noise=0.4)
        (proposals,) = cuts3d(tokens, [depth], replace(SETTINGS, removal=removal, num_masks=6))
        assert len(proposals) > 1
        assert proposals.masks.sum(0).max() == 1
        assert ((proposals.confidence > 0) == proposals.masks).all()
        expected = [float(c[m].mean()) for c, m in zip(proposals.confidence, proposals.masks)]
        np.testing.assert_allclose(proposals.scores, expected, rtol=1e-6)

    def test_it_stops_when_a_cut_shows_the_rest(self):
        tokens, depth, (near, far) = scene(noise=0.3)
        (trace,) = cuts3d_traces(tokens, [depth], replace(SETTINGS, max_rest=0.0))
        assert len(trace.steps) == 1  # anything overlaps with the rest, once something has been taken
        (trace,) = cuts3d_traces(tokens, [depth], replace(SETTINGS, min_rest=1.0))
        assert trace.steps == []
        for step in cuts3d_traces(tokens, [depth], replace(SETTINGS, num_masks=20))[0].steps[1:]:
            assert step.semantic.sum() < 0.9 * (~(near | far)).sum()

    def test_all_kinds_of_depth_give_the_same_masks(self):
        tokens, metric, _ = scene()
        inverse = DepthMap(1 / metric.depth, "inverse")
        relative = DepthMap((metric.depth - 2) / 18, "relative")
        masks = [cuts3d(tokens, [depth], SETTINGS)[0].masks for depth in (metric, inverse, relative)]
        assert torch.equal(masks[0][:2], masks[1][:2])
        assert torch.equal(masks[0][:2], masks[2][:2])

    def test_flat_depth_changes_nothing_but_warns_by_its_trace(self):
        tokens, depth, _ = scene(noise=0.3)
        flat = DepthMap(torch.full_like(depth.depth, 3.0), "metric")
        (trace,) = cuts3d_traces(tokens, [flat], SETTINGS)
        assert trace.importance is None
        (proposals,) = cuts3d(tokens, [flat], SETTINGS)
        assert torch.equal(proposals.masks, cuts3d(tokens, [depth], PLAIN)[0].masks)
        assert (proposals.scores == 1).all()

    def test_compensation_keeps_the_graph_from_becoming_dense(self):
        tokens, depth, _ = scene(noise=0.5)
        plain, compensated, unchanged = (
            cuts3d_traces(tokens, [depth], settings)[0].density
            for settings in (PLAIN, SETTINGS, replace(SETTINGS, compensate=False))
        )
        assert plain <= compensated < unchanged

    def test_trace_has_every_step(self):
        tokens, depth, _ = scene()
        (trace,) = cuts3d_traces(tokens, [depth], SETTINGS)
        for step in trace.steps:
            assert step.semantic.flat[np.argmax(step.eigenvector)]
            assert not (step.mask & ~step.semantic).any()
            assert ((step.confidence > 0) == step.mask).all()
        assert trace.importance.shape == trace.distance.shape == (24, 32)

    def test_a_batch_equals_its_members(self):
        scenes = [scene(noise=noise) for noise in (0.05, 0.3, 0.5)]
        tokens, depth = torch.cat([tokens for tokens, _, _ in scenes]), [depth for _, depth, _ in scenes]
        for i, together in enumerate(cuts3d(tokens, depth, SETTINGS)):
            (alone,) = cuts3d(tokens[i : i + 1], depth[i : i + 1], SETTINGS)
            assert torch.equal(together.masks, alone.masks)
            assert torch.equal(together.confidence, alone.confidence)


class TestPrior:
    """MASKS.STOP prior; the tokens have opposites, so that UnionCut finds the two objects."""

    @staticmethod
    def opposite(noise: float) -> tuple[torch.Tensor, DepthMap, list[np.ndarray]]:
        tokens, depth, objects = scene(noise=noise)
        tokens[:, 0] -= tokens[:, 1]
        return tokens, depth, objects

    def test_it_stops_when_the_objects_are_found(self):
        tokens, depth, (near, far) = self.opposite(0.3)
        settings = replace(SETTINGS, num_masks=8)
        assert len(cuts3d(tokens, [depth], settings)[0]) > 2
        (proposals,) = cuts3d(tokens, [depth], replace(settings, stop="prior"))
        assert len(proposals) == 2
        for mask in proposals.masks.numpy():
            assert max((mask & one).sum() / (mask | one).sum() for one in (near, far)) > 0.8

    def test_it_counts_in_the_literal_variant(self):
        with pytest.raises(ValueError, match=r"MASKS\.STOP prior needs MASKS\.MODE default"):
            replace(SETTINGS, mode="parity", stop="prior")


class TestGenerator:
    def test_depth_that_is_missing_is_named(self):
        tokens, depth, _ = scene()
        images = [PatchFeatures(tokens[0], 8, depth=depth), PatchFeatures(tokens[0], 8)]
        with pytest.raises(ValueError, match=r"needs depth for every image; set DEPTH\.SOURCE"):
            CutS3D()(images)

    def test_depth_of_another_grid_is_named(self):
        tokens, depth, _ = scene()
        wrong = DepthMap(depth.depth[:, :-1], "metric")
        with pytest.raises(ValueError, match=r"grid is \(24, 32\), but the depth is \(24, 31\)"):
            CutS3D()([PatchFeatures(tokens[0], 8, depth=wrong)])

    @pytest.mark.parametrize("value", [float("nan"), float("inf")])
    def test_depth_that_is_not_finite_is_named(self, value):
        tokens, depth, _ = scene()
        depth.depth[3, 4] = value
        with pytest.raises(ValueError, match="depth contains NaN or infinite"):
            CutS3D()([PatchFeatures(tokens[0], 8, depth=depth)])

    def test_settings_come_from_both_sections_and_parity_is_literal(self):
        cfg = get_cfg()
        cfg.MASKS.CUTS3D.BETA = 0.3
        cfg.MASKS.CUTS3D.LOCALCUT.K = 8
        cfg.MASKS.MODE = "parity"
        settings = CutS3D(CutS3DSettings.from_config(cfg)).settings
        assert settings == literal(settings)
        assert (settings.beta, settings.local.k, settings.local.capacity) == (0.3, 8, "distance")

    def test_images_of_several_grids(self):
        tokens, depth, _ = scene()
        small = PatchFeatures(tokens[0, :, :9, :9], 8, depth=DepthMap(depth.depth[:9, :9], "metric"))
        large = PatchFeatures(tokens[0], 8, depth=depth)
        assert [p.masks.shape[1:] for p in CutS3D()([small, large, small])] == [(9, 9), (24, 32), (9, 9)]


@pytest.mark.parametrize(("name", "value"), [("removal", "keep"), ("num_masks", 0), ("max_rest", 2.0)])
def test_settings_out_of_range_are_named(name, value):
    with pytest.raises(ValueError, match=name):
        CutS3DSettings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"), [("TAU", 1.5), ("BETA", 1.0), ("SIGMA", 0.0), ("PAIRING", "sum"), ("EPS", -1.0)]
)
def test_settings_of_its_parts_are_named_before_the_first_image(name, value):
    cfg = get_cfg()
    cfg.MASKS.CUTS3D[name] = value
    with pytest.raises(UnsegError, match=f"MASKS.CUTS3D do not work: {name.lower()} must be"):
        CutS3DSettings.from_config(cfg)

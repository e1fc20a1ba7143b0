from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.sparse import csgraph

from unseg_d2.masks.uniap import UniAPSettings, uniap, uniap_layers
from unseg_d2.masks.uniap import patches as patches_module
from unseg_d2.masks.uniap import regions as regions_module
from unseg_d2.masks.uniap import similarity as similarity_module
from unseg_d2.masks.uniap.patches import patch_regions
from unseg_d2.masks.uniap.tokens import Tokens
from unseg_d2.masks.uniap.uniap import thresholds

LOOPS = Path(__file__).parents[3] / "benchmarks" / "reference" / "uniap_loops.py"


@pytest.fixture(scope="module")
def by_the_equations() -> Callable:
    """The equations with masks of n numbers and the whole affinity, in plain loops."""
    spec = importlib.util.spec_from_file_location("uniap_loops", LOOPS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.uniap_loops


def smooth_tokens(seed: int, h: int = 9, w: int = 11, channels: int = 6) -> torch.Tensor:
    """Smooth random tokens ``(C, h, w)`` with a rectangle and some noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.standard_normal((1, channels, 3, 4))).float()
    tokens = torch.nn.functional.interpolate(coarse, size=(h, w), mode="bilinear")[0]
    tokens[:, h // 4 : h // 2, w // 4 : w // 2] = torch.from_numpy(2 * rng.standard_normal((channels, 1, 1))).float()
    return tokens + 0.15 * torch.from_numpy(rng.standard_normal(tokens.shape)).float()


def noisy_tokens(seed: int) -> torch.Tensor:
    """Tokens ``(6, 9, 11)`` with noise that rises from left to right."""
    noise = torch.from_numpy(np.random.default_rng(seed).standard_normal((6, 9, 11))).float()
    return smooth_tokens(seed) + noise * torch.linspace(0, 0.6, 11)


def masks_of(labels: np.ndarray) -> set[bytes]:
    return {(labels == label).tobytes() for label in np.unique(labels) if label >= 0}


TAUS = (0.95, 0.9, 0.8, 0.6)
OWN = (
    {},
    {"aggregate": "sum"},
    {"attend": "region"},
    {"repeat": True},
    {"feature_weight": 0.3, "spatial_weight": 0.7, "sigma": 0.2},
)


def exact_similarity(tokens: torch.Tensor) -> dict[tuple[int, int], float]:
    """0.6 F_i F_j + 0.4 (1 - mean |A_i - A_j|) of every two neighbours, from the whole affinity in float64."""
    features = torch.nn.functional.normalize(tokens.flatten(1).T.double(), dim=1)
    affinity = features @ features.T
    w, n = tokens.shape[2], len(features)
    pairs = [(i, i + 1) for i in range(n) if i % w < w - 1] + [(i, i + w) for i in range(n - w)]
    return {
        (i, j): float(0.6 * affinity[i, j] + 0.4 * (1 - (affinity[i] - affinity[j]).abs().mean())) for i, j in pairs
    }


class TestAgainstTheEquations:
    @pytest.mark.parametrize(("seed", "channels"), [(0, 6), (1, 6), (2, 6), (3, 6), (0, 64)])
    @pytest.mark.parametrize("own", OWN, ids=str)
    def test_regions_and_semantic_masks_of_every_layer(self, by_the_equations, seed, channels, own):
        """With many channels neighbours are compared by rows of the affinity, with few by bounds first."""
        settings = UniAPSettings(taus=TAUS, masks="both", min_patches=2, **own)
        tokens = smooth_tokens(seed, channels=channels)
        expected = by_the_equations(
            tokens.numpy(),
            TAUS,
            (settings.feature_weight, settings.spatial_weight),
            settings.sigma,
            settings.min_patches,
            sums=settings.aggregate == "sum",
            own_patches=settings.attend == "region",
            repeat=settings.repeat,
        )
        (layers,) = uniap_layers(tokens[None], settings)
        assert len({len(layer.areas) for layer in layers}) > 1  # something is joined
        for layer, (instances, semantic) in zip(layers, expected, strict=True):
            assert masks_of(layer.labels) == {mask.tobytes() for mask in instances}
            assert layer.areas.tolist() == [int(mask.sum()) for mask in instances]
            assert masks_of(layer.groups[layer.labels]) == {mask.tobytes() for mask in semantic}

    @pytest.mark.parametrize("own", OWN, ids=str)
    def test_many_single_patches_in_several_layers(self, by_the_equations, own):
        """Noise that rises from left to right keeps patches alone: most of their edges are decided by bounds."""
        tokens = noisy_tokens(0)
        settings = UniAPSettings(taus=TAUS, masks="both", min_patches=2, **own)
        weights = (settings.feature_weight, settings.spatial_weight)
        sums, alone = settings.aggregate == "sum", settings.attend == "region"
        expected = by_the_equations(
            tokens.numpy(), TAUS, weights, settings.sigma, 2, sums=sums, own_patches=alone, repeat=settings.repeat
        )
        (layers,) = uniap_layers(tokens[None], settings)
        singles = [int((layer.areas == 1).sum()) for layer in layers]
        assert singles[0] > 20 and singles[0] > singles[-1]
        for layer, (instances, semantic) in zip(layers, expected, strict=True):
            assert masks_of(layer.labels) == {mask.tobytes() for mask in instances}
            assert masks_of(layer.groups[layer.labels]) == {mask.tobytes() for mask in semantic}

    @pytest.mark.parametrize("measure", ["similarity", "quantile"])
    @pytest.mark.parametrize("seed", range(3))
    def test_whether_profiles_are_kept_makes_no_difference(self, seed, measure, monkeypatch):
        """Where there are many regions their profiles are not kept, and some rows are computed at a time."""
        settings = UniAPSettings(taus=TAUS, masks="both", min_patches=2, measure=measure)
        (expected,) = uniap_layers(smooth_tokens(seed)[None], settings)
        monkeypatch.setattr(regions_module, "KEPT_PROFILES", 0)
        for module in (similarity_module, patches_module):
            monkeypatch.setattr(module, "CELLS", 400)
        monkeypatch.setattr(similarity_module, "IN_CACHE", 300)
        monkeypatch.setattr(similarity_module, "AT_ONCE", 300)
        (found,) = uniap_layers(smooth_tokens(seed)[None], settings)
        assert_same_layers(found, expected)

    @pytest.mark.parametrize("own", [*OWN, {"measure": "quantile"}, {"measure": "quantile", "repeat": True}], ids=str)
    def test_images_of_a_batch_do_not_depend_on_each_other(self, own):
        """Graphs of all images are joined together; one that is done within a layer waits for the others."""
        settings = UniAPSettings(taus=TAUS, masks="both", min_patches=2, **own)
        same, noise = torch.ones(6, 9, 11), torch.from_numpy(np.random.default_rng(0).standard_normal((6, 9, 11)))
        images = torch.stack([smooth_tokens(0), noise.float(), smooth_tokens(1), same])
        alone = [uniap_layers(image[None], settings)[0] for image in images]
        assert len({len(layers[0].areas) for layers in alone}) > 2
        for found, expected in zip(uniap_layers(images, settings), alone, strict=True):
            assert_same_layers(found, expected)

    def test_similarities_of_the_grid(self):
        tokens = smooth_tokens(0, 5, 7)
        patches = patch_regions(Tokens.of(tokens[None]), UniAPSettings(measure="quantile"))
        expected = exact_similarity(tokens)
        assert list(map(tuple, patches.edges.T.tolist())) == list(expected)
        np.testing.assert_allclose(patches.least, list(expected.values()), atol=1e-5)
        np.testing.assert_array_equal(patches.least, patches.most)

    @pytest.mark.parametrize("channels", [2, 6, 40])
    def test_bounds_hold_and_decide_most_edges(self, channels):
        tokens = torch.stack([smooth_tokens(seed, channels=channels) for seed in range(2)])
        tokens[1, :, 3:5, 2:6] = 0  # patches without a direction
        patches = patch_regions(Tokens.of(tokens), UniAPSettings())
        exact = np.concatenate([list(exact_similarity(image).values()) for image in tokens])
        assert (patches.least <= exact + 1e-6).all() and (exact <= patches.most + 1e-6).all()
        assert (patches.least < patches.most).mean() > 0.9
        undecided = (patches.least < 0.8) & (patches.most >= 0.8)
        assert undecided.mean() < 0.3

    def test_similarities_next_to_a_threshold_are_decided_in_float64(self):
        """An edge whose float64 similarity is 1e-12 above the threshold is joined, one below is not."""
        tokens = smooth_tokens(1)
        exact = exact_similarity(tokens)
        edges, values = np.array(list(exact)).T, np.array(list(exact.values()))
        edge = int(np.argsort(values)[len(values) // 2])
        for tau, joined in ((values[edge] - 1e-12, True), (values[edge] + 1e-12, False)):
            ((layer,),) = uniap_layers(tokens[None], UniAPSettings(taus=(float(tau),)))
            along = values >= tau
            assert bool(along[edge]) is joined
            graph = sparse.coo_array((np.ones(along.sum()), edges[:, along]), shape=(99, 99))
            count, groups = csgraph.connected_components(graph, directed=False)
            assert masks_of(layer.labels) == masks_of(groups) and len(layer.areas) == count


def assert_same_layers(found: list, expected: list) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.areas, theirs.areas)
        np.testing.assert_array_equal(ours.groups, theirs.groups)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-5)


def blocks() -> torch.Tensor:
    """Tokens ``(1, 5, 12, 12)``: a background, two equal objects apart, each of two halves that are a little alike."""
    tokens = torch.zeros(1, 5, 12, 12)
    tokens[0, 0] = 1
    for top, left in ((1, 1), (7, 6)):
        tokens[0, :, top : top + 4, left : left + 4] = 0
        tokens[0, 1, top : top + 4, left : left + 2] = 1
        tokens[0, 1, top : top + 4, left + 2 : left + 4] = 0.6
        tokens[0, 2, top : top + 4, left + 2 : left + 4] = 0.8
    return tokens


class TestByHand:
    """Halves have the cosine 0.6, and their profiles differ by 0.4 or 0.8 on the 32 patches of objects: S = .73."""

    settings = UniAPSettings(taus=(0.9, 0.7), masks="both", max_share=0.7)

    def test_masks_levels_and_parents(self):
        (found,) = uniap(blocks(), self.settings)
        by_area = {}
        for index, mask in enumerate(found.masks):
            by_area.setdefault(int(mask.sum()), []).append(index)
        # Halves of 8, objects of 16, and over both objects the halves of a kind, and the objects.
        assert {area: len(members) for area, members in by_area.items()} == {8: 4, 16: 4, 32: 1}
        objects = [i for i in by_area[16] if found.levels[i] == 1]
        kinds = [i for i in by_area[16] if found.levels[i] == 0]
        assert len(objects) == len(kinds) == 2
        (group,) = by_area[32]
        assert found.levels[group] == 1 and found.parents[group] == -1
        for half in by_area[8]:
            assert found.levels[half] == 0
            parent = int(found.parents[half])
            assert parent in objects and (found.masks[parent] | ~found.masks[half]).all()
        assert {int(found.parents[one]) for one in [*objects, *kinds]} == {group}

    def test_scores_are_the_contrast_to_neighbours(self):
        (found,) = uniap(blocks(), self.settings)
        assert (found.scores[:-1] >= found.scores[1:]).all()
        objects = [i for i, mask in enumerate(found.masks) if mask.sum() == 16 and found.levels[i] == 1]
        # Orthogonal to the background, and profiles differ by 1 on it (112 patches), by 0.8 on both objects (32).
        similarity = 0.4 * (1 - (112 + 0.8 * 32) / 144)
        assert [float(found.scores[i]) for i in objects] == pytest.approx([(1 - similarity) / 2] * 2, abs=2e-3)

    def test_kinds(self):
        (both,) = uniap(blocks(), self.settings)
        parts = [
            uniap(blocks(), UniAPSettings(taus=(0.9, 0.7), masks=kind, max_share=0.7))[0]
            for kind in ("instance", "semantic")
        ]
        masks = [{mask.numpy().tobytes() for mask in one.masks} for one in (both, *parts)]
        assert masks[0] == masks[1] | masks[2]
        assert len(masks[1]) == 6 and len(masks[2]) == 3

    def test_the_limits_of_the_area(self):
        (found,) = uniap(blocks(), UniAPSettings(taus=(0.9, 0.7), min_patches=9, max_share=0.7))
        assert sorted(int(mask.sum()) for mask in found.masks) == [16, 16]
        (found,) = uniap(blocks(), UniAPSettings(taus=(0.9, 0.7), max_share=0.8))
        assert max(int(mask.sum()) for mask in found.masks) == 144 - 32


class TestQuantiles:
    def test_a_share_of_the_edges_reaches_the_threshold(self):
        similarity = np.linspace(0, 1, 101).astype(np.float32)
        settings = UniAPSettings(taus=(0.8, 0.5, 0.0), measure="quantile")
        assert [int((similarity >= tau).sum()) for tau in thresholds(similarity, settings)] == [21, 51, 101]
        assert thresholds(np.zeros(0, np.float32), settings) == [np.inf] * 3
        assert thresholds(similarity, UniAPSettings(taus=(0.7, 0.6))) == [0.7, 0.6]

    def test_they_do_not_depend_on_the_contrast_of_the_features(self):
        """A common part makes all similarities high: thresholds then join everything, quantiles do not."""
        tokens = smooth_tokens(0)
        tokens[0] += 20
        (at_once,) = uniap(tokens[None])
        assert len(at_once) == 0 and at_once.rejected["max_share"] == 1
        (found,) = uniap(tokens[None], UniAPSettings(measure="quantile"))
        assert len(found) > 5
        assert len(set(found.levels.tolist())) > 1


class TestSettings:
    def test_thresholds_fall(self):
        with pytest.raises(ValueError, match="taus must fall"):
            UniAPSettings(taus=(0.5, 0.6))
        with pytest.raises(ValueError, match="at least one"):
            UniAPSettings(taus=())

    @pytest.mark.parametrize("measure", ["similarity", "quantile"])
    def test_advice_names_the_thresholds(self, measure):
        assert "MASKS.UNIAP.TAUS (now 0.8, 0.7" in UniAPSettings(measure=measure).when_empty()


@pytest.mark.parametrize("kind", ["instance", "semantic"])
@pytest.mark.parametrize("seed", range(3))
def test_layers_are_unions_of_the_layer_before_and_parents_contain_their_children(seed, kind):
    settings = UniAPSettings(taus=TAUS, masks=kind, min_patches=2, measure="quantile")
    (layers,) = uniap_layers(smooth_tokens(seed)[None], settings)
    for fine, coarse in itertools.pairwise(layers):
        pairs = np.unique(np.stack([fine.labels, coarse.labels]), axis=1)
        assert pairs.shape[1] == len(fine.areas)  # each region lies in one of the next layer
    (found,) = uniap(smooth_tokens(seed)[None], settings)
    areas = found.masks.flatten(1).sum(1)
    contains = np.array([[bool((a | ~b).all()) for b in found.masks] for a in found.masks])
    for mask, parent in enumerate(found.parents.tolist()):
        larger = [k for k in range(len(areas)) if contains[k, mask] and areas[k] > areas[mask]]
        later = [k for k in larger if found.levels[k] >= found.levels[mask]]
        if parent < 0:
            assert not later
        else:
            assert parent in later and areas[parent] == min(int(areas[k]) for k in later)

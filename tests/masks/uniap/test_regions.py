from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unseg_d2.masks.uniap import UniAPSettings, uniap_layers
from unseg_d2.masks.uniap import bounds as bounds_module
from unseg_d2.masks.uniap import regions as regions_module
from unseg_d2.masks.uniap import similarity as similarity_module
from unseg_d2.masks.uniap.patches import patch_regions
from unseg_d2.masks.uniap.regions import Groups, Regions
from unseg_d2.masks.uniap.tokens import Tokens

SETTINGS = UniAPSettings(min_patches=4)


@pytest.fixture
def tokens() -> Tokens:
    """An image of 8 x 10 patches with 4 channels: two smooth halves, and noise."""
    rng = np.random.default_rng(0)
    values = rng.standard_normal((1, 4, 8, 10))
    values[..., :5] += 4 * rng.standard_normal((4, 1, 1))
    return Tokens.of(torch.from_numpy(values).float())


def first_regions(tokens: Tokens, columns: int = 3) -> tuple[Regions, Regions]:
    """The patches, and the regions after joining the columns on the left."""
    patches = patch_regions(tokens, SETTINGS)
    return patches, patches.joined((patches.edges % 10 < columns).all(0), tokens, SETTINGS)


def by_equation_5(labels: np.ndarray, tokens: Tokens) -> torch.Tensor:
    """Features from the whole affinity, region by region."""
    unit = tokens.single[0].double()
    affinity = unit @ unit.T
    rows = [affinity[labels == region].mean(0) for region in range(labels.max() + 1)]
    return torch.stack([F.normalize((row / SETTINGS.sigma).softmax(0) @ unit, dim=0) for row in rows])


def test_single_patches_get_a_new_feature_in_the_first_layer(tokens):
    patches, regions = first_regions(tokens)
    assert not patches.attended and regions.attended
    expected = by_equation_5(regions.partition.labels, tokens)
    torch.testing.assert_close(regions.features.double(), expected, atol=2e-6, rtol=0)
    single = regions.partition.labels[9]
    assert regions.partition.areas[single] == 1
    assert (regions.features[single] - patches.features[9]).norm() > 0.01


def test_later_layers_compute_features_of_new_regions_alone(tokens, monkeypatch):
    _, before = first_regions(tokens)
    asked, computed = [], regions_module.region_features

    def counted(means, *args):
        asked.append(len(means))
        return computed(means, *args)

    monkeypatch.setattr(regions_module, "region_features", counted)
    pair = np.zeros(before.edges.shape[1], dtype=bool)
    pair[-1] = True  # the two last patches
    after = before.joined(pair, tokens, SETTINGS)
    assert asked == [1] and len(after.partition.areas) == len(before.partition.areas) - 1
    expected = by_equation_5(after.partition.labels, tokens)
    torch.testing.assert_close(after.features.double(), expected, atol=2e-6, rtol=0)
    assert after.joined(np.zeros(after.edges.shape[1], dtype=bool), tokens, SETTINGS) is after


def test_similarities_around_masks_are_known_and_others_between_bounds(tokens):
    _, regions = first_regions(tokens)
    unit = tokens.single[0].double()
    profiles = torch.stack([unit[regions.partition.labels == one].mean(0) for one in range(len(regions.features))])
    first, second = regions.edges
    apart = ((profiles[first] - profiles[second]) @ unit.T).abs().mean(1)
    alike = (regions.features[first] * regions.features[second]).sum(1).double()
    exact = (0.6 * alike + 0.4 * (1 - apart)).numpy()
    around = (regions.partition.areas[regions.edges] >= 4).any(0)
    assert 0 < around.sum() < len(around) / 4
    np.testing.assert_array_equal(regions.least == regions.most, around)
    np.testing.assert_allclose(regions.least[around], exact[around], atol=2e-6)
    assert (regions.least <= exact + 2e-6).all() and (exact <= regions.most + 2e-6).all()


@pytest.mark.parametrize(("offset", "compared"), [(-0.5, 0), (0.5, 0), (0, 1)])
def test_profiles_are_compared_where_a_threshold_lies_between_bounds(tokens, monkeypatch, offset, compared):
    """All other edges are made to be decided; the threshold is below, above, or between the bounds of the last."""
    _, regions = first_regions(tokens)
    edge = len(regions.least) - 1
    least, most = (np.full_like(bound, -1) for bound in (regions.least, regions.most))
    least[edge], most[edge] = regions.least[edge], regions.most[edge]
    tau = (least[edge] + most[edge]) / 2 + offset
    asked, measure = [], regions_module.similarities

    def counted(features, means, pairs, *args):
        asked.append(pairs.shape[1])
        return measure(features, means, pairs, *args)

    monkeypatch.setattr(regions_module, "similarities", counted)
    found = replace(regions, least=least, most=most).reaching(np.array([tau]), tokens, SETTINGS)
    exact = float(regions.exact(regions.edges[:, [edge]], tokens, SETTINGS)[0])
    assert sum(asked[: len(asked) - 1]) == compared  # the last is that of `exact` above
    assert found.tolist() == [False] * edge + [exact >= tau]


def test_groups():
    groups = Groups.numbered(np.array([0, 1, 0, 2, 1]), 3)
    assert groups.of[groups.first].tolist() == [0, 1, 2] and groups.new.tolist() == [0, 1]
    assert groups.grown.tolist() == [True, True, False]


def test_noise_compares_few_profiles(monkeypatch):
    """Of thousands of edges between single patches, those of single rows of profiles are a small part."""
    rng = np.random.default_rng(0)
    tokens = np.repeat(np.repeat(rng.standard_normal((16, 3, 3)), 8, axis=1), 8, axis=2)
    tokens = torch.from_numpy(tokens + 0.9 * rng.standard_normal(tokens.shape)).float()
    pairs = []

    def counted(found):
        def count(means, some, *args):
            pairs.append(some.shape[1])
            return found(means, some, *args)

        return count

    monkeypatch.setattr(bounds_module, "distances", counted(bounds_module.distances))
    monkeypatch.setattr(similarity_module, "distances", counted(similarity_module.distances))
    (layers,) = uniap_layers(tokens[None], SETTINGS)
    first = layers[0]
    assert (first.areas == 1).sum() > 200
    assert 0 < sum(pairs) < 700

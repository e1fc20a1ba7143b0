"""Products from regions against those from tokens, and both against their definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from card import pretended_card

from unseg_d2.masks.promerge.filter import to_sets
from unseg_d2.masks.promerge.mean_products import Features, FromRegions, FromTokens, _from_regions, mean_products
from unseg_d2.masks.promerge.prompts import feature_lengths


def made(counts: list[int], n: int = 37) -> tuple[Features, list[np.ndarray]]:
    tokens = torch.randn(len(counts), 9, n)
    rng = np.random.default_rng(0)
    masks = [rng.random((count, n)) < 0.3 for count in counts]
    for image in masks:
        image[:, 0] = True  # none is empty
    return Features(tokens, feature_lengths(tokens)), masks


def by_definition(features: Features, image: int, first: np.ndarray, second: np.ndarray) -> float:
    unit = (features.tokens[image] / features.lengths[image]).double().numpy()
    return float(unit[:, first].mean(1) @ unit[:, second].mean(1))


def test_both_are_the_products_of_means_of_unions():
    features, masks = made([3, 5, 1])
    for products in (mean_products(features, masks), _from_regions(features, masks)):
        for image, mine in enumerate(masks):
            union, last = mine.any(0), mine[-1]
            first, second = to_sets(np.stack([union, last]))
            expected = by_definition(features, image, union, last)
            assert products[image].product(first, second) == pytest.approx(expected, abs=1e-6)


def test_cosines_are_to_the_direction_of_the_other_mean():
    features, masks = made([3, 2])
    for products in (mean_products(features, masks), _from_regions(features, masks)):
        for image, mine in enumerate(masks):
            rest = ~mine.any(0)
            length = by_definition(features, image, rest, rest) ** 0.5
            expected = [by_definition(features, image, mask, rest) / length for mask in mine]
            found = products[image].cosines(to_sets(mine), to_sets(rest[None])[0])
            np.testing.assert_allclose(found, expected, atol=1e-5)


def test_an_image_without_masks_beside_others():
    features, masks = made([0, 4])
    whole = np.ones(masks[1].shape[1], bool)
    for products in (mean_products(features, masks), _from_regions(features, masks)):
        everything = to_sets(whole[None])[0]
        expected = by_definition(features, 0, whole, whole)
        assert products[0].product(everything, everything) == pytest.approx(expected, abs=1e-6)
        assert products[0].cosines([], everything).shape == (0,)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there: nothing is pretended")
def test_a_card_is_waited_for_once():
    features, masks = made([6, 8, 7])
    assert all(isinstance(image, FromTokens) for image in mean_products(features, masks))
    with pretended_card() as record:
        there = Features(
            *(part.pin_memory().to("cuda", non_blocking=True) for part in (features.tokens, features.lengths))
        )
        products = mean_products(there, masks)
        assert all(isinstance(image, FromRegions) for image in products)
        products[1].product(*to_sets(masks[1][:2]))
    assert record.num_waits == 1

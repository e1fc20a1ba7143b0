"""Launches and waits per image have upper bounds: a wait that creeps into a loop goes beyond them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from card import pretended_card
from cases import Counted, count, made_tokens
from detector_cases import predict, train_step

from unseg_d2.masks import UniAPSettings, uniap

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there: nothing is pretended")

SIDE, CHANNELS = 16, 128
MOST = {  # launches and waits per image, at batch 1 and 8
    "maskcut": ((1300, 14), (150, 2)),
    "cuts3d": ((1300, 14), (150, 2)),
    "tokencut": ((500, 7), (60, 1)),
    "promerge": ((110, 5), (20, 1)),
    "primaps": ((3500, 6), (450, 1)),
    "votecut": ((500, 7), (80, 1)),
    "lost": ((40, 3), (10, 0.5)),
    "uniap": ((220, 7), (30, 1)),
    "greedymerge": ((12, 2), (4, 0.5)),
    "mergetree": ((12, 2), (4, 0.5)),
    "activation": ((12, 2), (4, 0.5)),
    "guided": ((120, 1), (30, 0.5)),
    "crf": ((450, 2), (75, 0.5)),
    "crf_labels": ((550, 2), (80, 0.5)),
}
REAL_SIDE, REAL_CHANNELS = 60, 768
REAL_MOST = {  # of a batch of 8 images of 480 px with ViT-B/8
    **dict.fromkeys(MOST, (np.inf, 2)),
    **dict.fromkeys(("maskcut", "cuts3d"), (150, 2)),
}


@pytest.mark.parametrize("batch", [1, 8])
@pytest.mark.parametrize("name", MOST)
def test_waits_stay_within_their_bounds(name: str, batch: int) -> None:
    found = count(name, batch, SIDE, CHANNELS)
    assert_same(found)
    launches, waits = MOST[name][batch == 8]
    assert found.waits <= waits and found.launches <= launches, found.record.report(batch)


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL_MOST)
def test_waits_stay_within_their_bounds_at_the_size_of_a_transformer(name: str) -> None:
    found = count(name, 8, REAL_SIDE, REAL_CHANNELS)
    assert_same(found)
    launches, waits = REAL_MOST[name]
    assert found.waits <= waits and found.launches <= launches, found.record.report(8)


@pytest.mark.parametrize("batch", [1, 8])
def test_layers_of_many_regions_wait_once_per_batch(batch: int) -> None:
    """Noise keeps regions apart: with semantic masks a layer has up to five waits, whatever the batch."""
    noise = torch.from_numpy(np.random.default_rng(9).standard_normal((batch, 32, 12, 12))).float()
    tokens = made_tokens(batch, 32, 12) + noise * torch.linspace(0, 2, 12)
    settings = UniAPSettings(masks="both")
    expected = uniap(tokens, settings)
    with pretended_card() as record:
        on_card = tokens.to("cuda")
        record.clear()
        found = uniap(on_card, settings)
    assert record.num_waits <= 4 + 5 * len(settings.taus) and record.num_launches <= 750, record.report()
    assert len({level for one in found for level in one.levels.tolist()}) > 2
    assert_same(Counted(0, 0, record, found, expected))


def test_a_training_step_of_two_images_waits_little() -> None:
    record, losses = train_step(2)
    assert record.num_waits <= 20, record.report()
    assert len(losses) == 9 and all(np.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(("images", "most"), [(1, 12), (8, 8)])
def test_prediction_waits_little_per_image(images: int, most: float) -> None:
    record, found, expected = predict(images)
    assert record.num_waits / images <= most, record.report(images)
    for theirs, ours in zip(found, expected, strict=True):
        assert len(ours.scores) > 0 and theirs.rles == ours.rles
        np.testing.assert_allclose(theirs.boxes, ours.boxes, atol=1e-4)


def assert_same(found: Counted) -> None:
    """The card's masks are the CPU's."""
    for theirs, ours in zip(found.on_card, found.on_cpu, strict=True):
        if isinstance(ours, np.ndarray):
            assert (theirs == ours).all() and ours.any()
        else:
            assert torch.equal(theirs.masks, ours.masks) and len(ours)
            torch.testing.assert_close(theirs.scores, ours.scores)

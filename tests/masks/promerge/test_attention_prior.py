from __future__ import annotations

import pytest
import torch

from unseg_d2.masks.promerge.attention_prior import drop_unattended, foreground_probability
from unseg_d2.structures import Proposals

ATTENTION = torch.tensor([[3.0, 1.0], [1.0, 1.0]])


def masks(*rows: str) -> torch.Tensor:
    return torch.tensor([[cell == "#" for cell in row] for row in rows]).view(-1, 2, 2)


def test_by_hand():
    """Means inside and outside: 3 and 1; 2 and 1; 1 and 5 / 3; everything has no outside."""
    probability = foreground_probability(masks("#...", "##..", "...#", "####"), ATTENTION)
    torch.testing.assert_close(probability, torch.tensor([3 / 4, 2 / 3, 1 / (1 + 5 / 3), 0.5]).double())


def test_no_attention_says_nothing():
    assert foreground_probability(masks("#..."), torch.zeros(2, 2)).tolist() == [0.5]


def test_drop_unattended_keeps_scores_with_their_masks():
    found = drop_unattended(Proposals(masks("...#", "#..."), torch.tensor([0.9, 0.2])), ATTENTION, 0.5)
    assert torch.equal(found.masks, masks("#..."))
    assert found.scores.tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("attention", "message"),
    [
        (None, "set it to 0"),
        (torch.ones(3, 2), r"on a grid of .* on one of"),
        (torch.tensor([[1.0, float("nan")], [0, 0]]), "NaN"),
        (-ATTENTION, "negative"),
    ],
)
def test_attention_that_cannot_be_used_is_named(attention, message):
    with pytest.raises(ValueError, match=message):
        drop_unattended(Proposals(masks("#..."), torch.ones(1)), attention, 0.5)

"""Copies between the host and a card; what waits is counted in tests/pretended_card."""

from __future__ import annotations

import pytest
import torch
from card import pretended_card

from unseg_d2.transfer import to_card, to_host

MIXED = [  # of every width, with sizes that would misalign what follows them
    torch.tensor([True, False, True]),
    torch.arange(5, dtype=torch.float64),
    torch.arange(6, dtype=torch.uint8).view(2, 3),
    torch.tensor(2.5),
    torch.arange(6)[None].as_strided((1,), (4,)),
    torch.arange(12).view(3, 4).T,
    torch.zeros(0, 3, dtype=torch.float16),
    torch.arange(3, dtype=torch.float16),
]


def test_on_the_cpu_nothing_is_copied():
    tensor = torch.ones(2, 3)
    assert to_card(tensor, torch.device("cpu")) is tensor
    assert to_host(tensor, tensor)[1] is tensor
    assert to_host() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there: nothing is pretended")
def test_down_with_one_wait_and_up_without():
    with pretended_card() as record:
        there = [to_card(tensor, torch.device("cuda")) for tensor in MIXED]
        assert all(tensor.is_cuda for tensor in there) and record.num_waits == 0
        here = to_host(*there, MIXED[1])
        assert record.num_waits == 1
    for found, expected in zip(here, [*MIXED, MIXED[1]], strict=True):
        assert found.dtype == expected.dtype and torch.equal(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_a_real_card_gives_back_what_it_was_given():
    there = [to_card(tensor, torch.device("cuda")) for tensor in MIXED]
    for found, expected in zip(to_host(*there), MIXED, strict=True):
        assert found.dtype == expected.dtype and torch.equal(found, expected)

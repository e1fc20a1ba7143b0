"""The pretended card itself: it refuses what a card refuses, and counts functions whose waits are known."""

from __future__ import annotations

import pytest
import torch
from card import CARD, CardTensor, pretended_card

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a card is there: nothing is pretended")


def test_it_says_cuda_and_computes():
    with pretended_card() as record:
        x = torch.ones(3, 4).to("cuda")
        assert x.device == CARD and x.is_cuda
        assert (x @ x.T).sum().item() == 36
    assert record.num_launches == 4  # copy, product, sum, number
    assert {what: n for (what, _), n in record.waits.items()} == {"copy to the card": 1, "a number": 1}


def test_outside_there_is_no_card():
    with pretended_card():
        assert torch.cuda.is_available()
    assert not torch.cuda.is_available()
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(2, device="cuda")


@pytest.mark.parametrize(
    "mix",
    [
        lambda card, host: card + host,
        lambda card, host: card @ host.T,
        lambda card, host: torch.cat([card, host]),
        lambda card, host: torch.where(host > 0, card, 0),
        lambda card, host: card.gather(0, host.long()),
        lambda card, host: card.add_(host),
        lambda card, host: host[card[:, 0].long()],
        lambda card, host: torch.nn.functional.linear(card, host),
        lambda card, host: card.index_select(0, host[0].long()),
        lambda card, host: torch.stack([card[0, 0], host[0, 0]]),
    ],
)
def test_mixed_devices_are_refused_and_the_line_is_named(mix):
    with pretended_card(), pytest.raises(RuntimeError, match=r"same device.*test_card\.py:\d+"):
        mix(torch.ones(3, 3).to("cuda"), torch.ones(3, 3))


def test_numbers_and_indices_of_the_host_are_allowed():
    with pretended_card() as record:
        x = torch.arange(4.0, device="cuda")
        assert (x * torch.tensor(2.0))[torch.tensor([1, 3])].tolist() == [2, 6]
    assert sum(n for (what, _), n in record.waits.items() if what == "index of the host") == 1


def test_arrays_are_refused():
    with pretended_card(), pytest.raises(TypeError, match="cuda:0"):
        torch.ones(3).to("cuda").numpy()


def per_image(tokens: torch.Tensor) -> list[int]:
    """Three waits per image: a number, a size, a copy; the upload is none of an image's."""
    found = []
    for image in tokens:
        if bool((image > 0).any()):
            found.append(len(image.nonzero()))
            image.sum().cpu()
    return found


def at_once(tokens: torch.Tensor) -> list[int]:
    """The same counts with one wait."""
    return (tokens > 0).flatten(1).sum(1).tolist()


def test_waits_of_known_functions_are_counted_exactly():
    tokens = torch.rand(5, 2, 3)
    for function, waits in ((per_image, 15), (at_once, 1)):
        with pretended_card() as record:
            x = tokens.pin_memory().to("cuda", non_blocking=True)
            assert record.num_waits == 0 and record.num_launches == 1
            assert function(x) == [6] * 5
        assert record.num_waits == waits, record.report()


@pytest.mark.parametrize(
    ("wait", "what"),
    [
        (lambda x: x.max().item(), "a number"),
        (lambda x: bool(x.any()), "a number"),
        (lambda x: int(x[0, 0]), "a number"),
        (lambda x: [1 for _ in range(x[0, 0].long())], "a number"),
        (lambda x: torch.equal(x, x), "a number"),
        (lambda x: x.nonzero(), "nonzero"),
        (lambda x: torch.where(x > 0), "nonzero"),
        (lambda x: x[x > 0], "boolean index"),
        (lambda x: x.masked_select(x > 0), "masked_select"),
        (lambda x: x.__setitem__(x > 0, x[x.long() * 0, x.long() * 0].flatten()), "boolean index"),
        (lambda x: x[[0, 1]], "index of the host"),
        (lambda x: x.cpu(), "copy to the host"),
        (lambda x: x.to("cpu", torch.float64), "copy to the host"),
        (lambda x: torch.zeros(3, 3).copy_(x), "copy to the host"),
        (lambda x: x.copy_(torch.zeros(3, 3)), "copy to the card"),
        (lambda x: x.tolist(), "tolist"),
        (lambda x: torch.unique(x), "unique2"),
        (lambda x: torch.repeat_interleave(x[0], x[0].long()), "repeat_interleave"),
        (lambda x: torch.linalg.eigh(x), "linalg_eigh"),
        (lambda x: torch.tensor([1, 2], device=x.device), "tensor of numbers"),
        (lambda x: x.new_tensor([1.0]), "tensor of numbers"),
        (lambda x: torch.zeros(2).to(x.device, non_blocking=True), "copy to the card"),  # not pinned
        (lambda x: torch.cuda.synchronize(), "synchronize"),
    ],
)
def test_what_makes_the_host_wait(wait, what):
    with pretended_card() as record:
        x = torch.ones(3, 3).pin_memory().to("cuda", non_blocking=True)
        wait(x)
    assert [(key[0], n) for key, n in record.waits.items()] == [(what, 1)], record.report()


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x.masked_fill(x > 0, 2.0),
        lambda x: x.__setitem__(x > 0, 2.0),
        lambda x: x[x.long().argmax(0)],
        lambda x: x.sort(),
        lambda x: torch.repeat_interleave(x[0], x[0].long(), output_size=3),
        lambda x: x.cumsum(0),
        lambda x: torch.zeros(2, device="cuda"),
        lambda x: x[:2].add_(1),
        lambda x: torch.topk(x, 2),
        lambda x: len(x),
    ],
)
def test_what_does_not_wait(work):
    with pretended_card() as record:
        work(torch.ones(3, 3).pin_memory().to("cuda", non_blocking=True))
    assert record.num_waits == 0, record.report()


def test_views_are_no_launches_and_share_their_numbers():
    with pretended_card() as record:
        x = torch.zeros(4, 4, device="cuda")
        for row in x:
            row[:2].view(2, 1).T.unsqueeze(0)
        assert record.num_launches == 1
        for row in x:
            row[:2] = 1
        torch.mul(x, 2, out=x[:])
        assert x.sum().item() == 16


def test_inference_mode_shows_the_operations_a_function_is_made_of():
    with pretended_card() as record, torch.inference_mode():
        x = torch.rand(2, 3, 4).pin_memory().to("cuda", non_blocking=True)
        assert isinstance(torch.nn.functional.normalize(x, dim=1).reshape(2, 12), CardTensor)
        before = record.num_launches
        x.reshape(6, 4).flatten()
        assert record.num_launches == before


def test_a_view_in_inference_mode_of_a_tensor_from_outside():
    with pretended_card():
        x = torch.ones(3, 4, device="cuda")
        with torch.inference_mode():
            assert x[None].sum().item() == 12


def test_modules_and_autocast():
    with pretended_card() as record:
        network = torch.nn.Linear(3, 2).to("cuda")
        with torch.autocast("cuda", dtype=torch.bfloat16):
            found = network(torch.ones(5, 3, device="cuda"))
        assert found.dtype == torch.bfloat16 and found.requires_grad
    assert record.num_waits == 2  # its parameters go up


def test_the_asking_line_is_that_of_the_package():
    from unseg_d2.masks.batches import check_tokens

    with pretended_card() as record:
        check_tokens(torch.ones(1, 2, 3, 3, device="cuda"))
    assert {line.split(":")[0] for _, line in record.waits} == {"masks/batches.py"}

from __future__ import annotations

import pytest
import torch

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.pool_sizes import PoolSizes, for_card, pool_sizes


def sizes(*opts: str, cores: int = 16, refines_on_card: bool = False) -> PoolSizes:
    return pool_sizes(load_cfg(None, list(opts)), cores, refines_on_card=refines_on_card)


@pytest.fixture()
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.pseudo.pool_sizes.resolve_device", lambda name: torch.device("cuda", 0))


def test_without_a_gpu_each_process_does_everything() -> None:
    assert sizes("FEATURES.DEVICE", "cpu") == PoolSizes(0, 0)


@pytest.mark.usefixtures("card")
def test_with_a_gpu_its_cores_are_shared_out() -> None:
    assert sizes() == PoolSizes(2, 13)
    assert sizes(cores=4) == PoolSizes(0, 3)
    assert sizes(cores=1) == PoolSizes(0, 0)
    assert sizes(refines_on_card=True) == PoolSizes(7, 8)


@pytest.mark.parametrize("cores", range(1, 70))
def test_no_core_is_given_twice_and_none_is_left(cores: int) -> None:
    for on_card in (False, True):
        found = for_card(cores, refines_on_card=on_card)
        assert found.readers + found.finishers + 1 == cores and 0 <= found.readers <= found.finishers


@pytest.mark.usefixtures("card")
def test_keys_come_first() -> None:
    assert sizes("PSEUDO.READERS", "4") == PoolSizes(4, 13)
    assert sizes("PSEUDO.FINISHERS", "0") == PoolSizes(2, 0)
    assert sizes("PSEUDO.READERS", "0", "PSEUDO.FINISHERS", "0") == PoolSizes(0, 0)


def test_keys_count_without_a_gpu_too() -> None:
    opts = ("FEATURES.DEVICE", "cpu", "PSEUDO.READERS", "2", "PSEUDO.FINISHERS", "3")
    assert sizes(*opts) == PoolSizes(2, 3)
    with pytest.raises(UnsegError, match=r"PSEUDO.READERS"):
        sizes("PSEUDO.READERS", "-2")

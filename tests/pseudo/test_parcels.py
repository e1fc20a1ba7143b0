from __future__ import annotations

import numpy as np
import pytest
import torch

from unseg_d2.pseudo.parcels import Arena
from unseg_d2.structures import Proposals

VALUE = {"name": "a", "pixels": np.arange(300, dtype=np.uint8).reshape(10, 10, 3), "grid": np.ones((4, 4), bool)}


@pytest.mark.parametrize("slot", [0, 2, None])
def test_what_is_packed_comes_back(slot: int | None) -> None:
    arena = Arena(3, 500)
    found = arena.unpack(arena.pack(VALUE, slot))
    assert found["name"] == "a"
    for key in ("pixels", "grid"):
        np.testing.assert_array_equal(found[key], VALUE[key])
        assert found[key].dtype == VALUE[key].dtype and found[key].flags.writeable


def test_arrays_lie_in_their_slot_and_are_not_copied_out() -> None:
    arena = Arena(2, 500)
    parcel = arena.pack(VALUE, 1)
    assert parcel.slot == 1 and not parcel.rest and len(parcel.head) < 500
    first, second = arena.unpack(parcel), arena.unpack(parcel)
    first["pixels"][0, 0, 0] = 7
    assert second["pixels"][0, 0, 0] == 7
    other = arena.unpack(arena.pack({"pixels": np.full(400, 9, np.uint8)}, 0))
    assert second["pixels"][0, 0, 0] == 7 and (other["pixels"] == 9).all()


def test_what_is_too_large_for_a_slot_travels_with_its_parcel() -> None:
    arena = Arena(1, 100)
    parcel = arena.pack(VALUE, 0)
    assert parcel.slot is None and sum(map(len, parcel.rest)) == 316
    np.testing.assert_array_equal(arena.unpack(parcel)["pixels"], VALUE["pixels"])


def test_an_arena_without_slots() -> None:
    arena = Arena(0, 100)
    assert arena.unpack(arena.pack([1, 2], None)) == [1, 2]


def test_tensors_travel_by_value() -> None:
    arena = Arena(1, 1000)
    proposals = Proposals(torch.eye(3, dtype=torch.bool)[None], torch.tensor([0.5]), rejected={"tau": 2})
    found = arena.unpack(arena.pack(proposals, None))
    assert torch.equal(found.masks, proposals.masks) and found.rejected == {"tau": 2}

"""Objects with large arrays that travel between processes: the arrays lie in shared memory, which is not copied.

The memory has no name, and is gone when the last process that uses it ends, however it ends.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import pickle
from dataclasses import dataclass
from typing import Any

CONTEXT = multiprocessing.get_context("spawn")
"""Starts the processes: forked ones inherit broken thread pools of OpenMP, and cannot use CUDA."""
_ALIGNED = 64


@dataclass(frozen=True)
class Parcel:
    """A packed object.

    Attributes:
        head: everything but the arrays.
        slot: of the arena that holds the arrays; ``None`` where they are in ``rest``.
        sizes: bytes of each array.
        rest: the arrays, where they did not fit.
    """

    head: bytes
    slot: int | None
    sizes: tuple[int, ...] = ()
    rest: tuple[bytearray, ...] = ()


class Arena:
    """Shared memory of slots for one object each; may be an argument of a process that is started.

    Args:
        slots: how many there are.
        size: bytes of each; larger objects travel with their parcel.
    """

    def __init__(self, slots: int, size: int) -> None:
        self.slots, self.size = slots, _up(size)
        self._memory = CONTEXT.RawArray(ctypes.c_ubyte, max(1, slots * self.size))

    def pack(self, value: Any, slot: int | None) -> Parcel:
        """Pack an object.

        Args:
            value: anything that can be pickled.
            slot: where its arrays go; ``None`` sends them along.
        """
        buffers: list[pickle.PickleBuffer] = []
        head = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        raw = [buffer.raw() for buffer in buffers]
        sizes = tuple(part.nbytes for part in raw)
        if slot is None or sum(map(_up, sizes)) > self.size:
            return Parcel(head, None, sizes, tuple(map(bytearray, raw)))
        for place, part in zip(self._places(slot, sizes), raw):
            place[:] = part
        return Parcel(head, slot, sizes)

    def unpack(self, parcel: Parcel) -> Any:
        """Return the object; its arrays change when the slot is used again."""
        if parcel.slot is None:
            return pickle.loads(parcel.head, buffers=parcel.rest)
        return pickle.loads(parcel.head, buffers=self._places(parcel.slot, parcel.sizes))

    def _places(self, slot: int, sizes: tuple[int, ...]) -> list[memoryview]:
        memory, start, places = memoryview(self._memory).cast("B"), slot * self.size, []
        for size in sizes:
            places.append(memory[start : start + size])
            start += _up(size)
        return places


def _up(size: int) -> int:
    """The next multiple of what arrays are aligned to."""
    return -(-size // _ALIGNED) * _ALIGNED

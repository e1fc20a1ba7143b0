"""How records get into loader processes and samples out of them.

Records are pickled into one buffer: a forked process would copy a list of dictionaries page by page, just because
looking at an object changes its reference count. A batch of samples leaves as one block of shared memory: one file
descriptor per batch instead of several per image.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseg_d2.data.sample import Sample

_ALIGNMENT = 16  # bytes
_TENSORS = tuple(field.name for field in fields(Sample) if "Tensor" in str(field.type))


class PackedRecords:
    """A read-only list of records in one buffer of bytes.

    Args:
        records: anything that can be pickled.
    """

    def __init__(self, records: Sequence[dict[str, Any]]) -> None:
        pickled = [pickle.dumps(record, protocol=pickle.HIGHEST_PROTOCOL) for record in records]
        self._ends = np.cumsum([len(item) for item in pickled], dtype=np.int64)
        self._buffer = np.frombuffer(b"".join(pickled), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> dict[str, Any]:
        start = self._ends[index - 1] if index else 0
        return pickle.loads(self._buffer[start : self._ends[index]].data)


@dataclass(frozen=True)
class PackedBatch:
    """Samples without their tensors, and the tensors' bytes one after another.

    Attributes:
        buffer: uint8, all tensors of all samples.
        samples: the samples; in place of each tensor stands ``(start in the buffer, shape, dtype)``.
    """

    buffer: Tensor
    samples: list[Sample]


def pack(samples: list[Sample]) -> PackedBatch:
    """Move all tensors of a batch into one."""
    layout: list[Sample] = []
    parts: list[tuple[int, Tensor]] = []
    size = 0
    for sample in samples:
        places: dict[str, Any] = {}
        for name in _TENSORS:
            tensor = getattr(sample, name)
            if tensor is not None:
                places[name] = (size, tuple(tensor.shape), tensor.dtype)
                parts.append((size, tensor.contiguous()))
                size += -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        layout.append(replace(sample, **places))
    buffer = torch.empty(size, dtype=torch.uint8)
    for start, tensor in parts:
        buffer[start : start + tensor.nbytes] = tensor.view(-1).view(torch.uint8)
    return PackedBatch(buffer, layout)


def unpack(batch: PackedBatch) -> list[Sample]:
    """Undo `pack`; the tensors are views of the buffer."""
    samples = []
    for sample in batch.samples:
        tensors: dict[str, Any] = {name: _view(batch.buffer, getattr(sample, name)) for name in _TENSORS}
        samples.append(replace(sample, **tensors))
    return samples


def _view(buffer: Tensor, place: Any) -> Tensor | None:
    if place is None:
        return None
    start, shape, dtype = place
    count = int(np.prod(shape)) * dtype.itemsize
    return buffer[start : start + count].view(dtype).view(shape)

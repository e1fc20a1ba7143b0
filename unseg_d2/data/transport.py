"""How records get into loader processes and samples out of them.

Records in memory are pickled into one buffer: a forked process would copy a list of dictionaries page by page, just
because looking at an object changes its reference count. A batch of samples leaves as one block of shared memory: one
file descriptor per batch instead of several per image.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseg_d2.data.facts import Facts
from unseg_d2.data.records import ListPart, Part, as_records
from unseg_d2.data.sample import Sample

_ALIGNMENT = 16  # bytes
_TENSORS = tuple(field.name for field in fields(Sample) if "Tensor" in str(field.type))


class PackedRecords(Sequence[dict[str, Any]]):
    """A read-only list of records that loader processes share.

    Those in memory are pickled into one buffer of bytes. Those of an annotation file stay there, and the columns of its
    index are shared: a forked process has them anyway, and one that is spawned gets them as shared memory.

    Args:
        records: what is in memory can be pickled.
        with_annotations: ``False`` leaves the annotations out.
    """

    def __init__(self, records: Sequence[dict[str, Any]], *, with_annotations: bool = True) -> None:
        packed = as_records(records).with_parts(lambda part: _packed(part, with_annotations))
        self._records = packed if with_annotations else packed.images()
        self._shared: tuple[bytes, list[Tensor]] | None = None

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        return self._records[index]

    def file_name(self, index: int) -> str:
        """Return the path of an image; its annotations, which may be damaged, are not read."""
        return str(self._records.image(index)["file_name"])

    def __getstate__(self) -> tuple[bytes, list[Tensor]]:
        if self._shared is None:
            buffers: list[pickle.PickleBuffer] = []
            data = pickle.dumps(self._records, protocol=5, buffer_callback=buffers.append)
            self._shared = data, [_tensor(buffer.raw()) for buffer in buffers]  # torch shares tensors, not arrays
        return self._shared

    def __setstate__(self, state: tuple[bytes, list[Tensor]]) -> None:
        self._shared = state
        self._records = pickle.loads(state[0], buffers=[tensor.numpy().data for tensor in state[1]])


class _PackedPart:
    """Records in one buffer of bytes."""

    def __init__(self, records: Sequence[bytes]) -> None:
        self._ends = np.cumsum([len(item) for item in records], dtype=np.int64)
        self._buffer = np.frombuffer(b"".join(records), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self._ends)

    def record(self, place: int) -> dict[str, Any]:
        """Return a copy of a record."""
        start = self._ends[place - 1] if place else 0
        record: dict[str, Any] = pickle.loads(self._buffer[start : self._ends[place]].data)
        return record

    def image(self, place: int) -> dict[str, Any]:
        """Return a copy of a record without annotations."""
        return {key: value for key, value in self.record(place).items() if key != "annotations"}

    def facts(self) -> Facts:
        """Unpack all records and look at them."""
        return ListPart([self.record(place) for place in range(len(self))]).facts()


def _packed(part: Part, with_annotations: bool) -> Part:
    if not isinstance(part, ListPart):
        return part
    take = part.record if with_annotations else part.image
    return _PackedPart([pickle.dumps(take(place), protocol=pickle.HIGHEST_PROTOCOL) for place in range(len(part))])


def _tensor(data: memoryview) -> Tensor:
    tensor = torch.empty(len(data), dtype=torch.uint8)
    tensor.numpy()[:] = np.frombuffer(data, np.uint8)
    return tensor


@dataclass(frozen=True)
class PackedBatch:
    """Samples without their tensors, and the tensors' bytes one after another.

    Attributes:
        buffer: uint8, all tensors of all samples.
        samples: the samples; in place of each tensor stands ``(start in the buffer, shape, dtype)``.
    """

    buffer: Tensor
    samples: list[Sample]

    def pin_memory(self) -> PackedBatch:
        """Return it in page-locked memory; a data loader that pins calls this."""
        return replace(self, buffer=self.buffer.pin_memory())


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

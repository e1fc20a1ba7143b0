from __future__ import annotations

import pytest
import torch

from unseg_d2.data.batch_paste import PlannedBatch
from unseg_d2.data.sample import Sample
from unseg_d2.data.transport import PackedRecords, pack, unpack


def test_records_come_back() -> None:
    records = [{"file_name": "a", "annotations": [{"bbox": [1, 2, 3, 4.5]}]}, {}, {"file_name": "ü"}]
    packed = PackedRecords(records)
    assert len(packed) == 3 and list(packed) == records


def test_samples_come_back() -> None:
    def sample(n: int, confidence: bool) -> Sample:
        image = torch.randint(0, 256, (3, 5, 7), dtype=torch.uint8)
        masks = torch.rand(n, 5, 7) > 0.5
        plane = torch.randint(0, 256, (n, 5, 7), dtype=torch.uint8) if confidence else None
        return Sample(image, torch.rand(n, 4), masks, torch.rand(n), plane, "a.png", 3, 50, 70)

    samples = [sample(3, True), sample(0, True), sample(1, False)]
    for before, after in zip(samples, unpack(pack(samples))):
        for name in ("image", "boxes", "masks", "scores"):
            torch.testing.assert_close(getattr(after, name), getattr(before, name), rtol=0, atol=0)
        assert (before.confidence is None) == (after.confidence is None)
        if before.confidence is not None:
            assert torch.equal(before.confidence, after.confidence)
        assert (after.file_name, after.image_id, after.height, after.width) == ("a.png", 3, 50, 70)


def test_a_batch_is_pinned_as_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The loader's thread calls the method of the batch; all tensors of the samples are views of what it returns."""
    pinned: list[torch.Tensor] = []

    def pin(tensor: torch.Tensor) -> torch.Tensor:
        pinned.append(tensor.clone())
        return pinned[-1]

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    sample = Sample(torch.ones(3, 4, 5, dtype=torch.uint8), torch.rand(1, 4), torch.ones(1, 4, 5, dtype=torch.bool),
                    torch.ones(1), None, "a.png", 1, 4, 5)  # fmt: skip
    batch = pack([sample, sample])
    back = unpack(PlannedBatch(batch, [None, None]).pin_memory().samples)
    assert len(pinned) == 1 and torch.equal(pinned[0], batch.buffer)
    assert all(s.image.untyped_storage().data_ptr() == pinned[0].untyped_storage().data_ptr() for s in back)

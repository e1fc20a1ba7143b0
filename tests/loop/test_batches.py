"""Batches made in other processes."""

from __future__ import annotations

import cv2
from torch.utils.data import get_worker_info

from unseg_d2.devices import available_cores
from unseg_d2.loop.batches import batch_stream


def test_loader_processes_have_one_thread_and_a_core_each():
    cv2.setNumThreads(2)
    stream = batch_stream(lambda t: (cv2.getNumThreads(), get_worker_info().num_workers), 0, 2, num_workers=99)
    assert set(stream) == {(1, available_cores())}

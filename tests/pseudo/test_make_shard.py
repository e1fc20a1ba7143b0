from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pseudo_fakes import fake_pipeline, picture, save_pictures

from unseg_d2.config import load_cfg
from unseg_d2.data.rle import decode_confidence, decode_mask
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.make_shard import image_lines, one_thread
from unseg_d2.pseudo.pipeline import MaskPipeline

CFG = load_cfg(None, ["FEATURES.IMAGE_SIZE", "64"])
LARGE = 10**9


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path, 3)


def test_lines_hold_masks_scores_and_confidence(images: Path) -> None:
    (line,) = image_lines(fake_pipeline(CFG), [(7, "more/000.png")], images, LARGE)
    assert (line["id"], line["file_name"], line["height"], line["width"]) == (7, "more/000.png", 40, 60)
    (annotation,) = line["annotations"]
    expected = np.asarray(picture(1))[..., 0] > 200
    mask = decode_mask(annotation["segmentation"], 40, 60)
    assert (mask & expected).sum() / (mask | expected).sum() > 0.8
    assert annotation["area"] == mask.sum() and annotation["score"] == 0.75
    left, top, width, height = map(int, annotation["bbox"])
    assert mask[top : top + height, left : left + width].sum() == mask.sum()
    assert decode_confidence(annotation["confidence"]).shape == (8, 8)


def test_one_faulty_image_does_not_spoil_its_batch(images: Path) -> None:
    picture(0).point(lambda _: 255).save(images / "blue.png")
    names = ["000.png", "blue.png", "missing.png", "001.png"]
    lines = image_lines(fake_pipeline(CFG), list(enumerate(names)), images, LARGE)
    assert [line.get("failure") for line in lines] == [
        None,
        "ValueError: too blue to segment",
        "the file does not exist",
        None,
    ]
    alone = image_lines(fake_pipeline(CFG), [(3, "001.png")], images, LARGE)
    assert lines[3] == alone[0]


def test_full_gpu_memory_is_not_blamed_on_the_image(images: Path) -> None:
    class Full(MaskPipeline):
        def __call__(self, images, files):
            raise torch.OutOfMemoryError

    with pytest.raises(UnsegError, match=r"lower FEATURES.BATCH_SIZE"):
        image_lines(Full(None, None, None), [(1, "000.png")], images, LARGE)


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    with one_thread():
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before

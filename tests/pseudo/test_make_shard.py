from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pseudo_fakes import BrightRed, fake_pipeline, picture, save_pictures
from scipy.sparse.linalg import ArpackError

from unseg_d2.config import load_cfg
from unseg_d2.data.images import ImageProblem, Reading
from unseg_d2.depth import GridDepth
from unseg_d2.errors import UnsegError, Unusable
from unseg_d2.pseudo.make_shard import as_staged, one_thread
from unseg_d2.pseudo.pool_sizes import NONE
from unseg_d2.pseudo.pseudo_masks import PseudoMasks
from unseg_d2.pseudo.renew import Sources
from unseg_d2.pseudo.stages import Stages
from unseg_d2.rle import decode_confidence, decode_mask
from unseg_d2.structures import DepthMap, Proposals

CFG = load_cfg(None, ["FEATURES.IMAGE_SIZE", "64"])
LARGE = Reading(max_pixels=10**9)


def image_lines(pipeline, images, sources: Sources, reading: Reading) -> list[dict]:
    """The lines of a batch of images."""
    stages = Stages(as_staged(pipeline), sources, reading, batch_size=len(images), sizes=NONE, plugins=())
    (lines,) = stages.lines([images])
    return lines


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    return save_pictures(tmp_path, 3)


def test_lines_hold_masks_scores_and_confidence(images: Path) -> None:
    (line,) = image_lines(fake_pipeline(CFG), [(7, "more/000.png")], Sources(images), LARGE)
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
    lines = image_lines(fake_pipeline(CFG), list(enumerate(names)), Sources(images), LARGE)
    assert [line.get("failure") for line in lines] == [
        None,
        "too blue to segment",
        "the file does not exist",
        None,
    ]
    alone = image_lines(fake_pipeline(CFG), [(3, "001.png")], Sources(images), LARGE)
    assert lines[3] == alone[0]


def test_full_gpu_memory_is_not_blamed_on_the_image(images: Path) -> None:
    class Full:
        def __call__(self, images, files):
            raise torch.OutOfMemoryError

    with pytest.raises(UnsegError, match=r"lower FEATURES.BATCH_SIZE"):
        image_lines(Full(), [(1, "000.png")], Sources(images), LARGE)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error: an illegal memory access was encountered"), MemoryError()])
def test_a_failing_device_is_not_blamed_on_the_image(error: Exception, images: Path) -> None:
    class Failing:
        def __call__(self, images, files):
            raise error

    with pytest.raises(UnsegError, match=r"device failed|memory is full"):
        image_lines(Failing(), [(1, "000.png"), (2, "more/000.png")], Sources(images), LARGE)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shapes differ"),
        TypeError("no"),
        AttributeError("no"),
        KeyError("k"),
        ValueError("a"),
        OSError("b"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_of_the_program_end_the_work_and_name_the_image(error: Exception, images: Path) -> None:
    class Failing:
        depth = None

        def __call__(self, images, files):
            if any(file.file_name == "001.png" for file in files):
                raise error
            return [[] for _ in images]

    names = ["000.png", "001.png", "more/000.png"]
    with pytest.raises(UnsegError, match=rf"^The program failed on 001\.png: {type(error).__name__}: ") as caught:
        image_lines(Failing(), list(enumerate(names)), Sources(images), LARGE)
    assert caught.value.__cause__ is error and "--verbose" in str(caught.value)


def test_errors_of_a_batch_name_the_batch(images: Path) -> None:
    class Failing:
        def __call__(self, images, files):
            if len(images) > 1:
                raise RuntimeError("stack expects each tensor to be equal size")
            return [PseudoMasks() for _ in images]

    with pytest.raises(UnsegError, match=r"^The program failed on 000\.png and 1 more: RuntimeError: stack expects"):
        image_lines(Failing(), [(1, "000.png"), (2, "001.png")], Sources(images), LARGE)


@pytest.mark.parametrize(
    "error",
    [Unusable("no foreground"), np.linalg.LinAlgError("Eigenvalues did not converge"), ArpackError(-1)],
    ids=lambda error: type(error).__name__,
)
def test_what_an_image_s_data_cause_is_recorded(error: Exception, images: Path) -> None:
    class Failing:
        def __call__(self, images, files):
            if any(file.file_name == "001.png" for file in files):
                raise error
            return [PseudoMasks() for _ in images]

    names = ["000.png", "001.png", "more/000.png"]
    lines = image_lines(Failing(), list(enumerate(names)), Sources(images), LARGE)
    assert ["failure" in line for line in lines] == [False, True, False]
    assert " ".join(str(error).split()).rstrip(".") == lines[1]["failure"]


def test_threads_are_given_back() -> None:
    before = torch.get_num_threads(), cv2.getNumThreads()
    with one_thread():
        assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    assert (torch.get_num_threads(), cv2.getNumThreads()) == before


def test_an_image_without_depth_is_recorded(images: Path) -> None:
    class Depth:
        name, kind, predicts = "files", "metric", False

        def __call__(self, images, files):
            if any(file.file_name == "000.png" for file in files):
                raise ImageProblem("there is no depth for it")
            return [DepthMap(torch.arange(1.0, 7.0).expand(4, 6), "metric") for _ in images]

    pipeline = replace(fake_pipeline(CFG), depth=GridDepth(Depth()))
    first, second = image_lines(pipeline, [(1, "000.png"), (2, "more/000.png")], Sources(images), LARGE)
    assert first["failure"] == "there is no depth for it" and len(second["annotations"]) == 1


def test_proposals_beyond_the_cap_are_recorded(images: Path) -> None:
    class Twice(BrightRed):
        def propose(self, features):
            one = super().propose(features)
            return Proposals(one.masks.expand(3, -1, -1), torch.tensor([0.2, 0.9, 0.5]))

    pipeline = replace(fake_pipeline(CFG), generator=Twice(), max_proposals=2)
    (line,) = image_lines(pipeline, [(1, "more/000.png")], Sources(images), LARGE)
    assert [annotation["score"] for annotation in line["annotations"]] == [0.9, 0.5]
    assert line["proposals_left_out"] == 1

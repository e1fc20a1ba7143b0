from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.config import get_cfg
from unseg_d2.data.images import read_image
from unseg_d2.data.loader import build_test_loader, build_train_loader, draw_sample, write_sample
from unseg_d2.data.sample import Sample
from unseg_d2.errors import UnsegError
from unseg_d2.rle import encode_mask


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """Nine images of noise with two rectangles each, which lie lower from image to image; every third is portrait."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    result = []
    for index in range(9):
        height, width = (40, 30) if index % 3 == 2 else (30, 40)
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(folder / f"{index}.png")
        annotations = []
        for left in (2, 16):
            mask = np.zeros((height, width), dtype=bool)
            mask[2 * index : 2 * index + 7, left : left + 9] = True
            bbox = [left, 2 * index, 9, 7]
            annotations.append({"bbox": bbox, "iscrowd": 0, "segmentation": encode_mask(mask)})
        name = str(folder / f"{index}.png")
        size = {"height": height, "width": width}
        result.append({"file_name": name, "image_id": index, "annotations": annotations} | size)
    return result


def config(**loader: Any) -> CfgNode:
    cfg = get_cfg()
    cfg.SOLVER.IMS_PER_BATCH = 4
    cfg.INPUT.MIN_SIZE_TRAIN = (24, 30, 36)
    cfg.DATALOADER.NUM_WORKERS = 0
    cfg.DATALOADER.COPY_PASTE = True
    cfg.DATALOADER.COPY_PASTE_RATE = 1.0
    cfg.MODEL.MASK_ON = True
    for key, value in loader.items():
        cfg.DATALOADER[key] = value
    return cfg


def batches(records: Sequence[dict[str, Any]], cfg: CfgNode, count: int = 5, **place: int) -> list[list[Sample]]:
    return list(islice(build_train_loader(records, cfg, **place), count))


def assert_same(first: list[list[Sample]], second: list[list[Sample]]) -> None:
    assert [len(batch) for batch in first] == [len(batch) for batch in second]
    for one, other in zip(chain(*first), chain(*second)):
        assert one.file_name == other.file_name
        for name in ("image", "boxes", "masks", "scores"):
            assert torch.equal(getattr(one, name), getattr(other, name))


@pytest.mark.parametrize("workers", [1, 2])
def test_batches_do_not_depend_on_the_workers(records: list[dict[str, Any]], workers: int) -> None:
    assert_same(batches(records, config()), batches(records, config(NUM_WORKERS=workers)))


def test_workers_live_beside_the_threads_of_opencv(records: list[dict[str, Any]]) -> None:
    """A pool of OpenCV's threads that a loader process inherits would make it wait for ever."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(2)
    cv2.GaussianBlur(np.zeros((2000, 2000), np.float32), (0, 0), 5)  # starts the pool
    loader = build_train_loader(records, config(NUM_WORKERS=1))
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("the loader process does not answer"))
    signal.alarm(60)
    try:
        assert len(next(iter(loader))) == 4
    finally:
        signal.alarm(0)
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("workers", [0, 2])
def test_resuming_gives_the_batches_of_an_uninterrupted_run(records: list[dict[str, Any]], workers: int) -> None:
    everything = batches(records, config(), count=8)
    assert_same(everything[5:], batches(records, config(NUM_WORKERS=workers), count=3, start_iter=5))


def test_two_processes_see_what_one_does(records: list[dict[str, Any]]) -> None:
    halves = [batches(records, config(), rank=rank, world_size=2) for rank in range(2)]
    assert_same(batches(records, config()), [first + second for first, second in zip(*halves)])


def test_copy_paste_from_the_reversed_batch(records: list[dict[str, Any]]) -> None:
    """At full size, pixels that changed are those of the partner, at places where the partner has an object."""
    cfg = config(COPY_PASTE_SOURCE="batch", COPY_PASTE_MIN_RATIO=1.0, COPY_PASTE_RANDOM_NUM=False)
    cfg.SOLVER.IMS_PER_BATCH = 2
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (0,), "none"
    plain = cfg.clone()
    plain.DATALOADER.COPY_PASTE = False
    pasted_any = False
    for pasted, original in zip(batches(records, cfg), batches(records, plain)):
        for i, target in enumerate(pasted):
            source = original[1 - i]
            assert target.file_name == original[i].file_name
            changed = (target.image != original[i].image).any(dim=0)
            assert torch.equal(target.image[:, changed], source.image[:, changed])
            assert not (changed & ~source.masks.any(dim=0)).any()
            pasted_any |= bool(changed.any())
    assert pasted_any


def test_pasted_objects_come_from_another_image_of_the_same_orientation(records: list[dict[str, Any]]) -> None:
    """Of two images per orientation, the other one is always the source: the pasted pixels are its pixels."""
    four = [records[0], records[7], records[2], records[8]]
    cfg = config(COPY_PASTE_MIN_RATIO=1.0, COPY_PASTE_RANDOM_NUM=False)
    cfg.INPUT.MIN_SIZE_TRAIN, cfg.INPUT.RANDOM_FLIP = (0,), "none"
    images = {record["image_id"]: read_image(record["file_name"]).transpose(2, 0, 1) for record in four}
    partner = {0: 7, 7: 0, 2: 8, 8: 2}
    for batch in batches(four, cfg):
        for sample in batch:
            assert len(sample) > 2  # something was pasted
            image, source = sample.image.numpy(), images[partner[sample.image_id]]
            changed = (image != images[sample.image_id]).any(axis=0)
            assert changed.any() and (image[:, changed] == source[:, changed]).all()


def test_pictures_of_pasted_batches(records: list[dict[str, Any]], tmp_path: Path) -> None:
    cfg = config(VISUALIZE_COPY_PASTE=True)
    cfg.OUTPUT_DIR = str(tmp_path)
    _, second = batches(records, cfg, count=2)
    names = [f"{i:04d}_{place:02d}.png" for i in range(2) for place in range(4)]
    assert sorted(path.name for path in (tmp_path / "copy_paste").iterdir()) == names
    assert read_image(tmp_path / "copy_paste" / names[5]).shape[:2] == second[1].size


def test_a_negative_seed_is_drawn(records: list[dict[str, Any]]) -> None:
    cfg = config()
    cfg.SEED = -1
    runs = [[s.file_name for batch in batches(records, cfg) for s in batch] for _ in range(2)]
    assert runs[0] != runs[1]


def test_another_seed_gives_other_batches(records: list[dict[str, Any]]) -> None:
    cfg = config()
    cfg.SEED = 1
    first, second = batches(records, config())[0], batches(records, cfg)[0]
    assert any(a.file_name != b.file_name or a.size != b.size for a, b in zip(first, second))


def test_orientations_are_kept_apart(records: list[dict[str, Any]]) -> None:
    def mixed(cfg: CfgNode) -> bool:
        return any(len({s.width > s.height for s in batch}) == 2 for batch in batches(records, cfg, count=9))

    assert not mixed(config())
    assert mixed(config(ASPECT_RATIO_GROUPING=False))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_unreadable_image_is_one_sentence(records: list[dict[str, Any]], tmp_path: Path, workers: int) -> None:
    (tmp_path / "broken.png").write_bytes(b"")
    broken = records[0] | {"file_name": str(tmp_path / "broken.png")}
    with pytest.raises(UnsegError, match=r"broken\.png cannot be used: zero bytes") as caught:
        batches([broken], config(NUM_WORKERS=workers))
    assert "\n" not in str(caught.value)


def test_an_unexpected_error_names_the_files(records: list[dict[str, Any]]) -> None:
    damaged = records[0] | {"annotations": [{"bbox": "wide", "segmentation": {"size": [30, 40], "counts": "1"}}]}
    with pytest.raises(UnsegError, match=r"0\.png failed: ValueError"):
        batches([damaged], config(NUM_WORKERS=1))


def test_a_killed_loader_process_is_one_sentence(
    records: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unseg_d2.data.loader.load_sample", lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(UnsegError, match=r"A loader process died .* lower DATALOADER.NUM_WORKERS"):
        batches(records, config(NUM_WORKERS=1))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("COPY_PASTE_SOURCE", "moon", "one of 'sample', 'batch'"),
        ("COPY_PASTE_MODE", "published", "one of 'default', 'parity'"),
        ("COPY_PASTE_MIN_RATIO", 2.0, r"in \(0, 1\]"),
    ],
)
def test_settings_are_checked_at_once(records: list[dict[str, Any]], key: str, value: Any, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        build_train_loader(records, config(**{key: value}))


def test_the_batch_has_to_be_shared_evenly(records: list[dict[str, Any]]) -> None:
    with pytest.raises(UnsegError, match="IMS_PER_BATCH is 4, which 3 processes"):
        build_train_loader(records, config(), world_size=3)


@pytest.mark.parametrize("workers", [0, 2])
def test_test_images_keep_their_order(records: list[dict[str, Any]], workers: int) -> None:
    cfg = config(NUM_WORKERS=workers)
    cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST = 60, 100
    loader = build_test_loader(records, cfg)
    samples = list(loader)
    assert [s.image_id for s in samples] == list(range(9)) and len(loader) == 9
    assert samples[0].size == (60, 80) and samples[2].size == (80, 60) and len(samples[0]) == 0


@pytest.mark.parametrize("source", ["sample", "batch"])
def test_pasting_on_the_device_of_the_model_gives_the_batches_of_the_workers(
    records: list[dict[str, Any]], source: str, tmp_path: Path
) -> None:
    options = {"COPY_PASTE_SOURCE": source, "COPY_PASTE_MIN_RATIO": 1.0, "COPY_PASTE_RATE": 0.7}
    inside = batches(records, config(**options))
    cfg = config(**options, COPY_PASTE_DEVICE="model", NUM_WORKERS=1, VISUALIZE_COPY_PASTE=True)
    cfg.MODEL.DEVICE, cfg.OUTPUT_DIR = "cpu", str(tmp_path)
    outside = batches(records, cfg)
    assert any(len(sample) > 2 for sample in chain(*inside)) and any(len(sample) == 2 for sample in chain(*inside))
    for one, other in zip(chain(*outside), chain(*inside)):
        assert one.file_name == other.file_name and len(one) == len(other)
        assert (one.masks != other.masks).float().mean() < 0.01
        torch.testing.assert_close(one.boxes, other.boxes, rtol=0, atol=1)
    assert len(list((tmp_path / "copy_paste").iterdir())) == 4 * 5


def test_boxes_and_outlines_are_drawn_and_the_rest_is_left_alone(tmp_path: Path) -> None:
    masks = torch.zeros(1, 20, 30, dtype=torch.bool)
    masks[0, 5:10, 10:20] = True
    image = torch.full((3, 20, 30), 7, dtype=torch.uint8)
    sample = Sample(image, torch.tensor([[8.0, 3, 22, 12]]), masks, torch.ones(1), None, "a", 1, 20, 30)
    drawn = draw_sample(sample)
    expected = np.full((20, 30, 3), 7, dtype=np.uint8)
    for x1, y1, x2, y2 in ((8, 3, 22, 12), (10, 5, 20, 10)):
        expected[y1:y2, x1:x2] = 255, 0, 0
        expected[y1 + 1 : y2 - 1, x1 + 1 : x2 - 1] = 7
    np.testing.assert_array_equal(drawn, expected)
    assert (image == 7).all()
    write_sample(tmp_path / "made" / "a.png", sample)
    np.testing.assert_array_equal(read_image(tmp_path / "made" / "a.png"), drawn)

"""Several batches under way at once, in threads; with processes in test_stage_processes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pseudo_fakes import BrightRed, deep_pipeline, fake_pipeline, picture, save_pictures
from stage_fakes import Threads, unwilling_pipeline

from unseg_d2.config import load_cfg
from unseg_d2.data.images import Reading
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.make_shard import ShardJob, as_staged, make_shard
from unseg_d2.pseudo.pool_sizes import NONE, PoolSizes
from unseg_d2.pseudo.renew import Sources
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.pseudo.stages import Stages
from unseg_d2.pseudo.step_processes import KilledTwice

CFG = load_cfg(None, ["FEATURES.IMAGE_SIZE", "64"])
BATCH = 3


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    folder = save_pictures(tmp_path / "images", 17)
    (folder / "cut.png").write_bytes((folder / "000.png").read_bytes()[:60])
    picture(0).point(lambda _: 255).save(folder / "blue.png")  # the generator fails on it, and so would the refiner
    white = picture(1)
    white.putpixel((0, 0), (255, 255, 255))
    white.save(folder / "white.png")
    return folder


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unseg_d2.pseudo.stages.StepProcesses", Threads)


def batches(folder: Path) -> list[list[tuple[int, str]]]:
    names = [(k, path.relative_to(folder).as_posix()) for k, path in enumerate(sorted(folder.rglob("*.png")))]
    return [names[start : start + BATCH] for start in range(0, len(names), BATCH)]


def stages(folder: Path, sizes: PoolSizes = NONE, build=unwilling_pipeline) -> Stages:
    return Stages(as_staged(build(CFG)), Sources(folder), Reading(), batch_size=BATCH, sizes=sizes, plugins=())


class Small:
    """A device that holds two images at once; one whose memory is ``broken`` holds none."""

    def __init__(self, pipeline, most: int = 2) -> None:
        self.pipeline, self.most, self.asked = pipeline, most, []

    def __getattr__(self, name: str) -> object:
        return getattr(self.pipeline, name)

    def propose(self, looks, clock):
        self.asked.append(len(looks))
        if len(looks) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB.")
        return self.pipeline.propose(looks, clock)


def test_a_batch_that_is_too_large_for_the_card_is_halved(images: Path, caplog: pytest.LogCaptureFixture) -> None:
    expected = list(stages(images).lines(batches(images)))
    helped = stages(images)
    helped._pipeline = Small(helped._pipeline)
    assert list(helped.lines(batches(images))) == expected
    assert helped._pipeline.asked[:3] == [3, 1, 2]
    assert [record.getMessage()[:41] for record in caplog.records] == ["The GPU's memory is full with 3 images at"]


def test_one_image_that_is_too_large_for_the_card_ends_the_work(images: Path) -> None:
    helped = stages(images)
    helped._pipeline = Small(helped._pipeline, most=0)
    with pytest.raises(UnsegError, match=r"GPU's memory is full; lower FEATURES\.BATCH_SIZE"):
        list(helped.lines(batches(images)))


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0), (1, 1), (2, 3), (7, 2)], ids=str)
def test_lines_are_the_same_and_in_order_whoever_helps(images: Path, sizes: tuple[int, int]) -> None:
    expected = list(stages(images).lines(batches(images)))
    assert sum("failure" in line for lines in expected for line in lines) == 3
    helped = stages(images, PoolSizes(*sizes))
    free = len(helped._slots)
    assert list(helped.lines(batches(images))) == expected
    assert list(helped.lines(batches(images)[::-1])) == expected[::-1]
    assert len(helped._slots) == free
    helped.close()


def test_the_failure_of_one_image_leaves_its_batch_as_it_was(images: Path) -> None:
    lines = {line["file_name"]: line for lines in stages(images).lines(batches(images)) for line in lines}
    failures = {name: line["failure"] for name, line in lines.items() if "failure" in line}
    assert failures == {"blue.png": "too blue to segment", "cut.png": "truncated", "white.png": "a white corner"}
    assert len(lines) == 20 and all(line["annotations"] for line in lines.values() if "failure" not in line)


@pytest.mark.parametrize("sizes", [(0, 0), (1, 1), (3, 4)], ids=str)
def test_a_bounded_number_of_batches_is_under_way(images: Path, sizes: tuple[int, int]) -> None:
    begun = 0

    def counted() -> Iterator[list[tuple[int, str]]]:
        nonlocal begun
        for batch in batches(images):
            begun += 1
            yield batch

    helped = stages(images, PoolSizes(*sizes))
    most = 1 + sum(-(-2 * number // BATCH) for number in sizes) + 1
    for done, _ in enumerate(helped.lines(counted())):
        assert begun - done <= most
    assert begun == len(batches(images))


class _Mistaken(BrightRed):
    def propose(self, features):
        raise KeyError("no such patch")


@pytest.mark.parametrize("sizes", [(0, 0), (2, 3)], ids=str)
def test_a_mistake_of_the_generator_ends_the_work(images: Path, sizes: tuple[int, int]) -> None:
    def build(cfg):
        return replace(fake_pipeline(cfg), generator=_Mistaken())

    with pytest.raises(UnsegError, match=r"^The program failed on 000\.png: KeyError: 'no such patch'"):
        list(stages(images, PoolSizes(*sizes), build).lines(batches(images)))


@pytest.mark.parametrize("most", [3, 0])
def test_images_that_kill_processes_are_recorded_up_to_some(
    images: Path, most: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Deadly(Threads):
        def _do(self, arguments, slot):
            if arguments[0] == (1, "001.png"):
                raise KilledTwice("A reader process ended by signal 9 (Killed), perhaps for lack of memory; resume.")
            return super()._do(arguments, slot)

    monkeypatch.setattr("unseg_d2.pseudo.stages.StepProcesses", Deadly)
    monkeypatch.setattr("unseg_d2.pseudo.stages.MOST_KILLERS", most)
    helped = stages(images, PoolSizes(1, 1))
    if not most:
        with pytest.raises(UnsegError, match=r"ended by signal 9 \(Killed\), perhaps for lack of memory; resume"):
            list(helped.lines(batches(images)))
        return
    lines = [line for lines in helped.lines(batches(images)) for line in lines]
    expected = [line for lines in stages(images).lines(batches(images)) for line in lines]
    assert lines[1].pop("failure") == "the process that worked on it was killed twice, perhaps for lack of memory"
    assert lines[1].keys() == {"id", "file_name", "content"} and lines[1]["content"] == expected[1]["content"]
    assert lines[:1] + lines[2:] == expected[:1] + expected[2:]
    assert caplog.messages == [
        "A reader process ended by signal 9 (Killed). It worked on 001.png alone, which is recorded as a failure."
    ]


def test_the_time_of_each_stage_is_measured(images: Path) -> None:
    alone = stages(images)
    list(alone.lines(batches(images)))
    found = alone.seconds()
    assert found.keys() == {"elapsed", "reading", "features", "cut", "finishing"}
    assert 0 < sum(value for name, value in found.items() if name != "elapsed") <= found["elapsed"]
    helped = stages(images, PoolSizes(1, 2))
    list(helped.lines(batches(images)))
    found = helped.seconds()
    assert found["reading"] == 20 * 0.25 and found["finishing"] == 18 * 0.25  # as `Threads` says
    assert (found["readers"], found["finishers"]) == (found["elapsed"], 2 * found["elapsed"])
    assert {"waiting for readers", "waiting for finishers"} <= found.keys()
    helped.close()


def test_a_batch_that_is_tried_once_more_is_alone(images: Path, tmp_path: Path) -> None:
    shards = ShardFolder(tmp_path / "labels")
    shards.open({"num_images": 20, "shard_size": 20})
    job = ShardJob(0, [pair for batch in batches(images) for pair in batch], again=2 * BATCH)
    helped, proposed = stages(images, PoolSizes(1, 1)), []
    propose = helped._propose
    helped._propose = lambda batch: proposed.append(batch[0].asked[0]) or propose(batch)
    reported = 0
    for progress in make_shard(helped, shards, job, Sources(images), BATCH):
        if reported < job.again:
            assert max(proposed, default=0) < job.again
        elif reported == job.again and progress.images:
            assert max(proposed) == job.again
        reported += progress.images
    assert reported == 20 and proposed == list(range(0, 20, BATCH))
    helped.close()


def test_depth_files_are_read_by_readers(images: Path, tmp_path: Path) -> None:
    for path in images.rglob("*.png"):
        if path.name != "003.png":
            target = tmp_path / "depth" / path.relative_to(images).with_suffix(".npy")
            target.parent.mkdir(parents=True, exist_ok=True)
            np.save(target, np.tile(np.linspace(1, 9, 60, dtype=np.float32), (40, 1)))
    opts = ["DEPTH.SOURCE", "files", "DEPTH.KIND", "metric", "DEPTH.FILES.ROOT", str(tmp_path / "depth")]
    pipeline = deep_pipeline(load_cfg(None, ["FEATURES.IMAGE_SIZE", "64", *opts]))
    sources = Sources(images, pipeline.depth)
    lines = [
        list(Stages(pipeline, sources, Reading(), batch_size=BATCH, sizes=sizes, plugins=()).lines(batches(images)))
        for sizes in (NONE, PoolSizes(1, 1))
    ]
    assert lines[0] == lines[1]
    failures = [line["file_name"] for batch in lines[0] for line in batch if "failure" in line]
    assert failures == ["003.png", "cut.png", "more/003.png"] and not pipeline.looking.keeps_image

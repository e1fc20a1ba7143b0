"""Several commands make one label set."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pseudo_fakes import BrightRed, MeanColour, fake_pipeline, pipeline_of, save_pictures

from unseg_d2.config import load_cfg
from unseg_d2.locks import claimed
from unseg_d2.pseudo import generate
from unseg_d2.pseudo.claims import ClaimedShards, in_order
from unseg_d2.pseudo.make_shard import ShardJob
from unseg_d2.pseudo.shards import ShardFolder

NUMBER = 3


@pytest.mark.parametrize(("num_shards", "number"), [(1, 1), (2, 5), (11, 3), (16, 4)])
def test_every_command_goes_through_all_shards_its_own_first(num_shards: int, number: int) -> None:
    for index in range(number):
        order = in_order(num_shards, index, number)
        own = list(range(index, num_shards, number))
        assert order[: len(own)] == own and sorted(order) == list(range(num_shards))


@pytest.fixture()
def shards(tmp_path: Path) -> ShardFolder:
    folder = ShardFolder(tmp_path / "labels")
    folder.open({"num_images": 11, "shard_size": 2})  # shards 0 to 5, the last of one image
    (folder.folder / "shards").mkdir()
    return folder


def claims(shards: ShardFolder, index: int, number: int = 2, outdated: dict | None = None) -> ClaimedShards:
    return ClaimedShards(shards, index, number, outdated or {}, lambda shard: ShardJob(shard, []))


def test_two_commands_share_the_shards_as_they_go(shards: ShardFolder) -> None:
    first, second = claims(shards, 0), claims(shards, 1)
    assert (first.num_images, second.num_images) == (6, 5)
    taken = [first.take().shard, second.take().shard]
    assert taken == [0, 1]

    def make(command: ClaimedShards, job: ShardJob) -> None:
        shards.path(job.shard).write_text("{}\n")
        command.finish(job)

    make(first, ShardJob(0, []))
    for expected in (2, 4, 5):  # the second is slow: the first goes on with what it would come to last
        job = first.take()
        assert job.shard == expected
        make(first, job)
    job = first.take()
    assert job.shard == 3 and len(first) == 1
    assert first.take() is None, "shard 1 is held"
    make(second, ShardJob(1, []))
    assert first.take() is None and len(first) == 0
    assert second.take() is None and len(second) == 1, "shard 3 is held"
    make(first, job)
    assert second.take() is None and len(second) == 0
    assert (first.num_images, second.num_images) == (9, 2)
    assert not list((shards.folder / "shards").glob(".*"))


def test_claims_end_with_the_command(shards: ShardFolder) -> None:
    with pytest.raises(KeyError), claims(shards, 0, 1) as command:
        assert command.take().shard == 0
        raise KeyError
    assert claims(shards, 1).num_images == 5
    again = claims(shards, 0, 1)
    assert again.take().shard == 0
    again.put_back(ShardJob(0, [], again=0))  # its worker was killed
    assert again.take() == ShardJob(0, [], again=0)


def test_a_shard_that_is_made_again_is_claimed_though_it_is_there(shards: ShardFolder) -> None:
    for shard in range(6):
        shards.path(shard).write_text("{}\n")
    command = claims(shards, 0, outdated={2: (1,)})
    assert command.num_images == 1
    assert command.take().shard == 2 and claimed(shards.lock(2)) is None
    command.finish(ShardJob(2, []))
    assert command.take() is None and len(command) == 0


def settings() -> object:
    return load_cfg(None, ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64", "PSEUDO.SHARD_SIZE", "4"])


def stuck(image: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Never return."""
    time.sleep(3600)
    return masks


def stuck_pipeline(cfg: object) -> object:
    return pipeline_of(MeanColour(), BrightRed(), stuck, 64)


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "this took longer than a minute"
        time.sleep(0.02)


def test_three_commands_of_which_one_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The others wait for what it holds, make it when it is dead, and export once."""
    images = save_pictures(tmp_path / "images", 22)
    generate.generate_label_set(settings(), images, tmp_path / "whole", num_workers=0, build=fake_pipeline)
    exported, export = tmp_path / "exported", generate.export

    def counted(folder: Path) -> Path:
        with exported.open("a") as file:
            file.write(f"{os.getpid()}\n")
        return export(folder)

    monkeypatch.setattr(generate, "export", counted)
    monkeypatch.setattr("unseg_d2.jobs.workers.POLL", 0.05)
    torch.set_num_threads(1)  # so that it can be forked
    context, output = multiprocessing.get_context("fork"), tmp_path / "together"

    def command(index: int) -> None:
        build = stuck_pipeline if index == 1 else fake_pipeline
        options = {"num_workers": 0, "shard_index": index, "num_shards": NUMBER, "build": build}
        generate.generate_label_set(settings(), images, output, **options)

    commands = [context.Process(target=command, args=(index,)) for index in range(NUMBER)]
    commands[1].start()
    held = output / "shards" / ".000001.jsonl.lock"
    wait_until(held.exists)
    for index in (0, 2):
        commands[index].start()
    wait_until(lambda: len(list((output / "shards").glob("*.jsonl"))) == 10)
    time.sleep(0.3)
    assert all(process.is_alive() for process in commands) and not exported.exists()
    os.kill(commands[1].pid, signal.SIGKILL)
    for index in (0, 2):
        commands[index].join(60)
        assert commands[index].exitcode == 0
    assert len(exported.read_text().split()) == 1
    assert content(output) == content(tmp_path / "whole")


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "timings.jsonl"]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_command_that_waits_says_so_once(shards: ShardFolder, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="unseg_d2")
    slow, quick = claims(shards, 0), claims(shards, 1)
    slow.take()
    for shard in range(1, 6):
        shards.path(shard).write_text("{}\n")
    assert quick.take() is None and quick.take() is None
    assert caplog.messages == ["Waiting for one shard that other commands make."]

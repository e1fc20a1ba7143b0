"""Two real processes on the CPU."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from unseg_d2.errors import UnsegError
from unseg_d2.loop.distributed import (
    all_reduce_sum,
    gather,
    launch,
    rank_and_world_size,
    resolve_seed,
    seed_iteration,
    share_statistics,
)


def note_what_it_sees(folder: Path) -> None:
    rank, world_size = rank_and_world_size()
    total = all_reduce_sum(torch.tensor([1.0 + rank]))
    answer = [rank, world_size, total.item(), gather([rank, "x"]), resolve_seed(-1)]
    (folder / f"{rank}.json").write_text(json.dumps(answer))


def fail_on_second() -> None:
    if rank_and_world_size()[0] == 1:
        raise UnsegError("The second process has a problem.")
    dist.barrier()  # waits for a process that never comes


def kill_the_second() -> None:
    if rank_and_world_size()[0] == 1:
        os.kill(os.getpid(), 9)
    dist.barrier()


def fail_on_the_device() -> None:
    raise RuntimeError("CUDA error: unspecified launch failure")


def test_two_processes_are_connected(tmp_path: Path) -> None:
    launch(note_what_it_sees, 2, (tmp_path,), device="cpu")
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first[:4] == [0, 2, 3.0, [0, "x", 1, "x"]]
    assert second[:4] == [1, 2, 3.0, []]
    assert first[4] == second[4]


def measure_with_shared_statistics(folder: Path) -> None:
    rank, _ = rank_and_world_size()
    model = torch.nn.BatchNorm1d(2)
    model.running_mean.fill_(rank + 3.0)
    model.weight.data.fill_(rank)
    share_statistics(model)
    (folder / f"{rank}.txt").write_text(f"{model.running_mean.tolist()} {model.weight.tolist()}")


def test_metrics_are_of_the_statistics_that_checkpoints_hold(tmp_path: Path) -> None:
    launch(measure_with_shared_statistics, 2, (tmp_path,), device="cpu")
    assert (tmp_path / "0.txt").read_text() == "[3.0, 3.0] [0.0, 0.0]"
    assert (tmp_path / "1.txt").read_text() == "[3.0, 3.0] [1.0, 1.0]"


def test_one_process_stays_here(tmp_path: Path) -> None:
    launch(note_what_it_sees, 1, (tmp_path,))
    assert json.loads((tmp_path / "0.json").read_text())[:4] == [0, 1, 1.0, [0, "x"]]


def test_the_message_of_a_failed_process_arrives() -> None:
    with pytest.raises(UnsegError, match="The second process has a problem"):
        launch(fail_on_second, 2, (), device="cpu")


@pytest.mark.parametrize("_", range(2))
def test_a_killed_process_is_one_sentence(_: int) -> None:
    with pytest.raises(UnsegError, match=r"of this training (ended by SIGKILL|was killed).* from the last checkpoint"):
        launch(kill_the_second, 2, (), device="cpu")


def test_an_error_of_the_device_is_one_sentence() -> None:
    with pytest.raises(UnsegError, match="The device failed"):
        launch(fail_on_the_device, 2, (), device="cpu")


def test_a_group_of_torchrun_is_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in store.items():
        monkeypatch.setenv(name, value)
    try:
        launch(note_what_it_sees, 4, (tmp_path,), device="cpu")
        assert dist.is_initialized()
    finally:
        dist.destroy_process_group()
    assert os.listdir(tmp_path) == ["0.json"]


def test_more_processes_than_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnsegError, match="2 processes need as many GPUs, but torch sees 1"):
        launch(note_what_it_sees, 2, (), device="cuda")


def test_seeds_differ_by_iteration_and_rank_and_repeat() -> None:
    def draw(*place: int) -> float:
        seed_iteration(*place)
        return torch.rand(1).item()

    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]
    assert len({draw(*place) for place in places}) == 4
    assert [draw(*place) for place in places] == [draw(*place) for place in places]

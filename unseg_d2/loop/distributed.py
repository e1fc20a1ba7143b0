"""Start connected processes or join those that torchrun started, and exchange values between them."""

from __future__ import annotations

import logging
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from unseg_d2.devices import device_failure
from unseg_d2.errors import UnsegError
from unseg_d2.loop.machines import ONE_MACHINE, Machines, under_torchrun

LONGEST_WAIT = timedelta(hours=12)
"""Of a process for another one that evaluates or writes; NCCL's ten minutes end a training in the middle of that."""


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; ``(0, 1)`` outside a group."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


def launch(
    main: Callable[..., None],
    num_processes: int,
    args: Sequence[Any],
    *,
    device: str = "auto",
    machines: Machines = ONE_MACHINE,
) -> None:
    """Call ``main(*args)`` in connected processes.

    Args:
        main: importable function.
        num_processes: processes to start on this machine; under torchrun the existing group is joined instead.
        args: its arguments; they must be picklable when processes are started.
        device: "cuda" connects them by NCCL and gives each its own GPU, "cpu" by Gloo; "auto" is "cuda" if torch sees a
            GPU, else "cpu".
        machines: those that take part; each of them makes this call.

    Raises:
        UnsegError: there are fewer GPUs than processes, the other machines cannot be reached, or a process raised one.
    """
    use_cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if under_torchrun():
        _join_torchrun(main, args, use_cuda)
    elif num_processes == machines.number == 1:
        main(*args)
    else:
        if use_cuda:
            _check_gpus(num_processes)
        _spawn(main, num_processes, args, use_cuda, machines)


def all_reduce_sum(values: Tensor) -> Tensor:
    """Return the sum of a tensor over all processes; the tensor itself if there is only one process."""
    if rank_and_world_size()[1] > 1:
        values = values.clone()
        dist.all_reduce(values)
    return values


def share_statistics(model: nn.Module) -> None:
    """Give all processes the running statistics of the main one, which its checkpoints hold.

    Each process has those of its own images: metrics would be of networks that nobody keeps, and differ after resuming.
    """
    if rank_and_world_size()[1] > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.broadcast(buffer, 0)


def gather(items: list[Any]) -> list[Any]:
    """Return the items of all processes in the order of their ranks; an empty list outside the main process."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return items
    shares: list[Any] | None = [None] * world_size if rank == 0 else None
    dist.gather_object(items, shares)
    return [item for share in shares or () for item in share]


def resolve_seed(seed: int) -> int:
    """Return ``SEED``; if it is negative, a random one that is the same in all processes."""
    if seed >= 0:
        return seed
    drawn = [int.from_bytes(os.urandom(4), "little")]
    if rank_and_world_size()[1] > 1:
        dist.broadcast_object_list(drawn)
    return drawn[0]


def seed_iteration(seed: int, iteration: int, rank: int) -> None:
    """Seed torch for one training step, so that its random numbers do not depend on earlier steps."""
    torch.manual_seed(int(np.random.SeedSequence([seed, iteration, rank]).generate_state(1, np.uint64)[0] >> 1))


def _check_gpus(num_processes: int) -> None:
    """Refuse more processes than there are GPUs on this machine."""
    if num_processes > torch.cuda.device_count():
        raise UnsegError(
            f"{num_processes} processes need as many GPUs, but torch sees {torch.cuda.device_count()}; "
            "start fewer (--num-gpus, or --nproc-per-node of torchrun), or set MODEL.DEVICE cpu."
        )


def _join_torchrun(main: Callable[..., None], args: Sequence[Any], use_cuda: bool) -> None:
    _ignore_deprecation()
    if not dist.is_initialized():
        if use_cuda:
            _check_gpus(int(os.environ.get("LOCAL_WORLD_SIZE", 1)))
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        dist.init_process_group("nccl" if use_cuda else "gloo", timeout=LONGEST_WAIT)
    with _lost_peers_in_a_sentence():
        dist.barrier()  # no process changes files until all of them have read what is there
        main(*args)
        dist.barrier()


def _spawn(
    main: Callable[..., None], num_processes: int, args: Sequence[Any], use_cuda: bool, machines: Machines
) -> None:
    messages = mp.get_context("spawn").SimpleQueue()
    with tempfile.TemporaryDirectory() as folder:
        address = machines.address or (Path(folder) / "store").as_uri()
        group = _Group(address, machines.rank * num_processes, num_processes, machines.number * num_processes)
        level = logging.getLogger("unseg_d2").getEffectiveLevel()
        arguments = (group, main, args, use_cuda, level, messages)
        try:
            mp.start_processes(_worker, arguments, nprocs=num_processes, start_method="spawn")
        except mp.ProcessExitedException as error:
            raise UnsegError(_killed(error) if messages.empty() else messages.get()) from None


@dataclass(frozen=True)
class _Group:
    """Where processes meet, the rank of the first one on this machine, how many run here, and how many in all."""

    address: str
    first: int
    local: int
    size: int


def _worker(
    local_rank: int,
    group: _Group,
    main: Callable[..., None],
    args: Sequence[Any],
    use_cuda: bool,
    log_level: int,
    messages: Any,
) -> None:
    _ignore_deprecation()
    rank = group.first + local_rank
    logging.basicConfig(level=log_level if rank == 0 else logging.ERROR, format="%(message)s")
    if use_cuda:
        torch.cuda.set_device(local_rank)
    else:
        torch.set_num_threads(max(1, torch.get_num_threads() // group.local))
    try:
        _connect(group, rank, use_cuda)
        with _lost_peers_in_a_sentence():
            main(*args)
            dist.barrier()
    except _LostPeer:
        time.sleep(1.0)  # the parent should first meet the process that was killed, whose signal says more
        messages.put(_LOST)
        os._exit(2)
    except UnsegError as error:
        messages.put(str(error))
        os._exit(2)  # the others wait for this process in a collective call; their parent ends them
    except Exception as error:
        if not (reason := device_failure(error)):
            raise
        messages.put(reason)
        os._exit(2)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


class _LostPeer(UnsegError):
    """Another process of the group ended."""


_LOST = (
    "Another process of this training was killed, perhaps for lack of memory; the same command resumes from the "
    "last checkpoint (with --resume, where it has that option); if memory is short, with smaller batches or fewer "
    "loader processes."
)
_CUT = re.compile(r"connection (closed|reset|refused)|broken pipe|\bpeer\b|ncclRemoteError|communicator was", re.I)


@contextmanager
def _lost_peers_in_a_sentence() -> Iterator[None]:
    """Turn the error of a collective call whose other end is gone into one sentence."""
    try:
        yield
    except UnsegError:
        raise
    except RuntimeError as error:  # torch has no type of its own for it in all versions
        if not _CUT.search(str(error)) or rank_and_world_size()[1] == 1:
            raise
        raise _LostPeer(_LOST) from error


def _killed(error: mp.ProcessExitedException) -> str:
    how = f"by {error.signal_name}" if error.signal_name else f"with status {error.exit_code}"
    return (
        f"Process {error.error_index} of this training ended {how}, perhaps for lack of memory; "
        "the same command resumes from the last checkpoint (with --resume, where it has that option); if memory is "
        "short, with smaller batches or fewer loader processes."
    )


def _ignore_deprecation() -> None:
    """DistributedDataParallel's broadcast_buffers has a successor, but torch 2.4 does not have it yet."""
    warnings.filterwarnings("ignore", message=".*broadcast_buffers.* is deprecated", category=FutureWarning)


def _connect(group: _Group, rank: int, use_cuda: bool) -> None:
    backend = "nccl" if use_cuda else "gloo"
    try:
        where: dict[str, Any] = {"init_method": group.address, "rank": rank, "world_size": group.size}
        dist.init_process_group(backend, timeout=LONGEST_WAIT, **where)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UnsegError(
            f"Process {rank} of {group.size} cannot reach the others at {group.address}: {reason}"
        ) from None

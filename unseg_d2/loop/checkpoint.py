"""Checkpoints: read safely; written, and loaded, completely or not at all.

On disk a checkpoint has Detectron2's format, ``{"model": {name: tensor}, "iteration": ..., ...}``, and a file
``last_checkpoint`` beside it names the newest.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unseg_d2.errors import CheckpointMismatch, UnsegError
from unseg_d2.files import atomic_write
from unseg_d2.weight_files import bare_name, check_values, network_of, read_weight_file, refuse_address
from unseg_d2.weight_kinds import kind_of
from unseg_d2.zoo.store import resolve

logger = logging.getLogger(__name__)

FINAL = "model_final.pth"
"""Name of the checkpoint at the end of a training."""


def load_checkpoint(path: str | Path, *, trust: bool = False) -> dict[str, Any]:
    """Read a checkpoint file without running any code that may be hidden in it.

    Args:
        path: ``.pth`` (torch), ``.safetensors``, ``.pkl`` (Detectron2's model zoo; needs ``trust``), or ``zoo:NAME``.
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Returns:
        The stored dictionary; its ``"model"`` maps names to tensors.

    Raises:
        UnsegError: the file is missing, damaged, holds no weights, or needs ``trust``.
    """
    path = resolve(path)
    refuse_address(path)
    path = Path(path)
    content = read_stored(path, trust=trust)
    model = network_of(content)
    if not model:
        raise UnsegError(f"{path} holds no weights: it has no dictionary that maps names to tensors.")
    rest = {key: value for key, value in content.items() if isinstance(key, str) and bare_name(key) not in model}
    return {**rest, "model": model}


def read_stored(path: Path, *, trust: bool = False) -> Any:
    """Return everything that a checkpoint file holds, with its tensors on the CPU.

    Args:
        path: ``.pth`` (torch), ``.safetensors`` or ``.pkl``.
        trust: see :func:`load_checkpoint`.

    Raises:
        UnsegError: the file is missing, damaged, or needs ``trust``.
    """
    return read_weight_file(path, trust=trust)


def load_network(network: nn.Module, path: str | Path) -> dict[str, Any]:
    """Load a checkpoint into a network, completely.

    Args:
        network: of the same architecture as the one that was saved.
        path: the ``.pth`` file.

    Returns:
        The checkpoint, which may hold more than weights.

    Raises:
        UnsegError: there is no such file, or it does not fit the network.
    """
    checkpoint = load_checkpoint(path)
    restore_network(network, checkpoint, path)
    return checkpoint


def restore_network(network: nn.Module, checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Load what :func:`load_checkpoint` returned into a network, completely; see :func:`load_network`."""
    check_match(path, checkpoint["model"], network.state_dict())
    network.load_state_dict(checkpoint["model"])


def restore_training(
    optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler, checkpoint: Mapping[str, Any], path: str | Path
) -> int:
    """Load the state of a training besides its network, and return the next step.

    Args:
        optimizer: of the same parameters as the one that was saved.
        scaler: of the gradients.
        checkpoint: ``optimizer``, ``grad_scaler`` and ``iteration`` of it are read.
        path: of the file, for the message.

    Raises:
        UnsegError: a part is missing or is of another training.
    """
    try:
        optimizer.load_state_dict(checkpoint["optimizer"])
        scaler.load_state_dict(checkpoint["grad_scaler"])
        return int(checkpoint["iteration"]) + 1
    except (KeyError, ValueError, TypeError, AttributeError, IndexError, RuntimeError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UnsegError(
            f"A training cannot be resumed from {path}, whose state of the optimiser is damaged or of another training "
            f"({reason}); go on from an earlier checkpoint, or begin anew in another OUTPUT_DIR."
        ) from None


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint, then point ``last_checkpoint`` beside it to it; each completely or not at all.

    Args:
        path: the ``.pth`` file.
        content: tensors and plain Python values only, so that it can be read without running code.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    write_torch(path, content)
    with atomic_write(path.parent / "last_checkpoint") as file:
        file.write(path.name.encode())


def write_torch(path: Path, content: dict[str, Any]) -> None:
    """Write a file in torch's format, completely or not at all.

    Args:
        path: the ``.pth`` file.
        content: see :func:`write_checkpoint`.

    Raises:
        UnsegError: the disk is full or the folder cannot be written to.
    """
    with atomic_write(path) as file:
        try:
            torch.save(content, file)
        except RuntimeError as error:  # torch puts one about positions in the file in front of that of a failed write
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise UnsegError(f"{path} was not written ({error}). Is the disk full?") from error


def last_checkpoint(folder: str | Path) -> Path | None:
    """Return the checkpoint that ``last_checkpoint`` in a folder points to, or ``None`` if there is none.

    Where that checkpoint was deleted, the last of the numbered ones counts, and the log says so.

    Raises:
        UnsegError: it names no file of this folder.
    """
    pointer = Path(folder) / "last_checkpoint"
    if not pointer.is_file():
        return None
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not name or "\0" in name or Path(name).name != name:
        raise UnsegError(f"{pointer} must hold the name of a checkpoint in its folder, but holds {name[:80]!r}.")
    path = Path(folder) / name
    if path.is_file():
        return path
    earlier = max(path.parent.glob("model_[0-9]*.pth"), key=lambda found: found.name, default=None)
    if earlier is not None:
        logger.warning("There is no %s any more; %s is the last checkpoint.", path, earlier)
    return earlier or path


def has_checkpoint(folder: str | Path) -> bool:
    """Return whether a training in a folder can be resumed; see :func:`last_checkpoint`."""
    path = last_checkpoint(folder)
    return path is not None and path.is_file()


def check_match(
    path: str | Path,
    given: Mapping[str, Tensor],
    wanted: Mapping[str, Tensor],
    optional: re.Pattern[str] | None = None,
) -> None:
    """Raise :class:`CheckpointMismatch` unless weights have the names and shapes of those of a network, and values.

    Args:
        path: of the file, for the message.
        given: the weights.
        wanted: tensors of the network under the same names.
        optional: names that may be missing or left over; by default there are none.

    Raises:
        UnsegError: the names and shapes fit, but a value is not finite.
    """
    given_all, all_wanted, used = given, wanted, sorted(set(wanted) & set(given))
    if optional is not None:
        given = {name: tensor for name, tensor in given.items() if not optional.search(name)}
        wanted = {name: tensor for name, tensor in wanted.items() if not optional.search(name)}
    missing = sorted(set(wanted) - set(given))
    unexpected = sorted(set(given) - set(wanted))
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in sorted(set(wanted) & set(given))
        if given[name].shape != wanted[name].shape
    ]
    problems = [
        f"{len(names)} {what} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for names, what in ((missing, "missing in the file"), (shapes, "of another shape"), (unexpected, "left over"))
        if names
    ]
    if problems:
        raise _mismatch(path, given_all, all_wanted, "; ".join(problems))
    check_values(path, given_all, used)


def _mismatch(
    path: str | Path, given: Mapping[str, Tensor], wanted: Mapping[str, Tensor], problems: str
) -> CheckpointMismatch:
    """Say what a file is, what was expected, and what to do."""
    found, expected = kind_of(given), kind_of(wanted)
    network = "the network of the recipe" if expected.part == "other" else expected.text
    wrong = f": {problems}" if found.part == expected.part else ""
    remedy = "Use the configuration that it was trained with, or leave --config-file out where the file knows its own."
    if found.part != expected.part:
        remedy = f"To use it, {found.use.replace('FILE', str(path))}."
    common = len(set(wanted) & set(given))
    count = f"the file holds {common} of its {len(wanted)} tensors{wrong}"
    return CheckpointMismatch(f"{path} is {found.text}", f"{network}; {count}", remedy)

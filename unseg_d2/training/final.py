"""The last model of a self-training run, under a name that does not depend on the number of its rounds."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from unseg_d2.errors import UnsegError
from unseg_d2.files import atomic_write, temporary_name
from unseg_d2.loop.checkpoint import FINAL

RECIPE = "config.yaml"


def check_no_training(output: Path) -> None:
    """Refuse a folder whose ``model_final.pth`` is that of another command.

    Args:
        output: folder of a self-training run.

    Raises:
        UnsegError: it holds a training.
    """
    if (output / "last_checkpoint").is_file():
        raise UnsegError(f"{output} holds a training of train-net; choose another --output for self-train.")


def keep_final(weights: Path, output: Path) -> Path:
    """Name the last model of a run and its recipe in the run's folder, without a second copy where links can be made.

    Args:
        weights: checkpoint of the last round, with ``config.yaml`` beside it.
        output: folder of the run.

    Returns:
        ``output/model_final.pth``.
    """
    for source, target in ((weights.with_name(RECIPE), output / RECIPE), (weights, output / FINAL)):
        if source.is_file() and not (target.is_file() and source.samefile(target)):
            _link_or_copy(source, target)
    return output / FINAL


def _link_or_copy(source: Path, target: Path) -> None:
    """Put a file in the place of another, which is there until the new one is: a killed run has one or the other."""
    linked = temporary_name(target)
    try:
        os.link(source, linked)
        os.replace(linked, target)
    except OSError:  # another file system, or one without links
        with open(source, "rb") as read, atomic_write(target) as written:
            shutil.copyfileobj(read, written)

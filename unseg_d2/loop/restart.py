"""Begin a run anew in a folder that holds one: what it left is set aside, not deleted."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

from unseg_d2.errors import UnsegError

LEFT = (
    *("last_checkpoint", "model_*.pth", "metrics.json", "events.out.tfevents.*", "config.yaml", "plugins.json"),
    *("training.json", "classes.json", "best.json", "curves.svg", "tracker.json", "evaluation", "scoring"),
    *("init", "baseline"),
)
"""What a training leaves in its folder, its phases and evaluations included."""

logger = logging.getLogger(__name__)


def set_aside(
    output: Path, *, left: Sequence[str] = LEFT, without: Sequence[str] = (), what: str = "training"
) -> Path | None:
    """Move what a run left into ``output/before_1``, ``before_2`` and so on, and say so.

    Args:
        output: folder of the run.
        left: patterns of what it left.
        without: those of them that stay where they are.
        what: what the run is.

    Returns:
        The folder it was moved to, ``None`` where there was nothing.

    Raises:
        UnsegError: it cannot be moved.
    """
    moved = _found(output, [pattern for pattern in left if pattern not in without])
    if not moved:
        return None
    aside = next(path for number in itertools.count(1) if not (path := output / f"before_{number}").exists())
    try:
        aside.mkdir()
        for path in moved:
            path.rename(aside / path.name)
    except OSError as error:
        raise UnsegError(
            f"The {what} in {output} cannot be set aside ({error.strerror}); choose another --output."
        ) from None
    logger.info("Beginning anew; the %s that was in %s is now in %s.", what, output, aside)
    return aside


def refuse_inside(output: Path, inputs: Iterable[Path], left: Sequence[str] = LEFT) -> None:
    """Refuse to set a run aside whose files the new one begins with.

    Args:
        output: folder of the run.
        inputs: files and folders that the new run is given.
        left: patterns of what the run left.

    Raises:
        UnsegError: one of them would be moved.
    """
    moved = [path.resolve() for path in _found(output, left)]
    for path in inputs:
        if any(path.resolve().is_relative_to(inside) for inside in moved):
            raise UnsegError(f"--restart would set {path} aside, which the run begins with; choose another --output.")


def _found(output: Path, patterns: Sequence[str]) -> list[Path]:
    return [path for pattern in patterns for path in sorted(output.glob(pattern))]

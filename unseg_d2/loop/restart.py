"""Begin a training anew in a folder that holds one: what it left is set aside, not deleted."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence
from pathlib import Path

from unseg_d2.errors import UnsegError

LEFT = (
    *("last_checkpoint", "model_*.pth", "metrics.json", "events.out.tfevents.*", "config.yaml", "plugins.json"),
    *("training.json", "classes.json", "evaluation", "init", "baseline"),
)
"""What a training leaves in its folder, its phases and evaluations included."""

logger = logging.getLogger(__name__)


def set_aside(output: Path, *, without: Sequence[str] = ()) -> Path | None:
    """Move what a training left into ``output/before_1``, ``before_2`` and so on, and say so.

    Args:
        output: folder of the training.
        without: patterns of :data:`LEFT` that stay where they are.

    Returns:
        The folder it was moved to, ``None`` where there was nothing.

    Raises:
        UnsegError: it cannot be moved.
    """
    left = [path for pattern in LEFT if pattern not in without for path in sorted(output.glob(pattern))]
    if not left:
        return None
    aside = next(path for number in itertools.count(1) if not (path := output / f"before_{number}").exists())
    try:
        aside.mkdir()
        for path in left:
            path.rename(aside / path.name)
    except OSError as error:
        raise UnsegError(
            f"The training in {output} cannot be set aside ({error.strerror}); choose another --output."
        ) from None
    logger.info("Beginning anew; the training that was in %s is now in %s.", output, aside)
    return aside

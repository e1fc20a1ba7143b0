"""The progress bar of all commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS = 0.2
SECONDS_IN_A_LOG = 15.0


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """Return a bar on standard error; where that is no terminal, it is a log, and a line now and then is enough.

    There is none where the package's log is set to warnings only.

    Args:
        items: what is gone through, if anything.
        **options: those of ``tqdm``.
    """
    options = {"disable": logging.getLogger("unseg_d2").level > logging.INFO, **options}
    return tqdm(items, mininterval=SECONDS if sys.stderr.isatty() else SECONDS_IN_A_LOG, **options)

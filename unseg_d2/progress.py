"""The progress bar of all commands."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any
from weakref import WeakSet

from tqdm import tqdm

SECONDS = 0.2
SECONDS_IN_A_LOG = 15.0
_bars: WeakSet[tqdm] = WeakSet()


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """Return a progress bar on standard error; it is updated less often where that is not a terminal but a log.

    The bar is disabled when the package logs warnings only.

    Args:
        items: what is iterated over, if anything.
        **options: of ``tqdm``.
    """
    options = {"disable": logging.getLogger("unseg_d2").level > logging.INFO, **options}
    bar = tqdm(items, mininterval=SECONDS if sys.stderr.isatty() else SECONDS_IN_A_LOG, **options)
    _bars.add(bar)
    return bar


def close_bars() -> None:
    """End the bars that an error has left open, so that what is printed next stays the last line."""
    for bar in list(_bars):
        bar.close()

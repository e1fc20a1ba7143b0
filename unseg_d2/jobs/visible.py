"""Files that another machine has written."""

from __future__ import annotations

import time
from pathlib import Path

from unseg_d2.errors import UnsegError

SECONDS = 60.0
"""After which the file systems of networks show a file."""


def wait_until_visible(path: Path) -> None:
    """Wait until a file that was written can be seen.

    Raises:
        UnsegError: it cannot, so it was written to a folder of another machine.
    """
    end = time.monotonic() + SECONDS
    while not path.is_file():
        if time.monotonic() > end:
            raise UnsegError(f"{path} was made, but is not there: every machine must see the folder {path.parent}.")
        time.sleep(0.2)

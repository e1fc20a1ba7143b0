"""What is said of an image whose process was killed, and how many there may be."""

from __future__ import annotations

from unseg_d2.errors import UnsegError

MOST_KILLERS = 3
"""Images recorded as failures of this kind in one run; beyond, the memory is too small and no image is to blame."""
REASON = "the process that worked on it was killed twice, perhaps for lack of memory"


def how(error: UnsegError) -> str:
    """Return the first half of the sentence about a killed process, as a sentence."""
    return str(error).partition(",")[0] + "."

"""What a reader leaves out or puts right, counted and said once."""

from __future__ import annotations

import logging
from collections import Counter

logger = logging.getLogger(__name__)

_said: set[str] = set()


class Counts:
    """Counts of what happened while a file was read.

    Attributes:
        of: what happened, in words after a number (``"degenerate polygons were left out"``), to how often.
    """

    def __init__(self) -> None:
        self.of: Counter[str] = Counter()

    def add(self, what: str, number: int = 1) -> None:
        """Count something; 0 times is nothing."""
        if number:
            self.of[what] += number

    def line(self) -> str:
        """Return all counts as one line, empty where there is nothing to say.

        >>> counts = Counts()
        >>> counts.add("degenerate polygons were left out", 2)
        >>> counts.line()
        '2 degenerate polygons were left out'
        """
        return "; ".join(f"{number:,} {what}" for what, number in self.of.items())

    def say(self, where: object) -> None:
        """Log the counts, once for a file that is read several times."""
        line = f"{where}: {self.line()}." if self.of else ""
        if line and line not in _said:
            _said.add(line)
            logger.info("%s", line)

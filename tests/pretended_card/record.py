"""What a pretended card was asked to do, and by which line."""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

import unseg_d2

PACKAGE = str(Path(unseg_d2.__file__).parent) + "/"
PASSED_OVER = (str(Path(torch.__file__).parent), str(Path(__file__).parent / "card.py"), __file__)
COPIES = PACKAGE + "transfer.py"  # copies for others, who are named


@dataclass
class Record:
    """Launches and waits, by line of the package, or of the caller where no frame is of the package.

    Attributes:
        launches: operations and copies given to the card; views are none.
        waits: times that the host stood still until the card had finished, by what it wanted.
    """

    launches: Counter[str] = field(default_factory=Counter)
    waits: Counter[tuple[str, str]] = field(default_factory=Counter)

    @property
    def num_launches(self) -> int:
        return sum(self.launches.values())

    @property
    def num_waits(self) -> int:
        return sum(self.waits.values())

    def clear(self) -> None:
        """Begin to count anew."""
        self.launches.clear()
        self.waits.clear()

    def report(self, images: int = 1) -> str:
        """Return figures per image, and the lines that ask for most."""
        lines = [f"{self.num_launches / images:.1f} launches, {self.num_waits / images:.2f} waits per image"]
        lines += [f"  waits {n / images:7.2f}  {what}, {line}" for (what, line), n in self.waits.most_common()]
        lines += [f"  launches {n / images:6.1f}  {line}" for line, n in self.launches.most_common(25)]
        return "\n".join(lines)


def asking_line() -> str:
    """Return ``room/file.py:line`` of the innermost frame in the package; else of the innermost that is ours."""
    frame, caller = sys._getframe(1), ""
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE) and name != COPIES:
            return f"{name.removeprefix(PACKAGE)}:{frame.f_lineno}"
        if not caller and not name.startswith(PASSED_OVER):
            caller = f"{Path(name).name}:{frame.f_lineno}"
        frame = frame.f_back
    return caller or "backward"

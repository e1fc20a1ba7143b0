"""Where the time goes while a label set is made: by stage, and how long the device waits for other processes.

Seconds are kept by name in plain dictionaries, which processes add up: the parts of the device's process
(`PARTS`), its waiting (`WAITS`), the work in processes of its own (`HELPERS`), and what these could have done
(``readers``, ``finishers``: their number times the time that went by).
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from unseg_d2.files import explained, no_link

FILE = "timings.jsonl"
"""A line for each run that added to a label set; nothing compares it."""
ELAPSED = "elapsed"
WAITS = {"readers": "waiting for readers", "finishers": "waiting for finishers"}
HELPERS = {"readers": "reading", "finishers": "finishing"}
_KEYS = {"readers": "PSEUDO.READERS", "finishers": "PSEUDO.FINISHERS"}
PARTS = ("reading", "features", "cut", "refinement", "finishing")
MUCH = 0.1
"""Share of the time that is spent waiting, or on what others could do, from which it is said what to change."""


class Clock:
    """Adds up seconds by name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._since = time.perf_counter()

    @contextmanager
    def measure(self, name: str) -> Iterator[None]:
        """Add the time that the block takes."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] += time.perf_counter() - start

    def begin(self) -> None:
        """Leave out the time that has gone by since the last `take`."""
        self._since = time.perf_counter()
        self.seconds.clear()

    def take(self, processes: Mapping[str, int]) -> dict[str, float]:
        """Return what has been added since the last time, with the time that went by.

        Args:
            processes: number of ``readers`` and of ``finishers``.
        """
        now = time.perf_counter()
        elapsed, self._since = now - self._since, now
        taken = dict(self.seconds) | {ELAPSED: elapsed}
        self.seconds.clear()
        return taken | {name: number * elapsed for name, number in processes.items() if number}


class StageTimes:
    """The times of all processes of a run."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.images = 0

    def add(self, images: int, seconds: Mapping[str, float]) -> None:
        """Add what a process reports; images without times were made before."""
        self.images += images if seconds else 0
        for name, more in seconds.items():
            self.seconds[name] += more

    def shares(self) -> dict[str, float]:
        """Return the shares, in [0, 1], of the time of the devices' processes, the largest first."""
        names = [*(part for part in PARTS if part not in self._elsewhere().values()), *WAITS.values()]
        elapsed = self.seconds[ELAPSED] or 1.0
        found = {name: self.seconds[name] / elapsed for name in names if self.seconds[name]}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def brief(self) -> str:
        """Return the three largest shares, to be added to a line of progress."""
        return "".join(f", {name} {share:.0%}" for name, share in list(self.shares().items())[:3])

    def sentence(self) -> str:
        """Return where the time went, and what to add where the device has waited; empty where nothing was done."""
        shares = self.shares()
        if not shares:
            return ""
        told = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
        if not self._elsewhere():
            return f"Time by stage: {told}."
        busy = [
            f"{self._number(name)} {name} were busy for {_percent(self.seconds[work] / self.seconds[name])}"
            for name, work in self._elsewhere().items()
        ]
        return f"Time of the device's process: {told}; for each device, {' and '.join(busy)}.{self._advice(shares)}"

    def record(self, folder: Path) -> None:
        """Add a line to `FILE`.

        Args:
            folder: of the label set.

        Raises:
            UnsegError: the disk is full.
        """
        if not self.images:
            return
        processes = {name: self._number(name) for name in self._elsewhere()}
        seconds = {name: round(self.seconds[name], 3) for name in (*PARTS, *WAITS.values()) if self.seconds[name]}
        line = {"images": self.images, "device_seconds": round(self.seconds[ELAPSED], 3), "seconds": seconds}
        path = folder / FILE
        try:
            with open(path, "ab", opener=no_link) as file:
                file.write(json.dumps(line | processes).encode() + b"\n")
        except OSError as error:
            raise explained(error, path) from error

    def _advice(self, shares: Mapping[str, float]) -> str:
        if shares.get("refinement", 0.0) >= MUCH:
            return " With DEVICE cpu of the refiner, as REFINE.GUIDED.DEVICE, the finishers would refine the masks."
        name = max(WAITS, key=lambda name: shares.get(WAITS[name], 0.0))
        if shares.get(WAITS[name], 0.0) < MUCH:
            return ""
        return f" More {name} ({_KEYS[name]}) would make it faster, if there are cores for them."

    def _elsewhere(self) -> dict[str, str]:
        """The work that other processes do, by what they are called."""
        return {name: work for name, work in HELPERS.items() if self.seconds[name]}

    def _number(self, name: str) -> int:
        """Processes of a kind for each device."""
        return round(self.seconds[name] / (self.seconds[ELAPSED] or 1.0))


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"

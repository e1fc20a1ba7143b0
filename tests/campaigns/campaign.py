"""Running commands on tiny inputs, uninterrupted and not, and counting what was tried."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from command_server import CommandServer, Ended
from tiny_commands import Tiny
from traces import differences, trace, unfinished

TRIED: Counter[str] = Counter()
"""What the campaigns have tried, for the end of the report."""


@dataclass(frozen=True)
class Whole:
    """An uninterrupted run: what it left, how long it took, and the number of its events."""

    left: dict[str, Any]
    seconds: float
    events: int
    size: int


@dataclass
class Campaign:
    """Runs commands on the inputs of the campaign; all runs of a command write into the same folder.

    Attributes:
        server: that runs them.
        stage: folder of the inputs.
        out: folder of the outputs.
    """

    server: CommandServer
    stage: Path
    out: Path
    wholes: dict[str, Whole] = field(default_factory=dict)

    def whole(self, tiny: Tiny) -> Whole:
        """Return what a command does when nothing happens to it."""
        if tiny.name not in self.wholes:
            self.begin(tiny)
            ended = self.run(tiny)
            assert ended.status == 0, ended.said
            size = sum(path.stat().st_size for path in self.out.rglob("*") if path.is_file())
            self.wholes[tiny.name] = Whole(trace(self.out), ended.seconds, ended.events, size)
        return self.wholes[tiny.name]

    def begin(self, tiny: Tiny) -> None:
        """Empty the folder of the outputs."""
        self.out.mkdir(exist_ok=True)
        for path in self.out.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self.add_inputs(tiny)

    def add_inputs(self, tiny: Tiny) -> None:
        """Put those inputs of a command that lie among its outputs where they were."""
        for name in tiny.inputs:
            shutil.copytree(self.stage / name, self.out / name, dirs_exist_ok=True)

    def run(self, tiny: Tiny, **options: Any) -> Ended:
        """Run a command, or resume it; it may neither hang, nor leave processes, nor have a traceback to say."""
        ended = self.server.run(tiny.words(self.stage, self.out), self.out, **options)
        TRIED["runs"] += 1
        return self.checked(ended)

    def checked(self, ended: Ended) -> Ended:
        """Return how a run ended, after a look at the ways in which none may end."""
        assert not ended.late, f"it hangs:\n{ended.said}"
        assert not ended.orphans, f"processes live on:\n{ended.said}"
        if ended.status > 0:
            assert_one_sentence(ended)
        return ended

    def assert_whole(self, tiny: Tiny) -> None:
        """The outputs are those of an uninterrupted run, and nothing else is there."""
        assert not unfinished(self.out)
        assert not differences(trace(self.out), self.whole(tiny).left)


JARGON = re.compile(r"Traceback|error: unexpected|enforce fail|bad_alloc|0x[0-9a-f]{6}|OpenCV\(")
"""What no message may say."""


def assert_one_sentence(ended: Ended) -> None:
    """A run that failed says why in one line, the last, and in words that are not those of a library's developers."""
    last = ended.said.strip().splitlines()[-1] if ended.said.strip() else ""
    assert last.startswith("error: ") and ended.said.count("error: ") == 1 and not JARGON.search(last), ended.said
    assert "Traceback" not in ended.said.partition("Exception ignored in")[0], ended.said  # by Python, not by us

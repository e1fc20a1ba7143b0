from __future__ import annotations

import io
import sys

import pytest

from unseg_d2.progress import progress_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("stream", "seconds"), [(Terminal, 0.2), (io.StringIO, 15.0)])
def test_a_log_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch, stream: type, seconds: float) -> None:
    monkeypatch.setattr(sys, "stderr", stream())
    bar = progress_bar([3, 1], desc="images")
    assert list(bar) == [3, 1] and bar.mininterval == seconds
    assert "images: 100%" in sys.stderr.getvalue()

"""Times as people write them."""

import pytest

from unseg_d2.duration import in_words, seconds_of
from unseg_d2.errors import UnsegError


@pytest.mark.parametrize(
    ("text", "seconds"), [("20m", 1200), ("2h", 7200), ("1h30m", 5400), ("1 d", 86400), ("90 S", 90), ("5min", 300)]
)
def test_what_is_read(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "2", "h", "2 hours", "-2h", "0s", "1h x", "nan h"])
def test_what_is_no_time(text):
    with pytest.raises(UnsegError, match="time"):
        seconds_of(text)


@pytest.mark.parametrize("seconds", [0, 59.4, 60, 3599, 3600, 86399, 86400, 10**7])
def test_words_can_be_read_again(seconds):
    words = in_words(seconds)
    assert seconds < 1 or abs(seconds_of(words) - seconds) <= max(0.5, seconds / 60)

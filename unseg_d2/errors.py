"""The one exception that commands turn into a one-line message and a non-zero exit."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

TRUST_REMEDY = "add --trust-checkpoint (in Python: trust_checkpoint=True) or MODEL.TRUST_CHECKPOINT True"
"""What to do about a file with pickled objects whose source can be trusted."""


class UnsegError(Exception):
    """Something the user can fix; the message is one sentence that says how.

    Raised by everything that touches files, configurations or checkpoints. The command line prints it as
    ``error: <message>`` and exits with status 2; pure tensor functions raise ``ValueError`` instead.
    """


class CheckpointMismatch(UnsegError):
    """Weights that do not fit, in three lines: what the file is, what was expected, what to do.

    Args:
        found: what the file is; begins with its path.
        expected: what was expected instead.
        remedy: a sentence.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        self.found, self.expected, self.remedy = found, expected, remedy
        self.lines = (f"{found}.", f"Expected: {expected}.", remedy)
        super().__init__("\n".join(self.lines))

    def of_recipe(self, origin: str) -> CheckpointMismatch:
        """Return the same with the recipe that the expectation comes from."""
        return CheckpointMismatch(self.found, f"{self.expected} (recipe: {origin})", self.remedy)


class Unusable(ValueError):
    """What a pure function raises for data that one image may have and another not, such as depth that is not finite.

    Where many images are worked on, it is recorded as a failure of that image; any other exception ends the work.
    """


def nearest(name: str, known: Iterable[str]) -> str:
    """Suggest the closest known name, as a phrase to append to a message.

    Args:
        name: what the user wrote.
        known: the accepted names.

    Returns:
        ``" Did you mean 'x'?"`` or an empty string when nothing is close.

    >>> nearest("maskcutt", ["maskcut", "tokencut"])
    " Did you mean 'maskcut'?"
    """
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def missing_extra(package: str, extra: str) -> UnsegError:
    """Return the error for an optional dependency that is not installed, naming the pip command."""
    return UnsegError(f"'{package}' is not installed; install it with: pip install 'unseg-d2[{extra}]'")

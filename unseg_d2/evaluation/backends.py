"""The libraries that match results with ground truth, and the choice between them; none is imported here."""

from __future__ import annotations

import importlib.util

from unseg_d2.errors import UnsegError, missing_extra, nearest

BACKENDS = ("hotcoco", "faster_coco_eval", "pycocotools")
"""Libraries that do the matching, fastest first."""


def select_backend(name: str = "auto") -> str:
    """Return the library that will do the matching.

    Args:
        name: ``auto`` for the first of `BACKENDS` that is installed, or one of them.

    Raises:
        UnsegError: unknown name, or not installed.
    """
    if name == "auto":
        return next(backend for backend in BACKENDS if importlib.util.find_spec(backend))
    if name not in BACKENDS:
        known = ", ".join(BACKENDS)
        raise UnsegError(f"Unknown evaluation backend '{name}'; there are {known}.{nearest(name, BACKENDS)}")
    if importlib.util.find_spec(name) is None:
        raise missing_extra(name, "fast-eval")
    return name

"""The Detectron2 extension: ``import unseg_d2.detectors.detectron2`` registers the RoI heads and adds nothing else.

Where Detectron2 cannot be used the import still succeeds: :func:`availability` says why, and every other name raises
that reason.
"""

from __future__ import annotations

from typing import Any

from unseg_d2.detectors.detectron2.availability import availability
from unseg_d2.errors import UnsegError

__all__ = ["Detectron2Engine", "add_unseg_config", "availability", "register_datasets"]

if availability()[0]:
    from unseg_d2.detectors.detectron2 import roi_heads as _registers_the_heads  # noqa: F401
    from unseg_d2.detectors.detectron2.config import add_unseg_config
else:

    def __getattr__(name: str) -> Any:
        """Explain why a name of this package is missing."""
        if name in __all__:
            raise UnsegError(availability()[1])
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

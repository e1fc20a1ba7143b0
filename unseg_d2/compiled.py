"""Whether loops compiled by Numba can run: on a CPU, where the extra `numba` is installed."""

from __future__ import annotations

import importlib.util
import logging
from functools import cache

from torch import Tensor

logger = logging.getLogger(__name__)


@cache
def has_numba() -> bool:
    """Whether Numba is installed and works with this NumPy; a warning says why not."""
    if importlib.util.find_spec("numba") is None:
        return False
    try:
        import numba

        numba.njit(cache=True)(_loop)
    except Exception as error:  # an unsupported NumPy, no folder to cache compiled loops in
        logger.warning("Numba is installed but cannot be used, so that slower loops of PyTorch run: %s", error)
        return False
    return True


def runs_compiled(tensor: Tensor) -> bool:
    """Whether loops over a tensor are compiled ones."""
    return tensor.device.type == "cpu" and has_numba()


def _loop() -> None:
    """Stands for the loops of this package: Numba looks for a folder to keep them in."""

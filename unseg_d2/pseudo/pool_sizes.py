"""How many processes read and finish images for a device."""

from __future__ import annotations

from dataclasses import dataclass

from fvcore.common.config import CfgNode

from unseg_d2.config.sections.run import PseudoSettings
from unseg_d2.devices import resolve_device

AUTOMATIC = -1
READERS_SHARE = 5
"""Finishing an image takes about five times as long as reading it, where the refiner runs on the CPU."""


@dataclass(frozen=True)
class PoolSizes:
    """Processes that help one device's.

    Attributes:
        readers: that read and resize images; 0 does it in the device's process.
        finishers: that make masks of proposals; 0 does it in the device's process.
    """

    readers: int
    finishers: int

    def by_name(self) -> dict[str, int]:
        """Return the numbers by name."""
        return {"readers": self.readers, "finishers": self.finishers}


NONE = PoolSizes(0, 0)


def pool_sizes(cfg: CfgNode, cores: int, *, refines_on_card: bool) -> PoolSizes:
    """Return how many processes help a device: what ``PSEUDO`` says, else what suits the cores.

    Args:
        cfg: ``PSEUDO.READERS``, ``PSEUDO.FINISHERS`` and ``FEATURES.DEVICE``.
        cores: for each device.
        refines_on_card: whether finishing is quick.
    """
    settings = PseudoSettings.from_config(cfg)
    suits = NONE
    if AUTOMATIC in (settings.readers, settings.finishers) and resolve_device(cfg.FEATURES.DEVICE).type != "cpu":
        suits = for_card(cores, refines_on_card=refines_on_card)
    readers = suits.readers if settings.readers == AUTOMATIC else settings.readers
    return PoolSizes(readers, suits.finishers if settings.finishers == AUTOMATIC else settings.finishers)


def for_card(cores: int, *, refines_on_card: bool) -> PoolSizes:
    """Share out the cores of a GPU, of which its own process takes one.

    >>> for_card(16, refines_on_card=False)
    PoolSizes(readers=2, finishers=13)
    >>> for_card(2, refines_on_card=False)
    PoolSizes(readers=0, finishers=1)
    """
    spare = max(0, cores - 1)
    finishers = -(-spare // 2) if refines_on_card else -(-spare * READERS_SHARE // (1 + READERS_SHARE))
    return PoolSizes(spare - finishers, finishers)

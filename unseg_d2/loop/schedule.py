"""When a periodic action of a training is due."""

from __future__ import annotations


def is_due(step: int, period: int) -> bool:
    """Return whether an action that is taken every ``period`` steps is due after this one; never if ``period`` is 0.

    Args:
        step: from 0.
        period: steps.

    >>> [step for step in range(6) if is_due(step, 2)]
    [1, 3, 5]
    >>> is_due(5, 0)
    False
    """
    return period > 0 and (step + 1) % period == 0

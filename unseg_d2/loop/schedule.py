"""When something is due during a training."""

from __future__ import annotations


def is_due(step: int, period: int) -> bool:
    """Whether something that happens every ``period`` steps happens after this one; never with a period of 0.

    Args:
        step: from 0.
        period: steps.

    >>> [step for step in range(6) if is_due(step, 2)]
    [1, 3, 5]
    >>> is_due(5, 0)
    False
    """
    return period > 0 and (step + 1) % period == 0

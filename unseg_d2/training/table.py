"""Figures of a run as a table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

METRICS = ("AP50", "AP", "AR100")
KINDS = {"bbox": "box", "segm": "mask"}


def rounds_table(rows: Sequence[tuple[str, dict[str, dict[str, float]]]]) -> str:
    """Lay out figures with one row per stage.

    Args:
        rows: name and figures in percent, ``{"bbox": {"AP50": ...}, "segm": {...}}``; a missing kind prints as dashes.

    Returns:
        The table, without a newline at its end.

    >>> print(rounds_table([("round 0", {"bbox": {"AP50": 50.0, "AP": 25.0, "AR100": 40.04}})]))
                    box AP50  box AP  box AR100  mask AP50  mask AP  mask AR100
    round 0             50.0    25.0       40.0          -        -           -
    """
    columns = [(kind, metric, f"{label} {metric}") for kind, label in KINDS.items() for metric in METRICS]
    width = max(14, *(len(name) for name, _ in rows))
    lines = [" " * width + "".join(f"{title:>{len(title) + 2}}" for *_, title in columns)]
    for name, figures in rows:
        cells = [(figures.get(kind, {}).get(metric), title) for kind, metric, title in columns]
        lines.append(
            f"{name:<{width}}"
            + "".join(f"{'-' if value is None else f'{value:.1f}':>{len(title) + 2}}" for value, title in cells)
        )
    return "\n".join(lines)

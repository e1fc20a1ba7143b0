"""Metrics of a checkpoint that were measured after it was written: in the files that evaluations leave beside it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unseg_d2.description import Measured
from unseg_d2.zoo.download import checksum

KINDS = ("bbox", "segm")


def measured_beside(weights: Path) -> list[Measured]:
    """Return what ``train-net`` and ``self-train`` have measured of a checkpoint, from the files beside it.

    Args:
        weights: the checkpoint. Metrics of another file that lay there under this name before are passed over: the
            predictions that they were computed of say the sha256 of theirs.
    """
    content, found = "", []
    for record in sorted(weights.parent.glob("evaluation/**/made_from.json")):
        content = content or checksum(weights)
        if _read(record).get("weights") != content:
            continue
        for path in (record.parent / "figures.json", weights.parent / "figures.json"):
            figures = _read(path)
            metrics = dict(_metrics(figures.get("figures", figures)))
            if metrics:
                data = Path(str(figures.get("dataset", "ground truth")).partition("::")[0]).stem
                found.append(Measured(data=data, metrics=metrics))
                break
    return found


def _metrics(figures: Any) -> Iterator[tuple[str, float]]:
    for kind in KINDS:
        of_kind = figures.get(kind) if isinstance(figures, dict) else None
        for name, value in of_kind.items() if isinstance(of_kind, dict) else ():
            if isinstance(value, (int, float)) and math.isfinite(value):
                yield f"{kind}/{name}", round(float(value), 4)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}

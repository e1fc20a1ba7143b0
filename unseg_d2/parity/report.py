"""How well a published output is reproduced, in words and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from unseg_d2.evaluation.table import as_text
from unseg_d2.parity.match import IDENTICAL, ImageMatch
from unseg_d2.parity.outputs import Outputs

THRESHOLDS = (0.5, 0.75, 0.9)


@dataclass
class Report:
    """Facts of the published file, and if ours is there, the agreement.

    Attributes:
        facts: what is stated before the comparison, as title and text.
        things: what is compared: masks, boxes or foregrounds.
        matches: by image; empty without ours.
        missing: images of the published file that ours does not have.
    """

    facts: list[tuple[str, str]]
    things: str
    matches: Sequence[ImageMatch] = ()
    missing: int = 0
    worst: int = 5
    figures: dict[str, float] = field(default_factory=dict)

    def as_text(self) -> str:
        """Return the report for a terminal."""
        width = max(len(title) for title, _ in self.facts)
        parts = ["\n".join(f"{title.ljust(width)}  {text}" for title, text in self.facts)]
        if self.matches:
            parts += [as_text(self._table()), self._images(), self._worst()]
        return "\n\n".join(part for part in parts if part)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON has it, with the IoUs of every image."""
        images = {m.name: {"published": m.published.tolist(), "ours": m.ours.tolist()} for m in self.matches}
        summary = {title: self._summary(direction) for title, direction in self._directions()} if images else {}
        about = {"facts": dict(self.facts), "figures": self.figures, "compared": len(self.matches)}
        return about | {"missing": self.missing, "agreement": summary, "images": images}

    def _directions(self) -> list[tuple[str, np.ndarray]]:
        empty = [np.zeros(0)]
        return [
            ("published", np.concatenate([match.published for match in self.matches] or empty)),
            ("ours", np.concatenate([match.ours for match in self.matches] or empty)),
        ]

    def _summary(self, ious: np.ndarray) -> dict[str, float | int]:
        """Return count, mean and shares, in percent where they are no count."""
        if not ious.size:
            return {"count": 0}
        shares = {f"IoU >= {limit}": 100 * float((ious >= limit).mean()) for limit in THRESHOLDS}
        same = 100 * float((ious == IDENTICAL).mean())
        return {"count": int(ious.size), "mean IoU": 100 * float(ious.mean()), **shares, "identical": same}

    def _table(self) -> list[list[str]]:
        titles = ["count", "mean IoU", *(f"IoU >= {limit}" for limit in THRESHOLDS), "identical"]
        rows = [["with the best of the other run, in percent", *titles]]
        for name, ious in self._directions():
            found = self._summary(ious)
            cells = [str(found["count"]), *(f"{found[title]:.1f}" if title in found else "-" for title in titles[1:])]
            rows.append([f"{'our' if name == 'ours' else name} {self.things}", *cells])
        return rows

    def _images(self) -> str:
        same = sum(match.identical for match in self.matches)
        silent = sum(not len(match.ours) for match in self.matches)
        text = f"{len(self.matches)} images compared: {same} identical, {silent} in which ours has no {self.things}."
        return text + (f" {self.missing} images of the published file are not in ours." if self.missing else "")

    def _worst(self) -> str:
        """Name the images that differ most."""
        differing = sorted((match for match in self.matches if not match.identical), key=lambda match: match.mean)
        if not differing or not self.worst:
            return ""
        named = ", ".join(f"{match.name} ({100 * match.mean:.1f})" for match in differing[: self.worst])
        return f"Largest differences, mean IoU of the image: {named}"


def describe(outputs: Outputs, path: object) -> list[tuple[str, str]]:
    """Return the facts of a published file of boxes or masks."""
    counts = [len(items) for items in outputs.found.values()]
    most = f", up to {max(counts)} in one" if counts and outputs.kind == "masks" else ""
    return [("published", f"{path}: {sum(counts)} {outputs.kind} of {len(counts)} images{most}")]

"""Copy-paste over a batch: in the loader process, or only drawn there and carried out later, on the network's device.

The draws are made in the loader process either way, so both ways paste the same objects at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.copy_paste import Blend, carry_out
from unseg_d2.data.copy_paste_device import carry_out_on, to_device
from unseg_d2.data.paste_plan import Mode, PastePlan, plan_paste
from unseg_d2.data.sample import Sample
from unseg_d2.data.transport import PackedBatch, pack, unpack
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError

_CHOICES = {
    "COPY_PASTE_SOURCE": ("sample", "batch"),
    "COPY_PASTE_MODE": ("default", "parity"),
    "COPY_PASTE_SELECTION": ("random", "confident"),
    "COPY_PASTE_BLEND": ("hard", "confidence"),
    "COPY_PASTE_DEVICE": ("workers", "model"),
}


@dataclass(frozen=True)
class PlannedBatch:
    """A batch on its way out of a loader process whose objects are still to be pasted.

    Attributes:
        samples: the targets, then one source for each plan, of which only the chosen objects are left.
        plans: one per target, ``None`` where nothing is pasted.
    """

    samples: PackedBatch
    plans: list[PastePlan | None]


@dataclass(frozen=True)
class CopyPaste:
    """Settings of the copy-paste augmentation, see `copy_paste.copy_paste`.

    Attributes:
        source: ``sample`` (another image of the same orientation, drawn for each target) or ``batch`` (the batch of
            the process in reverse order, as published).
        draws: keyword arguments of `plan_paste`.
        mode: ``default`` or ``parity``.
        blend: ``hard`` or ``confidence``.
        device: where pasting is done; ``None`` is in the loader process.
        pictures: folder for pictures of the first batches of a run, or ``None``.
    """

    source: str
    draws: dict[str, Any]
    mode: Mode = "default"
    blend: Blend = "hard"
    device: torch.device | None = None
    pictures: Path | None = None

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> CopyPaste | None:
        """Read the ``DATALOADER`` block of a configuration; ``None`` where copy-paste is off.

        Raises:
            UnsegError: a value is not accepted.
        """
        block = cfg.DATALOADER
        if not block.COPY_PASTE:
            return None
        for key, allowed in _CHOICES.items():
            if block[key] not in allowed:
                raise UnsegError(f"DATALOADER.{key} is '{block[key]}'; it must be {' or '.join(allowed)}.")
        low, high = block.COPY_PASTE_MIN_RATIO, block.COPY_PASTE_MAX_RATIO
        if not 0 < low <= high <= 1:
            raise UnsegError(f"DATALOADER.COPY_PASTE_MIN_RATIO {low} and _MAX_RATIO {high}: need 0 < min <= max <= 1.")
        draws = {
            "min_ratio": low,
            "max_ratio": high,
            "random_num": block.COPY_PASTE_RANDOM_NUM,
            "rate": block.COPY_PASTE_RATE,
            "mode": block.COPY_PASTE_MODE,
            "selection": block.COPY_PASTE_SELECTION,
        }
        return cls(
            block.COPY_PASTE_SOURCE,
            draws,
            mode=block.COPY_PASTE_MODE,
            blend=block.COPY_PASTE_BLEND,
            device=resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE") if block.COPY_PASTE_DEVICE == "model" else None,
            pictures=Path(cfg.OUTPUT_DIR) / "copy_paste" if block.VISUALIZE_COPY_PASTE else None,
        )

    def prepare(
        self, sources: Sequence[Sample], targets: Sequence[Sample], generators: Sequence[np.random.Generator]
    ) -> PackedBatch | PlannedBatch:
        """Do the part of a loader process.

        Args:
            sources: one per target.
            targets: the batch.
            generators: sources of the random draws, one per target.
        """
        plans = [plan_paste(s, t.size, rng=rng, **self.draws) for s, t, rng in zip(sources, targets, generators)]
        if self.device is not None:
            chosen = [_only(source, plan) for source, plan in zip(sources, plans) if plan]
            return PlannedBatch(pack([*targets, *chosen]), [plan and _all_of(plan) for plan in plans])
        triples = zip(plans, sources, targets)
        pasted = [
            carry_out(plan, source, target, mode=self.mode, blend=self.blend) if plan else target
            for plan, source, target in triples
        ]
        return pack(pasted)

    def finish(self, batch: PackedBatch | PlannedBatch) -> list[Sample]:
        """Do the part of the training process: nothing, or what is left to do on the device."""
        if isinstance(batch, PackedBatch):
            return unpack(batch)
        device = self.device
        assert device is not None  # or prepare() would have pasted
        samples = unpack(batch.samples)
        targets, sources = samples[: len(batch.plans)], iter(samples[len(batch.plans) :])
        return [
            carry_out_on(device, plan, next(sources), target, mode=self.mode, blend=self.blend)
            if plan
            else to_device(target, device)
            for plan, target in zip(batch.plans, targets)
        ]


def _only(source: Sample, plan: PastePlan) -> Sample:
    """The source without the objects that are not pasted."""
    chosen = list(plan.chosen)
    confidence = None if source.confidence is None else source.confidence[chosen]
    return replace(
        source,
        boxes=source.boxes[chosen],
        masks=source.masks[chosen],
        scores=source.scores[chosen],
        confidence=confidence,
    )


def _all_of(plan: PastePlan) -> PastePlan:
    """The plan for a source that holds the chosen objects only."""
    return replace(plan, chosen=tuple(range(len(plan.chosen))))

"""Copy-paste over a batch: in the loader process, or only drawn there and carried out later, on the network's device.

The draws are made in the loader process either way, so both ways paste the same objects at the same places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.data.copy_paste import carry_out
from unseg_d2.data.copy_paste_device import carry_out_on, to_device
from unseg_d2.data.paste_plan import PastePlan, plan_paste
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import DataLoaderSettings
from unseg_d2.data.transport import PackedBatch, pack, unpack
from unseg_d2.devices import resolve_device


@dataclass(frozen=True)
class PlannedBatch:
    """A batch on its way out of a loader process whose objects are still to be pasted.

    Attributes:
        samples: the targets, then one source for each plan, of which only the chosen objects are left.
        plans: one per target, ``None`` where nothing is pasted.
    """

    samples: PackedBatch
    plans: list[PastePlan | None]

    def pin_memory(self) -> PlannedBatch:
        """Return it in page-locked memory; a data loader that pins calls this."""
        return replace(self, samples=self.samples.pin_memory())


@dataclass(frozen=True)
class CopyPaste:
    """Settings of the copy-paste augmentation, see `copy_paste.copy_paste`.

    Attributes:
        settings: of the loader; as the source, ``sample`` draws another image of the same orientation for each target,
            ``batch`` takes the batch of the process in reverse order, as published.
        device: where pasting is done; ``None`` is in the loader process.
        pictures: folder for pictures of the first batches of a run, or ``None``.
    """

    settings: DataLoaderSettings
    device: torch.device | None = None
    pictures: Path | None = None

    @classmethod
    def from_cfg(cls, cfg: CfgNode) -> CopyPaste | None:
        """Read the ``DATALOADER`` section of a configuration; ``None`` where copy-paste is off.

        Raises:
            UnsegError: a value is out of range.
        """
        settings = DataLoaderSettings.from_config(cfg)
        if not settings.copy_paste:
            return None
        on_model = settings.copy_paste_device == "model"
        return cls(
            settings,
            device=resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE") if on_model else None,
            pictures=Path(cfg.OUTPUT_DIR) / "copy_paste" if settings.visualize_copy_paste else None,
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
        plans = [
            plan_paste(source, target.size, rng=rng, settings=self.settings)
            for source, target, rng in zip(sources, targets, generators)
        ]
        if self.device is not None:
            chosen = [_only(source, plan) for source, plan in zip(sources, plans) if plan]
            return PlannedBatch(pack([*targets, *chosen]), [plan and _all_of(plan) for plan in plans])
        mode, blend = self.settings.copy_paste_mode, self.settings.copy_paste_blend
        triples = zip(plans, sources, targets)
        pasted = [
            carry_out(plan, source, target, mode=mode, blend=blend) if plan else target
            for plan, source, target in triples
        ]
        return pack(pasted)

    def finish(self, batch: PackedBatch | PlannedBatch) -> list[Sample]:
        """Do the part of the training process: nothing, or what is left to do on the device."""
        if isinstance(batch, PackedBatch):
            return unpack(batch)
        device, mode, blend = self.device, self.settings.copy_paste_mode, self.settings.copy_paste_blend
        assert device is not None  # or prepare() would have pasted
        samples = unpack(batch.samples)
        targets, sources = samples[: len(batch.plans)], iter(samples[len(batch.plans) :])
        return [
            carry_out_on(device, plan, next(sources), target, mode=mode, blend=blend)
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
        classes=None if source.classes is None else source.classes[chosen],
    )


def _all_of(plan: PastePlan) -> PastePlan:
    """The plan for a source that holds the chosen objects only."""
    return replace(plan, chosen=tuple(range(len(plan.chosen))))

"""The step between two trainings of a self-training run, for Detectron2 projects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unseg_d2.detectors.detectron2.engine import Detectron2Engine
from unseg_d2.detectors.detectron2.label_sets import label_file
from unseg_d2.detectors.detectron2.mapper import check_keys
from unseg_d2.training import next_labels

if TYPE_CHECKING:
    from fvcore.common.config import CfgNode


def next_label_set(
    cfg: CfgNode,
    weights: str | Path,
    labels: str | Path,
    output: str | Path,
    *,
    round_index: int = 1,
    num_processes: int = 1,
) -> Path:
    """Predict on the images of a label set and merge what is found with it (CutLER, section 3.4).

    The result is trained on next: register it, and start from ``weights``. Call this outside of Detectron2's
    ``launch``; it starts processes of its own.

    Args:
        cfg: Detectron2 configuration of the network with the keys of `add_unseg_config`; ``ROUNDS`` states the
            thresholds.
        weights: checkpoint of the training.
        labels: label set that it was trained on: a name of `register_label_set`, ``labels.json``, or
            ``labels.json::image/root``.
        output: folder of the result; a run that was killed resumes, finished predictions are kept.
        round_index: number of the round, from 1; later rounds keep detections of lower scores.
        num_processes: processes that share the prediction, one per GPU.

    Returns:
        ``output/labels.json``.

    Raises:
        UnsegError: a file is missing or damaged, or the checkpoint does not fit the configuration.
    """
    check_keys(cfg)
    return next_labels.next_label_set(
        Detectron2Engine(),
        cfg,
        weights=str(weights),
        labels=label_file(str(labels)),
        output=Path(output),
        round_index=round_index,
        num_processes=num_processes,
    )

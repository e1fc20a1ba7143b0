"""Predict over a data set into one COCO result file; a killed run goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch.distributed as distributed
from fvcore.common.config import CfgNode

from unseg_d2.detectors.protocol import Engine
from unseg_d2.files import write_json
from unseg_d2.progress import progress_bar

PART_SIZE = 64  # images per part, the unit of resuming


def predict_to_file(
    engine: Engine, cfg: CfgNode, records: list[dict[str, Any]], *, weights: str, output: Path, num_processes: int = 1
) -> Path:
    """Run a detector over images and write COCO results.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        records: images, as Detectron2's standard dataset dicts; annotations in them are ignored.
        weights: checkpoint.
        output: folder of the result; finished parts in it are not computed again.
        num_processes: processes that share the work.

    Returns:
        ``output/predictions.json``: a list of ``{image_id, category_id, bbox (XYWH, px), segmentation (RLE), score}``
        in the order of the records, best first within an image.
    """
    final = output / "predictions.json"
    if final.is_file():
        return final
    parts = output / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    missing = [index for index in range(-(-len(records) // PART_SIZE)) if not _part(parts, index).is_file()]
    if missing:
        arguments = (engine, cfg, records, weights, parts, missing)
        engine.launch(_predict_parts, min(num_processes, len(missing)), arguments)
    results = [
        result
        for index in range(-(-len(records) // PART_SIZE))
        for result in json.loads(_part(parts, index).read_text())
    ]
    write_json(final, results)
    return final


def _part(folder: Path, index: int) -> Path:
    return folder / f"part_{index:06d}.json"


def _predict_parts(
    engine: Engine, cfg: CfgNode, records: list[dict[str, Any]], weights: str, parts: Path, missing: list[int]
) -> None:
    """Predict this process's share of the missing parts, renaming each into place when it is complete."""
    spread = distributed.is_available() and distributed.is_initialized()
    rank, world_size = (distributed.get_rank(), distributed.get_world_size()) if spread else (0, 1)
    shares = {index: records[index * PART_SIZE : (index + 1) * PART_SIZE] for index in missing[rank::world_size]}
    images = [record for share in shares.values() for record in share]
    with progress_bar(total=len(images), desc="predict", unit="image", disable=rank > 0) as bar:
        predictions = iter(engine.predict(cfg, images, weights=weights))
        for index, share in shares.items():
            results = []
            for _ in share:
                results += next(predictions).to_coco()
                bar.update()
            write_json(_part(parts, index), results)

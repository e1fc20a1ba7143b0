"""Predict over a data set into one COCO result file; a killed run resumes where it stopped.

::

    OUTPUT/parts/FINGERPRINT/part_000003.json    a finished part; the name stands for engine, recipe, checkpoint, ...
    OUTPUT/predictions.json                      all of them
    OUTPUT/made_from.json                        what they depend on

A part records the content of its images too, ``{"images": [[size, sha256], ...], "results": [...]}``, so images that
were replaced under the same names are predicted again.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import torch.distributed as distributed
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.content import Comparison, Content, content_of
from unseg_d2.data.classes import as_records
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.registry import EVALUATORS
from unseg_d2.files import write_json
from unseg_d2.manifest import changes, describe, read_manifest
from unseg_d2.progress import progress_bar
from unseg_d2.registry import code_of_parts, registers_only
from unseg_d2.zoo.download import checksum
from unseg_d2.zoo.store import PREFIX, resolve

PART_SIZE = 64  # images per part, the unit of resuming
NO_EFFECT = {
    "OUTPUT_DIR": "",
    "DATASETS.TRAIN": (),
    "DATASETS.TEST": (),
    "MODEL.WEIGHTS": "",
    "MODEL.TRUST_CHECKPOINT": False,
    "DATALOADER.NUM_WORKERS": 0,
}
"""Keys of the recipe that predictions do not depend on, or that are given separately, with the value recorded."""
SCORING = ("TEST.",)
"""Beginnings of the keys of parts that predictions do not depend on."""

logger = logging.getLogger(__name__)


def predict_to_file(
    engine: Engine, cfg: CfgNode, records: list[dict[str, Any]], *, weights: str, output: Path, num_processes: int = 1
) -> Path:
    """Run a detector over images and write COCO results.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        records: images; annotations in them are ignored, their categories are those of the results.
        weights: checkpoint.
        output: folder of the result; finished parts of the same engine, recipe, checkpoint and images are kept, and
            others are predicted again.
        num_processes: processes that share the work.

    Returns:
        ``output/predictions.json``: a list of ``{image_id, category_id, bbox (XYWH, px), segmentation (RLE), score}``
        in the order of the records, best first within an image.
    """
    weights = resolve(weights)
    origin = made_from(engine, cfg, records, weights)
    final, record = output / "predictions.json", output / "made_from.json"
    parts = output / "parts" / fingerprint(origin)
    missing = _missing_parts(parts, records)
    if _is_kept(final, record, origin, missing):
        return final
    if missing:
        parts.mkdir(parents=True, exist_ok=True)
        arguments = (engine, cfg, records, weights, parts, missing, as_records(records).category_ids())
        engine.launch(_predict_parts, min(num_processes, len(missing)), arguments)
    results = [
        result
        for index in range(_num_parts(records))
        for result in json.loads(_part(parts, index).read_text())["results"]
    ]
    record.unlink(missing_ok=True)  # killed below, the predictions are of no known origin, never of a wrong one
    write_json(final, results)
    write_json(record, origin, indent=1)
    return final


def fingerprint(origin: dict[str, Any]) -> str:
    """Return a short name for what :func:`made_from` returned."""
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]


def made_from(engine: Engine, cfg: CfgNode, records: list[dict[str, Any]], weights: str) -> dict[str, Any]:
    """Return everything that predictions depend on, as plain values.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        records: images; they are told apart by id and name, wherever their folder is; parts record their content.
        weights: checkpoint; files are told apart by their content.
    """
    names = [os.path.abspath(record["file_name"]) for record in records]
    root = os.path.commonpath([os.path.dirname(name) for name in names]) if names else ""
    images = [
        (record["image_id"], Path(os.path.relpath(name, root)).as_posix()) for record, name in zip(records, names)
    ]
    categories = [category["id"] for category in as_records(records).categories]
    return {
        **({"categories": categories} if categories else {}),
        "engine": engine.name,
        "recipe": _without_evaluators(as_values(edited(cfg, NO_EFFECT))),
        "weights": weights_identity(weights),
        "images": hashlib.sha256(json.dumps(images).encode()).hexdigest(),
        "part_size": PART_SIZE,
        **code_of_parts(cfg, without=SCORING),
    }


def _without_evaluators(recipe: dict[str, Any]) -> dict[str, Any]:
    """Leave out which metrics are computed, and the modules that only compute metrics."""
    scoring = {"evaluators", *(name for name, entry in EVALUATORS if entry.settings is not None)}
    test = {key: value for key, value in recipe["TEST"].items() if key.lower() not in scoring}
    return {
        **recipe,
        "TEST": test,
        "PLUGINS": [name for name in recipe["PLUGINS"] if not registers_only(name, SCORING)],
    }


def weights_identity(weights: str) -> str:
    """Return what tells a checkpoint from others: the sha256 of a file; a name of the zoo or an address as it is.

    Args:
        weights: file, ``zoo:NAME`` or address; empty stays empty.

    Raises:
        UnsegError: there is no such file.
    """
    if not weights or weights.startswith(PREFIX) or "://" in weights:
        return weights
    if not Path(weights).is_file():
        raise UnsegError(f"There is no checkpoint {weights}.")
    return checksum(Path(weights))


def _is_kept(final: Path, record: Path, origin: dict[str, Any], missing: list[int]) -> bool:
    """Whether there are predictions of this origin and of images as they are; says so where there are others."""
    if not final.is_file():
        return False
    found = changes(read_manifest(record, "delete it"), origin) if record.is_file() else []
    if record.is_file() and not found and not missing:
        return True
    reason = describe(found) if found else "what they were made from is not recorded"
    if record.is_file() and not found:
        reason = f"images have changed since, or parts are gone ({len(missing)} of its parts of {PART_SIZE} images)"
    logger.info("Predicting again, since %s does not fit: %s.", final, reason)
    return False


def _num_parts(records: list[dict[str, Any]]) -> int:
    return -(-len(records) // PART_SIZE)


def _missing_parts(folder: Path, records: list[dict[str, Any]]) -> list[int]:
    """Return the parts that are not there, or were made from images that have changed since."""
    return [
        index for index in range(_num_parts(records)) if not _is_current(_part(folder, index), _share(records, index))
    ]


def _share(records: list[dict[str, Any]], index: int) -> list[dict[str, Any]]:
    return records[index * PART_SIZE : (index + 1) * PART_SIZE]


def _is_current(part: Path, records: list[dict[str, Any]]) -> bool:
    """Whether a part is there, and its images are what they were when it was made."""
    if not part.is_file():
        return False
    content = json.loads(part.read_text())
    if not isinstance(content, dict):  # earlier versions did not record the images
        return False
    comparison = Comparison(part, part.stat().st_mtime)
    return not any(
        comparison.has_changed(record["file_name"], Content(*seen) if seen else None)
        for record, seen in zip(records, content["images"], strict=True)
    )


def _part(folder: Path, index: int) -> Path:
    return folder / f"part_{index:06d}.json"


def _predict_parts(
    engine: Engine,
    cfg: CfgNode,
    records: list[dict[str, Any]],
    weights: str,
    parts: Path,
    missing: list[int],
    category_ids: list[int] | int,
) -> None:
    """Predict this process's share of the missing parts and rename each into place when it is complete."""
    spread = distributed.is_available() and distributed.is_initialized()
    rank, world_size = (distributed.get_rank(), distributed.get_world_size()) if spread else (0, 1)
    shares = {index: _share(records, index) for index in missing[rank::world_size]}
    images = [record for share in shares.values() for record in share]
    with progress_bar(total=len(images), desc="predict", unit="image", disable=rank > 0) as bar:
        predictions = iter(engine.predict(cfg, images, weights=weights))
        for index, share in shares.items():
            seen = [content_of(record["file_name"]) for record in share]
            results = []
            for _ in share:
                results += next(predictions).to_coco(category_ids)
                bar.update()
            write_json(_part(parts, index), {"images": seen, "results": results})

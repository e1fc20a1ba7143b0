"""Predict over a data set into one COCO result file; a killed run resumes where it stopped.

::

    OUTPUT/parts/FINGERPRINT/part_000003.json    a finished part; the name stands for engine, recipe, checkpoint, ...
    OUTPUT/predictions.json                      all of them
    OUTPUT/made_from.json                        what they depend on

A part records the content of its images too (`unseg_d2.training.prediction_parts`), so images that were replaced under
the same names are predicted again. Held are the results of one part, and names and ids of the images.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, overload

import torch.distributed as distributed
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.content import Comparison, content_of
from unseg_d2.data.image_list import ImageList
from unseg_d2.detectors.protocol import Engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.registry import EVALUATORS
from unseg_d2.files import atomic_write, write_json
from unseg_d2.jobs.places import LOCAL, RAY, check_place, run_jobs_at
from unseg_d2.manifest import changes, describe, read_manifest
from unseg_d2.progress import progress_bar
from unseg_d2.registry import code_of_parts, registers_only
from unseg_d2.training.prediction_jobs import PartJobs, PartMaker, RetriedParts
from unseg_d2.training.prediction_parts import images_of_part, lines_of_part, part_path, write_part
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
    "DATALOADER.PIN_MEMORY": True,
}
"""Keys of the recipe that predictions do not depend on, or that are given separately, with the value recorded."""
SCORING = ("TEST.",)
"""Beginnings of the keys of parts that predictions do not depend on."""

logger = logging.getLogger(__name__)


def predict_to_file(
    engine: Engine,
    cfg: CfgNode,
    records: Sequence[dict[str, Any]],
    *,
    weights: str,
    output: Path,
    num_processes: int = 1,
    run_on: str = LOCAL,
) -> Path:
    """Run a detector over images and write COCO results.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        records: images; annotations in them are ignored, their categories are those of the results. They are gone
            through once.
        weights: checkpoint.
        output: folder of the result; finished parts of the same engine, recipe, checkpoint and images are kept, and
            others are predicted again.
        num_processes: processes of this machine that share the work.
        run_on: ``ray`` does it as tasks of a Ray cluster instead, whose machines see output, images and checkpoint.

    Returns:
        ``output/predictions.json``: a list of ``{image_id, category_id, bbox (XYWH, px), segmentation (RLE), score}``
        in the order of the records, best first within an image; a line for each.
    """
    check_place(run_on, cfg)
    weights = resolve(weights)
    images = as_images(records)
    origin = made_from(engine, cfg, images, weights)
    final, record = output / "predictions.json", output / "made_from.json"
    parts = output / "parts" / fingerprint(origin)
    missing = _missing_parts(parts, images)
    if _is_kept(final, record, origin, missing):
        return final
    if missing:
        parts.mkdir(parents=True, exist_ok=True)
        if run_on == RAY:
            maker = PartMaker(engine, cfg, weights, parts.absolute(), images.category_ids())
            _predict_on_ray(maker, images, missing)
        else:
            arguments = (engine, cfg, images, weights, parts, missing, images.category_ids())
            engine.launch(_predict_parts, min(num_processes, len(missing)), arguments)
    record.unlink(missing_ok=True)  # killed below, the predictions are of no known origin, never of a wrong one
    _join(parts, len(_parts(images)), final)
    write_json(record, origin, indent=1)
    return final


def as_images(records: Sequence[dict[str, Any]]) -> ImageList:
    """Return the images of records, which may be a list of images already."""
    return records if isinstance(records, ImageList) else ImageList(records)


def fingerprint(origin: dict[str, Any]) -> str:
    """Return a short name for what :func:`made_from` returned."""
    return hashlib.sha256(json.dumps(origin, sort_keys=True).encode()).hexdigest()[:12]


def made_from(engine: Engine, cfg: CfgNode, records: Sequence[dict[str, Any]], weights: str) -> dict[str, Any]:
    """Return everything that predictions depend on, as plain values.

    Args:
        engine: the engine that runs the network.
        cfg: recipe of the network.
        records: images; they are told apart by id and name, wherever their folder is; parts record their content.
        weights: checkpoint; files are told apart by their content.
    """
    images = as_images(records)
    categories = [category["id"] for category in images.categories]
    return {
        **({"categories": categories} if categories else {}),
        "engine": engine.name,
        "recipe": _without_evaluators(as_values(edited(cfg, NO_EFFECT))),
        "weights": weights_identity(weights),
        "images": _sha256_of(images),
        "part_size": PART_SIZE,
        **code_of_parts(cfg, without=SCORING),
    }


def _sha256_of(images: ImageList) -> str:
    """Return the sha256 of the ids and names of images, of the JSON list ``[[id, name], ...]``.

    Names are relative to the folder that all images share.
    """
    root, last = "", ""
    for image in images:
        folder = os.path.dirname(os.path.abspath(image["file_name"]))
        if folder != last:
            root, last = os.path.commonpath([root, folder]) if root else folder, folder
    digest = hashlib.sha256()
    for number, image in enumerate(images):
        name = Path(os.path.relpath(os.path.abspath(image["file_name"]), root)).as_posix()
        digest.update(((", " if number else "[") + json.dumps((image["image_id"], name))).encode())
    digest.update(b"]" if len(images) else b"[]")
    return digest.hexdigest()


def _without_evaluators(recipe: dict[str, Any]) -> dict[str, Any]:
    """Leave out which metrics are computed, and the modules that only compute metrics."""
    scoring = {"evaluators", *(name for name, entry in EVALUATORS if entry.settings is not None)}
    test = {key: value for key, value in recipe["TEST"].items() if key.lower() not in scoring}
    return {
        **{name: values for name, values in recipe.items() if name != "RAY"},  # where the work is done
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


def _parts(images: Sequence[dict[str, Any]]) -> list[range]:
    """Return the places of the images of each part."""
    return [range(start, min(start + PART_SIZE, len(images))) for start in range(0, len(images), PART_SIZE)]


def _missing_parts(folder: Path, images: ImageList) -> list[int]:
    """Return the parts that are not there, are damaged, or were made from images that have changed since."""
    parts = enumerate(_parts(images))
    return [number for number, places in parts if not _is_current(part_path(folder, number), _Chosen(images, [places]))]


def _is_current(part: Path, images: Sequence[dict[str, Any]]) -> bool:
    """Whether a part is there, and its images are what they were when it was made."""
    seen = images_of_part(part, len(images))
    if seen is None:
        return False
    comparison = Comparison(part, part.stat().st_mtime)
    return not any(comparison.has_changed(image["file_name"], content) for image, content in zip(images, seen))


class _Chosen(Sequence[dict[str, Any]]):
    """Some parts of a list of images, as one list.

    Args:
        images: all of them.
        parts: places of the images of each part.
    """

    def __init__(self, images: ImageList, parts: Sequence[range]) -> None:
        self.images, self.parts, self.size = images, parts, sum(map(len, parts))

    def __len__(self) -> int:
        return self.size

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...
    @overload
    def __getitem__(self, index: slice) -> list[dict[str, Any]]: ...
    def __getitem__(self, index: int | slice) -> dict[str, Any] | list[dict[str, Any]]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self.size))]
        part, place = divmod(range(self.size)[index], PART_SIZE)  # all parts but the last are whole
        return self.images[self.parts[part][place]]


def _predict_parts(
    engine: Engine,
    cfg: CfgNode,
    images: ImageList,
    weights: str,
    parts: Path,
    missing: list[int],
    category_ids: list[int] | int,
) -> None:
    """Predict this process's share of the missing parts and rename each into place when it is complete."""
    spread = distributed.is_available() and distributed.is_initialized()
    rank, world_size = (distributed.get_rank(), distributed.get_world_size()) if spread else (0, 1)
    places, own = _parts(images), missing[rank::world_size]
    share = _Chosen(images, [places[index] for index in own])
    with progress_bar(total=len(share), desc="predict", unit="image", disable=rank > 0) as bar:
        predictions = iter(engine.predict(cfg, share, weights=weights))
        for index in own:
            seen = [content_of(images[place]["file_name"]) for place in places[index]]
            results = []
            for _ in places[index]:
                results += next(predictions).to_coco(category_ids)
                bar.update()
            write_part(part_path(parts, index), seen, results)


def _predict_on_ray(maker: PartMaker, images: ImageList, missing: list[int]) -> None:
    """Predict the missing parts on the machines of a Ray cluster."""
    places = _parts(images)
    jobs = PartJobs(missing, lambda index: [images[place] for place in places[index]], maker.folder)
    device, retry = maker.cfg.MODEL.DEVICE, RetriedParts()
    reports = run_jobs_at(RAY, maker.cfg, maker, jobs, num_workers=0, device=device, retry=retry)
    with progress_bar(total=sum(len(places[index]) for index in missing), desc="predict", unit="image") as bar:
        for count in reports:
            bar.update(count)


def _join(parts: Path, number: int, output: Path) -> None:
    """Write the results of all parts into one file, a line for each result."""
    with atomic_write(output) as file:
        file.write(b"[")
        before = b"\n"
        for index in range(number):
            for line in lines_of_part(part_path(parts, index)):
                file.write(before + line)
                before = b",\n"
        file.write(b"\n]\n")

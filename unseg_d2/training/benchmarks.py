"""Score a detector, or masks from elsewhere, on many data sets, class-agnostically and all in the same way."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.data.builtin import ALIASES, BUILTIN
from unseg_d2.data.catalog import find_annotations, load_dataset
from unseg_d2.data.classes import categories_of
from unseg_d2.data.coco import open_coco, read_coco
from unseg_d2.data.presence import check_images
from unseg_d2.data.spec import split_spec
from unseg_d2.detectors.protocol import Engine
from unseg_d2.evaluation.registry import build_evaluators, classes_told_apart
from unseg_d2.evaluation.scores import Scores
from unseg_d2.files import check_can_read, write_json
from unseg_d2.jobs.places import LOCAL
from unseg_d2.training.prediction import fingerprint, made_from, predict_to_file
from unseg_d2.training.score_masks import score_file
from unseg_d2.zoo.store import resolve

logger = logging.getLogger(__name__)

COCO_FAMILY = {"cls_agnostic_coco", "cls_agnostic_coco20k", "cls_agnostic_lvis"}
"""Data sets of COCO images: a detector trained on COCO is in their domain."""


@dataclass(frozen=True)
class Benchmark:
    """A data set, and how well results fit it.

    Attributes:
        dataset: built-in name or path.
        setting: ``zero-shot``, ``in-domain`` or ``not stated``.
        protocol: what the annotation file says about itself.
        scores: of the evaluators.
    """

    dataset: str
    setting: str
    protocol: str
    scores: Scores

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON has it, with null for NaN."""
        about = {"dataset": self.dataset, "setting": self.setting, "protocol": self.protocol}
        return about | self.scores.to_json()


def check_datasets(names: Sequence[str], cfg: CfgNode, num_classes: int = 1) -> None:
    """Check that every data set has its annotations, before any of them is worked on.

    Args:
        names: data sets.
        cfg: configuration; its ``SYNTHETIC`` block describes the synthetic sets.
        num_classes: of the detector; with several, the data sets must have as many categories.

    Raises:
        UnsegError: annotations are missing (the message names the path and how to make them), or have another
            number of categories.
    """
    for name in names:
        path = find_annotations(name, cfg)
        check_can_read(path)
        if num_classes > 1:
            categories_of(read_coco(path), num_classes, name)


def setting_of(dataset: str, train: tuple[str, ...]) -> str:
    """Tell whether the training images of a detector come from the domain of a data set.

    Args:
        dataset: what is evaluated on.
        train: ``DATASETS.TRAIN`` of the recipe.

    >>> setting_of("coco_val2017", ("imagenet_train_r1",)), setting_of("lvis_v1_val", ("coco_2017_train",))
    ('zero-shot', 'in-domain')
    >>> setting_of("coco_val2017", ("labels.json",))
    'not stated'
    """
    dataset = ALIASES.get(dataset, dataset)
    train = tuple(ALIASES.get(name, name) for name in train)
    if dataset in train or (dataset in COCO_FAMILY and any("coco" in name for name in train if name in BUILTIN)):
        return "in-domain"
    is_known = dataset in BUILTIN and train and all(name in BUILTIN for name in train)
    return "zero-shot" if is_known else "not stated"


def predict_dataset(
    engine: Engine,
    cfg: CfgNode,
    dataset: str,
    *,
    weights: str,
    results: Path,
    num_processes: int = 1,
    run_on: str = LOCAL,
) -> Path:
    """Predict over a data set, or reuse the predictions that are there.

    Args:
        engine: runs the network.
        cfg: recipe of the network.
        dataset: built-in name, COCO json or ``json::images``.
        weights: checkpoint, or ``zoo:NAME``.
        results: folder, with a subfolder for each data set, engine, checkpoint and recipe.
        num_processes: processes that share the work.
        run_on: see `predict_to_file`.

    Returns:
        File of COCO results.
    """
    weights, records = resolve(weights), load_dataset(dataset, cfg, classes_told_apart(cfg))
    check_images(records, dataset)
    output = results / "predictions" / f"{_stem(dataset)}_{fingerprint(made_from(engine, cfg, records, weights))}"
    options: dict[str, Any] = {"num_processes": num_processes, "run_on": run_on}
    return predict_to_file(engine, cfg, records, weights=weights, output=output, **options)


def score_predictions(
    path: Path,
    dataset: str,
    cfg: CfgNode,
    *,
    setting: str,
) -> Benchmark:
    """Compare predictions with the annotations of a data set.

    Args:
        path: COCO results or a label set.
        dataset: built-in name or COCO json; its images need not be there.
        cfg: ``TEST.EVALUATORS`` names the metrics, ``TEST.NO_SEGM`` leaves the masks out.
        setting: for the table.

    Raises:
        UnsegError: the data set has no annotations, the results are of other images, or an evaluator cannot be used.
    """
    truth = open_coco(find_annotations(dataset, cfg))
    scores = score_file(path, truth, dataset, build_evaluators(cfg), with_masks=not cfg.TEST.NO_SEGM)
    about = truth.info.get("description")
    protocol = truth.info.get("protocol") or (
        f"Protocol: that of the annotation file, {f'which says: {about}.' if about else 'which does not describe it.'}"
    )
    return Benchmark(ALIASES.get(dataset, dataset), setting, protocol, scores)


def save_benchmarks(benchmarks: list[Benchmark], path: Path, **about: Any) -> None:
    """Write the scores to a JSON file.

    Args:
        benchmarks: of all data sets.
        path: the file to make or replace.
        about: what else to write, such as backend and weights.
    """
    write_json(path, {**about, "benchmarks": [item.to_json() for item in benchmarks]}, indent=1)


def _stem(dataset: str) -> str:
    return Path(split_spec(ALIASES.get(dataset, dataset))[0]).stem

"""Compare a set of masks with ground truth; no detector is needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseg_d2.config.recipe import Recipe, load_recipe
from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.coco import CocoDataset, read_coco
from unseg_d2.data.results import read_result_list
from unseg_d2.evaluation.align import align_images
from unseg_d2.evaluation.registry import Evaluator, build_evaluators
from unseg_d2.evaluation.scores import Scores, check_annotations, score
from unseg_d2.evaluation.table import as_text, columns_of
from unseg_d2.pseudo.label_set import read_label_set

COLUMNS = {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")} | {
    "Recall50": "R@.5"
}
"""Metrics in their order, to what the table calls them; others follow under their own names."""


@dataclass(frozen=True)
class MatchedMasks:
    """Masks with the image ids of a ground truth.

    Attributes:
        results: COCO results.
        num_images: images that have masks or are listed with none.
        num_ignored: images that are not in the ground truth; their masks are left out.
    """

    results: list[dict[str, Any]]
    num_images: int
    num_ignored: int


def score_masks(masks: str | Path, ground_truth: str | Path, recipe: Recipe | None = None, *overrides: Any) -> Scores:
    """Score a label set, or a list of COCO results, against ground truth.

    Args:
        masks: label set (COCO file or folder), whose images are matched by file name, or COCO results, whose image
            ids are those of the ground truth.
        ground_truth: COCO file; images of it without masks count as missed.
        recipe: its ``TEST`` says what is computed; by default class-agnostic AP and AR.
        *overrides: settings that differ from it, ``"TEST.EVALUATORS", ["class_agnostic", "corloc"]`` or one mapping.

    Raises:
        UnsegError: a file is missing or damaged, the two have no image in common, or an evaluator cannot be used.
    """
    cfg = load_recipe(recipe, *overrides)
    evaluators = build_evaluators(cfg)  # before anything is read
    return score_file(masks, read_coco(ground_truth), ground_truth, evaluators, with_masks=not cfg.TEST.NO_SEGM)


def score_file(
    path: str | Path, truth: CocoDataset, name: object, evaluators: Mapping[str, Evaluator], *, with_masks: bool
) -> Scores:
    """Score a label set, or a list of COCO results, against ground truth that has been read.

    Args:
        path: label set (COCO file or folder) or COCO results.
        truth: what they are compared with, called ``name`` in messages.
        name: see ``truth``.
        evaluators: see `unseg_d2.evaluation.scores.score`.
        with_masks: see `unseg_d2.evaluation.scores.score`.
    """
    check_annotations(truth.annotations, name)
    found = match_masks(Path(path), truth)
    return score(
        {"images": truth.images, "annotations": truth.annotations, "categories": truth.categories},
        found.results,
        evaluators,
        with_masks=with_masks,
        result_images=found.num_images,
        ignored_images=found.num_ignored,
    )


def match_masks(path: Path, truth: CocoDataset) -> MatchedMasks:
    """Read a label set or COCO results and give them the image ids of the ground truth.

    Args:
        path: label set (COCO file or folder) or COCO results.
        truth: what they will be compared with.
    """
    results = read_result_list(path)
    if results is not None:
        results = of_images(results, truth, path)
        return MatchedMasks(results, len({result["image_id"] for result in results}), 0)
    labels = read_label_set(path)
    ids = align_images(labels.images, truth.images)
    kept = [item | {"image_id": ids[item["image_id"]]} for item in labels.annotations if item["image_id"] in ids]
    return MatchedMasks(of_images(kept, truth, path), len(ids), len(labels.images) - len(ids))


def of_images(results: list[dict[str, Any]], truth: CocoDataset, path: Path) -> list[dict[str, Any]]:
    """Give results the ids of the images of a data set, where ``"7"`` means 7, and draw polygons in their size.

    Args:
        results: what was read.
        truth: the data set that lists the images.
        path: where the results are from, for messages.

    Raises:
        UnsegError: a result has polygons and its image no size, or they cannot be drawn.
    """
    sizes = {image["id"]: (image.get("height"), image.get("width")) for image in truth.images}
    ids: dict[Any, Any] = {str(key): key for key in sizes}
    ids |= {key: key for key in sizes} | truth.joined
    matched = []
    for result in results:
        key = result["image_id"]
        matched.append(result | {"image_id": ids[key] if key in ids else ids.get(str(key), key)})
    return list(draw_polygons(matched, sizes, path))


def masks_table(scores: Scores) -> str:
    """Lay out the counts, and the metrics with a row for boxes and one for masks."""
    n = scores.counts
    lines = [
        f"masks    {n['results']} on {scores.result_images} images",
        f"objects  {n['objects']} on {n['images']} images, and {n['crowds']} crowd regions",
    ]
    if n["ignored_images"]:
        lines.append(f"ignored  {n['ignored_images']} images without ground truth")
    if scores.backend:
        lines.append(f"backend  {scores.backend}")
    lines += [f"note     {note}" for note in scores.notes]
    columns = columns_of([scores.metrics], COLUMNS)
    return "\n".join([*lines, "", as_text([["", *columns.values()], *scores.rows(columns, digits=2)])])


def masks_json(scores: Scores) -> dict[str, Any]:
    """Return the metrics and the counts as ``score-masks`` writes them."""
    n = scores.counts
    return {
        "figures": scores.to_json()["figures"],
        "backend": scores.backend,
        "with_classes": scores.with_classes,
        "num_masks": n["results"],
        "num_images": scores.result_images,
        "num_objects": n["objects"],
        "num_crowds": n["crowds"],
        "num_truth_images": n["images"],
        "num_ignored_images": n["ignored_images"],
    }

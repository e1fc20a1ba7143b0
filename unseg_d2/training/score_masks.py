"""Compare a set of masks with ground truth; no detector is needed."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from unseg_d2.config.recipe import Recipe, load_recipe
from unseg_d2.data.annotations.index import AnnotationIndex
from unseg_d2.data.annotations.masks import draw_polygons
from unseg_d2.data.annotations.parse import quoted
from unseg_d2.data.annotations.read import Classes
from unseg_d2.data.coco import open_coco
from unseg_d2.data.info import read_info
from unseg_d2.data.results import ResultsIndex, is_result_list
from unseg_d2.data.stuff_maps import open_stuff
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.align import align_images
from unseg_d2.evaluation.chunks import Chunk, chunks_of_images
from unseg_d2.evaluation.panoptic import OF_STUFF, Panoptic, PanopticSettings
from unseg_d2.evaluation.registry import Evaluator, build_evaluators
from unseg_d2.evaluation.scores import Scores, check_annotations, score_stream
from unseg_d2.evaluation.streams import WithoutCategories
from unseg_d2.evaluation.table import as_text, columns_of
from unseg_d2.evaluation.tally import missing_masks
from unseg_d2.manifest import MOST_NAMED
from unseg_d2.pseudo.label_set import labels_file, open_label_set
from unseg_d2.supervision import from_info, sentence, to_info

logger = logging.getLogger(__name__)

COLUMNS = {name: name for name in ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100")} | {
    "Recall50": "R@.5"
}
"""Metrics in their order, to what the table calls them; others follow under their own names."""


def score_masks(
    masks: str | Path,
    ground_truth: str | Path,
    recipe: Recipe | None = None,
    *overrides: Any,
    stuff: str | Path | None = None,
    stuff_truth: str | Path | None = None,
) -> Scores:
    """Score a label set, or a list of COCO results, against ground truth.

    Args:
        masks: label set (COCO file or folder), whose images are matched by file name, or COCO results, whose image
            ids are those of the ground truth.
        ground_truth: COCO file; images of it without masks count as missed.
        recipe: its ``TEST`` says what is computed; by default class-agnostic AP and AR.
        *overrides: settings that differ from it, ``"TEST.EVALUATORS", ["class_agnostic", "corloc"]`` or one mapping.
        stuff: folder of label maps (PNG, called as the images; 255 is none), such as ``evaluate semantic
            --write-masks`` writes, which the evaluator ``panoptic`` compares as stuff beside the masks.
        stuff_truth: folder of label maps with the stuff of the ground truth; a panoptic file has its own.

    Raises:
        UnsegError: a file is missing or damaged, the two have no image in common, an evaluator cannot be used, or maps
            of stuff are given to none.
    """
    cfg = load_recipe(recipe, *overrides)
    evaluators = build_evaluators(cfg)  # before anything is read
    _check_stuff(evaluators, stuff, stuff_truth)
    truth = open_coco(ground_truth)
    if stuff is not None:
        maps = open_stuff(stuff, ground_truth, stuff_truth, list(truth.images()))
        evaluators = {
            name: one.with_stuff(maps) if isinstance(one, Panoptic) else one for name, one in evaluators.items()
        }
    return score_file(masks, truth, ground_truth, evaluators, with_masks=not cfg.TEST.NO_SEGM)


def _check_stuff(evaluators: Mapping[str, Evaluator], stuff: object, stuff_truth: object) -> None:
    """Raise `UnsegError` where no evaluator reads maps of stuff; name settings that have no effect without them."""
    panoptic = [one for one in evaluators.values() if isinstance(one, Panoptic)]
    if stuff is None and stuff_truth is not None:
        raise UnsegError(f"{stuff_truth} has stuff of the ground truth; name the maps to compare with it (--stuff).")
    if stuff is not None and not panoptic:
        raise UnsegError("Only the evaluator panoptic compares stuff (--stuff); add --evaluator panoptic.")
    usual = PanopticSettings()
    for one in panoptic if stuff is None else ():
        for name in OF_STUFF:
            if getattr(one.settings, name) != getattr(usual, name):
                logger.warning("TEST.PANOPTIC.%s has no effect without maps of stuff (--stuff).", name.upper())


def score_file(
    path: str | Path, truth: AnnotationIndex, name: object, evaluators: Mapping[str, Evaluator], *, with_masks: bool
) -> Scores:
    """Score a label set, or a list of COCO results, against ground truth that has been opened.

    Some images are held at a time, and masks of images without ground truth are not decoded.

    Args:
        path: label set (COCO file or folder) or COCO results.
        truth: what they are compared with, called ``name`` in messages.
        name: see ``truth``.
        evaluators: see `unseg_d2.evaluation.scores.score`.
        with_masks: see `unseg_d2.evaluation.scores.score`.
    """
    check_annotations(int(truth.counts().sum()), name)
    masks = MatchedMasks(Path(path), truth)
    objects = (item for _, of_image in truth for item in of_image)
    return score_stream(
        masks.chunks(),
        _with_names(masks, evaluators),
        with_masks=with_masks,
        masks_missing=missing_masks(objects) or None if with_masks else None,
        result_images=masks.num_images,
        ignored_images=masks.num_ignored,
    )


def _with_names(masks: MatchedMasks, evaluators: Mapping[str, Evaluator]) -> dict[str, Evaluator]:
    """Return the evaluators, without masks of classes that the ground truth lacks for those that tell classes apart.

    Warns of such classes, and where classes have nothing but their ids in common.
    """
    apart = [
        name
        for name, one in evaluators.items()
        if getattr(one, "with_classes", False) and not getattr(one, "matches_classes", False)
    ]
    if masks.names_differ and apart:
        logger.warning(
            "No category of %s has the name of one of the ground truth, so that %s takes equal ids for one class; "
            "where they are not, use the evaluator matched_classes, or panoptic with TEST.PANOPTIC.MATCHING hungarian.",
            *(masks.path, " and ".join(apart)),
        )
    if not masks.strangers or not apart:
        return dict(evaluators)
    shown = ", ".join(map(quoted, masks.strangers[:MOST_NAMED]))
    more = len(masks.strangers) - MOST_NAMED
    logger.warning(
        "The ground truth has no class that is called %s; such masks count for nothing with %s.",
        *(f"{shown} or one of {more} others" if more > 0 else shown, " and ".join(apart)),
    )
    left_out = frozenset(masks.strangers)
    return {name: WithoutCategories(one, left_out) if name in apart else one for name, one in evaluators.items()}


class MatchedMasks:
    """The masks of a label set or of COCO results, by the images of a ground truth.

    Args:
        path: label set (COCO file or folder), whose images are matched by file name; or COCO results, in whose image
            ids ``"7"`` means 7.
        truth: what they will be compared with.

    Attributes:
        num_images: images that have masks or are listed with none.
        num_ignored: images that are not in the ground truth; their masks are left out.
        names_differ: whether the categories of a label set have no name of those of the ground truth, so that its ids
            are taken for theirs.
        strangers: names of categories of a label set that the ground truth lacks, where it has others of them; the
            masks have these names in place of ids.

    Raises:
        UnsegError: the file is missing or damaged, or has results of an image that the ground truth does not have.
    """

    def __init__(self, path: Path, truth: AnnotationIndex) -> None:
        self.path, self.truth = path, truth
        self._class_of: Callable[[Any], Any] = Classes(truth.categories).of
        self.names_differ = False
        self.strangers: list[str] = []
        self.source: ResultsIndex | AnnotationIndex
        if is_result_list(path):
            self.source = ResultsIndex(path)
            self.ids = _by_truth(_matched_ids(self.source, truth))
            self.num_images, self.num_ignored = len(self.ids), 0
        else:
            self.source = open_label_set(path)
            matched = align_images(self.source.images(), truth.images())
            self.ids = _by_truth(matched.items())
            self.num_images, self.num_ignored = len(matched), len(self.source) - len(matched)
            classes = _classes_by_name(self.source.categories, truth.categories)
            self._class_of = lambda key: classes.get(key, key)
            known = {category["name"] for category in truth.categories}
            named = [category["name"] for category in self.source.categories] if classes else []
            self.strangers = [name for name in named if name not in known]
            self.names_differ = not classes and max(len(self.source.categories), len(truth.categories)) > 1

    def of_image(self, image: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return COCO results of an image of the ground truth, polygons drawn in its size.

        Raises:
            UnsegError: a mask is damaged, or has polygons that cannot be drawn.
        """
        key, sizes = image["id"], {image["id"]: (image.get("height"), image.get("width"))}
        found = [
            item | {"image_id": key, "category_id": self._class_of(item["category_id"])}
            for item in self._read(self.ids.get(key, ()))
        ]
        return list(draw_polygons(found, sizes, self.path))

    def chunks(self) -> Iterator[Chunk]:
        """Yield the ground truth with the masks, some images at a time."""
        parts = ((image, objects, self.of_image(image)) for image, objects in self.truth)
        return chunks_of_images(parts, {"categories": self.truth.categories})

    def _read(self, keys: Iterable[Any]) -> list[dict[str, Any]]:
        if isinstance(self.source, ResultsIndex):
            return self.source.of_image(*keys)
        places = [place for key in keys if (place := self.source.position_of(key)) is not None]
        return [item for place in places for item in self.source.annotations(place)]


def _matched_ids(results: ResultsIndex, truth: AnnotationIndex) -> Iterator[tuple[Any, Any]]:
    """Yield the id of each image of results and the one that the ground truth has for it."""
    ids: dict[Any, Any] = {str(key): key for key in truth.ids()}
    ids |= {key: key for key in truth.ids()} | truth.joined
    for key in results.image_ids:
        known = key if key in ids else str(key)
        if known not in ids:
            raise UnsegError(
                f"{results.path}: there is a result of image {quoted(key)}, which the ground truth does not have."
            )
        yield key, ids[known]


def _classes_by_name(categories: Sequence[Mapping[str, Any]], of_truth: Sequence[Mapping[str, Any]]) -> dict[Any, Any]:
    """Return the id that the ground truth has for each category of a label set, whose ids may be others.

    Where no name is in both, ids mean the same; else a category that the ground truth lacks is called by its name.

    >>> _classes_by_name([{"id": 1, "name": "cat"}, {"id": 2, "name": "owl"}], [{"id": 7, "name": "cat"}])
    {1: 7, 2: 'owl'}
    >>> _classes_by_name([{"id": 1, "name": "fg"}], [{"id": 1, "name": "cat"}])
    {}
    """
    ids = {category["name"]: category["id"] for category in of_truth}
    found = {category["id"]: ids.get(category["name"], category["name"]) for category in categories}
    return found if any(category["name"] in ids for category in categories) else {}


def _by_truth(pairs: Iterable[tuple[Any, Any]]) -> dict[Any, list[Any]]:
    """Return the ids that mean each image of the ground truth."""
    ids: dict[Any, list[Any]] = defaultdict(list)
    for key, of_truth in pairs:
        ids[of_truth].append(key)
    return dict(ids)


def learnt_of(masks: str | Path) -> tuple[str, ...]:
    """Return what a label set has learnt from, as its ``info`` says; empty where it does not, and for results."""
    return from_info(read_info(labels_file(masks)))


def masks_table(scores: Scores, learnt: Sequence[str] = ()) -> str:
    """Lay out the counts, and the metrics with a row for boxes and one for masks; below, what metrics of classes are.

    Args:
        scores: of the masks.
        learnt: see :func:`learnt_of`.
    """
    n = scores.counts
    lines = [
        f"masks    {n['results']} on {scores.result_images} images",
        f"objects  {n['objects']} on {n['images']} images, and {n['crowds']} crowd regions",
    ]
    if n["ignored_images"]:
        lines.append(f"ignored  {n['ignored_images']} images without ground truth")
    if scores.backend:
        lines.append(f"backend  {scores.backend}")
    lines += [f"note     {note}" for note in (*scores.notes, sentence(learnt)) if note]
    columns = columns_of([scores.metrics], COLUMNS)
    table = as_text([["", *columns.values()], *scores.rows(columns, digits=2)])
    below = ["", *scores.protocols] if scores.with_classes and scores.protocols else []
    return "\n".join([*lines, "", table, *below])


def masks_json(scores: Scores, learnt: Sequence[str] = ()) -> dict[str, Any]:
    """Return the metrics and the counts as ``score-masks`` writes them; see :func:`masks_table`."""
    n = scores.counts
    return {
        **({"supervision": to_info(learnt)} if learnt else {}),
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

"""Average precision with classes for what has groups without names: groups are matched with classes first.

A detector that learnt from groups of masks, or a label set of them, says "group 7" and never "cat". Groups and classes
are counted over all images: each object once, for the group of the best-scored result that lies on it, since a detector
states every group at every place with some score. The matching is made on these counts: the best that a naming of the
groups could reach. Then results have the class of their group, and COCO's metrics are computed as
in `unseg_d2.evaluation.per_class`. This is how U2Seg (Niu et al., CVPR 2024, section 4) reports detection with classes.

Shape legend
    P   groups
    K   classes of the ground truth
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np

from unseg_d2.evaluation.backends import select_backend
from unseg_d2.evaluation.class_agnostic import ClassAgnosticSettings, evaluate
from unseg_d2.evaluation.overlaps import overlaps
from unseg_d2.evaluation.registry import EVALUATORS, Kind
from unseg_d2.evaluation.semantic import match_clusters
from unseg_d2.evaluation.table import OF_A_CLASS
from unseg_d2.settings import setting

GroupMatching = Literal["hungarian", "majority"]
Counted = Literal["objects", "results"]

METRICS = ("AP", "AP50", "AP75", "AR1", "AR10", "AR100")
"""Metrics that are reported, as ``MatchedAP`` and so on; class-agnostic ones have the plain names. With more
results per image there is the recall of all of them too, such as ``MatchedAR300``."""


@dataclass(frozen=True)
class MatchedClassesSettings(ClassAgnosticSettings):
    """Settings of :class:`MatchedClasses`."""

    matching: GroupMatching = setting(
        "hungarian",
        "hungarian (one group for each class) | majority (each group has the class that it is most often counted with; "
        "U2Seg's released code)",
        choices=get_args(GroupMatching),
    )
    counted: Counted = setting(
        "objects",
        "what is counted for the matching: objects (each once, for the group of the best-scored result on it) | "
        "results (every one that lies on an object; U2Seg's released code, with its MIN_SCORE)",
        choices=get_args(Counted),
    )
    min_iou: float = setting(
        0.5, "IoU from which on a result lies on an object, for the matching (U2Seg's code: .7)", above=0, high=1
    )
    min_score: float = setting(
        0.0, "score from which on results count for the matching (U2Seg's code: .6)", low=0, high=1
    )


@EVALUATORS.register("matched_classes", settings=MatchedClassesSettings)
class MatchedClasses:
    """Evaluator of results whose categories are groups without names.

    The metrics are ``MatchedAP``, ``MatchedAP50``, ``MatchedAP75`` and ``MatchedAR1``, ``10`` and ``100``, means over
    the classes that have objects; ``AP-NAME`` of each class; ``MatchedGroups``, the number of groups that have a class;
    and ``Purity``, the share of what is counted for the matching that is of the class most frequent in its group.
    Results of groups without a class count for nothing. All results are held in memory, as the matching needs them all.
    """

    with_classes = True
    matches_classes = True

    def __init__(self, settings: MatchedClassesSettings) -> None:
        self.settings, self.backend = settings, select_backend(settings.backend)
        self.protocol = (
            f"Matched*: groups are matched with classes ({settings.matching}, {settings.counted} are counted, "
            f"IoU of {settings.min_iou:g} or more, score of {settings.min_score:g} or more), then COCOeval of "
            f"{self.backend} with classes; in percent."
        )

    def __call__(self, truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind) -> dict[str, float]:
        """Return metrics by name, see :class:`~unseg_d2.evaluation.registry.Evaluator`."""
        named = name_groups(truth, results, kind, self.settings)
        settings = ClassAgnosticSettings(self.settings.max_detections, self.settings.backend)
        found = evaluate(truth, named.results, [kind], settings, named.categories)[kind]
        of_classes = {name: value for name, value in found.items() if name.startswith(OF_A_CLASS)}
        total = int(named.counts.sum())
        purity = 100 * float(named.counts.max(1, initial=0).sum()) / total if total else float("nan")
        about = {"MatchedGroups": float(named.groups), "Purity": purity}
        names = [*METRICS, *(name for name in found if re.fullmatch(r"AR\d+", name) and name not in METRICS)]
        return {f"Matched{name}": found[name] for name in names} | about | of_classes


class Named(NamedTuple):
    """Results with the classes of their groups.

    Attributes:
        results: of the groups that have a class, in their order.
        categories: COCO categories of the ground truth, in the order of K.
        counts: ``(P, K)`` int64, see :func:`count_pairs`.
        groups: number of groups that have a class.
    """

    results: list[dict[str, Any]]
    categories: list[Mapping[str, Any]]
    counts: np.ndarray
    groups: int


def name_groups(
    truth: Mapping[str, Any], results: Sequence[dict[str, Any]], kind: Kind, settings: MatchedClassesSettings
) -> Named:
    """Match the groups of results with the classes of a ground truth, and give results the class of their group.

    Args:
        truth: COCO dictionary; where it lists no categories, those of its annotations count.
        results: whose categories are groups.
        kind: whether to compare boxes or masks.
        settings: how groups are matched.
    """
    present = dict.fromkeys(item.get("category_id", 1) for item in truth["annotations"])
    categories = list(truth.get("categories") or [{"id": key, "name": str(key)} for key in present])
    groups = list(dict.fromkeys(item.get("category_id", 1) for item in results))
    counts = count_pairs(truth, results, groups, [one["id"] for one in categories], kind, settings)
    assigned = match_groups(counts, settings.matching)
    class_of = {group: categories[k]["id"] for group, k in zip(groups, assigned.tolist()) if k >= 0}
    pairs = ((item, item.get("category_id", 1)) for item in results)
    named = [item | {"category_id": class_of[group]} for item, group in pairs if group in class_of]
    return Named(named, categories, counts, len(class_of))


def match_groups(counts: np.ndarray, matching: GroupMatching) -> np.ndarray:
    """Return the class of each group, ``(P,)`` int64; -1 for a group without one, such as one on no object.

    Args:
        counts: ``(P, K)`` how often group p was found on class k.
        matching: ``hungarian`` gives each class one group at most, so that as many counts as possible are right;
            ``majority`` gives each group its most frequent class.

    >>> match_groups(np.array([[5, 0], [4, 1], [0, 0]]), "hungarian").tolist()
    [0, 1, -1]
    >>> match_groups(np.array([[5, 0], [4, 1], [0, 0]]), "majority").tolist()
    [0, 0, -1]
    """
    if not counts.size:
        return np.full(len(counts), -1)
    assigned = match_clusters(counts, matching)
    seen = counts[np.arange(len(counts)), assigned] > 0
    return np.where(seen, assigned, -1)


def count_pairs(
    truth: Mapping[str, Any],
    results: Sequence[dict[str, Any]],
    groups: Sequence[Any],
    classes: Sequence[Any],
    kind: Kind,
    settings: MatchedClassesSettings,
) -> np.ndarray:
    """Count on which classes the results of each group lie, ``(P, K)`` int64.

    A result lies on the object with which it has the largest IoU, if that is ``min_iou`` or more. Of the results on one
    object, the best-scored one counts, and of equal ones that with the largest IoU; or all do.

    Args:
        truth: COCO dictionary; crowd regions do not count.
        results: of its images.
        groups: category ids of the results, in the order of the rows.
        classes: category ids of the truth, in the order of the columns.
        kind: whether to compare boxes or masks.
        settings: ``counted``, ``min_iou`` and ``min_score``.
    """
    counts = np.zeros((len(groups), len(classes)), np.int64)
    rows, columns = ({key: place for place, key in enumerate(keys)} for keys in (groups, classes))
    certain = [item for item in results if item.get("score", 1.0) >= settings.min_score]
    for image in overlaps(truth, certain, kind):
        if not image.ious.size:
            continue
        objects, ious = image.ious.argmax(1), image.ious.max(1)
        ranks = np.lexsort([-ious, [-item.get("score", 1.0) for item in image.results]])
        ranks = ranks[ious[ranks] >= settings.min_iou]
        if settings.counted == "objects":
            ranks = ranks[np.unique(objects[ranks], return_index=True)[1]]
        for place in ranks.tolist():
            label = truth["annotations"][image.objects[objects[place]]].get("category_id", 1)
            if label in columns:
                counts[rows[image.results[place].get("category_id", 1)], columns[label]] += 1
    return counts

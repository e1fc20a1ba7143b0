"""Masks within masks: who contains whom after some are dropped, and how fine each one is.

Every mask that knows its place among those of its image has a number there, ``node``, and that of the smallest mask
that contains it, ``parent``. Numbers survive where masks are filtered or given other ids.

Shape legend
    n   masks of one image
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

FINEST = 0.1
"""Granularity of the smallest mask of a tree."""

NEVER = 2.0
"""A granularity that no mask has."""

KEYS = ("level", "granularity", "node", "parent")
"""The fields of an annotation that hold its place."""

UNKNOWN = 1.0
"""What the granularity of a mask counts as that states none, such as one of a person, or of a detector."""


def surviving_parents(parents: Sequence[int], kept: Sequence[bool]) -> list[int]:
    """Return the parents of the masks that are kept, counted among these: the nearest ancestors that are kept.

    Args:
        parents: ``(n,)`` position of the parent of each mask, -1 for none; no mask is its own ancestor.
        kept: ``(n,)``.

    >>> surviving_parents([1, 2, -1, 2], [True, False, True, True])
    [1, -1, 1]
    """
    places = np.cumsum(np.asarray(kept, dtype=np.int64)) - 1
    found = []
    for mask in np.flatnonzero(kept).tolist():
        parent = parents[mask]
        while parent >= 0 and not kept[parent]:
            parent = parents[parent]
        found.append(int(places[parent]) if parent >= 0 else -1)
    return found


def granularities(areas: Sequence[float], parents: Sequence[int]) -> np.ndarray:
    """Return how coarse each mask is among those of its tree, in [0.1, 1]: ``0.1 + 0.9 (r - least) / (most - least)``.

    ``r`` is the root of the mask's area, ``least`` and ``most`` are those of the tree's smallest and largest mask
    (UnSAMv2, arXiv 2511.13714). A tree is a mask without a parent with all that lie in it; where its masks are of one
    size, as where there is one, they have the granularity 1.

    Args:
        areas: ``(n,)``, of any unit, above 0.
        parents: ``(n,)`` position of each mask's parent, -1 for none; no mask is its own ancestor.

    Returns:
        ``(n,)`` float64.
    """
    roots = np.arange(len(parents))
    above = np.where(np.asarray(parents, dtype=np.int64) < 0, roots, parents).astype(np.int64)
    while not np.array_equal(above, roots):
        roots, above = above, above[above]
    sides = np.sqrt(np.asarray(areas, dtype=np.float64))
    least, most = np.full(len(sides), np.inf), np.zeros(len(sides))
    np.minimum.at(least, roots, sides)
    np.maximum.at(most, roots, sides)
    width = (most - least)[roots]
    share = np.divide(sides - least[roots], width, out=np.ones(len(sides)), where=width > 0)
    return FINEST + (1 - FINEST) * share


def counted_granularity(stated: Any) -> float:
    """Return what the granularity of an annotation counts as: what it states, if that is one, else `UNKNOWN`."""
    is_one = type(stated) in (int, float) and 0 < stated <= 1
    return float(stated) if is_one else UNKNOWN


def is_within(granularity: np.ndarray, interval: Sequence[float]) -> np.ndarray:
    """Return which granularities lie in an interval, its ends included, ``(n,)`` bool.

    Args:
        granularity: ``(n,)``, compared as float32.
        interval: least and most.

    >>> is_within(np.array([0.1, 0.3, 1.0]), (0.3, 0.9)).tolist()
    [False, True, False]
    """
    values, (least, most) = granularity.astype(np.float32), np.asarray(interval, dtype=np.float32)
    return np.asarray((values >= least) & (values <= most))


def annotated_within(annotations: Sequence[dict[str, Any]], interval: Sequence[float]) -> list[dict[str, Any]]:
    """Return the annotations whose granularity lies in an interval, and crowd regions, which are of no level.

    Those without a granularity count as `UNKNOWN`.
    """
    stated = np.array([counted_granularity(item.get("granularity")) for item in annotations], dtype=np.float32)
    kept = is_within(stated, interval)
    return [item for item, is_kept in zip(annotations, kept) if is_kept or item.get("iscrowd")]


def reconnected(before: Sequence[Mapping[str, Any]], after: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the annotations of an image that are left, each with its nearest ancestor that is left as the parent.

    Args:
        before: the annotations of the image from which these are left; those without a ``node`` have no place.
        after: those that are left, and others; a parent that nobody knows is left out.
    """
    parents = {item["node"]: item.get("parent") for item in before if "node" in item}
    left = {item["node"] for item in after if "node" in item}
    result = []
    for item in after:
        parent, passed = item.get("parent"), {item.get("node")}
        while parent is not None and parent not in left and parent not in passed:
            passed.add(parent)
            parent = parents.get(parent)
        if parent in passed:  # a circle, in a file from elsewhere
            parent = None
        known = {key: value for key, value in item.items() if key != "parent"}
        result.append(item if "parent" not in item or parent == item["parent"] else _with_parent(known, parent))
    return result


def kin(annotations: Sequence[Mapping[str, Any]]) -> list[frozenset[int]]:
    """Return for each annotation of an image the positions of those that contain it or lie in it, by their parents.

    >>> kin([{"node": 0, "parent": 2}, {"node": 5}, {"node": 2, "parent": 3}, {"node": 3}])
    [frozenset({2, 3}), frozenset(), frozenset({0, 3}), frozenset({0, 2})]
    """
    places = {item["node"]: place for place, item in enumerate(annotations) if "node" in item}
    found: list[set[int]] = [set() for _ in annotations]
    for place, item in enumerate(annotations):
        above, passed = places.get(item.get("parent")), {place}
        while above is not None and above not in passed:
            passed.add(above)
            found[place].add(above)
            found[above].add(place)
            above = places.get(annotations[above].get("parent"))
    return [frozenset(one) for one in found]


def _with_parent(annotation: dict[str, Any], parent: Any) -> dict[str, Any]:
    return annotation if parent is None else annotation | {"parent": parent}


def shown_at(annotations: Sequence[Mapping[str, Any]]) -> list[list[float]]:
    """Return between which granularities each mask of an image is shown, as a page steps from fine to coarse.

    At a granularity g these are the masks that are not coarser, but whose parents are; and the masks in which no other
    lies, until their parents take their place. So each place is covered once, by each tree.

    Args:
        annotations: of one image.

    Returns:
        ``[from, to)`` each; empty for a mask without a granularity.
    """
    coarse = {a["node"]: float(a["granularity"]) for a in annotations if "node" in a and "granularity" in a}
    parents = {a["parent"] for a in annotations if "parent" in a}
    shown: list[list[float]] = []
    for annotation in annotations:
        if annotation.get("node") not in coarse:
            shown.append([])
            continue
        own = coarse[annotation["node"]] if annotation["node"] in parents else 0.0
        shown.append([round(own, 3), round(coarse.get(annotation.get("parent"), NEVER), 3)])
    return shown


def is_shown(span: Sequence[float], granularity: float | None) -> bool:
    """Return whether a mask is shown at a granularity; one without a granularity always is.

    Args:
        span: of the mask, see :func:`shown_at`.
        granularity: ``None`` shows all.

    >>> is_shown([0.1, 0.5], 0.4), is_shown([0.1, 0.5], 0.5), is_shown([], 0.5), is_shown([0.1, 0.5], None)
    (True, False, True, True)
    """
    return granularity is None or not span or span[0] <= granularity < span[1]

"""Put the masks of a label set, or a detector's predictions, into groups that look alike."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.presence import check_images
from unseg_d2.data.settings import InputSettings
from unseg_d2.description import versions
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.table import as_text
from unseg_d2.features import count_channels
from unseg_d2.features.ensemble import build_features
from unseg_d2.features.follow_device import followed
from unseg_d2.features.registry import FeatureSettings, learnt_from
from unseg_d2.files import atomic_write, check_apart, check_can_read
from unseg_d2.groups.grouping import REMEDY, Grouping, carry_grouping, find_grouping
from unseg_d2.groups.labelled import write_labelled
from unseg_d2.groups.members import Members, members_of
from unseg_d2.groups.names import OTHER, Classes, classes_of, read_names
from unseg_d2.groups.page import write_page
from unseg_d2.groups.pooled import PooledFolder, Pooler
from unseg_d2.groups.settings import GroupSettings
from unseg_d2.groups.source import MaskSource, open_source
from unseg_d2.manifest import LABEL_SET, LABEL_SET_WARNED, open_or_refuse
from unseg_d2.registry import code_of_parts, unused_settings
from unseg_d2.settings import defaults_below

MANIFEST = "grouping.json"
RULE = 1
"""Increased whenever the features of a mask become others."""
MOST_LISTED = 20
"""Groups that are listed in the terminal; of more, the rest is one line."""
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "opencv-python-headless", "pillow", "pycocotools", "scikit-learn")


@dataclass(frozen=True)
class Grouped:
    """What was made.

    Attributes:
        labels: COCO file with a category for each group.
        page: html file that shows the groups.
        grouping: the groups.
        members: which masks are in which group.
        classes: that the groups are.
        notes: what is to be said besides the numbers, a sentence each.
    """

    labels: Path
    page: Path
    grouping: Grouping
    members: Members
    classes: Classes
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return how many masks are in which group, and what to do next."""
        members, number = self.members, len(self.grouping.names)
        sizes, confidence = members.sizes(number), members.mean_confidence(number)
        text = f"{len(members.groups)} masks on {len(members.per_image)} images: {int(sizes.sum())} in {number} groups"
        if members.far:
            text += f", {members.far} too far from all of them ('{OTHER}')"
        if members.unread:
            text += f", {members.unread} without features ('{OTHER}')"
        rows = [["group", "masks", "confidence", "name"]]
        for group in range(min(number, MOST_LISTED)):
            shown = f"{confidence[group]:.2f}" if sizes[group] else "-"
            rows.append([str(group + 1), str(sizes[group]), shown, self.grouping.names[group] or "-"])
        lines = [f"{text}.", *_chosen(self.grouping.found), "", as_text(rows)]
        if number > MOST_LISTED:
            lines.append(f"and {number - MOST_LISTED} more groups with {int(sizes[MOST_LISTED:].sum())} masks.")
        lines += ["", *self.notes, *self.classes.notes, f"Look at the groups and name them: {self.page}"]
        return [*lines, f"The label set with these names: {self.labels}"] if any(self.grouping.names) else lines


def group_label_set(
    cfg: CfgNode,
    labels: str | Path,
    output: str | Path,
    *,
    images: str | Path | None = None,
    ground_truth: str | Path | None = None,
    prototypes: str | Path | None = None,
    names: str | Path | None = None,
) -> Grouped:
    """Put masks into groups, or resume doing so.

    Args:
        cfg: ``FEATURES`` describes the masks, ``GROUPS`` says how groups are found.
        labels: label set (COCO file or folder), or COCO results together with ``ground_truth``.
        output: folder of the new label set.
        images: folder of the images; by default the one that the label set names.
        ground_truth: data set that results are for, which names their images.
        prototypes: output of another grouping, whose groups and names are used instead of finding groups.
        names: file of names that the page has saved.

    Raises:
        UnsegError: a file is missing or damaged, the folder holds something else, there are too few masks, the groups
            of ``prototypes`` are of other features, or the disk is full.
    """
    cfg = edited(cfg, followed(cfg))
    output, settings = Path(output), GroupSettings.from_config(cfg)
    check_can_read(*(Path(path) for path in (prototypes, names) if path is not None))  # before any work
    given = None if names is None else read_names(Path(names))
    check_apart(output, *([] if prototypes is None else [Path(prototypes)]))
    source = open_source(Path(labels), cfg, images=_path(images), data=_path(ground_truth))
    notes = [*unused_settings(cfg, ("FEATURES.NAME",)), *_without_effect(settings, carried=prototypes is not None)]
    if source.results is None and len(source.labels.categories) > 1:
        count = len(source.labels.categories)
        notes.append(f"The groups take the place of the {count} categories of {source.path}.")
    pooler = Pooler(build_features(cfg), FeatureSettings.from_config(cfg), InputSettings.from_config(cfg).reading)
    count_channels(pooler.backend)  # an ensemble is refused before any work
    features = _features(pooler)
    _open(output, source, cfg, pooler, features)
    pooled = PooledFolder(output, len(source))
    pooled.make(source, pooler)
    if prototypes is None:
        grouping = find_grouping(output, pooled, settings, features, given)
    else:
        grouping = carry_grouping(output, pooled, Path(prototypes), features, given)
    if given is not None:
        grouping = grouping.named(given.of(grouping.prototypes.fingerprint, len(grouping.names)))
        grouping.write(output)
    reach = settings.reach if prototypes is not None or settings.method == "hdbscan" else None
    return _written(output, source, pooler, pooled, grouping, reach, notes)


def _written(
    output: Path,
    source: MaskSource,
    pooler: Pooler,
    pooled: PooledFolder,
    grouping: Grouping,
    reach: float | None,
    notes: Sequence[str],
) -> Grouped:
    """Write the label set, the list of failures and the page."""
    members = members_of(pooled, grouping.prototypes, reach)
    classes = classes_of(grouping.names)
    labels, page = output / "labels.json", output / "index.html"
    fingerprint = grouping.prototypes.fingerprint
    about = {
        "fingerprint": fingerprint,
        "features": pooler.backend.name,
        "reach": reach,
        "settings": grouping.made_from["settings"],
        "found": dict(grouping.found),
    }
    write_labelled(labels, source, members, classes, about, learnt_from(pooler.backend))
    _write_failures(output / "failures.jsonl", source, members)
    missing = write_page(page, source, members, grouping.names, fingerprint, pooler.reading)
    more = [f"{len(members.failures)} images cannot be used: {output / 'failures.jsonl'}"] if members.failures else []
    more += [f"{missing} masks are not on the page, as their images cannot be read any more."] if missing else []
    return Grouped(labels, page, grouping, members, classes, (*notes, *more))


def _open(output: Path, source: MaskSource, cfg: CfgNode, pooler: Pooler, features: dict[str, Any]) -> None:
    """Begin the folder of a grouping, or resume it.

    Raises:
        UnsegError: it holds something else, or images are not there.
    """
    path = output / MANIFEST
    if not path.is_file():
        if any((output / name).exists() for name in ("labels.json", "manifest.json", "features")):
            raise UnsegError(f"{output} holds something that group-masks has not made; {REMEDY}.")
        names = source.inputs.file_names
        check_images([{"file_name": str(source.inputs.root / name)} for name in names], str(source.path))
    manifest = {
        "masks_sha256": source.content(),
        "images_sha256": source.inputs.checksum,
        "num_images": len(source),
        **features,
        "versions": versions(_PACKAGES),
        **code_of_parts(cfg, without=("LOSSES.", "TEST.", "MASKS.", "REFINE.", "DEPTH.")),
    }
    open_or_refuse(
        path,
        manifest,
        holds=f"{output} holds groups of masks that were made",
        may_change=LABEL_SET,
        warned=LABEL_SET_WARNED,
        remedy=REMEDY,
        causes="settings.",
        gained=defaults_below("settings"),
    )


def _features(pooler: Pooler) -> dict[str, Any]:
    """Return what identifies features of a kind: only those can be compared with prototypes."""
    settings = pooler.settings
    reading = pooler.reading.changes()
    return {
        "rule": RULE,
        "features": {"checksum": pooler.backend.checksum, "patch_size": pooler.backend.patch_size},
        "settings": {
            "FEATURES": {"IMAGE_SIZE": settings.image_size, "RESIZE": settings.resize, "PRECISION": settings.precision},
            **({"INPUT": reading} if reading else {}),
        },
    }


def _write_failures(path: Path, source: MaskSource, members: Members) -> None:
    """Write name and reason of the images that cannot be used; nothing where all can be."""
    path.unlink(missing_ok=True)
    if members.failures:
        with atomic_write(path) as file:
            for position, reason in members.failures:
                line = {"file_name": source.inputs.file_names[position], "reason": reason}
                file.write(json.dumps(line).encode() + b"\n")


def _chosen(found: Any) -> list[str]:
    """Say how the number of groups was chosen, and what was left out."""
    lines = []
    if (tried := found.get("silhouette")) and "number" in found:
        best = found["number"]
        values = ", ".join(f"{number}: {value:.3f}" for number, value in tried.items())
        lines.append(f"{best} groups have the largest silhouette coefficient ({values}); GROUPS.NUMBER sets another.")
    if found.get("fitted_to", 0) < found.get("masks", 0):
        lines.append(f"The groups were found on {found['fitted_to']} of {found['masks']} masks (GROUPS.MOST).")
    if found.get("noise"):
        lines.append(f"hdbscan put {found['noise']} masks into no group; those within GROUPS.REACH of one are in it.")
    return lines


def _without_effect(settings: GroupSettings, *, carried: bool) -> list[str]:
    """Say which settings change nothing: where groups are carried over, or with this method."""
    usual = GroupSettings()
    names = [name for name in settings.unread(carried=carried) if getattr(settings, name) != getattr(usual, name)]
    listed = ", ".join(f"GROUPS.{name.upper()}" for name in names)
    why = "--prototypes" if carried else f"GROUPS.METHOD {settings.method}"
    if names and not carried and settings.method == "kmeans" and settings.number:
        why += f" and GROUPS.NUMBER {settings.number}"
    return [f"{listed} {'has' if len(names) == 1 else 'have'} no effect with {why}."] if names else []


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)

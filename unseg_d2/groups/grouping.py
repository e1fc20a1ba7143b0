"""The folder of a grouping: what it was made from, its prototypes, and the names of its groups.

::

    OUTPUT/grouping.json           what the features were made from; another run is refused
    OUTPUT/features/               features pooled in each mask (`unseg_d2.groups.pooled`)
    OUTPUT/prototypes.safetensors  PCA and prototypes, with the settings of the features
    OUTPUT/groups.json             settings of the groups, their number, how it was chosen, names
    OUTPUT/labels.json             the label set: a category for each group
    OUTPUT/index.html              some masks of each group, and a place for its name
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.groups.fit import fit_groups
from unseg_d2.groups.names import NamesFile
from unseg_d2.groups.pooled import PooledFolder
from unseg_d2.groups.prototypes import Prototypes
from unseg_d2.groups.settings import GroupSettings
from unseg_d2.manifest import changes, describe, read_manifest

PROTOTYPES, RECORD = "prototypes.safetensors", "groups.json"
REMEDY = "choose another --output"
FIRST_RULE = {"rule": 1}
"""How features of masks are computed, where prototypes do not say so."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Grouping:
    """Groups with their names.

    Attributes:
        prototypes: of the groups.
        names: of the groups, empty where a group has none.
        made_from: features, settings and, where they were carried over, the groups that these are.
        found: how many there are, how the number was chosen, and so on, for people.
    """

    prototypes: Prototypes
    names: list[str]
    made_from: Mapping[str, Any]
    found: Mapping[str, Any] = field(default_factory=dict)

    def write(self, folder: Path) -> None:
        """Write names and settings; the prototypes are there already."""
        about = {"made_from": self.made_from, "found": self.found, "fingerprint": self.prototypes.fingerprint}
        write_json(folder / RECORD, {**about, "names": self.names}, indent=1)

    def named(self, names: list[str]) -> Grouping:
        """Return the same groups with other names."""
        return Grouping(self.prototypes, names, self.made_from, self.found)


def find_grouping(
    folder: Path,
    pooled: PooledFolder,
    settings: GroupSettings,
    features: Mapping[str, Any],
    given: NamesFile | None = None,
) -> Grouping:
    """Find groups among pooled features, unless the folder has those of the same features and settings.

    Args:
        folder: of the grouping.
        pooled: the features.
        settings: of the groups.
        features: what identifies features of the same kind.
        given: names that the groups are to get.

    Raises:
        UnsegError: groups that have names, or are named in the file, would be lost, or there are too few masks.
    """
    made_from = {"pooled": pooled.content(), "settings": _plain(settings), "carried": "", "names": []}
    if kept := _kept(folder, made_from, given):
        return kept
    points, total = _drawn(pooled, settings)
    fitted = fit_groups(points, settings)
    prototypes = fitted.prototypes
    found = {
        "groups": len(prototypes),
        "masks": total,
        "fitted_to": len(points),
        "dimensions": len(prototypes.components),
        "explained": round(fitted.explained, 4),
        "number": fitted.wanted,
        "silhouette": {str(number): round(value, 4) for number, value in fitted.silhouette.items()},
        "noise": fitted.noise,
    }
    return _begun(folder, Grouping(prototypes, [""] * len(prototypes), made_from, found), features)


def carry_grouping(
    folder: Path, pooled: PooledFolder, origin: Path, features: Mapping[str, Any], given: NamesFile | None = None
) -> Grouping:
    """Take the groups and names of another grouping for masks of other images.

    Args:
        folder: of the new grouping.
        pooled: its features.
        origin: folder of the other grouping.
        features: see :func:`find_grouping`; must be those of the other grouping.
        given: see :func:`find_grouping`.

    Raises:
        UnsegError: the other grouping is not complete, or is of features of another kind; see :func:`find_grouping`.
    """
    theirs, about = Prototypes.read(origin / PROTOTYPES)
    if different := changes(FIRST_RULE | about, features):
        raise UnsegError(
            f"The groups of {origin} were made with other features: {describe(different)}. Use the same recipe."
        )
    names = read_record(origin, theirs)["names"]
    made_from = {"pooled": pooled.content(), "settings": {}, "carried": theirs.fingerprint, "names": names}
    if kept := _kept(folder, made_from, given):
        return kept
    found = {"groups": len(theirs), "carried_from": origin.name}
    return _begun(folder, Grouping(theirs, names, made_from, found), features)


def read_record(folder: Path, prototypes: Prototypes) -> dict[str, Any]:
    """Return what the folder of a grouping says about its groups.

    Raises:
        UnsegError: it is missing, damaged, or of other prototypes.
    """
    path = folder / RECORD
    if not path.is_file():
        raise UnsegError(f"There is no file {path}; run the group-masks that made {folder} again.")
    record = read_manifest(path, REMEDY)
    names = record.get("names")
    if record.get("fingerprint") != prototypes.fingerprint or not isinstance(names, list):
        raise UnsegError(f"{path} is of other prototypes; run the group-masks that made {folder} again.")
    texts = len(names) == len(prototypes) and all(isinstance(name, str) for name in names)
    if not texts or not isinstance(record.get("made_from"), dict):
        raise UnsegError(f"{path} is damaged (its names or what it was made from); {REMEDY}.")
    return record


def _kept(folder: Path, made_from: Mapping[str, Any], given: NamesFile | None) -> Grouping | None:
    """Return the groups of a folder, where they are complete and made from the same.

    Raises:
        UnsegError: they are not, and have names or are named in a file; or they are damaged.
    """
    if not (folder / RECORD).is_file() or not (folder / PROTOTYPES).is_file():
        return None
    prototypes, _ = Prototypes.read(folder / PROTOTYPES)
    record = read_record(folder, prototypes)
    different = changes(record["made_from"], made_from)
    if not different:
        return Grouping(prototypes, record["names"], made_from, record.get("found", {}))
    others = describe([change for change in different if change.key != "pooled"])
    why = others or "images have changed"  # masks and features are those of the folder
    before = record["made_from"].get("names") or [""] * len(prototypes)
    if record["names"] != before:
        raise UnsegError(
            f"{folder} holds groups with names that were made from something else: {why}. Choose another --output; "
            f"--prototypes {folder} takes these groups and names along."
        )
    if given is not None and given.groups == prototypes.fingerprint:
        raise UnsegError(
            f"{given.path} names the groups in {folder}, which were made from something else: {why}. Name them with "
            "the same settings first."
        )
    logger.info("The groups in %s are made anew: %s.", folder, why)
    return None


def _begun(folder: Path, grouping: Grouping, features: Mapping[str, Any]) -> Grouping:
    """Write new groups; what was made with others is removed first, so that it is never taken for theirs."""
    for name in ("labels.json", RECORD, PROTOTYPES):
        (folder / name).unlink(missing_ok=True)
    grouping.prototypes.write(folder / PROTOTYPES, dict(features))
    grouping.write(folder)
    return grouping


def _drawn(pooled: PooledFolder, settings: GroupSettings) -> tuple[np.ndarray, int]:
    """Return the features of some objects, drawn at random where there are many, and how many objects there are."""
    usable = [part.objects & part.known for part in pooled.parts()]
    total = int(sum(part.sum() for part in usable))
    chosen = np.ones(total, bool)
    if total > settings.most:
        chosen[:] = False
        chosen[np.random.default_rng(settings.random_seed).permutation(total)[: settings.most]] = True
    found, start = [], 0
    for part, there in zip(pooled.parts(), usable):
        rows = np.flatnonzero(there)
        own = chosen[start : start + len(rows)]
        start += len(rows)
        if own.any():
            found.append(part.features[rows[own]])
    return (np.concatenate(found) if found else np.zeros((0, 1), np.float32)), total


def _plain(settings: GroupSettings) -> dict[str, Any]:
    """Return the settings that groups depend on; how far masks of other images may be is none of them."""
    values = {name.upper(): value for name, value in asdict(settings).items() if name != "reach"}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

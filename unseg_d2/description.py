"""What a checkpoint says about itself: one description, whatever it is of and whichever file format holds it.

A ``.pth`` file has its fields as entries beside ``model``, where Detectron2's checkpointer passes them over; a
``.safetensors`` file has them as JSON in its metadata. Only plain values are stored, so that reading runs no code.
Files of earlier versions have some of the fields, published files none.
"""

from __future__ import annotations

import importlib.metadata
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

import unseg_d2
from unseg_d2.supervision import from_info, to_info
from unseg_d2.weight_files import ABOUT, read_about

Task = Literal["instances", "classes", "saliency", "semantic"]

TASKS: dict[Task, str] = {
    "instances": "a class-agnostic detector",
    "classes": "a detector of classes",
    "saliency": "a saliency head of train-saliency",
    "semantic": "a semantic segmentation of train-semantic",
}
"""What a checkpoint of each task is."""

PACKAGES = ("torch", "torchvision", "timm", "detectron2")
"""Libraries whose versions a checkpoint records, where they are installed."""

_MARKS: dict[str, Task] = {"feature_channels": "saliency", "semantic": "semantic"}
"""Entry that only the checkpoints of a task have; earlier versions did not name it."""


class Data(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A data set that was trained on.

    Attributes:
        name: of the data set; of a file without its folder.
        sha256: of its annotations, or of all images; empty where it was not computed.
        images: number of images; ``None`` where it is not known.
        masks: number of masks.
        round: self-training round whose merge made it; ``None`` for anything but a label set.
    """

    name: str
    sha256: str = ""
    images: int | None = None
    masks: int | None = None
    round: int | None = None


class Measured(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Metrics that the weights had.

    Attributes:
        data: what they were measured on.
        iteration: of the weights.
        metrics: value by name, in percent; undefined ones are left out.
    """

    data: str
    iteration: int | None = None
    metrics: dict[str, float] = {}


class Description(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a checkpoint is; a field that is not known is empty.

    Attributes:
        task: what it does.
        recipe: the configuration that rebuilds the network, as YAML.
        classes: categories ``{"id", "name"}`` of a detector of several classes, in the order of its outputs.
        versions: of this package and of the libraries that the numbers depend on.
        engine: that trained a detector.
        features: name of the backbone whose features made the label set, or whose tokens a head reads.
        supervision: words of `unseg_d2.supervision`: what it has learnt from besides unlabelled images.
        data: what it was trained on.
        iteration: of the training, from 0.
        measured: metrics of the last evaluation before the file was written.
    """

    task: Task | None = None
    recipe: str = ""
    classes: list[dict[str, Any]] = []
    versions: dict[str, str] = {}
    engine: str = ""
    features: str = ""
    supervision: tuple[str, ...] = ()
    data: list[Data] = []
    iteration: int | None = None
    measured: list[Measured] = []

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Description:
        """Return the description in the content of a checkpoint; entries of another meaning are left out."""
        found: dict[str, Any] = {}
        for field in msgspec.structs.fields(cls):
            if field.name not in content or field.name == "supervision":
                continue
            try:
                found[field.name] = msgspec.convert(content[field.name], field.type)
            except (msgspec.ValidationError, TypeError):  # of a file that means something else by the name
                continue
        if "task" not in found and (task := next((task for key, task in _MARKS.items() if key in content), None)):
            found["task"] = task
        return cls(**found, supervision=from_info(content))

    def entries(self) -> dict[str, Any]:
        """Return the fields that are known, as plain values."""
        entries: dict[str, Any] = msgspec.to_builtins(self)
        if self.supervision:
            entries["supervision"] = to_info(self.supervision)
        return entries

    def to_metadata(self) -> dict[str, str]:
        """Return the entry of a ``.safetensors`` file's metadata; it is empty where nothing is known."""
        entries = self.entries()
        return {ABOUT: json.dumps(entries, ensure_ascii=False, sort_keys=True)} if entries else {}

    @property
    def round(self) -> int | None:
        """The self-training round that trained it: 0 is the first training, ``None`` where that is not known."""
        return max((data.round for data in self.data if data.round is not None), default=None)


def read_description(path: str | Path, *, trust: bool = False) -> Description:
    """Return the description of a checkpoint without reading its tensors, where the format allows that.

    Args:
        path: ``.pth``, ``.safetensors`` or ``.pkl``.
        trust: see :func:`~unseg_d2.weight_files.read_weight_file`.

    Raises:
        UnsegError: the file is missing or damaged, or needs ``trust``.
    """
    return Description.of(read_about(path, trust=trust))


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Return the version of this package and those of others, by name; of one that is not installed there is none."""
    found = {"unseg_d2": unseg_d2.__version__}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def measured(datasets: Iterable[str], iteration: int, metrics: Mapping[str, float]) -> list[Measured]:
    """Return what an evaluation found, as a description keeps it; nothing where no metric is defined.

    Args:
        datasets: what was evaluated on, as ``DATASETS.TEST`` names it.
        iteration: of the weights.
        metrics: value by name, in percent.
    """
    data = ", ".join(Path(name.partition("::")[0]).stem for name in datasets)
    finite = {name: round(float(value), 4) for name, value in metrics.items() if math.isfinite(value)}
    return [Measured(data=data, iteration=iteration, metrics=finite)] if finite else []

"""The list of published weights, read from ``models.json`` beside this file."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.published.figures import PublishedRow, published_rows
from unseg_d2.recipes import RECIPES
from unseg_d2.supervision import Supervision, checked

KINDS = {
    "detector": "a detector",
    "saliency": "a saliency head",
    "video": "a detector of videos",
    "backbone": "a backbone",
    "vit": "a vision transformer",
}
"""What an entry can be: a whole detector, a head on the features of a ``vit``, or what to start from."""


@dataclass(frozen=True)
class Entry:
    """Published weights.

    Attributes:
        name: the NAME of ``zoo:NAME``.
        method: of the paper.
        kind: of :data:`KINDS`.
        layout: network and names of its parameters.
        engines: engines that read it.
        recipe: file below ``configs/`` that describes a detector or a saliency head, ``None`` for the others.
        address: of the file, ``None`` where none is known; with a ``file``, it is fetched by hand from ``page``.
        page: where the authors publish it.
        file: its name on this machine, ``None`` where nothing is published.
        sha256: of the file in hexadecimal, ``None`` where it is not known.
        licence: ``{name, url}`` and perhaps ``note``.
        supervision: words of `unseg_d2.supervision`: what the weights have learnt from besides unlabelled images.
        pretraining: networks that the weights descend from, and what those were trained on.
        system: key of the system of `unseg_d2.published` whose figures are of these weights; empty where none are.
        note: anything else to know.
        arch: ``FEATURES.VIT.ARCH`` of a ``vit``, ``None`` where it is not known.
        package: on the package index that brings the file, which then is a path in it; empty for a download.
        extra: of this package that installs it.
    """

    name: str
    method: str
    kind: str
    layout: str
    engines: tuple[str, ...]
    recipe: str | None
    address: str | None
    page: str
    file: str | None
    sha256: str | None
    licence: dict[str, Any]
    supervision: tuple[Supervision, ...]
    pretraining: str
    system: str
    note: str = ""
    arch: str | None = None
    package: str = ""
    extra: str = ""

    def published(self) -> list[PublishedRow]:
        """Return what is published of the weights."""
        return published_rows(system=self.system) if self.system else []

    def recipe_file(self, kind: str = "detector") -> Path:
        """Return the recipe that describes the network.

        Args:
            kind: what the entry must be, of :data:`KINDS`.

        Raises:
            UnsegError: it is something else.
        """
        if self.recipe is None or self.kind != kind:
            wanted = KINDS[kind]
            raise UnsegError(f"zoo:{self.name} is not {wanted} ({self.layout}); `unseg-d2 zoo list` names all entries.")
        return RECIPES / self.recipe


@functools.cache
def entries() -> dict[str, Entry]:
    """Return all entries by their names, in the order of the file."""
    content = json.loads(resources.files("unseg_d2.zoo").joinpath("models.json").read_text(encoding="utf-8"))
    lists: dict[str, Callable[[list[Any]], Any]] = {"engines": tuple, "supervision": checked}
    found = (Entry(**item | {key: make(item[key]) for key, make in lists.items()}) for item in content["models"])
    return {entry.name: entry for entry in found}


def find(name: str) -> Entry:
    """Return the entry of a name, with or without ``zoo:`` in front.

    Raises:
        UnsegError: the zoo has no such entry.
    """
    name = name.removeprefix("zoo:")
    if name not in entries():
        hint = nearest(name, entries()) or " `unseg-d2 zoo list` names them all."
        raise UnsegError(f"The model zoo has no '{name}'.{hint}")
    return entries()[name]

"""Several feature backends at once, for generators that let them vote."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.errors import UnsegError, nearest
from unseg_d2.features.registry import FeatureBackend, build_backend, learnt_from
from unseg_d2.settings import all_settings, fitted
from unseg_d2.structures import PatchFeatures
from unseg_d2.supervision import joined


class Ensemble:
    """Feature backends that describe the same images, each on its own grid.

    Called with images of one size, it passes that size to all members. To give each member the size it needs, call the
    members one by one and combine the results with :func:`join_members`.

    Args:
        members: the backends, each with the side in pixels of the images that it needs; their order is that of their
            votes. VoteCut's is dino_vits16, dinov2_vitb14, dinov2_vits14, dino_vitb16, dino_vits8, dino_vitb8.

    Raises:
        ValueError: if there is no member.
    """

    def __init__(self, members: Sequence[tuple[FeatureBackend, int]]) -> None:
        if not members:
            raise ValueError("an ensemble needs at least one member")
        self.members = list(members)
        self.patch_size = self.members[0][0].patch_size
        self.name = "ensemble(" + ", ".join(f"{backend.name}@{size}" for backend, size in self.members) + ")"
        checksums = [f"{backend.name} {size} {backend.checksum}" for backend, size in self.members]
        self.checksum = hashlib.sha256("\n".join(checksums).encode()).hexdigest()
        self.supervision = joined(learnt_from(backend) for backend, _ in self.members)

    def __call__(self, images: Sequence[np.ndarray]) -> list[PatchFeatures]:
        """Describe a batch by every member; see :class:`unseg_d2.features.FeatureBackend`."""
        return join_members([backend(images) for backend, _ in self.members])


def join_members(descriptions: Sequence[Sequence[PatchFeatures]]) -> list[PatchFeatures]:
    """Combine the features that the members of an ensemble computed for the same images.

    Args:
        descriptions: per member, in the order of their votes, the features of each image.

    Returns:
        Per image the features of the first member, with those of all members, the first included, as ``members``.

    Raises:
        ValueError: if there is no member, or members describe different numbers of images.
    """
    if not descriptions or len({len(description) for description in descriptions}) > 1:
        counts = [len(description) for description in descriptions]
        raise ValueError(f"every member must describe the same images, got {counts} descriptions")
    return [replace(views[0], members=tuple(views)) for views in zip(*descriptions)]


def build_features(cfg: CfgNode) -> FeatureBackend:
    """Return the feature backend that ``cfg.FEATURES`` describes: an :class:`Ensemble` where it has ``MEMBERS``.

    Raises:
        UnsegError: if a name is not registered, a key of a member is unknown or has a value of the wrong type, or a
            backend cannot be made (e.g. missing weights).
    """
    if not cfg.FEATURES.MEMBERS:
        return build_backend(cfg)
    members = []
    for number, overrides in enumerate(cfg.FEATURES.MEMBERS):
        own = _member_cfg(cfg, overrides, f"FEATURES.MEMBERS[{number}]")
        try:
            members.append((build_backend(own), own.FEATURES.IMAGE_SIZE))
        except UnsegError as error:
            raise UnsegError(f"FEATURES.MEMBERS[{number}]: {error}") from None
    return Ensemble(members)


def single_backend(cfg: CfgNode) -> tuple[FeatureBackend, int]:
    """Return the feature backend that ``cfg.FEATURES`` describes, and how many channels its tokens have.

    Raises:
        UnsegError: it is an ensemble, whose members differ in their channels; see also :func:`build_features`.
    """
    backend = build_features(cfg)
    return backend, count_channels(backend)


def count_channels(backend: FeatureBackend) -> int:
    """Return how many channels the tokens of a backend have, by looking at a grey image.

    Raises:
        UnsegError: it is an ensemble.
    """
    if isinstance(backend, Ensemble):
        raise UnsegError(
            "FEATURES.MEMBERS is an ensemble, but a single backend is needed here; add FEATURES.MEMBERS []."
        )
    side = 4 * backend.patch_size
    return len(backend([np.full((side, side, 3), 128, dtype=np.uint8)])[0].tokens)


def _member_cfg(cfg: CfgNode, overrides: Any, where: str) -> CfgNode:
    """The configuration of one member: that of the ensemble, with what differs in the section FEATURES."""
    if not isinstance(overrides, dict):
        raise UnsegError(
            f"{where} is {overrides!r}, but must be a mapping from keys of the section FEATURES to values."
        )
    own = cfg.clone()
    own.defrost()
    own.FEATURES.MEMBERS = []
    _override(own.FEATURES, overrides, where)
    own.freeze()
    return own


def _override(section: CfgNode, values: dict[str, Any], where: str, prefix: str = "FEATURES") -> None:
    """Set the keys of a section in place; every mistake is one sentence."""
    settings = dict(all_settings())
    for key, value in values.items():
        known = [name for name in section if name != "MEMBERS"]
        if key not in known:
            raise UnsegError(f"{where} has the unknown key '{key}'.{nearest(str(key), known)}")
        if isinstance(section[key], CfgNode):
            if not isinstance(value, dict):
                raise UnsegError(f"{where}.{key} is {value!r}, but must be a section.")
            _override(section[key], value, f"{where}.{key}", f"{prefix}.{key}")
            continue
        try:
            section[key] = fitted(value, settings[f"{prefix}.{key}"])
        except ValueError as error:
            raise UnsegError(f"{where}.{key} is {error}.") from None

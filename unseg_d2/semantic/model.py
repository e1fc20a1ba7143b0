"""A trained semantic segmentation: features and prototypes, and how both are read from a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.description import Description
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.features import FeatureBackend, single_backend
from unseg_d2.loop.checkpoint import load_checkpoint, restore_network
from unseg_d2.loop.recipes import about_run, recipe_of, warn_of_other_features
from unseg_d2.semantic.boost import CodeHead
from unseg_d2.semantic.em import PriMaPsEM
from unseg_d2.semantic.prototypes import Prototypes


@dataclass(frozen=True)
class SemanticModel:
    """Features and prototypes.

    Attributes:
        backend: frozen features.
        em: what was learned.
        device: where ``em`` is.
        baseline: prototypes of k-means, or ``None``.
    """

    backend: FeatureBackend
    em: PriMaPsEM
    device: torch.device
    baseline: Prototypes | None = None

    @torch.no_grad()
    def features(self, images: Sequence[np.ndarray], *, flip: bool) -> Tensor:
        """Return the features ``(B, C, h, w)`` of images of one size.

        Args:
            images: ``(H, W, 3)`` uint8 each.
            flip: average them with those of the mirror images.
        """
        describe = tokens_of(self.backend, self.em.head, self.device)
        if not flip:
            return describe(images)
        both = describe([*images, *(np.ascontiguousarray(image[:, ::-1]) for image in images)])
        return (both[: len(images)] + both[len(images) :].flip(-1)) / 2


def tokens_of(
    backend: FeatureBackend, head: nn.Module | None, device: torch.device
) -> Callable[[Sequence[np.ndarray]], Tensor]:
    """Return the function from images of one size to the features ``(B, C, h, w)`` of the backend or of its head."""

    @torch.no_grad()
    def describe(images: Sequence[np.ndarray]) -> Tensor:
        tokens = torch.stack([described.tokens for described in backend(images)]).to(device)
        return tokens if head is None else head(tokens)

    return describe


def check_image_size(backend: FeatureBackend, cfg: CfgNode) -> None:
    """Raise :class:`UnsegError` unless ``SEMANTIC.IMAGE_SIZE`` is a multiple of the patch."""
    side, patch = cfg.SEMANTIC.IMAGE_SIZE, backend.patch_size
    if side < patch or side % patch:
        near = max(1, round(side / patch)) * patch
        raise UnsegError(
            f"SEMANTIC.IMAGE_SIZE is {side}, but must be a multiple of the patch of {patch} px, such as {near}."
        )


def about_model(
    cfg: CfgNode, em: PriMaPsEM, about: Description, baseline: Tensor, made_from: Mapping[str, str]
) -> dict[str, Any]:
    """Return what a checkpoint holds besides the weights."""
    count, width = em.momentum.directions.shape
    head = em.head if isinstance(em.head, CodeHead) else None
    hidden = head is not None and head.cluster2 is not None
    channels = head.channels if head is not None else 0
    return {
        **about_run(cfg, made_from, about),
        "semantic": {"count": count, "width": width, "channels": channels, "hidden": hidden},
        "baseline": baseline.cpu(),
    }


def load_semantic_model(
    path: str | Path, opts: Sequence[str] = (), *, trust: bool = False
) -> tuple[SemanticModel, CfgNode]:
    """Return the model of a checkpoint of `semantic.train.train_semantic`, and its recipe.

    Args:
        path: the ``.pth`` file; it knows its recipe.
        opts: ``KEY VALUE`` pairs that differ from it.
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Raises:
        UnsegError: the checkpoint is of another kind, or the features have another width here.
    """
    checkpoint = load_checkpoint(path, trust=trust)
    cfg, shape = recipe_of(checkpoint, path, "semantic", opts), checkpoint.get("semantic")
    if not isinstance(shape, dict):
        raise UnsegError(f"{path} is the checkpoint of a phase of train-semantic; take the one in its upper folder.")
    backend, channels = single_backend(cfg)
    check_image_size(backend, cfg)
    wanted = shape["channels"] or shape["width"]
    if channels != wanted:
        raise UnsegError(f"{path} was trained on features of {wanted} channels, but FEATURES gives {channels}.")
    warn_of_other_features(checkpoint, backend.name, backend.checksum, path, cfg)
    head = (
        CodeHead(channels, shape["width"], hidden=shape["hidden"]).requires_grad_(False) if shape["channels"] else None
    )
    probe = any(name.startswith("probe.") for name in checkpoint["model"])
    em = PriMaPsEM(torch.zeros(shape["count"], shape["width"]), probe=probe, head=head)
    restore_network(em, checkpoint, path)
    device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
    baseline = Prototypes(checkpoint["baseline"]).to(device)
    return SemanticModel(backend, em.to(device).eval(), device, baseline), cfg

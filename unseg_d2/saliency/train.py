"""Train a saliency head on images without labels, or on masks that another head predicted; predict with it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor

from unseg_d2.content import Ledger, files_content
from unseg_d2.data.at_work import at_work
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.spec import split_spec
from unseg_d2.description import Data, Description
from unseg_d2.errors import UnsegError
from unseg_d2.features import single_backend
from unseg_d2.features.registry import learnt_from
from unseg_d2.files import atomic_write
from unseg_d2.loop.batches import batch_rng, step_indices
from unseg_d2.loop.loop import StepSettings, train_steps
from unseg_d2.loop.recipes import about_run
from unseg_d2.saliency import Objective, SaliencyModel, build_head, crop_and_enlarge, draw_corners
from unseg_d2.saliency.datasets import SalientImage, check_names, load_saliency, read_mask, read_salient
from unseg_d2.saliency.objective import target_losses
from unseg_d2.saliency.predict import stack_tokens
from unseg_d2.saliency.settings import MultiScaleSettings, SaliencySettings
from unseg_d2.saliency.views import normalised, training_view
from unseg_d2.settings import Settings
from unseg_d2.supervision import joined
from unseg_d2.zoo.download import checksum

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class SaliencyBatch:
    """What one step looks at.

    Attributes:
        views: ``(B, S, S, 3)`` uint8.
        targets: ``(B, 1, S, S)`` float32 masks to train on, or ``None``.
        crops: ``(B, S, S, 3)`` float32 in [0, 255], windows of the views, enlarged; or ``None``.
        corners: ``(B, 2)`` where they begin.
    """

    views: np.ndarray
    targets: Tensor | None
    crops: np.ndarray | None
    corners: np.ndarray | None


def train_saliency(cfg: CfgNode, *, resume: bool = False) -> Path:
    """Train a head as ``cfg.SALIENCY`` says, on all images of ``DATASETS.TRAIN``.

    Args:
        cfg: frozen recipe.
        resume: continue from the last checkpoint in ``OUTPUT_DIR`` where there is one.

    Returns:
        ``OUTPUT_DIR/model_final.pth``, which knows its recipe.
    """
    images = training_images(cfg)
    settings = replace(StepSettings.from_config(cfg), may_change=("SALIENCY.TEST.",))
    features, channels = single_backend(cfg)
    objective = Objective.from_config(cfg)
    maker = BatchMaker(cfg, images, features.patch_size, settings.seed)
    torch.manual_seed(settings.seed)
    head = build_head(cfg, channels, features.patch_size).to(settings.device)
    optimizer = torch.optim.AdamW(
        head.parameters(), lr=cfg.SOLVER.BASE_LR, betas=tuple(cfg.SALIENCY.BETAS), weight_decay=cfg.SOLVER.WEIGHT_DECAY
    )

    def losses(batch: SaliencyBatch, t: int) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(cfg, t)
        pixels = normalised(batch.views).to(settings.device)
        tokens = stack_tokens(features, list(batch.views), settings.device)
        masks = head(tokens, pixels)
        if batch.targets is not None:
            return target_losses(masks, batch.targets.to(settings.device))
        found = objective.whole(masks, tokens, pixels)
        if batch.crops is not None and batch.corners is not None:
            enlarged = normalised(batch.crops).to(settings.device)
            crop_tokens = stack_tokens(features, list(batch.crops), settings.device)
            crop_masks = head(crop_tokens, enlarged)
            found |= objective.crop(masks, crop_masks, crop_tokens, enlarged, batch.corners)
        return found

    made_from = {"features": features.checksum, "images": files_content(image.path for image in images)}
    if cfg.SALIENCY.TARGETS:
        made_from["targets"] = files_content(image.mask for image in images if image.mask)
    learnt = joined([learnt_from(features), *([()] if cfg.SALIENCY.TARGETS else [])])  # masks do not say it
    data = [Data(name=", ".join(Path(split_spec(name)[0]).name for name in cfg.DATASETS.TRAIN), images=len(images))]
    described = Description(task="saliency", features=features.name, supervision=learnt, data=data)
    about = {**about_run(cfg, made_from, described), "feature_channels": channels}
    logger.info("Training on %d images with features of %s.", len(images), features.name)
    return train_steps(head, optimizer, maker, losses, settings, resume=resume, about=about)


def learning_rate(cfg: CfgNode, t: int) -> float:
    """Return ``SOLVER.BASE_LR``, which falls linearly to 0 over the last ``SALIENCY.DECAY`` of the steps."""
    left = 1 - t / cfg.SOLVER.MAX_ITER
    return cfg.SOLVER.BASE_LR * min(1.0, left / cfg.SALIENCY.DECAY if cfg.SALIENCY.DECAY else 1.0)


class BatchMaker:
    """Batch ``t``, a function of (seed, ``t``) alone.

    Args:
        cfg: recipe.
        images: what is trained on, with the masks that are the targets, where there are any.
        patch_size: crops begin at multiples of it.
        seed: of order and augmentation.
    """

    def __init__(self, cfg: CfgNode, images: Sequence[SalientImage], patch_size: int, seed: int) -> None:
        view, crop = SaliencySettings.from_config(cfg), MultiScaleSettings.from_config(cfg)
        self.images, self.seed, self.batch_size = images, seed, cfg.SOLVER.IMS_PER_BATCH
        self.view, self.crop = view, crop if crop.enabled and not view.targets else None
        self.step = patch_size
        if view.shorter_side < view.image_size or view.image_size % patch_size:
            raise UnsegError(
                f"SALIENCY.IMAGE_SIZE is {view.image_size}, but must be a multiple of the patch of {patch_size} px "
                f"and at most SALIENCY.SHORTER_SIDE, {view.shorter_side}."
            )

    def __call__(self, t: int) -> SaliencyBatch:
        """Read, augment and crop the images of a step."""
        rng = batch_rng(self.seed, t)
        chosen = step_indices(len(self.images), self.batch_size, self.seed, t)
        pairs = []
        for image, mask in (read_salient(self.images[k]) for k in chosen):
            pairs.append(training_view(image, self.view, rng, mask))
        views = np.stack([view for view, _ in pairs])
        masks = [mask for _, mask in pairs if mask is not None]
        targets = torch.from_numpy(np.stack(masks))[:, None] if masks else None
        if self.crop is None:
            return SaliencyBatch(views, targets, None, None)
        size, fraction = views.shape[1:3], self.crop.fraction
        corners = draw_corners(len(views), size, fraction, rng, mode=self.crop.crop, step=self.step)
        pixels = torch.from_numpy(views).permute(0, 3, 1, 2).float()
        crops = crop_and_enlarge(pixels, corners, fraction).permute(0, 2, 3, 1).contiguous().numpy()
        return SaliencyBatch(views, targets, crops, corners)


def training_images(cfg: CfgNode) -> list[SalientImage]:
    """Return the images of ``DATASETS.TRAIN`` with the masks of ``SALIENCY.TARGETS``, never with their own.

    Raises:
        UnsegError: a data set is not on disk, an image has no target, or two images have the same.
    """
    if not cfg.DATASETS.TRAIN:
        raise UnsegError("There is nothing to train on: append DATASETS.TRAIN \"('path/to/images',)\".")
    reading = InputSettings.from_config(cfg).reading
    images = [image for spec in cfg.DATASETS.TRAIN for image in load_saliency(spec, masks=False, reading=reading)]
    targets = Path(cfg.SALIENCY.TARGETS)
    if not cfg.SALIENCY.TARGETS:
        return images
    if not targets.is_dir():
        raise UnsegError(
            f"SALIENCY.TARGETS is {targets}, but there is no such folder; train-saliency --write-masks makes one."
        )
    check_names(images, targets)
    images = [replace(image, mask=targets / f"{image.name}.png") for image in images]
    missing = [image.name for image in images if image.mask is None or not image.mask.is_file()]
    if missing:
        raise UnsegError(f"{len(missing)} of {len(images)} images have no mask in {targets}, such as {missing[0]}.png.")
    return _without_empty(images)


def write_masks(
    model: SaliencyModel, images: Sequence[SalientImage], folder: Path, weights: Path | None = None
) -> None:
    """Predict masks and write them as 8-bit ``NAME.png``, as :data:`SALIENCY.TARGETS` takes them.

    Masks that the same weights made from the same images are kept, so that the same command resumes a killed run.

    Args:
        model: of ``weights``.
        images: what to predict.
        folder: where the masks go.
        weights: checkpoint, known by its content; without it, all masks are made anew.

    Raises:
        UnsegError: the folder holds masks that were not made here, or the masks of two images would be one file.
    """
    check_names(images, folder)
    ways = sorted({str(image.reading.changes()) for image in images if image.reading.changes()})
    ledger = Ledger(folder, " ".join([checksum(weights), *_ways_of(model), *ways]) if weights else "")
    paths = [folder / f"{image.name}.png" for image in images]
    foreign = [path for path in paths if path.is_file() and not ledger.is_known(path)]
    if foreign:
        raise UnsegError(
            f"{folder} holds {len(foreign)} masks that this command did not make, such as {foreign[0].name}; "
            "choose another folder."
        )
    missing = [k for k, path in enumerate(paths) if not (weights and ledger.is_current(path, images[k].path))]
    other = sum(paths[k].is_file() for k in missing)
    if other:
        logger.info("%d masks in %s are of other weights or images and are made again.", other, folder)
    for k in missing:
        with at_work(images[k].name, needed=True), ledger.making(paths[k], images[k].path):
            pixels, _ = read_salient(replace(images[k], mask=None))
            with atomic_write(paths[k]) as file:
                Image.fromarray(np.round(model([pixels])[0] * 255).astype(np.uint8)).save(file, format="PNG")
        if (k + 1) % 100 == 0:
            logger.info("%d of %d masks are in %s.", k + 1, len(images), folder)
    logger.info("%d masks are in %s.", len(images), folder)


def _ways_of(model: SaliencyModel) -> list[str]:
    """Return what the masks of a model depend on besides its checkpoint: the backbone's weights, and settings."""
    found: list[Any] = [model.settings, model.guided] if isinstance(model, SaliencyModel) else []
    mask = getattr(model, "mask", None)
    if is_dataclass(mask):
        values = [getattr(mask, entry.name) for entry in fields(mask)]
        found += [value for value in values if isinstance(value, (int, Settings))]
        found += [value.checksum for value in values if hasattr(value, "checksum")]
    return [hashlib.sha256(repr(found).encode()).hexdigest()] if found else []


def _without_empty(images: list[SalientImage]) -> list[SalientImage]:
    """Leave out images whose target is empty: they would teach that there is nothing to see."""
    shown = [image for image in images if image.mask is not None and read_mask(image.mask).max() > 0.5]
    if len(shown) < len(images):
        logger.warning("%d of %d masks are empty; their images are left out.", len(images) - len(shown), len(images))
    if not shown:
        raise UnsegError("All masks of SALIENCY.TARGETS are empty; there is nothing to train on.")
    return shown

"""Training and prediction of the experiment; the loop, its checkpoints and its log are those of the small networks.

Shape legend
    H, W   height and width of an image in pixels
    m      masks of an image, or matched pairs of a step
    S      side of a crop's masks
    K      prototypes
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from one_stage.network import FINE, OneStage, Queries, Student
from one_stage.objective import (
    dice,
    learning_rate,
    mask_losses,
    match,
    moved_centre,
    query_loss,
    risen,
    teacher_distribution,
)
from one_stage.settings import OneStageSettings
from one_stage.targets import Regions, Targets, crop_targets, teacher_regions
from one_stage.views import Batch, Batches, as_input
from unseg_d2.loop.checkpoint import has_checkpoint, last_checkpoint, load_checkpoint, load_network
from unseg_d2.loop.loop import StepSettings, train_steps
from unseg_d2.manifest import resume_or_refuse
from unseg_d2.pixels import resize

SUPPRESSED = 0.5
"""IoU with a better mask from which a mask is a repetition."""


def train(
    paths: Sequence[Path],
    settings: OneStageSettings,
    output: Path,
    *,
    steps: int,
    seed: int,
    checkpoint_period: int = 0,
    resume: bool = False,
) -> Path:
    """Train on images without labels, in one stage, or resume such a training.

    Args:
        paths: of the images.
        settings: of the experiment.
        output: folder of checkpoints and logs.
        steps: of the training, on which the schedules depend.
        seed: of weights, order and views.
        checkpoint_period: steps between checkpoints; 0 writes the final one only.
        resume: continue from the last checkpoint in ``output`` where there is one.

    Returns:
        ``output/model_final.pth``.

    Raises:
        UnsegError: a loss is not finite, or the training in ``output`` began with other settings.
    """
    about = {"one_stage": _plain(settings, steps, seed)}
    if resume and has_checkpoint(output):
        path = last_checkpoint(output)
        assert path is not None
        stored = load_checkpoint(path).get("one_stage", {})
        remedy = "choose another folder, or begin anew in an empty one"
        resume_or_refuse(stored, about["one_stage"], holds=f"{path} was trained", remedy=remedy)
    torch.manual_seed(seed)
    network = OneStage(settings)
    optimizer = torch.optim.AdamW(
        network.student.parameters(), lr=settings.base_lr, weight_decay=settings.weight_decay, fused=True
    )

    def losses(batch: Batch, t: int) -> dict[str, Tensor]:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(t, steps, settings.base_lr, settings.warmup)
        return step_losses(network, batch, t, steps, settings)

    loop = StepSettings(
        *(output, steps, settings.batch_size, torch.device("cpu"), seed, checkpoint_period),
        eval_period=0,
        amp=False,
        num_workers=0,
        tracker="",
    )
    make_batch = Batches(paths, settings, seed)
    more: dict[str, Any] = {"resume": resume, "after_step": network.follow, "about": about}
    return train_steps(network, optimizer, make_batch, losses, loop, **more)


def step_losses(network: OneStage, batch: Batch, t: int, steps: int, settings: OneStageSettings) -> dict[str, Tensor]:
    """Return the weighted losses of a step, and move the centre of the teacher's logits.

    Args:
        network: student, teacher and centre.
        batch: whole images and crops.
        t: step, from 0.
        steps: in all.
        settings: of the experiment.
    """
    regions, logits = teach(network, batch, risen(t, steps, (0.0, settings.own_share)), settings)
    height, width = settings.size
    found = network.student(batch.crops, batch.windows[:, :2] * torch.tensor([width, height]))
    targets = [
        target
        for index, one in enumerate(regions)
        for target in crop_targets(one, *batch.of_image(index), found.masks.shape[-1], settings.shares)
    ]
    pairs = matched(found, targets)
    number = len(targets) // len(regions)  # crops of an image
    kept = [target.kept[which] for target, (_, which) in zip(targets, pairs)]
    taught = torch.cat([logits[crop // number][rows] for crop, rows in enumerate(kept)])
    temperature = risen(t, steps, settings.teacher_temperatures, settings.temperature_warmup)
    wanted = teacher_distribution(taught, network.centre, temperature)
    learnt = torch.cat([found.embeddings[crop, rows] for crop, (rows, _) in enumerate(pairs)])
    masks = torch.cat([found.masks[crop, rows] for crop, (rows, _) in enumerate(pairs)])
    goals = torch.cat([target.masks[which] for target, (_, which) in zip(targets, pairs)])
    cross_entropy, overlap = mask_losses(masks, goals)
    contrasts = [regions[crop // number].scores[rows] for crop, rows in enumerate(kept)]
    network.centre.copy_(moved_centre(network.centre, torch.cat(logits), settings.centre_momentum))
    query = query_loss(network.student.head(learnt), wanted, settings.student_temperature)
    return {
        "loss_query": settings.query_weight * query,
        "loss_mask": settings.mask_weight * cross_entropy,
        "loss_dice": settings.dice_weight * overlap,
        "loss_score": settings.score_weight * score_loss(found, pairs, contrasts),
    }


@torch.no_grad()
def teach(
    network: OneStage, batch: Batch, share: float, settings: OneStageSettings
) -> tuple[list[Regions], list[Tensor]]:
    """Return the teacher's regions of each whole image, and their logits over the prototypes, ``(n, K)``."""
    fine, _ = network.teacher.encoder(batch.images)
    own = F.avg_pool2d(fine, settings.patch_size // FINE)
    regions = [teacher_regions(one, other, share, settings) for one, other in zip(batch.descriptors, own)]
    return regions, [network.teacher.head(found.features) for found in regions]


def matched(found: Queries, targets: Sequence[Targets]) -> list[tuple[Tensor, Tensor]]:
    """Return the positions of matched queries and targets in each crop."""
    return [
        match(dice(masks, target.masks), found.instances, target.instances)
        for masks, target in zip(found.masks.detach().sigmoid(), targets)
    ]


def score_loss(found: Queries, pairs: Sequence[tuple[Tensor, Tensor]], contrasts: Sequence[Tensor]) -> Tensor:
    """Return the binary cross-entropy of the instance queries' scores, the mean over all of them.

    Args:
        found: queries of all crops.
        pairs: of each crop.
        contrasts: of the region of each pair, which its query should state; the others should state 0.
    """
    scores = found.scores[:, : found.instances]
    wanted = torch.zeros_like(found.scores)
    for row, (queries, _), values in zip(wanted, pairs, contrasts):
        row[queries] = values
    return F.binary_cross_entropy_with_logits(scores, wanted[:, : found.instances])


def load(path: Path, settings: OneStageSettings) -> Student:
    """Return the teacher of a checkpoint, which is what predicts.

    Raises:
        UnsegError: there is no such file, or it is of other settings.
    """
    network = OneStage(settings)
    load_network(network, path)
    return network.teacher.eval()


@torch.inference_mode()
def predict(
    network: Student, pixels: np.ndarray, settings: OneStageSettings, most: int = 100
) -> tuple[np.ndarray, np.ndarray]:
    """Return the instance masks of an image, best first, without repetitions.

    Args:
        network: the teacher.
        pixels: ``(H, W, 3)`` uint8.
        settings: of the experiment.
        most: largest number of masks.

    Returns:
        ``(m, H, W)`` bool, none empty, and ``(m,)`` scores: the query's own times the mean of its mask's probabilities.
    """
    found = network(as_input(resize(pixels, (settings.size[0], settings.size[1])))[None])
    logits = found.masks[0, : found.instances]
    inside = logits > 0
    area = inside.flatten(1).sum(1)
    certain = (logits.sigmoid() * inside).flatten(1).sum(1) / area.clamp_min(1)
    scores = found.scores[0, : found.instances].sigmoid() * certain
    order = scores.argsort(descending=True)
    order = order[area[order] > 0]
    kept = order[without_repetitions(inside[order].flatten(1))][:most]
    if not len(kept):
        return np.zeros((0, *pixels.shape[:2]), bool), np.zeros(0)
    masks = F.interpolate(logits[kept][None], size=pixels.shape[:2], mode="bilinear", align_corners=False)[0] > 0
    there = masks.flatten(1).any(1)
    return masks[there].numpy(), scores[kept][there].numpy()


def without_repetitions(masks: Tensor) -> Tensor:
    """Return which masks, best first, overlap no better one that is kept by :data:`SUPPRESSED` or more, ``(m,)`` bool.

    Args:
        masks: ``(m, p)`` bool, none empty.
    """
    pixels = masks.float()
    shared = pixels @ pixels.T
    area = shared.diagonal()
    repeated = shared / (area[:, None] + area - shared) >= SUPPRESSED
    kept = torch.ones(len(masks), dtype=torch.bool)
    for row in range(1, len(masks)):
        kept[row] = not (repeated[row, :row] & kept[:row]).any()
    return kept


def _plain(settings: OneStageSettings, steps: int, seed: int) -> dict[str, Any]:
    """Return everything that a training depends on besides its images, as JSON has it."""
    values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(settings)))
    return values | {"steps": steps, "seed": seed}

"""Score a semantic segmentation against labels, and write what it predicts.

Shape legend
    H, W   height and width that are scored
    K      classes
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from fvcore.common.config import CfgNode
from PIL import Image
from torch import Tensor, nn

from unseg_d2.data.at_work import at_work
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.semantic import Confusion, SemanticScores, semantic_scores
from unseg_d2.features.follow_device import batch_size_of
from unseg_d2.files import atomic_write
from unseg_d2.progress import progress_bar
from unseg_d2.refine import LabelCRFSettings, label_probabilities
from unseg_d2.semantic.datasets import SemanticSet
from unseg_d2.semantic.em import enlarge
from unseg_d2.semantic.geometry import centre_square, resize_image, resized
from unseg_d2.semantic.model import SemanticModel
from unseg_d2.viz.overlay import draw_instances

PROBE = "linear probe"

logger = logging.getLogger(__name__)


def classifiers_of(model: SemanticModel) -> dict[str, nn.Module]:
    """Return the classifiers of a checkpoint by the names they have in tables."""
    found: dict[str, nn.Module | None] = {
        "k-means": model.baseline,
        "PriMaPs-EM": model.em.momentum,
        "PriMaPs-EM, running": model.em.running,
        PROBE: model.em.probe,
    }
    return {name: classifier for name, classifier in found.items() if classifier is not None}


def score_classifiers(
    model: SemanticModel, classifiers: Mapping[str, nn.Module], data: SemanticSet, cfg: CfgNode
) -> dict[str, SemanticScores]:
    """Score classifiers of the same features on labelled images, as ``cfg.SEMANTIC.TEST`` says.

    Args:
        model: gives the features.
        classifiers: by name, from features ``(1, C, h, w)`` to logits ``(1, K, h, w)``; the classes of the linear
            probe are not matched.
        data: labelled images.
        cfg: recipe.

    Returns:
        Scores by name, and by name and ``+ CRF`` where ``SEMANTIC.TEST.CRF`` asks for it.

    Raises:
        UnsegError: the images have no labels, or none of the labels is a class.
    """
    if not data.labelled:
        raise UnsegError("The images have no labels to score against; name them as IMAGES::LABELS.")
    counts: dict[str, Confusion] = {}
    for image, labels, features in _views(model, data, cfg):
        assert labels is not None  # the data are labelled
        for name, classifier in classifiers.items():
            for suffix, prediction in _predictions(classifier, features, image, cfg):
                if name + suffix not in counts:
                    classes = classifier(features[..., :1, :1]).shape[1]
                    counts[name + suffix] = Confusion(classes, len(data.classes))
                counts[name + suffix].add(prediction, labels)
    try:
        return {
            name: semantic_scores(confusion.counts, "none" if name.startswith(PROBE) else cfg.SEMANTIC.TEST.MATCHING)
            for name, confusion in counts.items()
        }
    except ValueError as error:
        raise UnsegError(f"The predictions cannot be scored: {error}.") from None


def write_predictions(model: SemanticModel, data: SemanticSet, cfg: CfgNode, folder: Path) -> None:
    """Write the cluster of each pixel as ``labels/NAME.png``, and as a picture ``overlays/NAME.jpg``.

    The maps have 8 bit, or 16 for more than 255 clusters; their largest value, 255 or 65535, stays free for none.
    """
    count = len(model.em.momentum.directions)
    for index, (image, _, features) in enumerate(_views(model, data, cfg)):
        _, prediction = list(_predictions(model.em.momentum, features, image, cfg))[-1]
        name = data.images[index].name
        with atomic_write(folder / "labels" / f"{name}.png") as file:
            Image.fromarray(prediction.astype(_kind_of_map(count))).save(file, format="PNG")
        masks = prediction == np.arange(count)[:, None, None]
        picture = io.BytesIO()
        Image.fromarray(draw_instances(image, masks, outline=False)).save(picture, format="JPEG", quality=90)
        with atomic_write(folder / "overlays" / f"{name}.jpg") as file:
            file.write(picture.getvalue())
    logger.info("%d label maps and overlays are in %s.", len(data.images), folder)


def _kind_of_map(count: int) -> type[np.unsignedinteger]:
    """Return the kind of number of a map of so many clusters.

    >>> _kind_of_map(255).__name__, _kind_of_map(256).__name__
    ('uint8', 'uint16')
    """
    return np.uint8 if count <= 255 else np.uint16


def _views(
    model: SemanticModel, data: SemanticSet, cfg: CfgNode
) -> Iterator[tuple[np.ndarray, np.ndarray | None, Tensor]]:
    """Yield what is scored: the image ``(H, W, 3)``, its labels ``(H, W)``, and features ``(1, C, h, w)``.

    Images that follow each other and have one size are described together, as many as ``FEATURES.BATCH_SIZE``.
    """
    most = batch_size_of(cfg)
    waiting: list[_View] = []
    for view in _read(data, cfg, model.backend.patch_size):
        if len(waiting) == most or (waiting and waiting[0].seen.shape != view.seen.shape):
            yield from _described(model, waiting, cfg)
            waiting = []
        waiting.append(view)
    yield from _described(model, waiting, cfg)


class _View(NamedTuple):
    """An image and its labels as they are scored, and as the backend sees the image."""

    name: str
    image: np.ndarray
    labels: np.ndarray | None
    seen: np.ndarray


def _read(data: SemanticSet, cfg: CfgNode, patch: int) -> Iterator[_View]:
    node = cfg.SEMANTIC
    for index in progress_bar(range(len(data.images)), desc="scoring", unit="image", leave=False):
        image, labels = data.read(index)
        if node.TEST.WHOLE:
            height, width = (round(side / patch) * patch for side in resized(image.shape[:2], node.IMAGE_SIZE))
            seen = resize_image(image, (height, width), antialias=node.ANTIALIAS)
        else:
            image, labels = centre_square(image, labels, node.IMAGE_SIZE, antialias=node.ANTIALIAS)
            seen = image
        yield _View(data.images[index].name, image, labels, seen)


def _described(
    model: SemanticModel, views: Sequence[_View], cfg: CfgNode
) -> Iterator[tuple[np.ndarray, np.ndarray | None, Tensor]]:
    if not views:
        return
    with at_work(*(view.name for view in views), needed=True):
        features = model.features([view.seen for view in views], flip=cfg.SEMANTIC.TEST.FLIP)
    for view, described in zip(views, features):
        yield view.image, view.labels, described[None]


@torch.no_grad()
def _predictions(
    classifier: nn.Module, features: Tensor, image: np.ndarray, cfg: CfgNode
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the suffix of the name and the prediction ``(H, W)``: without a CRF and, where asked for, with one."""
    logits = enlarge(classifier(features), image.shape[:2])
    yield "", logits.max(1).indices[0].cpu().numpy()
    if cfg.SEMANTIC.TEST.CRF:
        settings = LabelCRFSettings.from_config(cfg)
        device = resolve_device(settings.device, "REFINE.CRF_LABELS.DEVICE")
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None]
        probability = label_probabilities(pixels, logits.to(device), settings.kernels())
        yield " + CRF", probability.argmax(1)[0].cpu().numpy()

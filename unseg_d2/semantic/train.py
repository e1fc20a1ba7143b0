"""PriMaPs-EM from images to a checkpoint: proposals on disk, first prototypes, k-means, expectation maximisation."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from fvcore.common.config import CfgNode
from torch import Tensor, nn

from unseg_d2.content import files_content
from unseg_d2.data.spec import split_spec
from unseg_d2.description import Data, Description, measured
from unseg_d2.errors import UnsegError
from unseg_d2.features import count_channels
from unseg_d2.features.registry import learnt_from
from unseg_d2.loop.batches import batch_rng, step_indices
from unseg_d2.loop.checkpoint import load_network, write_torch
from unseg_d2.loop.loop import StepSettings, train_steps
from unseg_d2.loop.recipes import OF_DETECTORS, about_run
from unseg_d2.pseudo.pipeline import MaskPipeline, build_pipeline
from unseg_d2.registry import code_of_parts
from unseg_d2.semantic.batches import BatchMaker, FeatureCache, SemanticBatch
from unseg_d2.semantic.boost import CodeHead, read_boost
from unseg_d2.semantic.datasets import SemanticSet, load_semantic_set
from unseg_d2.semantic.em import PriMaPsEM
from unseg_d2.semantic.geometry import centre_square
from unseg_d2.semantic.model import SemanticModel, about_model, check_image_size, tokens_of
from unseg_d2.semantic.proposals import cache_proposals
from unseg_d2.semantic.prototypes import Prototypes, kmeans_loss, principal_directions
from unseg_d2.semantic.score import score_classifiers
from unseg_d2.semantic.settings import SemanticSettings, ViewSettings
from unseg_d2.supervision import joined
from unseg_d2.weight_files import read_weight_file

BEST = "model_best.pth"
INIT_SEED, EM_SEED = 1, 2
"""Added to the seed, so that the phases do not draw the same views."""
MAY_CHANGE = ("SEMANTIC.EM.EPOCHS", "SEMANTIC.PROPOSALS", "SEMANTIC.CACHE_GB", "SEMANTIC.TEST.")
"""Prefixes of the keys that may differ when a training is resumed: length, places, speed and scoring."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """What the phases of a training share.

    Attributes:
        cfg: recipe.
        settings: of the training loop; ``max_iter`` is that of a phase.
        data: images to train on.
        test: images to score on, or ``None``.
        pipeline: backend, generator and refiner.
        head: between the backbone and the prototypes, or ``None``.
        cache: features by view.
        made_from: sha256 of what is learnt from.
    """

    cfg: CfgNode
    settings: StepSettings
    data: SemanticSet
    test: SemanticSet | None
    pipeline: MaskPipeline
    head: nn.Module | None
    cache: FeatureCache
    made_from: dict[str, str]

    @property
    def proposals(self) -> Path:
        """Folder of the label maps of proposals."""
        return Path(self.cfg.SEMANTIC.PROPOSALS or self.settings.output / "proposals")

    def maker(self, phase: int, *, proposals: bool, with_truth: bool = False) -> BatchMaker:
        """Return what makes the batches of a phase."""
        count, seed = len(self.data.images), self.settings.seed + phase * 2**32
        return BatchMaker(
            self.data,
            lambda t: step_indices(count, self.settings.batch_size, seed, t),
            lambda t: batch_rng(seed, t),
            self.cache,
            settings=SemanticSettings.from_config(self.cfg),
            views=ViewSettings.from_config(self.cfg),
            seed=self.settings.seed,
            proposals=self.proposals if proposals else None,
            with_truth=with_truth,
        )

    def about(self) -> Description:
        """Return what checkpoints say of the task, the features and the data."""
        features, start = self.pipeline.features, self.cfg.SEMANTIC.INIT.WEIGHTS
        learnt = joined([learnt_from(features), *([()] if start else [])])  # checkpoints of others do not say it
        name = Path(split_spec(self.cfg.DATASETS.TRAIN[0])[0]).name
        data = [Data(name=name, images=len(self.data.images))]
        return Description(task="semantic", features=features.name, supervision=learnt, data=data)

    def phase(self, folder: str, epochs: float) -> StepSettings:
        """Return the settings of a phase of so many epochs, in a folder below the output."""
        steps = max(1, round(epochs * len(self.data.images) / self.settings.batch_size))
        return replace(self.settings, output=self.settings.output / folder, max_iter=steps, eval_period=0)


def train_semantic(cfg: CfgNode, *, resume: bool = False) -> Path:
    """Learn prototypes of K classes from the images of ``DATASETS.TRAIN``, without labels.

    Args:
        cfg: frozen recipe.
        resume: continue from the last checkpoints in ``OUTPUT_DIR``; existing proposals are used in any case.

    Returns:
        The checkpoint that ``SEMANTIC.SELECT`` takes; it knows its recipe and holds the baseline too.

    Raises:
        UnsegError: a data set is missing, or a setting does not fit the features.
    """
    run, clusters = start_run(cfg)
    make_proposals(run)
    start, baseline = first_prototypes(run, clusters, resume=resume)
    return _expectation_maximisation(run, start, baseline, resume=resume)


def start_run(cfg: CfgNode) -> tuple[Run, Tensor | None]:
    """Check the recipe, and load what it names; return also the clusters of a checkpoint to boost.

    Raises:
        UnsegError: something that the recipe names is missing or does not fit.
    """
    node = cfg.SEMANTIC
    if len(cfg.DATASETS.TRAIN) != 1 or len(cfg.DATASETS.TEST) > 1:
        raise UnsegError("Name one data set in DATASETS.TRAIN, and at most one in DATASETS.TEST.")
    data = load_semantic_set(cfg.DATASETS.TRAIN[0], cfg)
    test = load_semantic_set(cfg.DATASETS.TEST[0], cfg) if cfg.DATASETS.TEST else None
    if node.PROBE and not data.labelled:
        raise UnsegError("SEMANTIC.PROBE learns from labels, but DATASETS.TRAIN has none; set it to False.")
    if node.SELECT == "best_miou" and not (test and test.labelled):
        raise UnsegError("SEMANTIC.SELECT best_miou needs a DATASETS.TEST with labels; last needs none.")
    pipeline = build_pipeline(cfg)
    channels = count_channels(pipeline.features)
    check_image_size(pipeline.features, cfg)
    head: nn.Module | None = None
    clusters = None
    settings = replace(StepSettings.from_config(cfg), may_change=MAY_CHANGE)
    if node.INIT.WEIGHTS:
        code_head, clusters = _boosted(cfg, channels)
        head = code_head.to(settings.device)
    cache = FeatureCache(tokens_of(pipeline.features, head, settings.device), node.CACHE_GB)
    return Run(cfg, settings, data, test, pipeline, head, cache, _made_from(cfg, data, pipeline)), clusters


def _made_from(cfg: CfgNode, data: SemanticSet, pipeline: MaskPipeline) -> dict[str, str]:
    """Return the sha256 of what is learnt from; labels only where the probe learns from them."""
    found = {"features": pipeline.features.checksum, "images": files_content(item.image for item in data.images)}
    if cfg.SEMANTIC.PROBE:
        found["labels"] = files_content(item.labels for item in data.images if item.labels)
    if cfg.SEMANTIC.INIT.WEIGHTS:
        found["weights"] = files_content([Path(cfg.SEMANTIC.INIT.WEIGHTS)])
    return found


def make_proposals(run: Run) -> None:
    """Make the mask proposals of the training images that have none yet."""
    cfg, node = run.cfg, run.cfg.SEMANTIC

    def square(index: int) -> np.ndarray:
        return centre_square(run.data.read(index)[0], None, node.IMAGE_SIZE, antialias=node.ANTIALIAS)[0]

    def propose(image: np.ndarray) -> np.ndarray:
        masks = [found.mask for found in run.pipeline([image])[0]]
        return np.stack(masks) if masks else np.zeros((0, *image.shape[:2]), bool)

    names, files = [image.name for image in run.data.images], [image.image for image in run.data.images]
    made = cache_proposals(run.proposals, names, square, propose, _proposal_settings(cfg, run), files)
    logger.info("%d maps of proposals made, %d in %s.", made, len(run.data.images), run.proposals)


def first_prototypes(run: Run, clusters: Tensor | None, *, resume: bool) -> tuple[Tensor, Tensor]:
    """Return the directions ``(K, C)`` that EM starts from, and those of the baseline."""
    node = run.cfg.SEMANTIC
    if clusters is not None:
        return clusters, clusters
    count = node.NUM_CLASSES or len(run.data.classes)
    if not count:
        raise UnsegError("The number of classes is not known; append SEMANTIC.NUM_CLASSES and a number.")
    maker = run.maker(INIT_SEED, proposals=False)
    try:
        directions = principal_directions(_feature_batches(run, maker), count)
    except ValueError as error:
        raise UnsegError(f"SEMANTIC.NUM_CLASSES does not fit the features: {error}.") from None
    start = _kmeans(run, maker, directions, run.phase("init", node.INIT.EPOCHS), resume)
    if not node.INIT.BASELINE_EPOCHS:
        return start, start
    further = run.phase("baseline", node.INIT.BASELINE_EPOCHS - node.INIT.EPOCHS)
    return start, _kmeans(run, maker, start, further, resume)


def _feature_batches(run: Run, maker: BatchMaker) -> Iterator[Tensor]:
    epoch = run.phase("init", 1).max_iter
    for step in range(min(run.cfg.SEMANTIC.INIT.NUM_BATCHES, epoch)):
        yield run.cache(maker(step).clean)


def _kmeans(run: Run, maker: BatchMaker, directions: Tensor, settings: StepSettings, resume: bool) -> Tensor:
    """Run k-means by gradient and return its directions."""
    prototypes = Prototypes(directions).to(settings.device)
    optimizer = torch.optim.Adam([prototypes.directions], lr=run.cfg.SOLVER.BASE_LR)

    def losses(batch: SemanticBatch, t: int) -> dict[str, Tensor]:
        return {"loss_kmeans": kmeans_loss(run.cache(batch.clean), prototypes)}

    final = train_steps(
        prototypes,
        optimizer,
        maker,
        losses,
        settings,
        resume=resume,
        about=about_run(run.cfg, run.made_from, run.about()),
    )
    load_network(prototypes, final)
    return prototypes.directions.detach()


def _expectation_maximisation(run: Run, start: Tensor, baseline: Tensor, *, resume: bool) -> Path:
    node, device = run.cfg.SEMANTIC, run.settings.device
    em = PriMaPsEM(start, probe=node.PROBE, head=run.head).to(device)
    optimizer = torch.optim.Adam(
        [parameter for parameter in em.parameters() if parameter.requires_grad], lr=run.cfg.SOLVER.BASE_LR
    )

    def losses(batch: SemanticBatch, t: int) -> dict[str, Tensor]:
        clean = run.cache(batch.clean)
        assert batch.proposals is not None  # the batch maker was asked for them
        labels = em.pseudo_labels(clean, batch.proposals.to(device))
        found = {"loss_focal": em.loss(run.cache(batch.student), labels, node.EM.GAMMA)}
        if em.probe is not None and batch.truth is not None:
            found["loss_probe"] = em.probe_loss(clean, batch.truth.to(device))
        return found

    def update_momentum(t: int) -> None:
        if (t + 1) % node.EM.PERIOD == 0:
            em.update_momentum(node.EM.DECAY)

    settings = run.phase("", node.EM.EPOCHS)
    about = about_model(run.cfg, em, run.about(), baseline, run.made_from)
    evaluate: Callable[[int], dict[str, float]] | None = None
    if node.SELECT == "best_miou":
        epoch = run.phase("", 1).max_iter
        settings = replace(settings, eval_period=min(run.cfg.TEST.EVAL_PERIOD or epoch, settings.max_iter))
        evaluate = _keep_best(run, em, about, resume)
    maker = run.maker(EM_SEED, proposals=True, with_truth=node.PROBE)
    logger.info("PriMaPs-EM: %d classes, %d images, %d steps.", len(start), len(run.data.images), settings.max_iter)
    final = train_steps(
        *(em, optimizer, maker, losses, settings),
        resume=resume,
        after_step=update_momentum,
        evaluate=evaluate,
        about=about,
    )
    return final if node.SELECT == "last" else final.with_name(BEST)


def _keep_best(run: Run, em: PriMaPsEM, about: dict[str, Any], resume: bool) -> Callable[[int], dict[str, float]]:
    """Return an evaluation that writes the prototypes with the best mIoU so far; it looks at the test labels."""
    path, test = run.settings.output / BEST, run.test
    assert test is not None  # `start_run` refuses recipes without
    known = read_weight_file(path) if resume and path.is_file() else {}
    best = known.get("miou", -1.0)

    def evaluate(t: int) -> dict[str, float]:
        nonlocal best
        model = SemanticModel(run.pipeline.features, em, run.settings.device)
        scores = score_classifiers(model, {"momentum": em.momentum}, test, run.cfg)["momentum"]
        if scores.miou > best:
            best = scores.miou
            found = {"measured": measured(run.cfg.DATASETS.TEST, t, {"mIoU": best, "Acc": scores.accuracy})}
            content = {"model": em.state_dict(), "iteration": t, "miou": best, **about, **msgspec.to_builtins(found)}
            write_torch(path, content)
        return {"mIoU": scores.miou, "Acc": scores.accuracy}

    return evaluate


def _boosted(cfg: CfgNode, channels: int) -> tuple[CodeHead, Tensor]:
    """Return the head and the clusters of ``SEMANTIC.INIT.WEIGHTS``, after checking that they fit."""
    path, count = cfg.SEMANTIC.INIT.WEIGHTS, cfg.SEMANTIC.NUM_CLASSES
    head, clusters = read_boost(path, trust=cfg.MODEL.TRUST_CHECKPOINT)
    if head.channels != channels:
        raise UnsegError(
            f"{path} was trained on features of {head.channels} channels, but FEATURES gives {channels}; "
            "choose its backbone."
        )
    if count and count != len(clusters):
        raise UnsegError(f"{path} has {len(clusters)} clusters, but SEMANTIC.NUM_CLASSES is {count}; set it to 0.")
    return head, clusters


def _proposal_settings(cfg: CfgNode, run: Run) -> dict[str, Any]:
    """Everything that the proposals depend on."""
    backend, generator, refiner = run.pipeline.features, cfg.MASKS.GENERATOR, cfg.REFINE.NAME
    refine = {key: value for key, value in cfg.REFINE.items() if not isinstance(value, dict)}
    own = {key: value for key, value in cfg.REFINE.get(refiner.upper(), {}).items() if key != "DEVICE"}
    # Named only where they matter, so that proposals of an earlier version are found again.
    more: dict[str, Any] = {}
    if cfg.FEATURES.RESIZE != "square":
        more["resize"] = cfg.FEATURES.RESIZE
    if changes := run.data.reading.changes():
        more["pictures"] = changes
    if run.pipeline.depth is not None:
        more["depth"] = run.pipeline.depth.identity
    return {
        "images": cfg.DATASETS.TRAIN[0],
        "image size": cfg.SEMANTIC.IMAGE_SIZE,
        "antialias": cfg.SEMANTIC.ANTIALIAS,
        "features": backend.name,
        "checksum": backend.checksum,
        "feature size": cfg.FEATURES.IMAGE_SIZE,
        "generator": generator,
        "mode": cfg.MASKS.MODE,
        "masks": dict(cfg.MASKS.get(generator.upper(), {})),
        "max proposals": cfg.MASKS.MAX_PROPOSALS,
        "refine": refine | own,
        **more,
        **code_of_parts(cfg, without=OF_DETECTORS),
    }

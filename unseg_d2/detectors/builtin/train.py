"""The training loop. Step ``t`` depends only on the recipe, ``t`` and the state before it, so it can be resumed."""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import torch
from fvcore.common.config import CfgNode
from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.description import Description, Measured, measured
from unseg_d2.detectors.about import describe_resumed, describe_training
from unseg_d2.detectors.builtin.average import Average
from unseg_d2.detectors.builtin.limits import check_training
from unseg_d2.detectors.builtin.model import GeneralizedRCNN, build_model
from unseg_d2.detectors.builtin.solver import build_optimizer, clip_gradients, set_learning_rate
from unseg_d2.detectors.builtin.speed import speed_up
from unseg_d2.detectors.checkpoints import check_resumable, load_weights, save_checkpoint, save_weights, say_random
from unseg_d2.detectors.scoring import Found, Scorer, metrics_of, scored_beside
from unseg_d2.detectors.training_data import LoaderFactory
from unseg_d2.devices import resolve_device
from unseg_d2.errors import UnsegError
from unseg_d2.loop.best import BestCheckpoint, check_best
from unseg_d2.loop.checkpoint import FINAL, last_checkpoint, restore_training
from unseg_d2.loop.distributed import (
    all_reduce_sum,
    rank_and_world_size,
    resolve_seed,
    seed_iteration,
    share_statistics,
)
from unseg_d2.loop.events import TrainingLog
from unseg_d2.loop.losses import diverged, total_loss
from unseg_d2.loop.precision import mixed_precision, set_up_torch
from unseg_d2.loop.schedule import is_due
from unseg_d2.loop.trackers import open_tracker

if TYPE_CHECKING:
    from unseg_d2.data.sample import Sample

Evaluation: TypeAlias = Callable[[GeneralizedRCNN], list[Found] | dict[str, float]]
"""Network in training mode -> what it finds in each data set; or metrics by name."""

ENGINE = "builtin"  # recorded in checkpoints, because the state of an optimiser fits one engine only

logger = logging.getLogger(__name__)


def train(cfg: CfgNode, make_loader: LoaderFactory, *, resume: bool, evaluate: Evaluation | None = None) -> Path:
    """Train from ``MODEL.WEIGHTS``, or resume from the last checkpoint.

    Args:
        cfg: frozen recipe.
        make_loader: returns the batches of this process from an iteration on.
        resume: start from the last checkpoint in ``OUTPUT_DIR`` if there is one.
        evaluate: called every ``TEST.EVAL_PERIOD`` iterations in all processes; see `detectors.scoring`.

    Returns:
        ``OUTPUT_DIR/model_final.pth``.

    Raises:
        UnsegError: a loss is not finite, a checkpoint does not fit, or the disk is full.
    """
    trainer = Trainer(edited(cfg, SEED=resolve_seed(cfg.SEED)), resume=resume)
    final = trainer.output / FINAL
    if trainer.finished:
        logger.info("The training in %s is finished; nothing to do.", trainer.output)
        return final
    trainer.run(make_loader, evaluate)
    return final


class Trainer:
    """Network, optimiser and the iteration that they have reached.

    Args:
        cfg: frozen recipe; its ``SEED`` is not negative.
        resume: restore the last checkpoint in ``OUTPUT_DIR`` if there is one.
    """

    def __init__(self, cfg: CfgNode, *, resume: bool) -> None:
        check_training(cfg)
        check_best(cfg)
        self.cfg = cfg
        self.output = Path(cfg.OUTPUT_DIR)
        self.rank, self.world_size = rank_and_world_size()
        self.device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
        self.amp = mixed_precision(cfg, self.device)
        set_up_torch(cfg)
        _check_parts(cfg, self.world_size)
        self.model: GeneralizedRCNN = speed_up(build_model(cfg).to(self.device), cfg)
        self.average = Average(self.model, cfg.SOLVER.EMA_DECAY)
        self.optimizer = build_optimizer(cfg, self.model)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.amp)
        self.start_iter = 0
        self.finished = False
        self.about = Description()
        self._restore(resume)
        self.best: BestCheckpoint | None = None
        if cfg.TEST.BEST and self.rank == 0:
            self.best = BestCheckpoint(self.output, cfg.TEST.BEST, resume=self.start_iter > 0)
        self.scorer = Scorer(self.output, cfg) if self.rank == 0 else None

    def run(self, make_loader: LoaderFactory, evaluate: Evaluation | None = None) -> None:
        """Train to the end and write the final checkpoint; see :func:`train`."""
        max_iter, model = self.cfg.SOLVER.MAX_ITER, self._distribute().train()
        scoring: AbstractContextManager[Any] = closing(self.scorer) if self.scorer is not None else nullcontext()
        with self._log() if self.rank == 0 else nullcontext() as log, scoring:
            if self.scorer is not None:
                self.scorer.resume(self.start_iter)
            if self.start_iter < max_iter:
                self._iterate(model, iter(make_loader(self.cfg, self.start_iter)), log, evaluate)
            self._precise_bn(make_loader)
            self._take_scores(log, wait=True)
            self._save(FINAL, max_iter - 1)

    def _log(self) -> TrainingLog:
        tracker = open_tracker(self.cfg.TRACKER, self.output, as_values(self.cfg))
        return TrainingLog(self.output, self.start_iter, self.cfg.SOLVER.MAX_ITER, tracker=tracker)

    def _iterate(
        self,
        model: nn.Module,
        batches: Iterator[Sequence[Sample]],
        log: TrainingLog | None,
        evaluate: Evaluation | None,
    ) -> None:
        """Take the remaining steps, with reports, checkpoints and evaluations where they are due."""
        cfg = self.cfg
        for iteration in range(self.start_iter, cfg.SOLVER.MAX_ITER):
            started = time.perf_counter()
            samples = next(batches)
            data_time = time.perf_counter() - started
            lr = set_learning_rate(self.optimizer, cfg, iteration)
            losses = self._step(model, samples, iteration)
            self.average.update(iteration)
            if log is not None:
                log.step(iteration, losses, lr, data_time)
                if is_due(iteration, cfg.VIS_PERIOD):
                    log.sample(iteration, samples[0].image, samples[0].boxes, samples[0].masks)
            self._take_scores(log)
            last = bool(cfg.TEST.BEST) and iteration + 1 == cfg.SOLVER.MAX_ITER
            if evaluate is not None and (last or is_due(iteration, cfg.TEST.EVAL_PERIOD)):
                self._evaluate(evaluate, iteration, log)
            if is_due(iteration, cfg.SOLVER.CHECKPOINT_PERIOD):  # after the evaluation, which is not lost by a kill
                self._save(f"model_{iteration:07d}.pth", iteration)

    def _evaluate(self, evaluate: Evaluation, iteration: int, log: TrainingLog | None) -> None:
        """Evaluate the network; what it finds in large sets is kept, and scored while the training continues."""
        network = self.average.network
        share_statistics(network)
        found = evaluate(network)
        if log is None or self.scorer is None:
            for one in () if isinstance(found, dict) else found:
                deque(one.chunks, maxlen=0)  # its share of the images
            return
        about = replace(self.about, iteration=iteration)
        if not isinstance(found, dict) and scored_beside(found):
            self._take_scores(log, wait=True)  # one at a time

            def write(path: Path) -> None:
                save_weights(path, network, **about.entries())

            self.scorer.keep(iteration, found, write if self.best is not None else None)
            log.restart_clock()
            return
        metrics = found if isinstance(found, dict) else metrics_of(self.cfg, found)
        self._report(
            iteration,
            metrics,
            log,
            lambda path, known: save_weights(path, network, **replace(about, measured=known).entries()),
        )

    def _take_scores(self, log: TrainingLog | None, *, wait: bool = False) -> None:
        """Report the evaluations whose metrics have become known, at their own iterations."""
        if self.scorer is None or log is None:
            return
        while (scored := self.scorer.take(wait=wait)) is not None:
            known = self._report(
                scored.iteration, scored.metrics, log, scored.write_weights if scored.has_weights else None
            )
            scored.record(known)
            scored.discard()

    def _report(
        self,
        iteration: int,
        metrics: dict[str, float],
        log: TrainingLog,
        write: Callable[[Path, list[Measured]], None] | None,
    ) -> list[Measured]:
        """Log metrics, keep the network that they are of if it is the best so far, and return them for checkpoints."""
        log.metrics(iteration, metrics)
        known = measured(self.cfg.DATASETS.TEST, iteration, metrics)
        self.about = replace(self.about, measured=known)
        if self.best is not None and write is not None:  # they are not kept where TEST.BEST has come later
            self.best.offer(iteration, metrics, lambda path: write(path, known))
        return known

    def _step(self, model: nn.Module, samples: Sequence[Sample], iteration: int) -> dict[str, float]:
        """Run forward and backward passes and update the weights; return each loss, averaged over the processes."""
        seed_iteration(self.cfg.SEED, iteration, self.rank)
        self.optimizer.zero_grad(set_to_none=True)
        summed: dict[str, float] = {}
        for part, last in _parts(samples, self.cfg.SOLVER.ACCUMULATE):
            share = len(part) / len(samples)
            with model.no_sync() if isinstance(model, DistributedDataParallel) and not last else nullcontext():
                for name, value in self._add_gradients(model, part, share, iteration).items():
                    summed[name] = summed.get(name, 0.0) + share * value
        if self.cfg.SOLVER.CLIP_GRADIENTS.ENABLED:
            self.scaler.unscale_(self.optimizer)
            parameters = [parameter for group in self.optimizer.param_groups for parameter in group["params"]]
            clip_gradients(parameters, self.cfg.SOLVER.CLIP_GRADIENTS)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return summed

    def _add_gradients(
        self, model: nn.Module, samples: Sequence[Sample], share: float, iteration: int
    ) -> dict[str, float]:
        """Run forward and backward passes on a part of the batch; return each loss, averaged over the processes."""
        with torch.autocast(self.device.type, enabled=self.amp, dtype=torch.float16):
            losses: dict[str, Tensor] = model(samples)
        values = torch.stack([loss.detach().float() for loss in losses.values()])
        mean = (all_reduce_sum(values) / self.world_size).tolist()
        if not all(math.isfinite(value) for value in mean):  # the same in every process, so all of them stop
            raise _diverged(dict(zip(losses, values.tolist())), samples, iteration)
        total = total_loss(losses)
        self.scaler.scale(total if share == 1 else share * total).backward()
        return dict(zip(losses, mean))

    def _distribute(self) -> nn.Module:
        if self.world_size == 1:
            return self.model
        device_ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(
            self.model, device_ids=device_ids, broadcast_buffers=False, gradient_as_bucket_view=True
        )

    def _restore(self, resume: bool) -> None:
        """Load the last checkpoint, or the weights to start from."""
        path = last_checkpoint(self.output) if resume else None
        if path is None:
            start: dict[str, Any] = {}
            if self.cfg.MODEL.WEIGHTS:
                trust = self.cfg.MODEL.TRUST_CHECKPOINT
                start = load_weights(self.model, self.cfg.MODEL.WEIGHTS, trust=trust, to_start=True)
            elif self.rank == 0:
                say_random()
            self.average.restore(start, self.output, resumes=False)
            if self.rank == 0:
                self.about = describe_training(self.cfg, start, ENGINE)
            return
        checkpoint = load_weights(self.model, path)
        check_resumable(checkpoint, path, ENGINE, ("optimizer", "grad_scaler", "iteration"))
        self.average.restore(checkpoint, path, resumes=True)
        self.start_iter = restore_training(self.optimizer, self.scaler, checkpoint, path)
        self.about = describe_resumed(self.cfg, checkpoint, ENGINE)
        self.finished = path.name == FINAL and self.start_iter >= self.cfg.SOLVER.MAX_ITER
        logger.info("Resuming from %s at iteration %d.", path, self.start_iter)

    def _save(self, name: str, iteration: int) -> None:
        if self.rank != 0:
            return
        base_lrs = [group["initial_lr"] for group in self.optimizer.param_groups]
        more: dict[str, Any] = {
            "optimizer": self.optimizer.state_dict(),
            "scheduler": {"base_lrs": base_lrs, "last_epoch": iteration + 1},
            "grad_scaler": self.scaler.state_dict(),
            **self.average.state(),
            **replace(self.about, iteration=iteration).entries(),  # last, as metrics that come later are added
        }
        save_checkpoint(self.output / name, self.average.network, **more)
        logger.info("Saved %s.", self.output / name)

    def _precise_bn(self, make_loader: LoaderFactory) -> None:
        """Recompute the running averages of BatchNorm with the final weights (``TEST.PRECISE_BN``)."""
        precise = self.cfg.TEST.PRECISE_BN
        network = self.average.network.train()  # an average is in evaluation mode, where no statistics are kept
        if not precise.ENABLED or not get_bn_modules(network):
            return
        logger.info("Recomputing the BatchNorm statistics over %d batches.", precise.NUM_ITER)
        cfg = edited(self.cfg, {"DATALOADER.COPY_PASTE": False})
        seed_iteration(self.cfg.SEED, self.cfg.SOLVER.MAX_ITER, self.rank)
        update_bn_stats(network, make_loader(cfg, 0), precise.NUM_ITER)


def _check_parts(cfg: CfgNode, world_size: int) -> None:
    """Refuse to split a batch into more parts than it has images."""
    images = cfg.SOLVER.IMS_PER_BATCH // world_size
    if cfg.SOLVER.ACCUMULATE > images:
        raise UnsegError(
            f"SOLVER.ACCUMULATE splits a batch into {cfg.SOLVER.ACCUMULATE} parts, but each process has "
            f"{images} of its images; set it to {images} or less."
        )


def _parts(samples: Sequence[Sample], number: int) -> Iterator[tuple[Sequence[Sample], bool]]:
    """Yield parts of a batch that are as equal as can be, and whether each is the last."""
    ends = [round(len(samples) * (part + 1) / number) for part in range(number)]
    for start, end in zip([0, *ends], ends):
        yield samples[start:end], end == len(samples)


def _diverged(losses: dict[str, float], samples: Sequence[Sample], iteration: int) -> UnsegError:
    broken = [name for name, value in losses.items() if not math.isfinite(value)]
    if not broken:
        return UnsegError(f"Stopped at iteration {iteration}: a loss of another process is not finite.")
    return diverged(f"iteration {iteration}", broken, [str(sample.file_name) for sample in samples])

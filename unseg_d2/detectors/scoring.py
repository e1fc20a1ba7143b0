"""Scores of an evaluation while a training continues: what was found is kept on disk, and scored by another process.

::

    OUTPUT_DIR/scoring/0000099/sets.json         what was evaluated after iteration 99
    OUTPUT_DIR/scoring/0000099/set_0.msgpack     its ground truth and what was found, some images at a time
    OUTPUT_DIR/scoring/0000099/weights.pth       the weights, where the best of them are to be kept
    OUTPUT_DIR/scoring/0000099/scores.json       the metrics, or why there are none

The folder appears when it is complete, and goes when its metrics are logged and recorded. So a training that was killed
meanwhile, or whose scores failed, scores it again when it resumes.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.description import Measured
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.chunks import Chunk
from unseg_d2.evaluation.registry import compares_masks, detector_evaluators
from unseg_d2.evaluation.scores import score_stream
from unseg_d2.files import atomic_folder, atomic_write, write_json
from unseg_d2.loop.checkpoint import read_stored, write_torch
from unseg_d2.plugins import load_plugins

BESIDE_FROM = 1_000
"""Images of an evaluation from which on it is scored by a process of its own, whose start takes some seconds."""
FOLDER = "scoring"
SETS, WEIGHTS, RESULT = "sets.json", "weights.pth", "scores.json"

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """What a network finds in a data set, beside the ground truth.

    Attributes:
        prefix: of the names of its metrics, empty or ``name/``.
        num_images: of the data set.
        chunks: ground truth and results; the network runs as they are taken. Where there are several processes all of
            them take them, and only the main one gets any.
    """

    prefix: str
    num_images: int
    chunks: Iterable[Chunk]


def scored_beside(found: Sequence[Found]) -> bool:
    """Whether what was found is so much that a process of its own scores it."""
    return sum(one.num_images for one in found) >= BESIDE_FROM


def metrics_of(cfg: CfgNode, found: Iterable[Found]) -> dict[str, float]:
    """Score what was found, in this process.

    Args:
        cfg: recipe, whose ``TEST`` names the evaluators.
        found: in each data set.

    Returns:
        ``{"bbox/AP": percent, ...}``, with the prefix of each data set.
    """
    metrics: dict[str, float] = {}
    for one in found:
        scores = score_stream(one.chunks, detector_evaluators(cfg), with_masks=compares_masks(cfg))
        for kind, values in scores.metrics.items():
            metrics |= {f"{one.prefix}{kind}/{metric}": value for metric, value in values.items()}
    return metrics


@dataclass(frozen=True)
class Scored:
    """An evaluation whose metrics have become known.

    Attributes:
        iteration: of the training, from 0, after which it was.
        metrics: see :func:`metrics_of`.
        folder: where it is kept until it is discarded.
    """

    iteration: int
    metrics: dict[str, float]
    folder: Path

    @property
    def has_weights(self) -> bool:
        """Whether the weights are kept."""
        return (self.folder / WEIGHTS).is_file()

    def record(self, measured: list[Measured]) -> None:
        """Write the metrics into the checkpoints that the training has written since.

        Args:
            measured: them, as checkpoints hold them.
        """
        for path in sorted(self.folder.parent.parent.glob("model_[0-9]*.pth")):
            number = path.stem.removeprefix("model_")
            if number.isdigit() and int(number) >= self.iteration:
                _copy(path, path, measured)

    def write_weights(self, path: Path, measured: list[Measured]) -> None:
        """Write the checkpoint of the evaluated weights, with the metrics."""
        _copy(self.folder / WEIGHTS, path, measured)

    def discard(self) -> None:
        """Remove what was kept."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with suppress(OSError):  # another one is kept there
            self.folder.parent.rmdir()


class Scorer:
    """Scores the evaluations of a training, one at a time, in a process of its own.

    Args:
        output: folder of the training.
        cfg: recipe.
    """

    def __init__(self, output: Path, cfg: CfgNode) -> None:
        self.folder, self.cfg = output / FOLDER, cfg
        self._process: BaseProcess | None = None
        self._waiting: list[Path] = []

    def resume(self, start_iter: int) -> None:
        """Score again what an earlier process of this training left without metrics; repeated evaluations are dropped.

        Args:
            start_iter: iteration that the training begins or resumes at.
        """
        for path in sorted(self.folder.iterdir()) if self.folder.is_dir() else ():
            if path.name.isdigit() and int(path.name) < start_iter:
                logger.info("Scoring the evaluation of iteration %d again.", int(path.name))
                self._waiting.append(path)
            else:
                shutil.rmtree(path, ignore_errors=True)
        self._start()

    def keep(self, iteration: int, found: Iterable[Found], write_weights: Callable[[Path], None] | None = None) -> None:
        """Run the network, keep what it finds, and begin to score it.

        Args:
            iteration: of the training.
            found: in each data set.
            write_weights: writes the weights to a file, where they may be wanted later.

        Raises:
            UnsegError: the disk is full.
        """
        path = self.folder / f"{iteration:07d}"
        with atomic_folder(path, replace=True) as folder:
            prefixes = []
            for number, one in enumerate(found):
                _write_chunks(_chunks_file(folder, number), one.chunks)
                prefixes.append(one.prefix)
            if write_weights is not None:
                write_weights(folder / WEIGHTS)
            write_json(folder / SETS, prefixes)
        self._waiting.append(path)
        self._start()

    def take(self, *, wait: bool = False) -> Scored | None:
        """Return an evaluation whose metrics have become known, ``None`` where there is none.

        Args:
            wait: until those of the next one are known, if there is one.

        Raises:
            UnsegError: it cannot be scored.
        """
        if self._process is None or (not wait and self._process.is_alive()):
            return None
        self._process.join()
        code, self._process = self._process.exitcode, None
        path = self._waiting.pop(0)
        remedy = f"It is kept: the same command resumes and scores it again; to leave it out, delete {path}."
        if not (path / RESULT).is_file():
            how = f"by signal {-code}" if code and code < 0 else f"with status {code}"
            raise UnsegError(
                f"The process that scores the evaluation of iteration {int(path.name)} ended {how}, perhaps for lack "
                f"of memory. {remedy}"
            )
        result = json.loads((path / RESULT).read_text())
        if "failure" in result:
            raise UnsegError(
                f"The evaluation of iteration {int(path.name)} cannot be scored: {result['failure']} {remedy}"
            )
        self._start()
        return Scored(int(path.name), result["metrics"], path)

    def close(self) -> None:
        """End the process; what it scored is kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.join()
            self._process = None

    def _start(self) -> None:
        if self._process is not None or not self._waiting:
            return
        (self._waiting[0] / RESULT).unlink(missing_ok=True)  # of other evaluators, perhaps
        self._process = _begin(self._waiting[0].absolute(), self.cfg)


def _begin(folder: Path, cfg: CfgNode) -> BaseProcess:
    """Start a process that scores what is kept in a folder."""
    # "spawn", because a forked process has broken thread pools of OpenMP, and would hold memory of the card.
    process = multiprocessing.get_context("spawn").Process(target=_score, args=(folder, cfg), daemon=True)
    process.start()
    return process


def _score(folder: Path, cfg: CfgNode) -> None:
    """Body of the process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent, interrupted, ends it
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    score_kept(folder, cfg)


def score_kept(folder: Path, cfg: CfgNode) -> None:
    """Write the metrics of what is kept in a folder, or why there are none.

    Args:
        folder: of an evaluation.
        cfg: see :func:`metrics_of`.
    """
    try:
        load_plugins(cfg.PLUGINS)
        prefixes = json.loads((folder / SETS).read_text())
        found = [Found(prefix, 0, _read_chunks(_chunks_file(folder, number))) for number, prefix in enumerate(prefixes)]
        result: dict[str, Any] = {"metrics": metrics_of(cfg, found)}
    except UnsegError as error:
        result = {"failure": str(error)}
    except Exception as error:  # whatever an evaluator raises
        logger.debug("Scoring failed", exc_info=True)
        result = {"failure": f"{type(error).__name__}: {' '.join(str(error).split())}."}
    write_json(folder / RESULT, result)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _chunks_file(folder: Path, number: int) -> Path:
    return folder / f"set_{number}.msgpack"


def _write_chunks(path: Path, chunks: Iterable[Chunk]) -> None:
    """Write each chunk after its length in 8 bytes."""
    with atomic_write(path) as file:
        for chunk in chunks:
            content = msgspec.msgpack.encode(chunk, enc_hook=_plain)
            file.write(len(content).to_bytes(8, "little") + content)


def _read_chunks(path: Path) -> Iterator[Chunk]:
    with path.open("rb") as file:
        while length := file.read(8):
            truth, results = msgspec.msgpack.decode(file.read(int.from_bytes(length, "little")))
            yield truth, results


def _plain(value: object) -> Any:
    """Return what registered data sets hold besides plain values."""
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise UnsegError(f"Ground truth with a {type(value).__name__} in it cannot be kept for scoring; use plain values.")


def _copy(source: Path, target: Path, measured: list[Measured]) -> None:
    """Write a checkpoint as it is, with other metrics."""
    content = read_stored(source)
    if measured:
        content["measured"] = msgspec.to_builtins(measured)
    else:
        content.pop("measured", None)
    write_torch(target, content)

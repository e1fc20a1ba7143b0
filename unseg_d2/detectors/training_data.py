"""The data that a detector is trained on, the same for both engines."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
from fvcore.common.config import CfgNode

from unseg_d2.data.annotations.columns import CROWD
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.classes import check_same, write_classes
from unseg_d2.data.loader import build_train_loader
from unseg_d2.data.pictures.orientation import say_orientations
from unseg_d2.data.presence import check_images
from unseg_d2.data.records import Records, concatenated
from unseg_d2.data.sample import Sample
from unseg_d2.data.settings import DatasetSettings, InputSettings
from unseg_d2.errors import UnsegError
from unseg_d2.loop.distributed import rank_and_world_size

logger = logging.getLogger(__name__)

LoaderFactory: TypeAlias = Callable[[CfgNode, int], Iterable[list[Sample]]]
"""(recipe, first iteration) -> the endless batches of this process."""

RecordsReader: TypeAlias = Callable[[str, CfgNode, int], Records]
"""(data set, recipe, classes of the detector) -> Detectron2's standard dataset dicts."""


def train_loaders(cfg: CfgNode, read: RecordsReader = load_dataset) -> LoaderFactory:
    """Read the data sets in ``DATASETS.TRAIN`` and return what makes loaders of them.

    Args:
        cfg: recipe.
        read: returns the records of a data set.

    Raises:
        UnsegError: there is no training data set, one cannot be read, or two have other classes.
    """
    return loaders_of(training_records(cfg, read), cfg)


def loaders_of(records: Records, cfg: CfgNode) -> LoaderFactory:
    """Return what makes loaders of the records to train on."""
    if rank_and_world_size()[0] == 0:
        write_classes(cfg.OUTPUT_DIR, records.categories)
        say_orientations(records, InputSettings.from_config(cfg).reading)

    def make_loader(recipe: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
        rank, world_size = rank_and_world_size()
        return build_train_loader(records, recipe, start_iter=start_iter, rank=rank, world_size=world_size)

    return make_loader


def training_records(cfg: CfgNode, read: RecordsReader = load_dataset) -> Records:
    """Return the records of all data sets in ``DATASETS.TRAIN``, with the classes that a detector of several has.

    Args:
        cfg: recipe.
        read: returns the records of a data set.

    Raises:
        UnsegError: there is none, one cannot be read, images of it are missing, or two mean different classes by a
            number, or no mask has a granularity in ``DATASETS.GRANULARITY``.
    """
    if not cfg.DATASETS.TRAIN:
        raise UnsegError("DATASETS.TRAIN is empty: name the data set to train on.")
    names = list(cfg.DATASETS.TRAIN)
    datasets = [read(name, cfg, cfg.MODEL.ROI_HEADS.NUM_CLASSES) for name in names]
    if rank_and_world_size()[0] == 0:
        for name, dataset in zip(names, datasets):
            check_images(dataset, name)
    for name, dataset in zip(names[1:], datasets[1:]):
        check_same(datasets[0].categories, dataset.categories, (names[0], name))
    return of_granularity(concatenated(datasets), DatasetSettings.from_config(cfg).granularity)


def of_granularity(records: Records, interval: Sequence[float]) -> Records:
    """Return records with the masks whose granularity lies in an interval, and crowd regions; see `Records.within`.

    Args:
        records: of the training.
        interval: least and most granularity, ``DATASETS.GRANULARITY``.

    Raises:
        UnsegError: no mask is left.
    """
    least, most = map(float, interval)
    if (least, most) == (0, 1):
        return records
    kept = records.within((least, most))
    left, number = (int(np.count_nonzero(one.facts().flags & CROWD == 0)) for one in (kept, records))
    if number and not left:
        raise UnsegError(
            f"DATASETS.GRANULARITY is {least:g} to {most:g}, but none of the {number} masks lies there; masks that say "
            "nothing about their granularity count as 1. Choose a wider interval."
        )
    logger.info("DATASETS.GRANULARITY %g to %g: %d of %d masks are kept.", least, most, left, number)
    return kept


def set_aside(records: Records, share: float) -> tuple[Records, Records]:
    """Divide records in those to train on and those to choose the best checkpoint with.

    Args:
        records: of the training.
        share: of the images with annotations that is set aside, evenly spaced, at least one; in (0, 1).

    Raises:
        UnsegError: there are fewer than two images with annotations.
    """
    filled = np.flatnonzero(records.facts().counts)
    if len(filled) < 2:
        raise UnsegError("DATASETS.HELD_OUT needs two images with masks; there are not as many.")
    count = min(len(filled) - 1, max(1, round(share * len(filled))))
    held = filled[(np.arange(count) * 2 + 1) * len(filled) // (2 * count)]
    logger.info("%d of %d images are set aside to choose the best checkpoint with.", count, len(records))
    return records.chosen(np.setdiff1d(np.arange(len(records)), held)), records.chosen(held)

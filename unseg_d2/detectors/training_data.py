"""The data that a detector is trained on, the same for both engines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from fvcore.common.config import CfgNode

from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.loader import build_train_loader
from unseg_d2.data.sample import Sample
from unseg_d2.errors import UnsegError
from unseg_d2.loop.distributed import rank_and_world_size

LoaderFactory: TypeAlias = Callable[[CfgNode, int], Iterable[list[Sample]]]
"""(recipe, first iteration) -> the endless batches of this process."""

RecordsReader: TypeAlias = Callable[[str, CfgNode], list[dict[str, Any]]]
"""(data set, recipe) -> Detectron2's standard dataset dicts."""


def train_loaders(cfg: CfgNode, read: RecordsReader = load_dataset) -> LoaderFactory:
    """Read the data sets in ``DATASETS.TRAIN`` and return what makes loaders of them.

    Args:
        cfg: recipe.
        read: returns the records of a data set.

    Raises:
        UnsegError: there is no training data set, or one cannot be read.
    """
    if not cfg.DATASETS.TRAIN:
        raise UnsegError("DATASETS.TRAIN is empty: name the data set to train on.")
    records = [record for name in cfg.DATASETS.TRAIN for record in read(name, cfg)]

    def make_loader(recipe: CfgNode, start_iter: int) -> Iterable[list[Sample]]:
        rank, world_size = rank_and_world_size()
        return build_train_loader(records, recipe, start_iter=start_iter, rank=rank, world_size=world_size)

    return make_loader

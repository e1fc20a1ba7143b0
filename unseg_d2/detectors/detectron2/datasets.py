"""Add the built-in data sets to Detectron2's catalogues."""

from __future__ import annotations

from functools import partial

from detectron2.data import DatasetCatalog, MetadataCatalog
from fvcore.common.config import CfgNode

from unseg_d2.config import get_cfg
from unseg_d2.data.builtin import BUILTIN, datasets_root
from unseg_d2.data.catalog import GENERATED, load_dataset


def register_datasets(cfg: CfgNode | None = None) -> list[str]:
    """Register the built-in data sets; a data set is read when it is first used.

    Names that are already registered (Detectron2's own ``coco_2017_*``, or a user's) stay as they are.

    Args:
        cfg: its ``SYNTHETIC`` block describes the synthetic sets; ``None`` means the defaults.

    Returns:
        The names that were added.
    """
    cfg = get_cfg() if cfg is None else cfg
    added = [name for name in (*BUILTIN, *GENERATED) if name not in DatasetCatalog]
    for name in added:
        DatasetCatalog.register(name, partial(load_dataset, name, cfg))
        MetadataCatalog.get(name).set(thing_classes=["object"], thing_dataset_id_to_contiguous_id={1: 0})
        if name in BUILTIN:
            root, dataset = datasets_root(), BUILTIN[name]
            paths = {"image_root": str(root / dataset.images), "json_file": str(root / dataset.annotations)}
            MetadataCatalog.get(name).set(**paths)
    return added

"""Label sets under names of their own in Detectron2's catalogues, with scores and spatial confidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from detectron2.data import DatasetCatalog, MetadataCatalog

from unseg_d2.config import get_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.spec import join_spec
from unseg_d2.errors import UnsegError
from unseg_d2.storage.access import is_folder, resolved
from unseg_d2.zoo.download import checksum

LABEL_FILE = "labels.json"
_registered: dict[str, tuple[str, str]] = {}  # name -> content of the file and folder of the images


def register_label_set(name: str, json_file: str | Path, image_root: str | Path | None = None) -> None:
    """Make a label set, or any COCO file, known to Detectron2 as a data set of one class, "object".

    Unlike Detectron2's ``register_coco_instances``, the records keep ``score`` and ``confidence`` of the masks, which
    soft targets, CutS3D's mask loss and copy-paste need. The file is read when the data set is first used. Registering
    a name again with the same content has no effect.

    Args:
        name: for ``DATASETS.TRAIN``, ``DATASETS.TEST`` and ``DatasetCatalog``.
        json_file: COCO file; or the folder of a label set, whose ``labels.json`` is meant.
        image_root: folder of the images; ``None`` looks for them where the file says, and around it.

    Raises:
        UnsegError: a file or folder is missing, or the name belongs to another data set.
    """
    path = Path(json_file)
    path = path / LABEL_FILE if path.is_dir() else path
    if not path.is_file():
        raise UnsegError(f"The data set {name} cannot be registered: there is no file {path}.")
    if image_root is not None and not is_folder(image_root):
        raise UnsegError(f"The data set {name} cannot be registered: there is no folder {image_root}.")
    path = path.resolve()
    root = "" if image_root is None else str(resolved(image_root))
    content = (checksum(path), root)
    if name in DatasetCatalog:
        if _registered.get(name) == content:
            return
        raise UnsegError(
            f"The name {name} belongs to another data set already; choose another one for {path}, or remove the first "
            f"with DatasetCatalog.remove('{name}')."
        )
    _registered[name] = content

    def read() -> Sequence[dict[str, Any]]:
        return load_dataset(join_spec(path, root) if root else str(path), get_cfg())

    DatasetCatalog.register(name, read)
    MetadataCatalog.pop(name, None)  # of a data set of this name that was removed
    MetadataCatalog.get(name).set(
        json_file=str(path),
        image_root=root,
        evaluator_type="coco",
        thing_classes=["object"],
        thing_dataset_id_to_contiguous_id={1: 0},
    )


def is_label_set(name: str) -> bool:
    """Return whether a name is one that `register_label_set` registered."""
    return name in _registered and name in DatasetCatalog


def label_file(name: str) -> str:
    """Return the ``json_file`` or ``json_file::image_root`` of a registered label set; other names stay as they are."""
    if not is_label_set(name):
        return name
    metadata = MetadataCatalog.get(name)
    return join_spec(metadata.json_file, metadata.image_root) if metadata.image_root else str(metadata.json_file)

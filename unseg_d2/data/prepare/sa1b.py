"""SA-1B: one JSON beside each image, read one by one."""

from __future__ import annotations

from pathlib import Path

from unseg_d2.data.prepare.records import plain_mask, read_sa
from unseg_d2.data.prepare.writer import Prepared, coco_writer, one_record
from unseg_d2.errors import UnsegError


def prepare_sa1b(root: Path) -> Prepared:
    """Convert ``sa1b/sa_*/sa_*.json`` of those of the 1000 archives that are unpacked.

    Args:
        root: folder of the data sets; images and JSONs may also lie directly in ``sa1b``.
    """
    folder = root / "sa1b"
    paths = sorted(folder.rglob("sa_*.json"), key=lambda path: (path.parent, len(path.name), path.name))
    if not paths:
        raise UnsegError(f"There are no files {folder}/sa_*/sa_*.json; unpack one or more archives of SA-1B there.")
    parts = sorted({path.parent.name for path in paths})
    protocol = (
        f"All images and masks of {len(parts)} of the 1000 parts of SA-1B ({parts[0]} to {parts[-1]}) as one class. "
        "The masks were made by SAM, not by people. Results on other parts are not comparable."
    )
    target = folder / "annotations/sa1b_cls_agnostic.json"
    with coco_writer(target, source="sa_*.json", protocol=protocol) as writer:
        for path in paths:
            with one_record(path):
                image, masks = read_sa(path)
                name = (path.parent / image.file_name).relative_to(folder).as_posix()
                size = {"height": int(image.height), "width": int(image.width)}
                writer.add({"id": image.image_id, "file_name": name, **size}, map(plain_mask, masks))
    return writer.prepared

"""Pictures packed into archives, and a store in the memory, for tests of several rooms."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def encoded(value: int, kind: str = "PNG") -> bytes:
    """A picture of one colour as a file."""
    target = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(target, kind)
    return target.getvalue()


def write_tar(path: Path, files: Mapping[str, bytes] | Iterable[tuple[str, bytes]]) -> Path:
    """Write files into a tar, in their order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in dict(files).items() if isinstance(files, Mapping) else files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def files_of(folder: Path) -> dict[str, bytes]:
    """The files below a folder by name."""
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def write_parquet(path: Path, images: Iterable[bytes | None], *, names: bool = True, **options: Any) -> Path:
    """Write a table as Hugging Face datasets does: a label and an image of bytes and path."""
    import pyarrow
    from pyarrow import parquet

    rows = list(images)
    column = [{"bytes": data, "path": f"picture_{k}.png" if names else None} for k, data in enumerate(rows)]
    kind = pyarrow.struct([("bytes", pyarrow.binary()), ("path", pyarrow.string())])
    table = pyarrow.table({"label": list(range(len(rows))), "image": pyarrow.array(column, kind)})
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(table, path, **options)
    return path

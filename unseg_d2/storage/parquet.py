"""Images in a column of a parquet file, as Hugging Face `datasets` writes them; a group of rows is read at a time."""

from __future__ import annotations

import importlib
import json
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, BinaryIO

from unseg_d2.errors import missing_extra
from unseg_d2.storage.listing import Listing
from unseg_d2.storage.problems import BadArchive, NoImageColumn

ENDING = ".parquet"
MOST_GROUPS, MOST_BYTES = 4, 2**28
"""Groups of rows that a process holds: this many, or fewer where they are large; one at least."""
_NAMES = ("image", "img", "jpg", "jpeg", "png", "webp", "picture", "photo", "pixel_values", "bytes", "content")
_ENDINGS = ("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff", "avif", "heic", "jp2")
_BEGINNINGS = ((b"\xff\xd8", "jpg"), (b"\x89PNG", "png"), (b"GIF8", "gif"), (b"BM", "bmp"), (b"II*\0", "tif"))

_groups: OrderedDict[tuple[Any, ...], Any] = OrderedDict()


@dataclass(frozen=True)
class ImageColumn:
    """Where the images of a table are.

    Attributes:
        data: path of the column with their bytes.
        names: path of the column with the names that they had as files; empty where there is none.
    """

    data: str
    names: str = ""


def list_parquet(file: BinaryIO, where: str) -> Listing:
    """List the images of a table: ``000017.jpg`` is that of its 18th row; the place of each is its row.

    The ending is that of the name that the row states, else that of the first image.

    Args:
        file: of the table, which can seek.
        where: its name, for messages.

    Raises:
        NoImageColumn: no column holds images.
        BadArchive: it is no parquet file, or is cut short.
        UnsegError: pyarrow is not installed.
    """
    table = _opened(file, where)
    column = image_column(table.schema_arrow)
    if column is None:
        names = ", ".join(table.schema_arrow.names[:8]) or "none"
        raise NoImageColumn(f"{where} has no column of images, of their encoded bytes; its columns are {names}.")
    count = table.metadata.num_rows
    width = max(6, len(str(count - 1)))
    stated = _column(table, column.names, range(table.num_row_groups)).to_pylist() if column.names else [None] * count
    usual = _first_ending(table, column) if any(_ending(name) is None for name in stated) else ""
    endings = (_ending(name) or usual for name in stated)
    return Listing.of((f"{row:0{width}d}.{ending}", row, -1) for row, ending in enumerate(endings))


def read_row(opening: AbstractContextManager[BinaryIO], where: str, row: int, version: object) -> bytes:
    """Return the bytes of the image of a row; those of its group are kept for the next.

    Args:
        opening: opens the file of the table, which is done where the group is not kept.
        where: its name.
        row: from 0.
        version: tells a file from another one of the same name.

    Raises:
        BadArchive: the file is damaged.
    """
    for (name, of, start, stop), values in reversed(_groups.items()):
        if name == where and of == version and start <= row < stop:
            _groups.move_to_end((name, of, start, stop))
            return values[row - start].as_py() or b""
    with opening as file:
        table = _opened(file, where)
        column, start = image_column(table.schema_arrow), 0
        for group in range(table.num_row_groups):
            stop = start + table.metadata.row_group(group).num_rows
            if row < stop and column is not None:
                values = _kept((where, version, start, stop), _column(table, column.data, [group]))
                return values[row - start].as_py() or b""
            start = stop
    raise BadArchive(f"{where} has no row {row} any more: it was replaced while it was read.")


def image_column(schema: Any) -> ImageColumn | None:
    """Return where the images are: the column that `datasets` declares as such, else one of their form.

    Args:
        schema: of the table, pyarrow's.
    """
    arrow = _pyarrow()
    structs, plain = [], []
    for field in schema:
        if arrow.types.is_struct(field.type):
            inner = {field.type.field(k).name: field.type.field(k).type for k in range(field.type.num_fields)}
            if "bytes" in inner and _is_binary(arrow, inner["bytes"]):
                named = "path" in inner and arrow.types.is_string(inner["path"])
                structs.append(ImageColumn(f"{field.name}.bytes", f"{field.name}.path" if named else ""))
        elif _is_binary(arrow, field.type) and field.name.lower() in _NAMES:
            plain.append(ImageColumn(field.name))
    declared = _declared(schema)
    found = [column for column in structs if column.data.rpartition(".")[0] in declared] or structs or plain
    return min(found, key=lambda column: column.data.split(".")[0].lower() != "image", default=None)


def _declared(schema: Any) -> set[str]:
    """Return the columns that `datasets` declares as images."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name for name, kind in features.items() if isinstance(kind, dict) and kind.get("_type") == "Image"}
    except (ValueError, KeyError, TypeError, AttributeError):
        return set()


def _column(table: Any, path: str, groups: Any) -> Any:
    """Return a column of some groups of rows, the inner one of a struct, as one array."""
    arrow = _pyarrow()
    found = table.read_row_groups(list(groups), columns=[path], use_threads=False).column(0)
    if arrow.types.is_struct(found.type):
        found = importlib.import_module("pyarrow.compute").struct_field(found, [path.rpartition(".")[2]])
    return found


def _kept(key: tuple[Any, ...], values: Any) -> Any:
    _groups[key] = values
    while len(_groups) > 1 and (len(_groups) > MOST_GROUPS or sum(v.nbytes for v in _groups.values()) > MOST_BYTES):
        _groups.popitem(last=False)
    return values


def _first_ending(table: Any, column: ImageColumn) -> str:
    """Return the ending of the first image, by its first bytes."""
    if not table.num_row_groups:
        return "jpg"
    for value in _column(table, column.data, [0]):
        if data := value.as_py():
            webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
            return "webp" if webp else next((name for start, name in _BEGINNINGS if data.startswith(start)), "jpg")
    return "jpg"


def _ending(name: str | None) -> str | None:
    ending = (name or "").rpartition(".")[2].lower()
    return ending if ending in _ENDINGS else None


def _is_binary(arrow: Any, kind: Any) -> bool:
    return bool(arrow.types.is_binary(kind) or arrow.types.is_large_binary(kind))


def _opened(file: BinaryIO, where: str) -> Any:
    _pyarrow()
    reader = importlib.import_module("pyarrow.parquet")
    try:
        return reader.ParquetFile(file, pre_buffer=False)
    except (ValueError, OSError) as error:  # pyarrow's own are kinds of these
        raise BadArchive(
            f"{where} is no parquet file, or is cut short ({' '.join(str(error).split())[:120]}): copy it again, or "
            "take it out of the folder."
        ) from None


def _pyarrow() -> Any:
    try:
        importlib.import_module("pyarrow.types")
        return importlib.import_module("pyarrow")
    except ImportError:
        raise missing_extra("pyarrow", "parquet") from None

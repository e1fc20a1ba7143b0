"""Parse annotation files into their types; what does not fit is named by file, record and field."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from unseg_d2.errors import UnsegError

Parsed = TypeVar("Parsed")

NEEDED = {
    "images": "a list of images",
    "annotations": "a list of annotations",
    "categories": "a list of categories",
    "file_name": "text",
    "height": "a whole number of pixels",
    "width": "a whole number of pixels",
    "id": "a number or text",
    "image_id": "a number or text",
    "category_id": "a number or text",
    "bbox": "four numbers (x, y, width, height) in pixels",
    "segmentation": "polygons (numbers in pixels) or run lengths (size and counts)",
    "iscrowd": "0 or 1",
    "score": "a number",
    "counts": "run lengths",
    "size": "height and width in pixels",
}
"""What a field of an annotation file holds, for messages."""

_COMPRESSED = (b"\x1f\x8b", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ")  # gzip, ZIP, Zstandard, xz
_OTHERS = (
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself; fetch it with git lfs pull"),
    (b"<!doctype html", "a web page; was the download refused?"),
    (b"<html", "a web page; was the download refused?"),
    (b"<", "XML"),
)
"""How files begin that stand in the place of JSON, in lower case."""
_SINGULAR = {"images": "image", "annotations": "annotation", "categories": "category"}
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")


def read_bytes(path: Path) -> bytes:
    """Return the content of a file.

    Raises:
        UnsegError: it is not there, is a folder, or may not be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise unreadable(error, path) from None


def unreadable(error: OSError, path: Path) -> UnsegError:
    """Return the sentence about a file that cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UnsegError(f"There is no file {path}.")
    if isinstance(error, IsADirectoryError):
        return UnsegError(f"{path} is a folder, but a COCO annotation file is needed.")
    if isinstance(error, PermissionError):
        return UnsegError(f"{path} may not be read: you have no permission.")
    return UnsegError(f"{path} cannot be read: {error.strerror}.")


def read_json(path: Path) -> Any:
    """Return the content of a JSON file as plain values.

    Raises:
        UnsegError: it does not exist, or is not JSON.
    """
    return plain(read_bytes(path), f"{path} ")


def parse(data: bytes, kind: type[Parsed], where: str, record: str = "") -> Parsed:
    """Parse JSON into a type.

    Args:
        data: the text; with a byte order mark, in UTF-16, or with NaN in fields that nobody reads, it is JSON too.
        kind: the type.
        where: begins messages: a path.
        record: what the text is called, where it is one record and not a file.

    Raises:
        UnsegError: it is not JSON, or a field holds something else than it should.
    """
    try:
        return msgspec.json.decode(data, type=kind, strict=False)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    return convert(plain(data, f"{where} "), kind, f"{where}: ", record)


def convert(content: Any, kind: type[Parsed], prefix: str = "", record: str = "", first: int = 1) -> Parsed:
    """Check plain values against a type, as `parse` does for a text.

    Args:
        content: what JSON holds.
        kind: the type.
        prefix: begins messages.
        record: what the content is called, where it is one record and not a file.
        first: number of the first entry in the lists of the content, where it is a part of a file.

    Raises:
        UnsegError: a field holds something else than it should.
    """
    try:
        try:
            return msgspec.convert(content, kind, strict=False)
        except UnicodeEncodeError:  # a file name that is not UTF-8; numbers as text are not looked for then
            return msgspec.convert(content, kind)
    except msgspec.ValidationError as error:
        raise UnsegError(f"{prefix}{_explain(content, str(error), record, first)}") from None
    except UnicodeEncodeError:
        raise UnsegError(f"{prefix}it holds text that is not Unicode.") from None
    except RecursionError:
        raise UnsegError(f"{prefix}it is nested too deeply.") from None


def quoted(value: Any) -> str:
    """Return a value as JSON has it, text in quotes, shortened where it is long.

    >>> quoted("7"), quoted(7), quoted(None)
    ('"7"', '7', 'null')
    """
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (ValueError, RecursionError):  # a number of thousands of digits
        return "a value of great length"
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= 60 else f"{text[:57]}..."


def plain(data: bytes, where: str) -> Any:
    """Return what a JSON text holds; `where` begins the message of the `UnsegError` where it is not JSON."""
    try:
        return json.loads(data.decode("utf-8-sig") if not data.startswith((b"\xff\xfe", b"\xfe\xff")) else data)
    except json.JSONDecodeError as error:
        raise UnsegError(f"{where}is not JSON: {_why_no_json(data, error)}.") from None
    except UnicodeDecodeError:
        what = (
            "compressed; unpack it" if data.startswith(_COMPRESSED) else "not text in UTF-8; save it in that encoding"
        )
        raise UnsegError(f"{where}is not JSON: it is {what}.") from None
    except RecursionError:
        raise UnsegError(f"{where}cannot be read: it is nested too deeply.") from None
    except ValueError:  # Python reads no number of more than 4300 digits
        raise UnsegError(f"{where}cannot be read: a number in it has thousands of digits.") from None


def _why_no_json(data: bytes, error: json.JSONDecodeError) -> str:
    begins = data.removeprefix(b"\xef\xbb\xbf").lstrip()[:30].lower()
    if not begins:
        return "it is empty"
    for beginning, what in _OTHERS:
        if begins.startswith(beginning):
            return f"it is {what}"
    if error.msg == "Extra data":
        return f"another value follows the first, in line {error.lineno}"
    return f"{error.msg} in line {error.lineno}"


def _explain(content: Any, message: str, record: str, first: int) -> str:
    """Turn the library's message, which ends with a path into the content, into a sentence."""
    problem, _, path = message.partition(" - at `$")
    steps: list[str | int] = [name or int(index) for name, index in _STEP.findall(path)]
    names = [step for step in steps if isinstance(step, str)]
    missing = re.fullmatch(r"Object missing required field `(\w+)`.*", problem)
    if missing and not steps and not record:
        videos = isinstance(content, dict) and "videos" in content
        reason = "it lists videos, and only images are read" if videos else "so this is not a COCO annotation file"
        return f'the list "{missing[1]}" is missing{":" if videos else ","} {reason}.'
    owner, fields = record, steps
    if len(steps) > 1 and isinstance(steps[1], int) and not record:
        owner, fields = _name(content, str(steps[0]), steps[1], first), steps[2:]
    elif steps and isinstance(steps[0], int) and not record:
        owner, fields = f"result {steps[0] + first}", steps[1:]
    if missing and not (fields[:1] == ["segmentation"] and len(fields) > 1):  # a mask in a list of polygons
        inner = f' in its "{fields[0]}"' if fields else ""
        return f'{owner} lacks the key "{missing[1]}"{inner}.'
    if not fields and not owner:
        return f"it holds {quoted(_at(content, steps))}, but a COCO file or a list of results is needed."
    if not names or not fields:
        return f"{owner or names[-1]} is {quoted(_at(content, steps))}, but an object with keys and values is needed."
    field = next(str(step) for step in fields if isinstance(step, str))
    value, verb = _at(content, steps), "holds" if len(fields) > 1 else "is"
    return f'the "{field}" of {owner or "the file"} {verb} {quoted(value)}, but {_needed(field)}.'


def _needed(field: str) -> str:
    needed = NEEDED.get(field, "another kind of value")
    return f"{needed} {'are' if needed.split()[0] in ('four', 'polygons', 'run', 'height') else 'is'} needed"


def _name(content: Any, listed: str, index: int, first: int) -> str:
    """Call a record by its id and its image, or by its place."""
    entry = content[listed][index]
    word = _SINGULAR.get(listed, listed)
    if not isinstance(entry, dict) or not isinstance(entry.get("id"), (int, str)):
        return f"{word} number {index + first}"
    name = f"{word} {quoted(entry['id'])}"
    image = entry.get("image_id", entry.get("file_name"))
    if isinstance(image, (int, str)):
        name += f" (image {quoted(image)})" if "image_id" in entry else f" ({quoted(image)})"
    return name


def _at(content: Any, steps: list[str | int]) -> Any:
    for step in steps:
        content = content[step]
    return content

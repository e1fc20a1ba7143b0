"""What a run leaves, in a form in which two runs can be compared byte for byte."""

from __future__ import annotations

import hashlib
import io
import json
import re
from pathlib import Path
from typing import Any

import torch

UNFINISHED = re.compile(r"\.tmp-|\.part(-[0-9a-f]{32})?$|\.passing\.|\.lock$")
"""Names of files that only a run that has not ended may leave."""
CLOCKS = {"time", "data_time", "max_memory_mb", "seconds"}
"""Keys of ``metrics.json`` and ``rounds.json`` that hold times, and memory in use."""
MEDIANS = "loss"
"""In keys of ``metrics.json`` whose values are medians over the last steps of the same process."""
EVENTS = "events.out.tfevents."
"""Beginning of TensorBoard's files, whose names and content hold the time, the machine and the process."""
TIMINGS = "timings.jsonl"
"""File of a label set with the times that its stages took."""


def trace(folder: Path) -> dict[str, Any]:
    """Return what there is in a folder, by relative path: the sha256 of files; ``None`` for folders.

    Times are left out: TensorBoard's files are, and so are the keys `CLOCKS`. Two files are written line by line, and
    of them the last lines count, by step and by file: ``metrics.json``, to which a resumed training appends the steps
    since its last checkpoint once more, without the values of `MEDIANS`; and ``made_from.jsonl``, which names what is
    about to be made. Checkpoints count by what they hold: pickles of equal values differ where parts are shared.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.name.startswith(EVENTS) or path.name == TIMINGS:
            continue
        found[path.relative_to(folder).as_posix()] = None if path.is_dir() else _content(path)
    return found


def differences(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Return the paths that only one has, or that differ."""
    return sorted(path for path in one.keys() | other.keys() if one.get(path, "") != other.get(path, ""))


def unfinished(folder: Path) -> list[str]:
    """Return the names of what only a run that has not ended may leave."""
    return [path.name for path in folder.rglob("*") if UNFINISHED.search(path.name)]


def _content(path: Path) -> str:
    data = path.read_bytes()
    if path.name == "metrics.json":
        data = json.dumps(_metrics(data), sort_keys=True).encode()
    elif path.name == "made_from.jsonl":
        lines = map(json.loads, data.splitlines())
        data = json.dumps({line["file"]: line for line in lines}, sort_keys=True).encode()
    elif path.name == "rounds.json":
        data = json.dumps(_timeless(json.loads(data))).encode()
    elif path.suffix == ".pth":
        data = repr(_plain(torch.load(io.BytesIO(data), weights_only=True))).encode()
    return hashlib.sha256(data).hexdigest()


def _metrics(data: bytes) -> dict[int, dict[str, Any]]:
    """Return what ``metrics.json`` says of each step: several lines, of which each adds to the one before."""
    steps: dict[int, dict[str, Any]] = {}
    for line in map(json.loads, data.splitlines()):
        values = {key: None if MEDIANS in key else value for key, value in _timeless(line).items()}
        steps.setdefault(line["iteration"], {}).update(values)
    return steps


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _timeless(item) for key, item in value.items() if key not in CLOCKS}
    return [_timeless(item) for item in value] if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """Return nested values with each tensor as its type, shape and bytes."""
    if isinstance(value, torch.Tensor):
        data = value.contiguous().view(torch.uint8) if value.dim() else value.reshape(1).view(torch.uint8)
        return str(value.dtype), tuple(value.shape), hashlib.sha256(data.numpy().tobytes()).hexdigest()
    if isinstance(value, dict):
        return [(key, _plain(item)) for key, item in value.items()]
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value

"""What a file or folder is: weights of any kind, label sets, runs. Nothing is changed, and no code in it runs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from unseg_d2.config import get_cfg
from unseg_d2.config.load import as_values
from unseg_d2.data.classes import read_classes
from unseg_d2.data.coco import open_coco
from unseg_d2.data.info import read_info
from unseg_d2.description import Description
from unseg_d2.detectors.card import METRICS
from unseg_d2.detectors.figures import measured_beside
from unseg_d2.errors import UnsegError
from unseg_d2.manifest import ABSENT, changes
from unseg_d2.supervision import NOT_STATED, from_info, to_info
from unseg_d2.weight_files import network_of, read_weight_file
from unseg_d2.weight_kinds import kind_of_file
from unseg_d2.zoo.download import checksum
from unseg_d2.zoo.registry import KINDS, entries
from unseg_d2.zoo.store import PREFIX, resolve

FORMATS = {".safetensors": "safetensors", ".pkl": "pickle"}
"""Ending of a file of weights to the name of its format; every other one is torch's."""

MAIN_FILES = ("model_final.pth", "model.safetensors", "pytorch_model.bin", "labels.json")
"""What a folder is told by, the first that is there."""

RUNS = {"rounds.json": "a self-training run", "training.json": "a training", "last_checkpoint": "a training"}
"""File that only the folder of a run has, and what it is the folder of."""

CATEGORIES_NAMED = 8
"""Categories that are named in the terminal; of more the number is said."""


def inspect(path: str | Path, *, trust: bool = False) -> dict[str, Any]:
    """Return what a file or folder is, as plain values; empty entries are left out.

    Args:
        path: file of weights, label set, COCO file, a folder of one of them or of a run, or ``zoo:NAME``.
        trust: unpickle arbitrary objects of a file of weights, which can run arbitrary code.

    Returns:
        ``path``, ``is`` (a phrase), ``use`` (what it can be used for) and, by what it is, ``format``, ``bytes``,
        ``sha256``, ``zoo``, ``tensors``, ``parameters``, ``types``, the fields of its description, ``counts``,
        ``within`` (what the main file of a folder is).

    Raises:
        UnsegError: it is not there, damaged, or nothing that this package reads; or it needs ``trust``.
    """
    file = Path(resolve(path) if str(path).startswith(PREFIX) else path)
    if file.is_dir():
        found = _folder(file, trust)
    elif not file.is_file():
        raise UnsegError(f"There is no file or folder {path}.")
    elif file.suffix.lower() == ".json":
        found = _annotations(file)
    else:
        found = _weights(file, trust)
    return {"path": str(path), **{key: value for key, value in found.items() if value not in (None, "", [], {}, ())}}


def _folder(folder: Path, trust: bool) -> dict[str, Any]:
    what = next((text for name, text in RUNS.items() if (folder / name).is_file()), "a folder")
    files = [folder / name for name in MAIN_FILES]
    files += sorted(folder.glob("round*/model_final.pth"), key=_round, reverse=True)
    files += sorted(folder.glob("model_[0-9]*.pth"), reverse=True)
    main = next((file for file in files if file.is_file()), None)
    if main is None and what == "a folder":
        raise UnsegError(
            f"{folder} is no folder of a training, a label set or a model: it holds none of {', '.join(MAIN_FILES)}."
        )
    return {"is": what, "within": inspect(main, trust=trust) if main else None}


def _round(path: Path) -> int:
    number = re.search(r"\d+", path.parent.name)
    return int(number[0]) if number else -1


def _annotations(path: Path) -> dict[str, Any]:
    """Return what a COCO file is."""
    about: dict[str, Any] = {"format": "json", "bytes": path.stat().st_size, "sha256": checksum(path)}
    with open(path, "rb") as file:
        if file.read(64).lstrip()[:1] == b"[":
            return {
                "is": "COCO results",
                **about,
                "use": "score it with `unseg-d2 score-masks --labels FILE --gt FILE`",
            }
    info, index = read_info(path), open_coco(path)
    counts = {"images": len(index), "annotations": int(index.counts().sum())}
    names = [str(category.get("name", category["id"])) for category in index.categories]
    learnt = to_info(from_info(info))
    features = info.get("features")
    is_label_set = bool(learnt) or isinstance(features, dict)
    return {
        "is": "a label set of unseg_d2" if is_label_set else "a COCO file",
        **about,
        "counts": counts,
        "classes": names,
        "description": str(info.get("description", "")),
        "versions": info.get("versions"),
        "features": features.get("name") if isinstance(features, dict) else None,
        "round": len(info.get("rounds", [])) if is_label_set else None,
        "supervision": learnt,
        "use": "train on it (train-net --labels FILE), look at it (visualize), or write it for other tools (export)",
    }


def _weights(path: Path, trust: bool) -> dict[str, Any]:
    """Return what a file of weights is."""
    content = read_weight_file(path, trust=trust)
    kind, tensors = kind_of_file(content), network_of(content)
    about = Description.of(content) if isinstance(content, Mapping) else Description()
    sha256 = checksum(path)
    entry = next((entry for entry in entries().values() if entry.sha256 == sha256), None)
    learnt = about.supervision or (entry.supervision if entry else ())
    measured = [*about.measured, *(measured_beside(path) if kind.part == "detector" else [])]
    others = [str(key) for key in content if key not in about.entries()] if isinstance(content, Mapping) else []
    return {
        "is": f"{KINDS[entry.kind]}: {entry.layout}" if entry and kind.part == "other" else kind.text,
        "format": FORMATS.get(path.suffix.lower(), "torch"),
        "bytes": path.stat().st_size,
        "sha256": sha256,
        "zoo": entry.name if entry else None,
        "licence": entry.licence["name"] if entry else None,
        "tensors": len(tensors),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "types": sorted(Counter(str(tensor.dtype).removeprefix("torch.") for tensor in tensors.values())),
        **about.entries(),
        "classes": [str(category["name"]) for category in read_classes(path)] if kind.part == "detector" else [],
        "round": about.round,
        "supervision": to_info(learnt),
        "measured": [{"data": one.data, "iteration": one.iteration, "metrics": one.metrics} for one in measured],
        "entries": [key for key in others if key not in tensors],
        "use": kind.use,
    }


def as_text(found: Mapping[str, Any]) -> str:
    """Return what :func:`inspect` found as lines for a terminal."""
    lines = [str(found["path"])]
    for title, text in _lines(found):
        lines.append(f"  {title:12}  {text}")
    if "within" in found:
        lines += ["", as_text(found["within"])]
    return "\n".join(lines)


def _lines(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    lines = [("is", str(found["is"]))]
    if "bytes" in found:
        size = f"{found['bytes'] / 1e6:.1f} MB" if found["bytes"] >= 1e5 else f"{found['bytes']} bytes"
        lines.append(("file", f"{found['format']}, {size}, sha256 {found['sha256']}"))
    if "zoo" in found:
        lines.append(("zoo", f"zoo:{found['zoo']}, licence {found['licence']}"))
    if "tensors" in found:
        lines.append(
            ("weights", f"{found['tensors']} tensors of {found['parameters']:,} numbers, {', '.join(found['types'])}")
        )
    if "counts" in found:
        lines.append(("holds", ", ".join(f"{number:,} {name}" for name, number in found["counts"].items())))
    if "classes" in found:
        lines.append(("classes", _listed(found["classes"])))
    lines += _about_training(found)
    if "recipe" in found:
        lines.append(("recipe", f"{_changed(found['recipe'])} keys differ from the defaults; --recipe prints it"))
    if "use" in found:
        lines.append(("use", found["use"].replace("FILE", found["path"])))
    return lines


def _about_training(found: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what was trained on what, how, and how good it was; what is not known of a checkpoint is said."""
    lines = []
    if "versions" in found or "engine" in found:
        made = [f"{name} {version}" for name, version in found.get("versions", {}).items()]
        lines.append(("made by", ", ".join(made + ([f"engine {found['engine']}"] if "engine" in found else []))))
    if "iteration" in found:
        rounds = f", self-training round {found['round']}" if "round" in found else ""
        lines.append(("trained", f"to iteration {found['iteration']}{rounds}"))
    elif "round" in found:
        lines.append(("round", str(found["round"])))
    for data in found.get("data", ()):
        facts = [f"{data[key]:,} {key}" for key in ("images", "masks") if key in data]
        lines.append(("data", f"{data['name']}{': ' if facts else ''}{', '.join(facts)}"))
    if "features" in found:
        lines.append(("features", str(found["features"])))
    if "supervision" in found:
        lines += [("supervision", f"{word}: {meaning}") for word, meaning in found["supervision"].items()]
    elif "tensors" in found:
        lines.append(("supervision", NOT_STATED))
    for one in found.get("measured", ()):
        names = [name for name in METRICS if name in one["metrics"]] or list(one["metrics"])
        values = ", ".join(f"{name} {one['metrics'][name]:.1f}" for name in names)
        lines.append(("figures", f"{one['data']}: {values}"))
    return lines


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:CATEGORIES_NAMED])
    return shown if len(names) <= CATEGORIES_NAMED else f"{len(names)}: {shown} ..."


def _changed(recipe: str) -> int:
    """Return how many keys of a recipe differ from the defaults."""
    try:
        values = yaml.safe_load(recipe)
    except yaml.YAMLError:
        return 0
    if not isinstance(values, dict):
        return 0
    return sum(one.new is not ABSENT for one in changes(as_values(get_cfg()), values))

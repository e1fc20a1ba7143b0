"""Figures of own runs: what `evaluate`, `score-masks` and `self-train` have written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unseg_d2.compare.result import MEASURED, NOT_STATED, Result, benchmark_key, coco_protocol
from unseg_d2.data.builtin import ALIASES
from unseg_d2.data.spec import split_spec
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import read_metrics
from unseg_d2.supervision import Supervision, checked, from_info
from unseg_d2.training.benchmarks import setting_of
from unseg_d2.training.state import RUN_FILE

FIGURES_FILE = "figures.json"
BENCHMARKS_FOLDER = "benchmarks"  # in which `evaluate detection` writes below OUTPUT_DIR


@dataclass(frozen=True)
class About:
    """What a user says of own figures.

    Attributes:
        name: of the system; empty for the one that the file states, or the file's own.
        setting: where the file does not state it.
        supervision: words of `unseg_d2.supervision`; empty for not stated.
    """

    name: str = ""
    setting: str = NOT_STATED
    supervision: tuple[Supervision, ...] = ()


def own_results(path: Path, about: About) -> list[Result]:
    """Return the figures of a run.

    Args:
        path: the file ``figures.json`` or another of the same content, the folder that holds it, or a folder of
            `self-train`.
        about: what the files do not say.

    Raises:
        UnsegError: there are no figures, or the file is none that this package wrote.
    """
    if path.is_dir():
        if (path / RUN_FILE).is_file():
            return _rounds(path, about)
        inside = [path / FIGURES_FILE, path / BENCHMARKS_FOLDER / FIGURES_FILE]
        file = next((item for item in inside if item.is_file()), None)
        if file is None:
            raise UnsegError(f"{path} holds neither {FIGURES_FILE}, which `evaluate` writes, nor {RUN_FILE}.")
        return own_results(file, about)
    content = _read(path)
    about = _with_supervision(about, content)
    try:
        found = _results(content, about, path)
    except (AttributeError, KeyError, TypeError, ValueError):
        found = []
    if not found:
        raise UnsegError(f"{path} holds no figures that `evaluate`, `score-masks` or `self-train` wrote.")
    return found


def _with_supervision(about: About, content: Mapping[str, Any]) -> About:
    """Fill in what the file has recorded, where the user says nothing and all of it is known."""
    words = from_info(content)
    if about.supervision or not words or NOT_STATED in words:
        return about
    return About(about.name, about.setting, checked(words))


def _results(content: Mapping[str, Any], about: About, path: Path) -> list[Result]:
    """Tell the files apart by their keys."""
    name = about.name or content.get("name") or (path.parent.name if path.name == FIGURES_FILE else path.stem)
    if "benchmarks" in content:  # evaluate detection
        protocol = coco_protocol(content.get("max_detections", 100), content.get("with_classes", False))
        return [
            result
            for item in content["benchmarks"]
            for result in detections(
                read_metrics(item["figures"]), about, name, item["dataset"], path, protocol, setting=item["setting"]
            )
        ]
    if "gt" in content:  # score-masks
        protocol = coco_protocol(with_classes=content.get("with_classes", False))
        return detections(read_metrics(content["figures"]), about, name, str(content["gt"]), path, protocol)
    if "weights" in content:  # evaluate semantic
        scores = [(spec, head, score) for spec, heads in content["figures"].items() for head, score in heads.items()]
        figures = [(spec, head, {key: score[key] for key in ("mIoU", "Acc")}) for spec, head, score in scores]
        return [_result(f"{name} ({head})", about, spec, "", "semantic", found, path) for spec, head, found in figures]
    found = []  # evaluate saliency or corloc: metrics of methods by data set
    for dataset, methods in content.items():
        for method, metrics in methods.items():
            corloc = "CorLoc" in metrics
            label = f"{about.name} ({method})" if about.name else method
            kind, protocol = ("bbox", "corloc") if corloc else ("", "saliency")
            found.append(
                _result(label, about, dataset, kind, protocol, {k: float(v) for k, v in metrics.items()}, path)
            )
    return found


def _rounds(folder: Path, about: About) -> list[Result]:
    """Return the figures of every finished round of a self-training run."""
    state = _read(folder / RUN_FILE)
    try:
        settings, steps = state["settings"], state["steps"]
        files = [(step["round"], step["name"], step["output"]) for step in steps]
        truth, images = settings["ground_truth"], settings["images"]
    except (KeyError, TypeError):
        raise UnsegError(f"{folder / RUN_FILE} is damaged.") from None
    name = about.name or folder.name
    setting = setting_of(truth, (images,)) if images else NOT_STATED
    found: list[Result] = []
    for number, step, output in files:
        if step in ("score_masks", "evaluate"):
            label = f"{name}, pseudo-masks" if step == "score_masks" else f"{name}, round {number}"
            metrics = read_metrics(_read(folder / output))
            found += detections(metrics, about, label, truth, folder / output, setting=setting)
    if not found:
        raise UnsegError(f"{folder} has no figures yet: self-train measures with --gt DATASET, round after round.")
    return found


def detections(
    metrics: Mapping[str, Mapping[str, float]],
    about: About,
    name: str,
    dataset: str,
    source: Path,
    protocol: str = "coco",
    *,
    setting: str = NOT_STATED,
) -> list[Result]:
    """Return metrics of detections as results, one per kind of overlap.

    Args:
        metrics: in percent; NaN is left out.
        about: what the user says of them.
        name: of the system.
        dataset: built-in name or file that they were measured on.
        source: where they are from.
        protocol: see :func:`~unseg_d2.compare.result.coco_protocol`.
        setting: that the file states.
    """
    if setting != NOT_STATED:
        about = About(about.name, setting, about.supervision)
    found = []
    for kind, values in metrics.items():
        figures = {key: value for key, value in values.items() if value == value}
        located = {key: figures.pop(key) for key in ("CorLoc",) if key in figures}  # has a protocol of its own
        found += [_result(name, about, dataset, kind, protocol, figures, source)] if figures else []
        found += [_result(name, about, dataset, kind, "corloc", located, source)] if located else []
    return found


def _result(
    name: str, about: About, dataset: str, kind: str, protocol: str, figures: Mapping[str, float], source: Path
) -> Result:
    path = ALIASES.get(dataset, split_spec(dataset)[0])
    setting = about.setting if protocol.startswith("coco") else ""
    return Result(
        key=name,
        name=name,
        network="",
        benchmark=benchmark_key(path),
        kind=kind,
        setting=setting,
        protocol=protocol,
        figures=figures,
        supervision=about.supervision,
        source=str(source),
        certainty=MEASURED,
    )


def _read(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UnsegError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise UnsegError(f"{path} is not JSON.") from None
    if not isinstance(content, dict):
        raise UnsegError(f"{path} is a list; results of a system go into --labels, with --gt.")
    return content

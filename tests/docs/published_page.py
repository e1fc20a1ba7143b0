"""Write docs/published_recipes.md: what each published YAML file does here: ``python tests/docs/published_page.py``.

The keys and values of the files are facts, listed in published_recipes.json; files with these keys are written to a
temporary folder and loaded in all three ways. ``--repository FOLDER`` compares the list with a clone of a repository.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import yaml
from fvcore.common.config import CfgNode
from torch import nn

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.config.load import merge
from unseg_d2.data.builtin import ALIASES, BUILTIN
from unseg_d2.detectors.builtin.limits import check_training
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.errors import UnsegError
from unseg_d2.training.train import train

FACTS = Path(__file__).with_name("published_recipes.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "published_recipes.md"
START = """# Published recipes

<!-- Written by `python tests/docs/published_page.py`; a test compares the two, with files of the same keys. -->

What the {count} YAML files of CutLER, CuVLER and VideoCutLER do here as they are: by our commands (`--config-file`)
with either engine, and in a Detectron2 project of your own, by its `build_model(cfg)` after
`add_unseg_config(cfg); cfg.merge_from_file(FILE)`. All networks are a `GeneralizedRCNN`; a cell names the heads and
what they compute.

- `RoIHeads` are those of the built-in engine. `DropLossCascadeROIHeads`, `DropLossStandardROIHeads` and
  `ConfidenceMaskHead` are our subclasses of Detectron2's heads, which compute the same where no key of ours is on.
- `StandardROIHeads` and `MaskRCNNConvUpsampleHead` are Detectron2's own: your project gets them where no key of ours is
  on, and no name is one of CutLER's or CuVLER's.
- The values of the keys mean the same everywhere, and a key without effect is refused, with three exceptions, which the
  [settings](config.md) name: `INPUT.MASK_FORMAT`, since masks are always bitmaps, and `INPUT.CROP.TYPE` and `.SIZE`
  while cropping is off.
- Files state `SyncBN`, which is BatchNorm where the device is not a GPU, and the learning rate of 8 GPUs without saying
  so: our commands rescale our own [recipes](recipes.md) only.
- In your own project, training needs what the keys rely on: scores for soft targets, and a loader that pastes for
  `DATALOADER.COPY_PASTE True`. What lacks it is refused at the first batch.
"""
HEAD = "| file | built by `ENGINE builtin` | by `ENGINE detectron2` | `train-net` trains | by your `build_model` |"
REFUSED = """## Keys that our commands refuse

All are VideoCutLER's, whose network, Mask2Former on clips, is neither engine's. A command names the first one with its
line; these are all. In your own project, the code that brings the network brings these keys too.

"""
UNKNOWN = "Unknown key KEY in FILE, line N."


def facts() -> dict[str, dict[str, Any]]:
    """Return, per project, where its files are and their keys and values."""
    projects: dict[str, dict[str, Any]] = json.loads(FACTS.read_text(encoding="utf-8"))
    for project in projects.values():
        files = project["files"]
        project["files"] = {name: dict(files.get(keys.get("like"), {}), **keys) for name, keys in files.items()}
        for keys in project["files"].values():
            keys.pop("like", None)
    return projects


def write_files(folder: Path) -> dict[str, list[Path]]:
    """Write a file of the same keys for each published one; returns them per project."""
    written = defaultdict(list)
    for name, project in facts().items():
        for file, keys in project["files"].items():
            path = folder / name / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(yaml.safe_dump(nested(keys)), encoding="utf-8")
            written[name].append(path)
    return written


def nested(keys: dict[str, Any]) -> dict[str, Any]:
    """Return ``{"A": {"B": value}}`` for ``{"A.B": value}``."""
    result: dict[str, Any] = {}
    for key, value in keys.items():
        *sections, last = key.split(".")
        node = result
        for section in sections:
            node = node.setdefault(section, {})
        node[last] = value
    return result


def flat(node: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Undo `nested`."""
    for key, value in node.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(f"{prefix}{key}", value)]


def refusals(file: Path) -> dict[str, str]:
    """Return each key of a file, and of the files below it, that our commands refuse, with the words."""
    found = {}
    for key, value in flat(CfgNode.load_yaml_with_base(str(file))):
        try:
            merge(get_cfg(), nested({key: value}), "FILE")
        except UnsegError as error:
            found[key] = str(error)
    return found


def builtin_network(cfg: CfgNode) -> str:
    """Build a network with the built-in engine and describe it."""
    with torch.device("meta"):
        heads = build_model(cfg).roi_heads
    check_training(cfg)
    stages, masks = len(heads.box_predictor), heads.mask_head is not None
    return _words(
        f"`RoIHeads`, {stages} stage{'s' if stages > 1 else ''}", heads.droploss_iou_thresh, heads.soft_targets, masks
    )


def detectron2_network(cfg: CfgNode) -> str:
    """Build a network with Detectron2 and name the classes of its heads."""
    from detectron2.modeling import build_model as build

    with torch.device("meta"):
        heads: Any = build(cfg).roi_heads
    predictor = heads.box_predictor[0] if isinstance(heads.box_predictor, nn.ModuleList) else heads.box_predictor
    mask_head = getattr(heads, "mask_head", None)
    names = " + ".join(f"`{type(part).__name__}`" for part in (heads, mask_head) if part is not None)
    threshold, soft = getattr(predictor, "droploss_iou_thresh", None), getattr(predictor, "soft_targets", False)
    return _words(names, threshold, soft, mask_head is not None)


def _words(names: str, droploss: float | None, soft_targets: bool, masks: bool) -> str:
    words = [f"DropLoss {droploss}"] if droploss is not None else []
    words += ["soft targets"] if soft_targets else []
    return f"{names}: {', '.join([*words, 'masks' if masks else 'boxes only'])}"


def by_commands(file: Path, network: Callable[[CfgNode], str], output: Path) -> tuple[str, str]:
    """Return what is built and what ``train-net`` refuses."""
    if refused := refusals(file):
        return f"refused: {len(refused)} keys", "no"
    cfg = load_cfg(file, ["MODEL.DEVICE", "meta", "OUTPUT_DIR", str(output)])
    try:
        built = network(cfg)
    except UnsegError as error:
        return f"refused: {error}", "no"
    try:
        train(_NoProcesses(), cfg, num_processes=8)
    except UnsegError as error:
        return built, f"no: {error}"
    return built, "yes"


def in_own_project(file: Path) -> str:
    """Return what ``build_model`` builds in a project that only calls ``add_unseg_config``."""
    from detectron2.config import get_cfg as theirs

    from unseg_d2.detectron2 import add_unseg_config

    cfg = theirs()
    add_unseg_config(cfg)
    try:
        cfg.merge_from_file(str(file))
    except KeyError as error:
        return f"refused by Detectron2: {error.args[0].rpartition(':')[0]}"
    cfg.MODEL.DEVICE = "meta"
    return detectron2_network(cfg)


def rows() -> Iterator[tuple[str, str, list[str]]]:
    """Yield project, file and the cells of its row."""
    from unseg_d2.detectors.detectron2.config import to_detectron2

    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "output"
        for project, files in write_files(Path(folder)).items():
            for file in files:
                builtin, trains = by_commands(file, builtin_network, output)
                ours, _ = by_commands(file, lambda cfg: detectron2_network(to_detectron2(cfg)), output)
                name = file.relative_to(Path(folder) / project).as_posix()
                yield project, name, [f"`{name}`", builtin, ours, trains, in_own_project(file)]


def render() -> str:
    """Return the page."""
    projects = facts()
    count = sum(len(project["files"]) for project in projects.values())
    parts = [START.format(count=count).rstrip()]
    results = defaultdict(list)
    for project, _, cells in rows():
        results[project].append(f"| {' | '.join(cells)} |")
    for name, project in projects.items():
        parts.append(f"## {name}\n\n`{project['repository']}` at `{project['commit']}`, `{project['folder']}`:")
        parts.append("\n".join([HEAD, "|---|---|---|---|---|", *results[name]]))
    return "\n\n".join([*parts, _refused(), _datasets(projects)]) + "\n"


def _refused() -> str:
    """Return all keys that our commands refuse, not only the first of each file, with the words."""
    unknown, others = defaultdict(set), {}
    with tempfile.TemporaryDirectory() as folder:
        for file in (file for files in write_files(Path(folder)).values() for file in files):
            for key, words in refusals(file).items():
                if words.startswith("Unknown key"):
                    section, _, name = key.rpartition(".")
                    unknown[section].add(name)
                else:
                    others[key] = words
    found = [(node, sorted(names), UNKNOWN) for node, names in sorted(unknown.items())]
    found += [(key.rpartition(".")[0], [key.rpartition(".")[2]], words) for key, words in sorted(others.items())]
    lines = ["| in | keys | words |", "|---|---|---|"]
    for node, names, words in found:
        lines.append(f"| `{node.replace('.', '`, `')}` | `{'`, `'.join(names)}` | {words} |")
    return REFUSED + "\n".join(lines)


def _datasets(projects: dict[str, dict[str, Any]]) -> str:
    names: dict[str, set[str]] = defaultdict(set)
    for project, content in projects.items():
        for keys in content["files"].values():
            for key in ("DATASETS.TRAIN", "DATASETS.TEST"):
                for name in re.findall(r"[\w.]+", str(keys.get(key, ""))):
                    names[name].add(project)
    lines = ["| name | project | here |", "|---|---|---|"]
    for name in sorted(names):
        known = name in BUILTIN or name in ALIASES
        annotations = f"`{BUILTIN[ALIASES.get(name, name)].annotations}`" if known else "not known: name a COCO json"
        lines.append(f"| `{name}` | {', '.join(sorted(names[name]))} | {annotations} |")
    return (
        "## Data sets that the files name\n\nA known name stands for a file below `$DETECTRON2_DATASETS`; "
        "[where to get it](../datasets/README.md).\n\n" + "\n".join(lines)
    )


class _NoProcesses:
    """An engine that starts nothing, to see what is refused before."""

    name = "none"

    def launch(self, *_: Any) -> None:
        """Start nothing."""


def compare(repository: Path) -> int:
    """Print each file of a clone whose keys differ from the list; returns how many do."""
    different = 0
    for name, project in facts().items():
        folder = repository / project["folder"]
        for file, keys in project["files"].items() if folder.is_dir() else ():
            if dict(flat(yaml.safe_load((folder / file).read_text(encoding="utf-8")))) != keys:
                print(f"{name}: {file} has other keys or values")
                different += 1
    return different


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, help="clone to compare the list of keys with")
    arguments = parser.parse_args()
    if arguments.repository:
        raise SystemExit(compare(arguments.repository))
    PAGE.write_text(render(), encoding="utf-8")

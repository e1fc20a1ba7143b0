"""Arguments that several commands share, each with one name, one meaning and one place in the help."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from unseg_d2.cli import completion
from unseg_d2.cli.parser import CommandParser
from unseg_d2.errors import UnsegError

IMAGES = (
    "folder of images or of tar or parquet files, such a file, an address (s3://bucket/folder), a pattern in quotes, "
    "labels.json, labels.json::image/folder or a built-in name"
)


def add_recipe(parser: CommandParser, reads: Sequence[str] = (), *, file: bool = True, settings: bool = True) -> None:
    """Add ``--config-file``, ``--import`` and settings, as ``config_file``, ``plugins`` and ``opts``.

    Args:
        parser: of the command.
        reads: settings that have an effect on the command (`unseg_d2.cli.reads`), as ``reads``.
        file: whether the command reads a recipe; if not, settings change the recipe of a checkpoint.
        settings: whether single keys may differ from the recipe, and plug-ins be imported.
    """
    group = parser.add_argument_group("recipe")
    parser.set_defaults(config_file=None, plugins=[], opts=[], reads=tuple(reads))
    if file:
        recipe = group.add_argument(
            "--config-file", metavar="FILE", help="recipe (YAML), or the name of a shipped one (default: all defaults)"
        )
        completion.completed_by(recipe, completion.recipes)
        parser.renamed["--config"] = "--config-file"
    if not settings:
        return
    add_plugins(group)
    pairs = group.add_argument(
        "opts",
        nargs="*",
        default=[],
        metavar="KEY VALUE",
        help="settings that differ from the recipe, anywhere in the command: SEED 1 or SEED=1",
    )
    completion.completed_by(pairs, completion.keys)
    parser.takes_settings = True


def add_plugins(group: argparse._ArgumentGroup) -> None:
    """Add ``--import``, as ``plugins``."""
    group.add_argument(
        "--import",
        dest="plugins",
        action="append",
        default=[],
        metavar="MODULE",
        help="Python module or file to import first, whose parts the recipe can then name; may be repeated",
    )


def add_evaluators(group: argparse._ArgumentGroup, default: str = "TEST.EVALUATORS of the recipe") -> None:
    """Add ``--evaluator``, as ``evaluators``; it changes ``TEST.EVALUATORS``."""
    evaluator = group.add_argument(
        "--evaluator",
        dest="evaluators",
        nargs="+",
        metavar="NAME",
        help="what computes the metrics: class_agnostic, per_class, best_iou, corloc, matched_classes, panoptic, "
        f"video or your own (default: {default})",
    )
    completion.completed_by(evaluator, completion.evaluators)


def add_images(parser: CommandParser, *, text: str = IMAGES, **options: Any) -> None:
    """Add ``--images``."""
    parser.add_argument_group("images").add_argument(
        "--images", **{"metavar": "IMAGES", "type": as_name, "help": text, **options}
    )


def add_labels(parser: CommandParser, text: str, **options: Any) -> None:
    """Add ``--labels``, a label set.

    Args:
        parser: of the command.
        text: help text: what the command does with it.
        **options: of argparse; by default one path is required.
    """
    options = {"required": True, "type": as_path, "metavar": "LABELS", **options}
    parser.add_argument_group("label set").add_argument("--labels", help=text, **options)


def add_output(parser: CommandParser, text: str, **options: Any) -> argparse._ArgumentGroup:
    """Add ``--output``, a file or folder to write; return its group.

    Args:
        parser: of the command.
        text: what is written.
        **options: of argparse; by default one path, which may be left out.
    """
    group = parser.add_argument_group("output")
    group.add_argument("--output", **{"type": as_path, "metavar": "PATH", "help": text, **options})
    return group


def add_training_output(parser: CommandParser) -> argparse._ArgumentGroup:
    """Add ``--output``, the folder of a training, ``--restart`` and ``--resume``; return their group."""
    group = parser.add_argument_group("output")
    group.add_argument(
        "--output", type=as_name, metavar="FOLDER", help="folder of the training (default: OUTPUT_DIR of the recipe)"
    )
    start = group.add_mutually_exclusive_group()
    start.add_argument(
        "--restart", action="store_true", help="begin anew; the training in that folder is set aside in before_1"
    )
    start.add_argument("--resume", action="store_true", help="no longer needed: a training resumes by itself")
    return group


def add_weights(parser: CommandParser, text: str, *, weights: bool = True, **options: Any) -> None:
    """Add ``--weights`` and ``--trust-checkpoint``.

    Args:
        parser: of the command.
        text: help text: what the command does with the checkpoint.
        weights: whether to add ``--weights``; if not, the recipe names the checkpoints.
        **options: of argparse.
    """
    group = parser.add_argument_group("checkpoint")
    if weights:
        group.add_argument("--weights", **{"metavar": "FILE", "help": text, **options})
    group.add_argument(
        "--trust-checkpoint",
        action="store_true",
        help="load checkpoints with pickled objects, which can run code; only for sources that you trust",
    )


def add_processes(
    parser: CommandParser, *, gpus: str = "", workers: str = "", engine: str = ""
) -> argparse._ArgumentGroup:
    """Add ``--num-gpus``, ``--num-workers`` and ``--engine``, each if it has a help text, and return their group.

    Args:
        parser: of the command.
        gpus: what the processes of ``--num-gpus`` do.
        workers: what those of ``--num-workers`` do.
        engine: what the machines of ``--engine ray`` do; the option becomes ``run_on``.
    """
    group = parser.add_argument_group("processes")
    if gpus:
        group.add_argument("--num-gpus", type=positive, default=1, metavar="N", help=gpus)
    if workers:
        group.add_argument("--num-workers", type=not_negative, metavar="N", help=workers)
    if engine:
        text = f"local (this machine), or ray: the machines of a Ray cluster {engine}, see RAY (default: local)"
        group.add_argument("--engine", dest="run_on", type=place, default="local", metavar="local|ray", help=text)
    return group


def as_path(text: str) -> Path:
    """Argument type of files and folders: see `as_name`."""
    return Path(as_name(text))


def as_name(text: str) -> str:
    """Argument type of names of files, folders and data sets: ``~`` is the home folder, as after ``--output ``.

    An empty one, which would be this folder, is a variable of the shell that is not set.
    """
    if not text:
        raise argparse.ArgumentTypeError("is empty, but must be a path or a name")
    return text if os.path.lexists(text) else os.path.expanduser(text)


def where(args: argparse.Namespace) -> dict[str, Any]:
    """Return ``run_on`` and ``num_workers`` of a command line, as functions take them.

    Raises:
        UnsegError: processes of this machine are asked for, and a cluster to do their work.
    """
    if args.run_on == "ray" and args.num_workers is not None:
        raise UnsegError(
            "--num-workers counts processes of this machine; a Ray cluster decides itself, by what a task needs "
            "(RAY.CPUS, RAY.GPUS): leave it out."
        )
    return {"run_on": args.run_on, "num_workers": args.num_workers}


def place(text: str) -> str:
    """Argument type of ``--engine``, where work is done; what runs a detector is the key ``ENGINE``."""
    if text in ("detectron2", "builtin", "auto"):
        raise argparse.ArgumentTypeError(f"must be local or ray; what runs the detector is the key ENGINE {text}")
    if text not in ("local", "ray"):
        raise argparse.ArgumentTypeError(f"must be local or ray, not {text}")
    return text


def not_negative(text: str) -> int:
    """Argument type of numbers from 0 on."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, not {text}")
    return int(text)


def positive(text: str) -> int:
    """Argument type of counts."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return int(text)

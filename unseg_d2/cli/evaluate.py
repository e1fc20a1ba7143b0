"""Score on benchmarks: detectors, saliency, CorLoc or semantic segmentation."""

from __future__ import annotations

import logging

from unseg_d2.cli import evaluate_detection, evaluate_saliency, evaluate_semantic
from unseg_d2.cli.parser import Command, CommandParser, add_commands

TASKS = {
    "detection": ("a detector, or masks from any source, beside the published results", evaluate_detection.COMMAND),
    "saliency": ("soft masks of salient objects, each with several refinements", evaluate_saliency.SALIENCY),
    "corloc": ("the same masks on images with boxes", evaluate_saliency.CORLOC),
    "semantic": ("a semantic segmentation learnt without labels", evaluate_semantic.COMMAND),
}
"""Each task with its help text and its command."""

logger = logging.getLogger(__name__)


def _arguments(parser: CommandParser) -> None:
    add_commands(parser, TASKS, "TASK")


def former(words: list[str]) -> list[str]:
    """Put the task in front; it used to be the value of ``--task``, by default detection.

    >>> former(["--datasets", "ecssd", "--task", "saliency"])
    ['saliency', '--datasets', 'ecssd']
    """
    if not words or not words[0].startswith("-") or words[0] in ("-h", "--help"):
        return words
    rest, task = list(words), "detection"
    for place, word in enumerate(rest):
        name, equals, value = word.partition("=")
        if name == "--task":
            task = value if equals else next(iter(rest[place + 1 :]), "")
            del rest[place : place + (1 if equals else 2)]
            break
    logger.warning("`evaluate` without the task in front is a former spelling, to be removed; write: evaluate %s", task)
    return [task, *rest]


COMMAND = Command(
    __doc__,
    _arguments,
    examples=(
        "unseg-d2 evaluate detection --datasets coco_val2017 --weights zoo:cutler_cascade_final",
        "unseg-d2 evaluate saliency --datasets ecssd --weights runs/saliency/model_final.pth",
    ),
    notes="unseg-d2 evaluate TASK --help lists the arguments of a task.",
    rewrite=former,
)
main = COMMAND.main

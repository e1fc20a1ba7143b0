"""Plan a self-training run without a recipe: features, detector and schedule, decided once and kept beside the run.

::

    OUTPUT/schedule.json    what was asked for, what was measured, what was decided
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited, load_cfg
from unseg_d2.config.recipe import flat_options
from unseg_d2.data.catalog import GENERATED, load_dataset
from unseg_d2.data.spec import join_spec
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.duration import in_words, seconds_of
from unseg_d2.errors import UnsegError
from unseg_d2.files import write_json
from unseg_d2.jobs.places import LOCAL
from unseg_d2.loop.restart import refuse_inside, set_aside
from unseg_d2.manifest import read_manifest, resume_or_refuse
from unseg_d2.planning.choice import choose, masks_of
from unseg_d2.planning.machine import Machine
from unseg_d2.planning.measure import PROBED_IMAGES, time_masks, time_prediction, time_training
from unseg_d2.planning.schedule import Measured, Schedule, Training, Work, divide, with_evaluations
from unseg_d2.pseudo.generate import default_num_workers, generate_label_set
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.training.plan import Plan
from unseg_d2.training.report import GALLERY_LIMIT
from unseg_d2.training.rounds import FIRST_MASKS
from unseg_d2.training.state import LEFT_BY_A_RUN

RECORD = "schedule.json"
DEFAULT_BUDGET = "2h"
REMEDY = "ask for the same, choose another --output, or begin anew with --restart, which keeps it"
PAGE_SECONDS = 0.15
"""Of an image on the page of results, besides its prediction where that is not there yet."""
MOST_FOR_MASKS = 0.7
"""Part of the budget that masks may take."""
TOGETHER = 0.9
"""How much of each further process counts, since they share memory and disk."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        images: unlabelled images: folder, COCO json or built-in name; empty where ``labels`` are given.
        labels: label set to start from, instead of making one.
        output: folder of the run.
        budget: time for everything, as :func:`~unseg_d2.duration.seconds_of` reads it.
        rounds: self-training rounds after the first training.
        features: ``auto`` or one of `unseg_d2.planning.choice.KINDS`.
        opts: KEY VALUE overrides.
        ground_truth: data set with annotations to evaluate on, or empty.
        num_processes: training processes; 0 is one per GPU, or one.
        num_workers: processes that make masks; ``None`` is one per GPU, or one per core.
        run_on: where masks are made and predicted, ``local`` or ``ray``; the time is planned for this machine alone.
    """

    images: str
    output: Path
    budget: str = DEFAULT_BUDGET
    rounds: int = 1
    features: str = "auto"
    opts: tuple[Any, ...] = ()
    ground_truth: str = ""
    labels: str = ""
    num_processes: int = 0
    num_workers: int | None = None
    run_on: str = LOCAL

    def asked(self) -> dict[str, Any]:
        """Return what a resumed run must be asked for again."""
        return {
            "budget": self.budget,
            "rounds": self.rounds,
            "features": self.features,
            "opts": list(self.opts),
            "num_processes": self.num_processes,
        }

    def with_recipe(self, config_file: str) -> Plan:
        """Return the plan of a run whose recipe states everything; budget and features have no part in it."""
        return Plan(
            config_file=config_file,
            opts=self.opts,
            output=self.output,
            rounds=self.rounds,
            images=self.images,
            labels=self.labels,
            ground_truth=self.ground_truth,
            num_processes=self.num_processes or 1,
            num_workers=self.num_workers,
            run_on=self.run_on,
        )


def plan_run(request: Request, *, restart: bool = False) -> Plan:
    """Return the plan of a run: made on the first call, which makes the masks too, and kept for later ones.

    Args:
        request: what is asked for.
        restart: set the run in ``request.output`` aside and plan anew.

    Raises:
        UnsegError: there is nothing to work on, weights cannot be had, the budget is too short, or ``request.output``
            holds a run that was asked for otherwise.
    """
    _check(request)
    if restart:
        refuse_inside(request.output, request.with_recipe("configs/quickstart.yaml").files(), LEFT_BY_A_RUN)
        set_aside(request.output, left=LEFT_BY_A_RUN, what="self-training run")
    path = request.output / RECORD
    if not path.is_file():
        if (request.output / "rounds.json").is_file():
            raise UnsegError(f"{request.output} holds a run of a recipe: name it with --config-file, or {REMEDY}.")
        return _as_plan(request, _decide(request))
    kept = read_manifest(path, "delete it to plan anew")
    if "trainings" not in kept:  # killed, or the budget was too short: only what the masks depend on has been decided
        same = all(kept["asked"][name] == request.asked()[name] for name in ("features", "opts"))
        return _as_plan(request, _decide(request, kept["recipe"] if same else ""))
    holds = f"{request.output} holds a run that was planned"
    resume_or_refuse(kept["asked"], request.asked(), holds=holds, remedy=REMEDY)
    logger.info("This run was planned to take %s; %s holds the schedule.", in_words(kept["total"]), path)
    return _as_plan(request, kept)


def _check(request: Request) -> None:
    follows = [key for key in request.opts[::2] if key in Training(1, 1, 1, 1).settings()]
    if follows:
        raise UnsegError(f"{follows[0]} follows from the budget; leave it out, or name a recipe with --config-file.")
    seconds_of(request.budget)
    if request.images and request.images not in GENERATED:  # scenes depend on the recipe and are listed later
        list_inputs(request.images, load_cfg(None, request.opts), without=request.output)


def _decide(request: Request, recipe: str = "") -> dict[str, Any]:
    """Choose, make the masks, measure, divide the time, and keep it."""
    started, budget, machine = time.monotonic(), seconds_of(request.budget), Machine.this()
    recipe = recipe or choose(request.features, machine, request.opts).recipe
    processes = request.num_processes or max(1, machine.gpus)
    opts = [*request.opts, *flat_options([_for_machine(recipe, machine, processes, request.opts)])]
    record = {"asked": request.asked(), "recipe": recipe, "opts": opts, "processes": processes}
    cfg = load_cfg(recipe, opts)
    inputs = None if request.labels else list_inputs(request.images, cfg, without=request.output)
    truth = len(load_dataset(request.ground_truth, cfg)) if request.ground_truth else 0
    images = len(inputs or load_dataset(request.labels, cfg))
    logger.info("%s; %d images; recipe %s; budget %s", machine.line(), images, recipe, in_words(budget))
    if inputs and masks_of(recipe):
        logger.info("%s", masks_of(recipe))
    mask = _masks_in_time(cfg, inputs, budget, request.num_workers) if inputs else 0.0
    request.output.mkdir(parents=True, exist_ok=True)
    write_json(request.output / RECORD, record, indent=1)
    train = edited(cfg, {"DATASETS.TRAIN": (_labels(cfg, request, inputs),)})
    spent = max(time.monotonic() - started, images * mask)  # also where a run before this made some of the masks
    measured = _measure(train, request, processes, spent, mask, images, truth)
    if cfg.TEST.BEST:
        seen = truth or round(cfg.DATASETS.HELD_OUT * images)
        measured = with_evaluations(measured, seen, cfg.TEST.EVAL_PERIOD)
    work = Work(images, truth, request.rounds, cfg.SOLVER.IMS_PER_BATCH)
    schedule = divide(budget, measured, work)
    for line in arithmetic(schedule, measured, work, budget):
        logger.info("%s", line)
    record |= {
        "measured": asdict(measured),
        "trainings": [asdict(training) for training in schedule.trainings],
        "expected": [list(step) for step in schedule.expected],
        "total": schedule.total,
    }
    write_json(request.output / RECORD, record, indent=1)
    return record


def _labels(cfg: CfgNode, request: Request, inputs: Inputs | None) -> str:
    """Return the label set of the first training, which is made where it is not given."""
    if inputs is None:
        return request.labels
    folder = request.output / FIRST_MASKS
    labels = generate_label_set(cfg, request.images, folder, num_workers=request.num_workers, run_on=request.run_on)
    return join_spec(labels, inputs.root)


def _for_machine(recipe: str, machine: Machine, processes: int, opts: Sequence[str]) -> dict[str, Any]:
    """Return the settings that follow from the machine: the batch by memory, and the learning rate with it."""
    if not machine.gpus or "SOLVER.IMS_PER_BATCH" in opts[::2]:
        return {}
    solver = load_cfg(recipe, opts).SOLVER
    batch = machine.batch() * processes
    return {"SOLVER.IMS_PER_BATCH": batch, "SOLVER.BASE_LR": solver.BASE_LR * batch / solver.IMS_PER_BATCH}


def _masks_in_time(cfg: CfgNode, inputs: Inputs, budget: float, num_workers: int | None) -> float:
    """Return the seconds of an image's masks, all processes together, and say it; refuse a budget that they use up."""
    step = max(1, len(inputs) // PROBED_IMAGES)
    some = [Path(inputs.root, name) for name in inputs.file_names[::step][:PROBED_IMAGES]]
    single = time_masks(cfg, some)
    workers = default_num_workers(cfg) if num_workers is None else max(1, num_workers)
    mask = single / (1 + TOGETHER * (workers - 1))
    seconds = mask * len(inputs)
    logger.info(
        "masks: %d images x %.2g s on %d processes = %s", len(inputs), single, workers, in_words(max(1, seconds))
    )
    if seconds > MOST_FOR_MASKS * budget:
        raise UnsegError(
            f"The budget of {in_words(budget)} is too short: the masks of {len(inputs)} images alone take "
            f"{in_words(seconds)}. Give at least {in_words(seconds / MOST_FOR_MASKS)}, or fewer images."
        )
    return mask


def _measure(
    cfg: CfgNode, request: Request, processes: int, spent: float, mask: float, images: int, truth: int
) -> Measured:
    engine, folder = select_engine(cfg.ENGINE), request.output / "measuring"
    logger.info("measuring how long training takes")
    begun = time.monotonic()
    start, iteration, weights = time_training(engine, cfg, folder, num_processes=processes)
    records = load_dataset(cfg.DATASETS.TRAIN[0], cfg)
    image = time_prediction(engine, cfg, records, weights) / processes
    shutil.rmtree(folder)
    return Measured(
        spent=spent + time.monotonic() - begun,
        mask=mask,
        start=start,
        iteration=iteration,
        image=image,
        page=_page(start, image, images, truth),
    )


def _page(start: float, image: float, images: int, truth: int) -> float:
    """Return the seconds of the page: ground truth is shown with what its evaluation found, others are predicted."""
    if truth:
        return PAGE_SECONDS * min(truth, GALLERY_LIMIT)
    return start + (PAGE_SECONDS + image) * min(images, GALLERY_LIMIT)


def arithmetic(schedule: Schedule, measured: Measured, work: Work, budget: float) -> list[str]:
    """Return the lines that say how the time of a run is divided."""
    lines = [f"the plan: {in_words(schedule.total)} of {in_words(budget)}"]
    for number, training in enumerate(schedule.trainings):
        seen = training.iterations * work.batch
        lines.append(
            f"  training {number}: {training.iterations} iterations x {work.batch} images = {seen} images, "
            f"{seen / work.images:.1f} passes over {work.images}; {measured.iteration:.2g} s each = "
            f"{in_words(training.iterations * measured.iteration)}; learning rate falls at {training.step}; "
            f"checkpoint every {training.checkpoint_period}"
        )
    lines += [f"  {name}: {in_words(seconds)}" for name, seconds in schedule.expected]
    if schedule.is_capped:
        lines.append(
            "  more training would learn the errors of the masks by heart, so the rest of the time is not used"
        )
    return lines


def _as_plan(request: Request, record: dict[str, Any]) -> Plan:
    """Return the plan of the rounds that a record describes."""
    trainings = [Training(**training).settings() for training in record["trainings"]]
    return replace(
        request.with_recipe(record["recipe"]),
        opts=tuple(record["opts"]),
        num_processes=record["processes"],
        schedules=tuple(tuple(flat_options([settings])) for settings in trainings),
        expected=dict(record["expected"]),
    )

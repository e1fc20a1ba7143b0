"""Self-training: pseudo-masks, a first detector, and rounds that improve it (CutLER, section 3.4).

A round predicts on the unlabelled images, keeps detections above the round's score threshold, merges them with the
label set before, and trains on the result. Every finished step is recorded in ``rounds.json``; the same command resumes
after the last one, and a training that was killed resumes from its last checkpoint.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.config.load import as_values
from unseg_d2.config.scaling import scale_to_world_size
from unseg_d2.data.catalog import find_annotations, load_dataset
from unseg_d2.data.presence import check_images
from unseg_d2.data.results import ResultsIndex
from unseg_d2.data.spec import join_spec
from unseg_d2.detectors.learnt import of_weights
from unseg_d2.detectors.protocol import Engine, select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.scores import Metrics, Scores, read_metrics
from unseg_d2.files import write_json
from unseg_d2.loop.checkpoint import has_checkpoint, last_checkpoint
from unseg_d2.loop.events import REPORTS, read_reports
from unseg_d2.loop.restart import refuse_inside, set_aside
from unseg_d2.manifest import read_manifest
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.inputs import list_inputs
from unseg_d2.pseudo.label_set import info_of, labels_file, remembers_root, summarise
from unseg_d2.pseudo.renew import changed_images, sources_of
from unseg_d2.training.evaluate import evaluate_detector, score_records
from unseg_d2.training.final import check_no_training, keep_final
from unseg_d2.training.growth import Growth
from unseg_d2.training.next_labels import merge_round, predict_round
from unseg_d2.training.plan import Plan
from unseg_d2.training.prediction import predict_to_file
from unseg_d2.training.report import CURVES, Lines, shown_images, write_curves, write_plot, write_run_gallery
from unseg_d2.training.state import LEFT_BY_A_RUN, REMEDY, RUN_FILE, RunState, Step, recorded
from unseg_d2.training.train import check_choices, train

FIRST_MASKS = "round0/masks"
"""Folder of the generator's label set, in that of the run."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Result:
    """What a self-training run produces.

    Attributes:
        rows: name and metrics of the pseudo-masks and of every round; empty without ground truth.
        weights: checkpoint of the last round, as ``model_final.pth`` in the folder of the run.
        gallery: page of the last detections, beside the ground truth or else the last label set.
        plot: picture of the metrics; ``None`` without ground truth.
        growth: of the label set, round by round.
    """

    rows: list[tuple[str, Metrics]]
    weights: Path
    gallery: Path
    plot: Path | None
    growth: list[Growth]


def self_train(plan: Plan, *, restart: bool = False) -> Result:
    """Begin a self-training run, or resume it.

    Args:
        plan: what to do.
        restart: set the run in ``plan.output`` aside and begin anew.

    Raises:
        UnsegError: an input is missing or damaged, a recipe is for several classes, that of the rounds leaves out all
            detections, or ``plan.output`` holds another run.
    """
    run = _Run(plan, restart=restart)
    rows = run.all_rounds()
    plot = write_plot(plan.output / "figures.svg", rows) if rows else None
    return Result(rows, keep_final(run.train(run.last), plan.output), run.gallery(rows), plot, run.growth)


class _Run:
    """The state machine: each step asks for its inputs, which are made first, and records its output."""

    def __init__(self, plan: Plan, *, restart: bool = False) -> None:
        check_no_training(plan.output)
        self.plan = plan
        self.first = plan.recipe(0)
        self.engine: Engine = select_engine(self.first.ENGINE)
        check_choices(self.engine, self._evaluated(self.first))
        self.inputs = plan.inputs()
        settings = {**plan.settings(self.inputs), "engine": self.engine.name}  # what is not there leaves no run behind
        self.truth: dict[str, Path | str] = {}
        if plan.ground_truth:
            check_images(load_dataset(plan.ground_truth, self.first), plan.ground_truth)
            self.truth["ground_truth"] = find_annotations(plan.ground_truth, self.first)
            self.truth["scoring"] = json.dumps(as_values(self.first)["TEST"], sort_keys=True)
        idle = plan.idle_rounds()
        if idle and (restart or not (plan.output / RUN_FILE).is_file()):
            raise UnsegError(idle)
        if restart:
            refuse_inside(plan.output, plan.files(), LEFT_BY_A_RUN)
            set_aside(plan.output, left=LEFT_BY_A_RUN, what="self-training run")
        self.state = RunState(plan.output, settings)
        if idle and not self.state.find(1, "train"):  # until then, the recipe of the rounds may change
            raise UnsegError(idle)
        if idle:
            logger.warning("%s", idle)
        self.last, self.growth = 0, list[Growth]()

    def all_rounds(self) -> list[tuple[str, Metrics]]:
        """Make everything, in order, and return the metrics."""
        rows: list[tuple[str, Metrics]] = []
        self.labels(0)
        if self.plan.ground_truth and not self.plan.labels:
            rows.append(("pseudo-masks", self.score_masks()))
        for round_index in range(self.plan.rounds + 1):
            if not self._adds_something(round_index):
                break
            self.last = round_index
            self.train(round_index)
            if self.plan.ground_truth:
                rows.append((f"round {round_index}", self.evaluate(round_index)))
        return rows

    def _adds_something(self, round_index: int) -> bool:
        """Say how the label set of a round has grown; where it has not, further rounds change nothing."""
        before = info_of(labels_file(self.labels(round_index - 1))) if round_index else None
        growth = Growth.of(f"round {round_index}", info_of(labels_file(self.labels(round_index))), before)
        if growth is None:  # the user's own label set
            return True
        self.growth.append(growth)
        logger.info("%s.", growth.line())
        if growth.added == 0:
            logger.warning(
                "The detector adds no mask to those it was trained on, so round %d would train on the same masks: the "
                "run ends with round %d. Lower ROUNDS.SCORE_THRESHOLDS or train for longer, in another --output.",
                *(round_index, round_index - 1),
            )
        return growth.added != 0

    def labels(self, round_index: int) -> Path:
        """Return the label set that a round trains on."""
        if round_index == 0 and self.plan.labels:
            return Path(self.plan.labels)
        if round_index == 0:
            return self.masks
        previous, predictions = self.labels(round_index - 1), self.predict(round_index)

        def merge(folder: Path) -> Path:
            learnt = of_weights(self.train(round_index - 1))
            output = folder / "labels.json"
            return merge_round(self.first, self._spec(previous), predictions, output, round_index, learnt)

        return self._step(round_index, "merge", merge, labels=labels_file(previous), predictions=predictions)

    @cached_property
    def masks(self) -> Path:
        """The label set that the generator makes of the images; those that changed before the training are renewed."""
        masks = self.plan.output / FIRST_MASKS
        has_begun = self.state.find(0, "train") or (masks.parent / "last_checkpoint").is_file()
        if self.state.find(0, "masks") and not has_begun:
            return self._generate(self.plan.images, masks)
        path = self._step(0, "masks", lambda folder: self._generate(self.plan.images, masks))
        assert self.inputs is not None  # a run from a label set asks for no masks
        changed = changed_images(path.parent, sources_of(self.first, self.inputs.root))
        if changed and self.state.find(0, "train"):
            logger.warning(
                "%d images, such as %s, have changed since this run was trained on their masks; it keeps those masks. "
                "Choose another --output, or --restart, to begin with the images as they are.",
                *(len(changed), changed[0]),
            )
        return path

    def _spec(self, labels: Path | str) -> str:
        """Return how a label set is named: with the folder of the images where it remembers another one."""
        if self.inputs is None or remembers_root(Path(labels), self.inputs.root):
            return str(labels)
        return join_spec(labels, self.inputs.root)

    def train(self, round_index: int) -> Path:
        """Return the checkpoint of a round."""
        labels = self.labels(round_index)
        weights = self.train(round_index - 1) if round_index else None

        def fit(folder: Path) -> Path:
            changes: dict[str, Any] = {"DATASETS.TRAIN": (self._spec(labels),), "OUTPUT_DIR": str(folder)}
            if weights:
                changes["MODEL.WEIGHTS"] = str(weights)
            cfg = self._evaluated(edited(self._cfg(round_index), changes))
            resume = last_checkpoint(folder) is None or has_checkpoint(folder)
            following = self.plan.iterations_after(round_index)
            return train(self.engine, cfg, num_processes=self.plan.num_processes, resume=resume, following=following)

        start = {"weights": weights} if weights else {}
        return self._step(round_index, "train", fit, labels=labels_file(labels), **start)

    def _evaluated(self, cfg: CfgNode) -> CfgNode:
        """Let the ground truth, if there is one, choose the best checkpoint where the recipe asks for that."""
        chosen = self.plan.ground_truth and cfg.TEST.BEST
        return edited(cfg, {"DATASETS.TEST": (self.plan.ground_truth,)}) if chosen else cfg

    def predict(self, round_index: int) -> Path:
        """Return what the detector of the round before finds on the unlabelled images."""
        weights = self.train(round_index - 1)
        images = self.labels(0)

        def detect(folder: Path) -> Path:
            most = self.first.ROUNDS.DETECTIONS_PER_IMAGE
            cfg = edited(self._cfg(round_index - 1), {"ROUNDS.DETECTIONS_PER_IMAGE": most})
            return predict_round(
                *(self.engine, cfg, str(weights), self._spec(images), folder / "predictions"),
                num_processes=self.plan.num_processes,
                run_on=self.plan.run_on,
            )

        return self._step(round_index, "predict", detect, weights=weights, images=labels_file(images))

    def score_masks(self) -> Metrics:
        """Return the metrics of the generator itself on the images with ground truth."""

        def compare(folder: Path) -> Path:
            labels = self._generate(self.plan.ground_truth, self._masks_of_truth(folder))
            records = load_dataset(self.plan.ground_truth, self.first)
            results = _as_results(labels, records, self.first)
            scores = score_records(records, results, self.first, self.plan.ground_truth)
            return _write(folder / "figures_masks.json", scores)

        return read_metrics(json.loads(self._step(0, "score_masks", compare, **self.truth).read_text()))

    def evaluate(self, round_index: int) -> Metrics:
        """Return the metrics of a round's detector."""
        weights = self.train(round_index)

        def measure(folder: Path) -> Path:
            scores = evaluate_detector(
                self.engine,
                self._cfg(round_index),
                weights=str(weights),
                dataset=self.plan.ground_truth,
                output=folder / "evaluation",
                num_processes=self.plan.num_processes,
                run_on=self.plan.run_on,
            )
            return _write(folder / "figures.json", scores)

        path = self._step(round_index, "evaluate", measure, weights=weights, **self.truth)
        return read_metrics(json.loads(path.read_text()))

    def _masks_of_truth(self, folder: Path) -> Path:
        """Return where the masks on the ground truth go; those on another ground truth stay where they are."""
        path, images = folder / "masks_of_ground_truth", list_inputs(self.plan.ground_truth, self.first)
        known = path / "manifest.json"
        if known.is_file() and read_manifest(known, REMEDY)["images_sha256"] != images.checksum:
            return path.with_name(f"{path.name}_{images.checksum[:8]}")
        return path

    def gallery(self, rows: list[tuple[str, Metrics]]) -> Path:
        """Write the page that shows what the last detector finds, beside the ground truth or else the last labels."""
        folder, title = self.plan.output / f"round{self.last}", f"detector of round {self.last}"
        if self.plan.ground_truth:
            records = shown_images(load_dataset(self.plan.ground_truth, self.first))
            predictions, beside = folder / "evaluation" / "predictions.json", "ground truth"
        else:
            records = shown_images(load_dataset(self._spec(self.labels(self.last)), self.first))
            weights, cfg = str(self.train(self.last)), self._cfg(self.last)
            output, beside = folder / "shown", f"label set of round {self.last}"
            predictions = predict_to_file(self.engine, cfg, records, weights=weights, output=output)
        found = ResultsIndex(predictions)
        results = [item for image in records for item in found.of_image(image["image_id"])]
        trainings = self._trainings()
        write_curves(self.plan.output / CURVES, trainings)
        page = self.plan.output / "gallery.html"
        return write_run_gallery(page, records, results, title, rows, beside=beside, trainings=trainings)

    def _trainings(self) -> list[tuple[str, Lines]]:
        """Return what the training of each round reported."""
        folders = [(f"round {number}", self.plan.output / f"round{number}") for number in range(self.last + 1)]
        return [(title, read_reports(folder / REPORTS)) for title, folder in folders]

    def _generate(self, images: str, folder: Path) -> Path:
        """Return the generator's label set of some images."""
        where: dict[str, Any] = {"num_workers": self.plan.num_workers, "run_on": self.plan.run_on}
        labels = generate_label_set(self.first, images, folder, **where)
        for line in summarise(folder).splitlines():
            logger.info("%s", line)
        return labels

    def _cfg(self, round_index: int) -> CfgNode:
        """Return a round's recipe, scaled to the number of processes."""
        return scale_to_world_size(self.plan.recipe(round_index), self.plan.num_processes)[0]

    def _step(self, round_index: int, name: str, make: Callable[[Path], Path], **inputs: Path | str) -> Path:
        """Return the output of a finished step, or make and record it; it is made again where its inputs are others."""
        done, folder = self.state.find(round_index, name), self.plan.output / f"round{round_index}"
        why = self.state.why_again(done, inputs) if done else ""
        if done and not why:
            return self.plan.output / done.output
        again = f" again, since {why}" if why else ""
        logger.info("round %d: %s%s%s", round_index, name, again, self.plan.remaining(round_index, name))
        if name == "train" and "changed" in why:
            set_aside(folder, without=("evaluation",))  # which is found by content
        started = time.monotonic()
        path = make(folder)
        output = path.relative_to(self.plan.output).as_posix()
        self.state.finish(Step(round_index, name, output, round(time.monotonic() - started, 1), recorded(inputs)))
        return path


def _as_results(labels: Path, records: Sequence[dict[str, Any]], cfg: CfgNode) -> list[dict[str, Any]]:
    """Return the masks of a label set as results on the same images, matched by file, with the ids of the records."""
    ids = {Path(record["file_name"]).resolve(): record["image_id"] for record in records}
    return [
        {**annotation, "image_id": ids[Path(record["file_name"]).resolve()], "category_id": 1}
        for record in load_dataset(str(labels), cfg)
        for annotation in record["annotations"]
    ]


def _write(path: Path, scores: Scores) -> Path:
    write_json(path, scores.to_json()["figures"], indent=1)
    return path

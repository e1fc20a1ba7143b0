"""Divide the time of a run over masks, trainings and rounds: arithmetic only.

A run makes masks, trains a detector, and repeats *predict, merge, train* for each round. What each of them takes per
image or iteration has been measured; what is left of the budget goes to the trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from unseg_d2.duration import in_words
from unseg_d2.errors import UnsegError

FIRST_SHARE = 0.6
"""Part of the training time that the first training gets; the rounds share the rest."""
STEP_AT = 0.8
"""Part of a training after which the learning rate falls."""
FEWEST_ITERATIONS = 60
"""A training of fewer does not learn to tell objects from background."""
MOST_PASSES = 200
"""Over the images, in the first training; more learn the errors of the masks by heart."""
MOST_IMAGES_SEEN = 2_560_000
"""In the first training: as many as CutLER's, 160,000 batches of 16 (section 4)."""
CHECKPOINT_SECONDS = 600.0
"""Longest time between checkpoints: what a kill can cost."""
CHECKPOINTS = 8
"""Of a training that is shorter than as many times that."""
RESERVE = 0.04
"""Part of the budget that is not planned, since no measurement is exact."""


@dataclass(frozen=True)
class Measured:
    """What the steps of a run take on this machine, in seconds.

    Attributes:
        spent: of the budget so far: masks, and measuring.
        mask: of an image: its masks.
        start: of a training or a prediction: processes and networks.
        iteration: of the training.
        image: of the prediction.
        page: of showing the results.
    """

    spent: float
    mask: float
    start: float
    iteration: float
    image: float
    page: float


@dataclass(frozen=True)
class Work:
    """What a run has to do.

    Attributes:
        images: unlabelled ones.
        truth: images with ground truth, predicted after each training.
        rounds: after the first training.
        batch: images per iteration.
    """

    images: int
    truth: int
    rounds: int
    batch: int


@dataclass(frozen=True)
class Training:
    """The schedule of one training, in iterations."""

    iterations: int
    step: int
    warmup: int
    checkpoint_period: int

    def settings(self) -> dict[str, object]:
        """Return the keys of a recipe that state it."""
        return {
            "SOLVER.MAX_ITER": self.iterations,
            "SOLVER.STEPS": (self.step,),
            "SOLVER.WARMUP_ITERS": self.warmup,
            "SOLVER.CHECKPOINT_PERIOD": self.checkpoint_period,
        }


@dataclass(frozen=True)
class Schedule:
    """The trainings of a run, the first one and each round's, and what every step will take.

    Attributes:
        trainings: one per training.
        expected: name of each step, in order, and its seconds.
        is_capped: whether more time would have been there than the trainings can use.
    """

    trainings: tuple[Training, ...]
    expected: tuple[tuple[str, float], ...]
    is_capped: bool

    @property
    def total(self) -> float:
        """Seconds of the whole run."""
        return sum(seconds for _, seconds in self.expected)


def with_evaluations(measured: Measured, images: int, period: int) -> Measured:
    """Return what steps take where a training is evaluated as it goes (``TEST.BEST``): iterations carry the time.

    Args:
        measured: without evaluations.
        images: in an evaluation.
        period: iterations between two of them; 0 for none.

    >>> measured = Measured(spent=0, mask=1, start=10, iteration=1, image=0.5, page=20)
    >>> with_evaluations(measured, 48, 20).iteration, with_evaluations(measured, 48, 0).iteration
    (2.2, 1)
    """
    return replace(measured, iteration=measured.iteration + images * measured.image / period) if period else measured


def divide(budget: float, measured: Measured, work: Work) -> Schedule:
    """Return the schedule that ends within a budget.

    Args:
        budget: seconds for everything, from the beginning of the run.
        measured: what the steps take.
        work: what there is to do.

    Raises:
        UnsegError: the budget is too short; the message says what the least is.

    >>> measured = Measured(spent=100, mask=1, start=10, iteration=1, image=0.5, page=20)
    >>> schedule = divide(1200, measured, Work(images=60, truth=0, rounds=1, batch=4))
    >>> [training.iterations for training in schedule.trainings], round(schedule.total)
    ([583, 388], 1151)
    """
    fixed = measured.spent + sum(seconds for _, seconds in _around(measured, work))
    least = fixed + (work.rounds + 1) * FEWEST_ITERATIONS * measured.iteration
    available = (budget * (1 - RESERVE) - fixed) / measured.iteration
    wanted = _shares(int(available), work.rounds) if available > 0 else []
    if not wanted or min(wanted) < FEWEST_ITERATIONS:
        needed = max(least, fixed + FEWEST_ITERATIONS * measured.iteration / _smallest_share(work.rounds))
        raise UnsegError(
            f"The budget of {in_words(budget)} is too short: {in_words(fixed)} go into all that is not training, and "
            f"each of {work.rounds + 1} trainings needs {FEWEST_ITERATIONS} iterations of {measured.iteration:.2g} s. "
            f"Give at least {in_words(1.05 * needed / (1 - RESERVE))}, or fewer images or --rounds."
        )
    most = max(FEWEST_ITERATIONS, min(MOST_PASSES * work.images, MOST_IMAGES_SEEN) // work.batch)
    limits = [most] + [max(FEWEST_ITERATIONS, int(most * share)) for share in _relative(work.rounds)]
    trainings = tuple(_training(min(pair), measured.iteration) for pair in zip(wanted, limits))
    seconds = [training.iterations * measured.iteration for training in trainings]
    return Schedule(trainings, _steps(measured, work, seconds), any(w > m for w, m in zip(wanted, limits)))


def _shares(iterations: int, rounds: int) -> list[int]:
    if not rounds:
        return [iterations]
    return [int(FIRST_SHARE * iterations)] + [int((1 - FIRST_SHARE) / rounds * iterations)] * rounds


def _smallest_share(rounds: int) -> float:
    return min(FIRST_SHARE, (1 - FIRST_SHARE) / rounds) if rounds else 1.0


def _relative(rounds: int) -> list[float]:
    """Return the length of each round's training relative to the first."""
    return [(1 - FIRST_SHARE) / rounds / FIRST_SHARE for _ in range(rounds)]


def _training(iterations: int, seconds: float) -> Training:
    between = min(CHECKPOINT_SECONDS, iterations * seconds / CHECKPOINTS)
    period = max(1, min(iterations, int(between / seconds)))
    return Training(iterations, int(STEP_AT * iterations), min(1000, iterations // 5), period)


def _around(measured: Measured, work: Work) -> list[tuple[str, float]]:
    """Return the steps besides masks and iterations."""
    return [step for step in _steps(measured, work, [0.0] * (work.rounds + 1)) if step[0] != "masks"]


def _steps(measured: Measured, work: Work, trainings: Sequence[float]) -> tuple[tuple[str, float], ...]:
    """Return every step with its seconds; trainings are given their time without the start."""
    steps = [("masks", measured.spent)]
    if work.truth:
        steps.append(("masks on the ground truth", measured.start + work.truth * measured.mask))
    for number, seconds in enumerate(trainings):
        if number:
            steps.append((f"round {number}: predict", measured.start + work.images * measured.image))
        steps.append((f"round {number}: train", measured.start + seconds))
        if work.truth:
            steps.append((f"round {number}: evaluate", measured.start + work.truth * measured.image))
    steps.append(("page", measured.page))
    return tuple(steps)

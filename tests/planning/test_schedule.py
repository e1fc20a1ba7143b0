"""The division of time, against sums by hand."""

import pytest

from unseg_d2.errors import UnsegError
from unseg_d2.planning.schedule import (
    CHECKPOINT_SECONDS,
    FEWEST_ITERATIONS,
    MOST_IMAGES_SEEN,
    Measured,
    Work,
    divide,
)

MEASURED = Measured(spent=100, mask=1, start=10, iteration=0.5, image=0.25, page=8)


def test_everything_besides_training_is_taken_off_the_budget():
    # 1000 s less 4 %: 960. Around the trainings: 100 masks + 2 x 10 starts + (10 + 40 x .25) prediction + 8 page = 148.
    schedule = divide(1000, MEASURED, Work(images=40, truth=0, rounds=1, batch=2))
    assert [training.iterations for training in schedule.trainings] == [int(0.6 * 1624), int(0.4 * 1624)]
    assert dict(schedule.expected) == {
        "masks": 100,
        "round 0: train": 10 + 974 * 0.5,
        "round 1: predict": 20,
        "round 1: train": 10 + 649 * 0.5,
        "page": 8,
    }
    assert schedule.total == pytest.approx(100 + 497 + 20 + 334.5 + 8) and not schedule.is_capped


def test_ground_truth_is_predicted_after_each_training():
    schedule = divide(1000, MEASURED, Work(images=40, truth=12, rounds=1, batch=2))
    assert dict(schedule.expected)["masks on the ground truth"] == 10 + 12
    assert dict(schedule.expected)["round 1: evaluate"] == 10 + 3


@pytest.mark.parametrize("rounds", [0, 1, 2, 3])
def test_the_whole_run_ends_in_time(rounds):
    schedule = divide(9000, MEASURED, Work(images=5000, truth=20, rounds=rounds, batch=2))
    assert 0.94 * 9000 < schedule.total <= 9000
    assert len(schedule.trainings) == rounds + 1


def test_a_training_keeps_checkpoints_and_a_falling_rate():
    day = divide(86400, MEASURED, Work(images=10**6, truth=0, rounds=0, batch=2)).trainings[0]
    assert day.checkpoint_period * MEASURED.iteration <= CHECKPOINT_SECONDS
    assert day.step == int(0.8 * day.iterations) and day.warmup == 1000
    short = divide(600, MEASURED, Work(images=40, truth=0, rounds=0, batch=2)).trainings[0]
    assert 7 <= short.iterations // short.checkpoint_period <= 9
    assert short.warmup == short.iterations // 5


def test_few_images_are_not_seen_without_end():
    schedule = divide(86400, MEASURED, Work(images=10, truth=0, rounds=1, batch=2))
    assert schedule.trainings[0].iterations == 200 * 10 // 2 and schedule.is_capped
    assert schedule.trainings[1].iterations == int(1000 * 0.4 / 0.6)
    many = divide(10**9, MEASURED, Work(images=10**7, truth=0, rounds=0, batch=16))
    assert many.trainings[0].iterations == MOST_IMAGES_SEEN // 16 == 160_000  # CutLER's first training


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_a_budget_that_is_too_short_names_the_least_which_is_enough(rounds):
    work = Work(images=40, truth=0, rounds=rounds, batch=2)
    with pytest.raises(UnsegError, match="too short") as error:
        divide(120, MEASURED, work)
    from unseg_d2.duration import seconds_of

    least = str(error.value).split("at least ")[1].split(",")[0]
    schedule = divide(seconds_of(least), MEASURED, work)
    assert min(training.iterations for training in schedule.trainings) >= FEWEST_ITERATIONS
    with pytest.raises(UnsegError, match="too short"):
        divide(0.8 * seconds_of(least), MEASURED, work)

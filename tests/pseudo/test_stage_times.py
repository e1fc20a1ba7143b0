from __future__ import annotations

import json
from pathlib import Path

import pytest

from unseg_d2.pseudo.stage_times import Clock, StageTimes


def test_a_process_alone_says_its_parts() -> None:
    times = StageTimes()
    times.add(3, {"elapsed": 6, "reading": 1, "cut": 3, "finishing": 1.5})
    times.add(1, {"elapsed": 2, "reading": 1, "features": 0.5})
    assert times.shares() == {"cut": 0.375, "reading": 0.25, "finishing": 0.1875, "features": 0.0625}
    assert times.brief() == ", cut 38%, reading 25%, finishing 19%"
    assert times.sentence() == "Time by stage: cut 38 %, reading 25 %, finishing 19 %, features 6 %."


def test_helping_processes_are_told_apart_and_what_is_waited_for_is_to_be_added() -> None:
    """Two devices for 10 s each, with 2 readers and 3 finishers each."""
    times = StageTimes()
    for _ in range(2):
        times.add(
            50,
            {
                "elapsed": 10,
                "features": 4,
                "waiting for finishers": 5,
                "waiting for readers": 0.5,
                "reading": 4,
                "finishing": 27,
                "readers": 20,
                "finishers": 30,
            },
        )
    assert times.sentence() == (
        "Time of the device's process: waiting for finishers 50 %, features 40 %, waiting for readers 5 %; for each "
        "device, 2 readers were busy for 20 % and 3 finishers were busy for 90 %. More finishers (PSEUDO.FINISHERS) "
        "would make it faster, if there are cores for them."
    )
    assert times.brief() == ", waiting for finishers 50%, features 40%, waiting for readers 5%"


@pytest.mark.parametrize(("waits", "advised"), [(0.9, False), (1.0, True)])
def test_nothing_is_to_be_added_where_the_device_is_busy(waits: float, advised: bool) -> None:
    times = StageTimes()
    times.add(1, {"elapsed": 10, "features": 9, "waiting for readers": waits, "readers": 10})
    assert ("More readers (PSEUDO.READERS)" in times.sentence()) == advised


def test_refinement_on_a_card_that_takes_long_can_be_left_to_finishers() -> None:
    times = StageTimes()
    times.add(1, {"elapsed": 10, "features": 5, "refinement": 4, "finishing": 1, "finishers": 20})
    assert times.sentence().endswith("as REFINE.GUIDED.DEVICE, the finishers would refine the masks.")


def test_images_that_were_made_before_do_not_count(tmp_path: Path) -> None:
    times = StageTimes()
    times.add(7, {})
    times.add(1, {"elapsed": 1, "cut": 1})
    assert times.images == 1


def test_a_run_without_work_says_and_writes_nothing(tmp_path: Path) -> None:
    times = StageTimes()
    times.add(0, {})
    times.record(tmp_path)
    assert times.sentence() == times.brief() == "" and not list(tmp_path.iterdir())


def test_each_run_adds_a_line(tmp_path: Path) -> None:
    for images in (2, 3):
        times = StageTimes()
        times.add(images, {"elapsed": 2, "features": 1.23456, "waiting for readers": 0.5, "reading": 5, "readers": 6})
        times.record(tmp_path)
    first, second = map(json.loads, (tmp_path / "timings.jsonl").read_text().splitlines())
    assert (first["images"], second["images"]) == (2, 3)
    assert first == {
        "images": 2,
        "device_seconds": 2,
        "seconds": {"reading": 5, "features": 1.235, "waiting for readers": 0.5},
        "readers": 3,
    }


def test_a_clock_adds_up_and_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 10.0, 10.5, 12.0, 20.0, 21.0])
    monkeypatch.setattr("unseg_d2.pseudo.stage_times.time.perf_counter", lambda: next(now))
    clock = Clock()
    with clock.measure("cut"):
        pass
    with pytest.raises(KeyError), clock.measure("cut"):
        raise KeyError
    assert clock.take({"readers": 2, "finishers": 0}) == {"cut": 2.5, "elapsed": 12.0, "readers": 24.0}
    clock.begin()
    assert clock.take({"readers": 0}) == {"elapsed": 1.0}

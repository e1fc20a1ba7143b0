"""How many results a detector is asked for where it is scored."""

from __future__ import annotations

import pytest

from unseg_d2.cli.evaluate_detection import most_results
from unseg_d2.config import load_cfg


@pytest.mark.parametrize(
    ("stated", "options", "evaluators", "expected"),
    [
        (5, [], ["class_agnostic"], 100),
        (400, [], ["class_agnostic"], 400),
        (100, [], ["class_agnostic", "levels"], 1000),
        (100, ["TEST.LEVELS.MAX_DETECTIONS", "300", "TEST.EVALUATORS", "['levels']"], ["levels"], 300),
        (100, [], ["class_agnostic", "corloc"], 100),
        (-1, [], ["class_agnostic", "levels"], -1),
    ],
)
def test_as_many_as_are_counted_or_stated(
    stated: int, options: list[str], evaluators: list[str], expected: int
) -> None:
    assert most_results(stated, load_cfg(None, options), evaluators) == expected

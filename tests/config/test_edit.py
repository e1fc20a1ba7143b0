from __future__ import annotations

import pytest

from unseg_d2.config import edited, get_cfg
from unseg_d2.errors import UnsegError


def test_the_copy_is_frozen_and_the_original_stays() -> None:
    cfg = get_cfg()
    changed = edited(cfg, {"SOLVER.MAX_ITER": 7, "MODEL.WEIGHTS": "1"}, SEED=3)
    assert (changed.SOLVER.MAX_ITER, changed.MODEL.WEIGHTS, changed.SEED) == (7, "1", 3)  # a text stays a text
    assert changed.is_frozen() and not cfg.is_frozen()
    assert cfg.dump() == get_cfg().dump()
    again = edited(changed, {"SOLVER.MAX_ITER": cfg.SOLVER.MAX_ITER, "MODEL.WEIGHTS": ""}, SEED=cfg.SEED)
    assert again.dump() == cfg.dump()


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("SOLVER.MAXITER", r"no key SOLVER\.MAXITER.* Did you mean 'MAX_ITER'"),
        ("SOLVR.MAX_ITER", "no key SOLVR.MAX_ITER.* Did you mean 'SOLVER'"),
        ("SEED.MAX_ITER", r"no key SEED\.MAX_ITER"),
        ("SOLVER", "SOLVER is a section"),
    ],
)
def test_wrong_keys(key: str, message: str) -> None:
    with pytest.raises(UnsegError, match=message):
        edited(get_cfg(), {key: 1})

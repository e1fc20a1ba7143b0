"""Settings that may differ when a training is resumed."""

from __future__ import annotations

from functools import reduce
from operator import getitem
from pathlib import Path

import pytest

from unseg_d2.config import get_cfg, load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.loop.recipes import MAY_CHANGE, check_recipe


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_keys_that_may_change_exist(name):
    reduce(getitem, name.removesuffix(".").split("."), get_cfg())


def test_a_task_names_keys_of_its_own_that_may_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    before, now = ({"recipe": load_cfg(None, ["SEMANTIC.CACHE_GB", size]).dump()} for size in ("1.0", "2.0"))
    with pytest.raises(UnsegError, match=r"other settings: SEMANTIC.CACHE_GB was 1.0, now 2.0\. Choose"):
        check_recipe(before, Path("model.pth"), now)
    check_recipe(before, Path("model.pth"), now, ("SEMANTIC.CACHE",))
    assert "which may change: SEMANTIC.CACHE_GB was 1.0, now 2.0." in caplog.messages[-1]


def test_trust_may_be_added_to_any_training(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    before, now = ({"recipe": load_cfg(None, opts).dump()} for opts in ([], ["MODEL.TRUST_CHECKPOINT", "True"]))
    check_recipe(before, Path("model.pth"), now)
    assert "MODEL.TRUST_CHECKPOINT was False, now True." in caplog.messages[-1]

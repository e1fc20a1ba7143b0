"""Settings that a resumed training may have otherwise."""

from __future__ import annotations

from functools import reduce
from operator import getitem

import pytest

from unseg_d2.config import get_cfg
from unseg_d2.loop.recipes import MAY_CHANGE


@pytest.mark.parametrize("name", MAY_CHANGE)
def test_keys_that_may_change_exist(name):
    reduce(getitem, name.removesuffix(".").split("."), get_cfg())

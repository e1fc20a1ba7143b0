"""Commands that are killed at random moments, and run again: they end with what an uninterrupted run leaves.

``UNSEG_D2_CAMPAIGN_TRIALS`` is the number of trials per command, each with two to five kills in a row;
docs/reliability.md tells how many were made.
"""

from __future__ import annotations

import os
import random
from typing import Any

import pytest
from campaign import TRIED, Campaign
from tiny_commands import TINY, Tiny

pytestmark = pytest.mark.slow
TRIALS = int(os.environ.get("UNSEG_D2_CAMPAIGN_TRIALS", "1"))


@pytest.mark.parametrize("tiny", TINY, ids=lambda tiny: tiny.name)
def test_killed_and_run_again(tiny: Tiny, campaign: Campaign) -> None:
    whole = campaign.whole(tiny)
    chance = random.Random(tiny.name)
    for _ in range(TRIALS):
        campaign.begin(tiny)
        for _ in range(chance.randint(2, 5) if TRIALS > 1 else 1):
            when: dict[str, Any] = {"after": chance.uniform(0, whole.seconds)}
            if chance.random() < 0.5:
                when = {"event": chance.randint(1, whole.events)}
            alone = chance.random() < 0.3
            ended = campaign.run(tiny, act=("kill alone" if alone else "kill",), **when)
            TRIED["kills"] += ended.status == -9
            assert ended.status in (0, -9), ended.said
        ended = campaign.run(tiny)
        assert ended.status == 0, ended.said
        campaign.assert_whole(tiny)

"""What happens around a command while it works, to disks, folders, images and processes, costs no finished work.

It is one sentence, and when the cause is gone, the same command ends with what an uninterrupted run leaves. By default
each command meets one of the kinds; with ``UNSEG_D2_CAMPAIGN_TRIALS`` above 1, all of them.
"""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from campaign import TRIED, Campaign, assert_one_sentence
from command_server import Ended, Run
from tiny_commands import TINY, Tiny
from traces import trace

pytestmark = pytest.mark.slow
AT_ONCE = re.compile("_chunks/|scenes/")
"""What lies in folders that appear at once."""
TRIALS = int(os.environ.get("UNSEG_D2_CAMPAIGN_TRIALS", "1"))


def mount(*words: str) -> None:
    done = subprocess.run(["mount", *words], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file systems can be mounted here: {done.stderr.strip()}")


@contextmanager
def own_disk(campaign: Campaign, size: int) -> Iterator[None]:
    """Let the outputs lie on a disk of their own, of a number of bytes."""
    campaign.out.mkdir(exist_ok=True)
    mount("-t", "tmpfs", "-o", f"size={size}", "campaign", str(campaign.out))
    try:
        yield
    finally:
        subprocess.run(["umount", str(campaign.out)], check=True)


def full_disk(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    whole = campaign.whole(tiny)
    given = sum(path.stat().st_size for name in tiny.inputs for path in (campaign.stage / name).rglob("*"))
    with own_disk(campaign, 1 << 30):
        campaign.begin(tiny)
        size = given + int((whole.size - given) * chance.choice([0, 0.3, 0.6, 0.9]))
        mount("-o", f"remount,size={max(4096, size)}", str(campaign.out))
        ended = campaign.run(tiny)
        assert ended.status == 0 or "full" in ended.said.splitlines()[-1], ended.said
        TRIED["full disks"] += ended.status != 0
        mount("-o", "remount,size=1g", str(campaign.out))
        assert campaign.run(tiny).status == 0
        campaign.assert_whole(tiny)


def read_only_disk(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    whole = campaign.whole(tiny)
    with own_disk(campaign, 1 << 30):
        campaign.begin(tiny)
        if chance.random() < 0.5:
            campaign.run(tiny, event=chance.randint(1, whole.events))
        mount("-o", "remount,ro", str(campaign.out))
        ended = campaign.run(tiny)
        TRIED["read-only disks"] += 1
        mount("-o", "remount,rw", str(campaign.out))
        assert ended.status != 0, ended.said
        assert campaign.run(tiny).status == 0
        campaign.assert_whole(tiny)


def wrong_kind(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    """A file is where a folder should be made, or a folder where a file should."""
    left = campaign.whole(tiny).left
    campaign.begin(tiny)
    names = [name for name in left if name not in trace(campaign.out) and not AT_ONCE.search(name)]
    path = campaign.out / chance.choice(names)
    path.parent.mkdir(parents=True, exist_ok=True)
    if left[path.relative_to(campaign.out).as_posix()] is None:
        path.write_text("not a folder")
    else:
        (path / "not a file").mkdir(parents=True)
    ended = campaign.run(tiny)
    TRIED["files in place of folders and folders in place of files"] += 1
    assert ended.status != 0, f"{path}: {ended.said}"
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    ended = campaign.run(tiny)
    assert ended.status == 0, f"{path}: {ended.said}"
    campaign.assert_whole(tiny)


def outputs_removed(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    whole = campaign.whole(tiny)
    campaign.begin(tiny)
    folder = next((name for name in whole.left if whole.left[name] is None and name not in tiny.inputs), None)
    event = chance.randint(1, whole.events)
    ended = campaign.run(tiny, event=event, act=("remove", str(campaign.out / folder if folder else campaign.out)))
    TRIED["folders of outputs removed meanwhile"] += 1
    assert ended.status in (0, 2), ended.said
    campaign.out.mkdir(exist_ok=True)
    campaign.add_inputs(tiny)
    ended = campaign.run(tiny)
    assert ended.status == 0, ended.said
    campaign.assert_whole(tiny)


def image_removed(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    image = campaign.stage / "images" / f"00000{chance.randint(1, 6)}.png"
    _image(tiny, campaign, chance, ("remove", str(image)), image)


def image_changed(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    image, other = (campaign.stage / "images" / f"00000{k}.png" for k in chance.sample(range(1, 7), 2))
    _image(tiny, campaign, chance, ("swap", str(image), str(other)), image)


def _image(tiny: Tiny, campaign: Campaign, chance: random.Random, act: tuple[str, ...], image: Path) -> None:
    if not tiny.images:
        return
    whole = campaign.whole(tiny)
    campaign.begin(tiny)
    content = image.read_bytes()
    try:
        ended = campaign.run(tiny, event=chance.randint(1, whole.events), act=act)
        TRIED["images removed or changed meanwhile"] += 1
        assert ended.status in (0, 2), ended.said
    finally:
        image.write_bytes(content)
    ended = campaign.run(tiny)
    assert ended.status == 0, ended.said
    campaign.assert_whole(tiny)


def no_memory(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    campaign.whole(tiny)
    campaign.begin(tiny)
    ended = campaign.run(tiny, limits={"AS": int(2 ** chance.uniform(10, 27))})
    TRIED["allocations that failed"] += ended.status != 0
    assert ended.status >= 0, ended.said
    ended = campaign.run(tiny)
    assert ended.status == 0, ended.said
    campaign.assert_whole(tiny)


def two_at_once(tiny: Tiny, campaign: Campaign, chance: random.Random) -> None:
    """Two processes in one folder: both end, or one is refused in one sentence; the bytes are those of one."""
    whole = campaign.whole(tiny)
    campaign.begin(tiny)
    words = tiny.words(campaign.stage, campaign.out)
    delays = (0.0, chance.uniform(0, whole.seconds))
    both = campaign.server.run_all([Run(words, "", str(campaign.out), delay=delay) for delay in delays])
    for ended in both:
        campaign.checked(ended)
    TRIED["pairs of processes in one folder"] += 1
    assert min(ended.status for ended in both) == 0, [ended.said for ended in both]
    if max(ended.status for ended in both):
        assert campaign.run(tiny).status == 0
    campaign.assert_whole(tiny)


Surroundings = Callable[[Tiny, Campaign, random.Random], None]
KINDS: list[Surroundings] = [
    *(full_disk, read_only_disk, wrong_kind, outputs_removed, image_removed, image_changed, no_memory, two_at_once)
]
CASES = [
    pytest.param(tiny, kind, id=f"{tiny.name}-{kind.__name__}")
    for number, tiny in enumerate(TINY)
    for place, kind in enumerate(KINDS)
    if TRIALS > 1 or place == number % len(KINDS)
]


@pytest.mark.parametrize(("tiny", "kind"), CASES)
def test_surroundings(tiny: Tiny, kind: Surroundings, campaign: Campaign) -> None:
    chance = random.Random(f"{tiny.name} {kind.__name__}")
    for _ in range(max(1, TRIALS // 3)):
        kind(tiny, campaign, chance)


WORKERS = [tiny for tiny in TINY if tiny.name in ("generate-masks 1", "generate-masks 2")]


@pytest.mark.parametrize("tiny", WORKERS, ids=lambda tiny: tiny.name)
@pytest.mark.parametrize("act", ["kill worker", "pause worker"])
def test_workers(act: str, tiny: Tiny, campaign: Campaign) -> None:
    """A worker that is killed is replaced, or the command says so; one that is stopped for a while costs only time."""
    whole = campaign.whole(tiny)
    chance = random.Random(f"{tiny.name} {act}")
    for _ in range(TRIALS):
        campaign.begin(tiny)
        ended: Ended = campaign.run(tiny, after=chance.uniform(0, whole.seconds), act=(act,))
        TRIED[f"workers: {act.split()[0]}"] += 1
        if ended.status:
            assert act == "kill worker"
            assert_one_sentence(ended)
            assert campaign.run(tiny).status == 0
        campaign.assert_whole(tiny)

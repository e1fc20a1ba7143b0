"""A real Ray cluster of machines that come and go, on this machine; the results are those of one process."""

from __future__ import annotations

import importlib.util
import io
import json
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from cluster_fakes import Meeting, MeetingEngine, meeting_pipeline, telling
from fake_engine import FakeEngine
from local_cluster import LocalCluster, local_cluster
from PIL import Image
from pseudo_fakes import fake_pipeline, killed_by_white_pipeline, save_pictures
from worker_fakes import endless, fail

from unseg_d2.config import load_cfg
from unseg_d2.errors import UnsegError
from unseg_d2.jobs import ray_tasks
from unseg_d2.jobs.jobs import Jobs
from unseg_d2.jobs.ray_tasks import run_on_ray
from unseg_d2.jobs.settings import RaySettings
from unseg_d2.pseudo import generate
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.training import prediction, rounds
from unseg_d2.training.plan import Plan
from unseg_d2.training.prediction_jobs import RetriedParts
from unseg_d2.training.rounds import self_train

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="Ray is not installed"),
]
RECIPE = str(Path(__file__).resolve().parents[2] / "configs" / "quickstart_instant.yaml")
OPTIONS = ["FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "64"]


@pytest.fixture(scope="module")
def one_cluster() -> Iterator[LocalCluster]:
    with local_cluster() as cluster:
        yield cluster


@pytest.fixture
def cluster(one_cluster: LocalCluster) -> Iterator[LocalCluster]:
    """A cluster to which each test adds its machines."""
    yield one_cluster
    one_cluster.clear()


@pytest.fixture
def meeting(tmp_path: Path) -> Meeting:
    """Two machines begin together; after a few images they wait for a third."""
    (tmp_path / "meeting").mkdir()
    return Meeting(tmp_path / "meeting", first=2, quota=8, later=3)


@pytest.fixture
def joined(cluster: LocalCluster) -> Iterator[RaySettings]:
    """This process in the cluster; the settings of a task."""
    import ray

    ray.init(address=cluster.address, log_to_driver=False, logging_level=logging.ERROR)
    yield RaySettings(address="nowhere:1")  # it has joined one already
    ray.shutdown()


def test_processes_share_a_gpu_and_are_kept(cluster: LocalCluster, joined: RaySettings, meeting: Meeting) -> None:
    """Two tasks at a time have half of it each, eight in all; they compute with the cores of a task."""
    cluster.add(cores=2, gpus=1)
    settings, both = replace(joined, gpus=0.5), partial(telling, replace(meeting, quota=10**6))
    told = list(run_on_ray(both, Jobs(range(8)), settings, RetriedParts(), device="cuda"))
    assert sorted(job for job, *_ in told) == list(range(8))
    assert 2 <= len({pid for _, pid, *_ in told}) <= 4
    assert {(gpus, threads) for *_, gpus, threads in told} == {("0", 1)}


def test_a_process_has_one_gpu(cluster: LocalCluster, joined: RaySettings, meeting: Meeting) -> None:
    cluster.add(cores=4, gpus=2)
    both = partial(telling, replace(meeting, quota=10**6))
    told = list(run_on_ray(both, Jobs(range(24)), joined, RetriedParts(), device="cuda"))
    assert sorted(job for job, *_ in told) == list(range(24))
    assert {gpus for _, _, gpus, _ in told} == {"0", "1"}
    pairs = {(pid, gpus) for _, pid, gpus, _ in told}
    assert len(pairs) == len({pid for pid, _ in pairs})


def test_what_goes_wrong_is_one_sentence(
    cluster: LocalCluster, joined: RaySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a task raises, what only this machine has, and a machine that is gone when none may be."""
    machine = cluster.add()
    with pytest.raises(UnsegError, match=r"^The disk is full\.$"):
        list(run_on_ray(fail, Jobs(["problem"]), joined, RetriedParts(), device="cpu"))
    (tmp_path / "only_here.py").write_text("def prepare(worker):\n    return iter\n")
    monkeypatch.syspath_prepend(tmp_path)
    prepare = importlib.import_module("only_here").prepare
    with pytest.raises(UnsegError, match=r"^The Ray cluster failed \(.*No module named 'only_here'.*same versions"):
        list(run_on_ray(prepare, Jobs([0]), joined, RetriedParts(), device="cpu"))
    reports = run_on_ray(endless, Jobs([0]), replace(joined, max_retries=0), RetriedParts(), device="cpu")
    next(reports)
    cluster.kill(machine)
    with pytest.raises(UnsegError, match=r"^A machine of the cluster was gone while doing one job; .*RAY\.MAX_RETRIES"):
        list(reports)


def test_an_image_that_kills_its_process_is_tried_twice(
    cluster: LocalCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_tasks, "SETTLE", 2.0)
    cluster.add()
    images = save_pictures(tmp_path / "images", 6)
    with Image.open(images / "001.png") as image:
        image.putpixel((0, 0), (255, 255, 255))
        image.save(images / "001.png")
    cfg = load_cfg(None, [*OPTIONS, "FEATURES.BATCH_SIZE", "1", "RAY.ADDRESS", cluster.address])
    generate_label_set(cfg, images, tmp_path / "out", run_on="ray", build=killed_by_white_pipeline)
    (failure,) = map(json.loads, (tmp_path / "out" / "failures.jsonl").read_text().splitlines())
    assert failure["file_name"] == "001.png" and "killed twice" in failure["reason"]


def change_machines(cluster: LocalCluster, meeting: Meeting, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take a machine away without a word when both work, and add another; returns its name."""
    for _ in range(2):
        cluster.add()
    ready, changed = ray_tasks._Run._ready, []

    def look(run: ray_tasks._Run) -> list[Any]:
        waiting = meeting.waiting()
        if not changed and len(waiting) == 2:
            cluster.kill(waiting[0])
            changed.append(cluster.add())
        return ready(run)

    monkeypatch.setattr(ray_tasks._Run, "_ready", look)
    return changed


def test_a_label_set_though_machines_come_and_go(
    cluster: LocalCluster,
    meeting: Meeting,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The same bytes as without Ray, and the progress of all images."""
    images = save_pictures(tmp_path / "images", 96)
    generate_label_set(load_cfg(None, OPTIONS), images, tmp_path / "whole", num_workers=0, build=fake_pipeline)
    changed, bars, bar = change_machines(cluster, meeting, monkeypatch), [], generate.progress_bar
    options = {"disable": False, "file": io.StringIO()}
    monkeypatch.setattr(generate, "progress_bar", lambda **more: bars.append(bar(**more, **options)) or bars[-1])
    cfg = load_cfg(None, [*OPTIONS, "RAY.ADDRESS", cluster.address])
    generate_label_set(cfg, images, tmp_path / "out", run_on="ray", build=partial(meeting_pipeline, meeting))
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert len(changed) == 1 and len(list(meeting.folder.glob("came-*"))) == 3
    assert [message for message in caplog.messages if "machine" in message] == [
        "A machine of the cluster is gone; what it worked on is done elsewhere."
    ]
    assert [(shown.n, shown.total, shown.desc) for shown in bars] == [(96, 96, "masks: ")]


def test_a_round_though_machines_come_and_go(
    cluster: LocalCluster, meeting: Meeting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First masks, predictions and merged masks with the same bytes as without Ray."""
    scenes = ["SYNTHETIC.ROOT", str(tmp_path / "scenes"), "SYNTHETIC.NUM_TRAIN", "24", "SYNTHETIC.SIZE", "(72, 96)"]
    opts = (*scenes, "FEATURES.IMAGE_SIZE", "160", "FEATURES.DEVICE", "cpu", "MODEL.DEVICE", "cpu")
    plan = Plan(RECIPE, opts, tmp_path / "whole", 1, images="synthetic_train", num_workers=0)
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    monkeypatch.setattr(rounds, "select_engine", lambda _: FakeEngine())
    self_train(plan)
    changed = change_machines(cluster, meeting, monkeypatch)
    monkeypatch.setattr(rounds, "select_engine", lambda _: MeetingEngine(meeting))
    opts = (*opts, "RAY.ADDRESS", cluster.address)
    self_train(replace(plan, opts=opts, output=tmp_path / "spread", run_on="ray"))
    assert len(changed) == 1
    for folder in ("round0/masks", "round1"):
        whole, spread = content(tmp_path / "whole" / folder), content(tmp_path / "spread" / folder)
        assert whole.keys() == spread.keys() and [name for name in whole if whole[name] != spread[name]] == []
        assert "labels.json" in whole
    assert "predictions/predictions.json" in whole


def content(folder: Path) -> dict[str, bytes]:
    """What the files of a folder hold, but for times and for what depends on the name of the folder."""
    other = {"timings.jsonl", "made_from.json", "model_final.pth", "config.yaml"}
    files = [path for path in folder.rglob("*") if path.is_file() and path.name not in other]
    names = {path: path.relative_to(folder).as_posix() for path in files}
    return {re.sub(r"parts/\w+/", "parts/", name): path.read_bytes() for path, name in names.items()}


def test_the_command_says_what_it_says_without_a_cluster(cluster: LocalCluster, tmp_path: Path) -> None:
    """Nothing of Ray's own on the screen; the masks, with processes that help the one of the task, are those of one."""
    cluster.add()
    images = save_pictures(tmp_path / "images", 8)
    words = [sys.executable, "-m", "unseg_d2", "generate-masks", "--images", str(images)]
    options = ["FEATURES.NAME", "descriptors", "MASKS.GENERATOR", "tokencut", *OPTIONS]
    helpers = ["PSEUDO.READERS", "1", "PSEUDO.FINISHERS", "1"]
    spread = [*words, "--output", "spread", "--engine", "ray", *options, *helpers, "RAY.ADDRESS", cluster.address]
    whole = [*words, "--output", "whole", "--num-workers", "0", *options]
    done = [subprocess.run(one, cwd=tmp_path, capture_output=True, text=True) for one in (spread, whole)]
    assert [one.returncode for one in done] == [0, 0], done[0].stderr
    assert done[0].stdout.replace("spread", "whole") == done[1].stdout
    said = [line for line in re.split(r"[\r\n]+", done[0].stderr) if line.strip()]
    assert said and [line for line in said if not re.match(r"\[\d\d:\d\d:\d\d\] |starting ray: |masks: ", line)] == []
    assert content(tmp_path / "spread") == content(tmp_path / "whole")

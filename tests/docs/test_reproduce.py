"""The pages of docs/reproduce and their job files: no command, recipe, key, path or figure of them is out of date.

The fast part reads: a shell runs each page with stand-ins that record what is called. The slow part runs all pages on
small data sets of the same layout, and a job file with stand-ins for Slurm.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
from reproduce_data import NUM_SCENES, fill_zoo, lay_out, small
from reproduce_pages import FOLDER, PAGES, Page, job_file, read_page, with_figures
from reproduce_walk import Call, execute, recorded, run_recording, stand_ins, with_settings

from unseg_d2.cli import main
from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import ALIASES, BUILTIN, SALIENCY_DATASETS
from unseg_d2.data.prepare import coco_like
from unseg_d2.recipes import find_recipe
from unseg_d2.zoo.registry import find

VALUES = {"DETECTRON2_DATASETS": "/data", "OUT": "out", "GPUS": "2", "WORKERS": "0", "OPTS": "SEED=3"}
ALL = {path.stem: read_page(path) for path in PAGES}
MADE = ("train-net", "train-saliency", "train-semantic", "self-train")
"""Commands whose results are checkpoints."""

pages = pytest.mark.parametrize("page", ALL.values(), ids=ALL)


def before(page: Page) -> list[Page]:
    """The page, and those that have to be done before it, in order."""
    return [*(before(ALL[page.continues]) if page.continues else []), page]


def calls_of(page: Page, folder: Path) -> list[Call]:
    return [call for call in recorded(page, folder, VALUES) if call.program == "unseg-d2"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_figures_are_those_of_the_registry(path: Path) -> None:
    """If not: python tests/docs/reproduce_pages.py."""
    text = path.read_text(encoding="utf-8")
    assert with_figures(text) == text
    assert len(text.splitlines()) <= 130
    for heading in ("## GPU hours", "## What cannot be reproduced"):
        assert heading in text


@pages
def test_job_file_is_made_from_the_page(page: Page) -> None:
    path = FOLDER / f"{page.name}.sbatch"
    assert path.read_text(encoding="utf-8") == job_file(page)
    subprocess.run(["bash", "-n", str(path)], check=True)


@pages
def test_commands_are_understood(page: Page, tmp_path: Path) -> None:
    """Each parses; its recipe and its keys exist; it takes the settings of the page and no others."""
    for call in calls_of(page, tmp_path):
        args = main.parser(call.words[1:]).parse_args(list(call.words[1:]))
        assert callable(args.execute)
        if not hasattr(args, "opts"):
            continue
        assert "SEED=3" in call.words or call.command == "evaluate semantic", f"without $OPTS: {call.words}"
        for recipe in call.option("--config-file") or [None]:
            load_cfg(find_recipe(recipe) if recipe else None, args.opts)
    assert {"OUT", "OPTS"} <= set(page.variables)


@pages
def test_inputs_are_there(page: Page, tmp_path: Path) -> None:
    """What a command reads was made before, is in the zoo, or is a data set that the page prepares."""
    made: set[str] = set()
    for earlier in before(page):
        for call in calls_of(earlier, tmp_path):
            for name in call.zoo:
                assert find(name).file
            if earlier is page:
                assert_inputs(call, made)
            made |= outputs(call)


def assert_inputs(call: Call, made: set[str]) -> None:
    for name in [*call.option("--datasets"), *call.option("--gt")]:
        assert ALIASES.get(name, name) in BUILTIN or name in SALIENCY_DATASETS, name
    for word in [*call.option("--labels"), *call.option("--weights")]:
        assert word.startswith("zoo:") or word in made or is_named(word, made), f"{word} was not made before"
    for word in call.words:
        if word.startswith("SALIENCY.TARGETS="):
            assert word.partition("=")[2] in made
    for images in [*call.option("--images"), *call.option("--input")]:
        assert images.startswith("/data/") or ALIASES.get(images, images) in BUILTIN


def is_named(word: str, made: set[str]) -> bool:
    """Whether it is NAME=PATH of something that was made, or of somebody else's data."""
    path = word.partition("=")[2]
    return path in made or path.startswith("/data/")


def outputs(call: Call) -> set[str]:
    """Files and folders that a later command may read."""
    found = set(call.option("--write-masks"))
    for output in call.option("--output"):
        if call.command == "generate-masks":
            found.add(f"{output}/labels.json")
        elif call.command == "demo":
            found.add(f"{output}/predictions.json")
        elif call.command == "self-train":
            found |= {f"{output}/round{k}/model_final.pth" for k in range(int(call.option("--rounds")[0]) + 1)}
        elif call.command in MADE:
            found.add(f"{output}/model_final.pth")
    return found


@pages
def test_job_file_runs_the_commands_of_the_page(page: Page, tmp_path: Path) -> None:
    """With stand-ins for sbatch and srun: the same commands in the same order, masks in shares."""
    job = tmp_path / "job.sbatch"
    script = job_file(page).replace(page.settings, with_settings(page, VALUES) + "\n")
    assert script != job_file(page)
    job.write_text(script)
    found = run_recording(["bash", str(job)], tmp_path, TASKS="1")
    jobs = "\n".join(block.code for block in page.blocks if block.job)
    wanted = [
        Call((*call.words, *(("--shard-index", "0", "--num-shards", "1") if call.command == "generate-masks" else ())))
        for call in calls_of(page, tmp_path)
        if call.command.split()[0] not in ("prepare-data", "zoo") and call.words[1] in jobs
    ]
    loose = {call for call in wanted if call not in found}
    assert [call for call in wanted if call in found] == found
    assert all("move" in " ".join(call.words) for call in loose)  # masks of somebody else, which no job has


def test_a_job_begins_where_it_is_told(tmp_path: Path) -> None:
    page = ALL["cuvler"]
    job = tmp_path / "job.sbatch"
    job.write_text(job_file(page).replace(page.settings, with_settings(page, VALUES) + "\n"))
    found = run_recording(["bash", str(job), "self_train"], tmp_path, TASKS="2")
    assert [call.command for call in found] == ["train-net", *["evaluate detection"] * 4]
    done = subprocess.run(["bash", str(job), "nowhere"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "There is no step nowhere." in done.stderr


def test_a_job_at_its_time_limit_is_queued_again(tmp_path: Path) -> None:
    """Slurm sends the signal that the file asks for."""
    programs = stand_ins(tmp_path / "programs", record=True)
    (programs / "srun").write_text("#!/bin/bash\ntouch started\nexec sleep 60\n")
    (programs / "scontrol").write_text('#!/bin/bash\necho "$@" > scontrol\n')
    (programs / "scontrol").chmod(0o755)
    environment = {**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    environment |= {"STEP": "evaluate", "SLURM_JOB_ID": "17"}
    command = ["bash", str(FOLDER / "cuvler.sbatch")]
    job = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while not (tmp_path / "started").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        job.send_signal(signal.SIGUSR1)
        assert job.wait(timeout=20) != 0
    finally:
        os.killpg(job.pid, signal.SIGKILL)
    assert (tmp_path / "scontrol").read_text() == "requeue 17\n"


def test_index_lists_every_page() -> None:
    text = (FOLDER / "index.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\|[^|]+\| \[[^]]+\]\((\w+)\.md\) \|", text, re.M)
    assert sorted(listed) == sorted(ALL)
    assert all(listed.index(page.continues) < listed.index(name) for name, page in ALL.items() if page.continues)


EVERY_PAGE = "UNSEG_D2_EVERY_PAGE"
"""Environment variable that has the slow part run all pages, which takes three times as long."""
REPEATING = ("cutler_ablations", *(f"cuts3d_table{number}" for number in (2, 4, 5, 6, 7, 8)))
"""Pages whose commands are those of others with other settings."""
ALIKE = re.compile(r"label_efficient/.*_(?!1perc|100perc)\d+perc")
"""Recipes that differ from others of their page in length only."""
FAMILIES = sorted({re.search(r"^OUT=(\S+)", page.settings, re.M)[1] for page in ALL.values()})


def on_stand_ins(page: Page, data: Path) -> dict[str, str]:
    """Values of a page's variables for a run on small data, in one process."""
    values = {"DETECTRON2_DATASETS": str(data), "OUT": "out", "GPUS": "1", "WORKERS": "0"}
    return values | {"OPTS": small(page.name, data)}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    lay_out(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_pages_run_on_stand_ins(
    family: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command of a page, in order; the pages of one method share their results."""
    monkeypatch.setenv("DETECTRON2_DATASETS", str(data))
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path / "zoo"))
    monkeypatch.setattr(coco_like, "COCO20K_IMAGES", NUM_SCENES)
    monkeypatch.chdir(tmp_path)
    shutil.copy(data / "coco_20k_filenames.txt", tmp_path)
    todo = [page for page in ALL.values() if f"OUT={family} " in page.settings]
    todo = [page for page in todo if page.name not in REPEATING or os.environ.get(EVERY_PAGE)]
    todo.sort(key=lambda page: (len(before(page)), page.name))
    for page in todo:
        for call in recorded(page, tmp_path, on_stand_ins(page, data)):
            if call.program == "unseg-d2" and (os.environ.get(EVERY_PAGE) or not ALIKE.search(" ".join(call.words))):
                fill_zoo(tmp_path / "zoo", call.zoo)
                execute(call)
        printed = capsys.readouterr().out
        assert any(metric in printed for metric in ("AP50", "IoU", "CorLoc")), f"{page.name} prints no figures"


@pytest.mark.slow
def test_job_file_runs_on_stand_ins(data: Path, tmp_path: Path) -> None:
    """Masks by an array of two jobs and the training of CuVLER, as a user submits them."""
    page = ALL["cuvler"]
    job = tmp_path / "job.sbatch"
    job.write_text(job_file(page).replace(page.settings, with_settings(page, on_stand_ins(page, data)) + "\n"))
    fill_zoo(tmp_path / "zoo", {"dino_resnet50"})
    programs = stand_ins(tmp_path / "programs", record=False)
    environment = {"PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(FOLDER.parents[1])}
    environment |= {
        "UNSEG_D2_ZOO": str(tmp_path / "zoo"),
        "JOBS": str(tmp_path / "jobs"),
        "TASKS": "2",
        "ONLY": "masks train",
    }
    done = subprocess.run(
        ["bash", str(job)], cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[:2] == ["masks: job 1", "train: job 2"]
    assert (tmp_path / "out/masks/labels.json").is_file() and (tmp_path / "out/zero_shot/model_final.pth").is_file()

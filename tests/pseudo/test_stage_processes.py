"""Label sets made with processes that read and finish; most are slow, since each process loads the libraries anew."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pseudo_fakes import fake_pipeline, killed_by_white_pipeline, picture, save_pictures
from stage_fakes import mistaken_pipeline, noting_pipeline, unwilling_pipeline
from test_generate import content, settings, with_a_white_corner
from test_workers import wait_until_gone

from unseg_d2.config import load_cfg
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.pseudo.pipeline import build_pipeline

WITH_BOTH = ("PSEUDO.READERS", "1", "PSEUDO.FINISHERS", "1")


@pytest.fixture()
def images(tmp_path: Path) -> Path:
    folder = save_pictures(tmp_path / "images", 22)
    (folder / "cut.png").write_bytes((folder / "000.png").read_bytes()[:60])
    picture(0).point(lambda _: 255).save(folder / "blue.png")  # the generator fails on it
    return folder


def generate(images: Path, output: Path, *opts: str, build=fake_pipeline, num_workers: int = 0) -> Path | None:
    cfg = settings("FEATURES.BATCH_SIZE", "3", *opts)
    return generate_label_set(cfg, images, output, num_workers=num_workers, build=build)


@pytest.mark.parametrize(
    ("readers", "finishers", "workers"),
    [
        (1, 1, 0),
        *(pytest.param(*numbers, marks=pytest.mark.slow) for numbers in [(2, 3, 0), (0, 1, 1), (1, 0, 2), (1, 1, 2)]),
    ],
)
def test_the_label_set_is_the_same_and_no_process_is_left(
    readers: int, finishers: int, workers: int, images: Path, tmp_path: Path
) -> None:
    with_a_white_corner(images / "002.png")  # the refiner fails on it
    generate(images, tmp_path / "alone", build=unwilling_pipeline)
    opts = ("PSEUDO.READERS", str(readers), "PSEUDO.FINISHERS", str(finishers))
    generate(images, tmp_path / "helped", *opts, build=unwilling_pipeline, num_workers=workers)
    assert content(tmp_path / "helped") == content(tmp_path / "alone")
    assert len((tmp_path / "helped" / "failures.jsonl").read_text().splitlines()) == 3
    assert not multiprocessing.active_children()
    timings = json.loads((tmp_path / "helped" / "timings.jsonl").read_text())
    assert timings["images"] == 24 and timings["seconds"]["reading"] > 0
    assert (timings.get("readers", 0), timings.get("finishers", 0)) == (readers, finishers)


@pytest.mark.slow
def test_a_real_pipeline_gives_the_same_bytes(tmp_path: Path) -> None:
    opts = ["FEATURES.NAME", "descriptors", "FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "160"]
    cfg = load_cfg(None, [*opts, "FEATURES.BATCH_SIZE", "2", "SYNTHETIC.ROOT", str(tmp_path), "SYNTHETIC.NUM_VAL", "6"])
    images, _ = ensure_synthetic(cfg, "val")
    for name, numbers in {"alone": (0, 0), "helped": (1, 2)}.items():
        cfg.defrost()
        cfg.PSEUDO.READERS, cfg.PSEUDO.FINISHERS = numbers
        generate_label_set(cfg, images, tmp_path / name, num_workers=0, build=build_pipeline)
    assert content(tmp_path / "helped") == content(tmp_path / "alone")
    assert json.loads((tmp_path / "helped" / "labels.json").read_text())["annotations"]


@pytest.mark.slow
def test_an_image_that_kills_finishers_changes_nothing_once_and_is_recorded_twice(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_a_white_corner(images / "002.png")
    generate(images, tmp_path / "alone")
    with monkeypatch.context() as patch:
        patch.setenv("KILLED_ONCE_IN", str(tmp_path))
        generate(images, tmp_path / "once", *WITH_BOTH, build=killed_by_white_pipeline)
    assert (tmp_path / "killed").exists() and content(tmp_path / "once") == content(tmp_path / "alone")
    generate(images, tmp_path / "twice", *WITH_BOTH, build=killed_by_white_pipeline)
    failures = map(json.loads, (tmp_path / "twice" / "failures.jsonl").read_text().splitlines())
    assert {failure["file_name"]: failure["reason"] for failure in failures}["002.png"] == (
        "the process that worked on it was killed twice, perhaps for lack of memory"
    )
    assert len(json.loads((tmp_path / "twice" / "labels.json").read_text())["images"]) == 21


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1])
def test_a_mistake_of_the_generator_leaves_no_process(workers: int, images: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match=r"^The program failed on 000\.png: KeyError: 'no such patch'"):
        generate(images, tmp_path / "out", *WITH_BOTH, build=mistaken_pipeline, num_workers=workers)
    assert not multiprocessing.active_children()


COMMAND = """
import sys
sys.path[:0] = {path!r}
from stage_fakes import noting_pipeline
from test_stage_processes import WITH_BOTH, generate
from pathlib import Path
if __name__ == "__main__":
    generate(Path({images!r}), Path({output!r}), *WITH_BOTH, build=noting_pipeline, num_workers={workers})
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "by"), [(0, signal.SIGKILL), (0, signal.SIGINT), (1, signal.SIGKILL), (1, signal.SIGINT)]
)
def test_whoever_ends_the_command_leaves_no_process_and_the_run_resumes(
    workers: int, by: signal.Signals, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed alone, or interrupted with all of its processes as a terminal does."""
    (tmp_path / "processes").mkdir()
    monkeypatch.setenv("PROCESSES", str(tmp_path / "processes"))
    generate(images, tmp_path / "whole", build=noting_pipeline)
    for path in (tmp_path / "processes").iterdir():
        path.unlink()  # of this process
    output, script = tmp_path / "out", tmp_path / "command.py"
    path = [str(Path(__file__).parent), *sys.path]
    script.write_text(COMMAND.format(path=path, images=str(images), output=str(output), workers=workers))
    process = subprocess.Popen([sys.executable, str(script)], start_new_session=True, stderr=subprocess.PIPE)
    while not any((output / "shards").glob("*.jsonl")):
        assert process.poll() is None
        time.sleep(0.02)
    if by == signal.SIGINT:
        os.killpg(process.pid, by)
    else:
        process.kill()
    said = process.communicate()[1]
    assert process.returncode != 0
    if by == signal.SIGINT:
        assert b"KeyboardInterrupt" in said and b"finisher process" not in said
    pids = [int(path.name) for path in (tmp_path / "processes").iterdir()]
    assert pids and process.pid not in pids
    for pid in pids:
        wait_until_gone(pid)
    assert not (output / "labels.json").exists()
    generate(images, output, build=noting_pipeline)
    assert content(output) == content(tmp_path / "whole")

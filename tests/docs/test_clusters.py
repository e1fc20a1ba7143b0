"""The job files of docs/clusters.md, run with stand-ins for Slurm and Ray."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reproduce_walk import Call, execute, run_recording, stand_ins

from unseg_d2.cli import main
from unseg_d2.cli.parser import CommandParser

PAGE = Path(__file__).resolve().parents[2] / "docs" / "clusters.md"
SRUN = """#!/bin/bash
{ printf '%s\\0' srun "$@"; printf '\\n'; } >> "$RECORD"
while [[ "$1" == --* ]]; do shift; done
exec "$@"
"""
SCONTROL = """#!/bin/bash
[ "$*" = "show hostnames gpu[01-03]" ] && printf 'gpu01\\ngpu02\\ngpu03\\n'
"""
RAY = """#!/bin/bash
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n'; } >> "$RECORD"
case "$*" in
    health-check*) exec grep --quiet --text -e --head "$RECORD" ;;
    *--block) trap 'echo "ended $*" >> "$RECORD.ended"; exit' TERM; while :; do sleep 0.05; done ;;
esac
"""

UNSEG = """#!/bin/bash
until [ "$(grep --count --text -e --block "$RECORD")" = "$LINES_OF_RAY" ]; do sleep 0.05; done
{ printf '%s\\0' "${0##*/}" "$@"; printf '\\n'; } >> "$RECORD"
"""


def job(name: str, folder: Path) -> Path:
    """Write the job file of a name that the page shows."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.M | re.S)
    (code,) = [block for block in blocks if f"# {name}:" in block]
    path = folder / name
    path.write_text(code)
    return path


def parsed(call: Call) -> CommandParser:
    words = list(call.words[1:])
    return main.parser(words).parse_args(words)


def test_the_tasks_of_the_array_make_one_label_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = job("masks.sbatch", tmp_path)
    array = re.search(r"^#SBATCH --array=(0-\d+)$", path.read_text(), re.M)
    assert array
    (tmp_path / "photos").mkdir()
    for index in range(5):
        pixels = np.full((48, 64, 3), 60 + 20 * index, np.uint8)
        pixels[10:30, 20:40] = (230, 20, 20)
        Image.fromarray(pixels).save(tmp_path / "photos" / f"{index}.png")
    opts = "FEATURES.NAME=descriptors MASKS.GENERATOR=tokencut FEATURES.IMAGE_SIZE=64 FEATURES.DEVICE=cpu"
    calls = run_recording(["sbatch", f"--array={array[1]}", str(path)], tmp_path, TASKS="3", OPTS=opts)
    assert [call.option("--shard-index") for call in calls] == [["0"], ["1"], ["2"]]
    monkeypatch.chdir(tmp_path)
    for call in (calls[2], calls[0]):
        words = tuple("0" if word == "8" else word for word in call.words)  # in this process
        execute(Call(words))
    labels = json.loads((tmp_path / "masks" / "labels.json").read_text())
    assert len(labels["images"]) == 5


@pytest.mark.parametrize("nodes", [1, 3])
def test_the_ray_cluster_of_an_allocation(nodes: int, tmp_path: Path) -> None:
    path = job("ray.sbatch", tmp_path)
    programs, record = stand_ins(tmp_path / "programs", record=True), tmp_path / "record"
    for name, code in {"srun": SRUN, "scontrol": SCONTROL, "ray": RAY, "unseg-d2": UNSEG}.items():
        (programs / name).write_text(code)
        (programs / name).chmod(0o755)
    slurm = {"SLURM_JOB_NODELIST": "gpu[01-03]", "SLURM_JOB_NUM_NODES": str(nodes), "SLURM_JOB_ID": "61234"}
    slurm |= {"SLURM_CPUS_PER_TASK": "64", "RECORD": str(record), "LINES_OF_RAY": "3" if nodes > 1 else "1"}
    environment = {**os.environ, **slurm, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    command = ["bash", str(path), "self-train", "--images", "photos", "--output", "run"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    calls = [Call(tuple(entry.split("\0"))) for entry in record.read_text().split("\0\n")[:-1]]
    assert ("ray", "start", "--head", "--port=21234", "--num-cpus=64", "--block") in [call.words for call in calls]
    join = ("ray", "start", "--address=gpu01:21234", "--num-cpus=64", "--block")
    joined = [call for call in calls if call.words == join]
    assert len(joined) == (nodes > 1)
    around = [call.words for call in calls if call.program == "srun"]
    assert around == [("srun", "--overlap", "--nodes=2", "--ntasks=2", "--exclude=gpu01", *join)] * (nodes > 1)
    assert not [call for call in calls if call.words[:2] == ("ray", "stop")]  # it would end clusters of other jobs
    ended, end = tmp_path / "record.ended", time.monotonic() + 20
    while not (ended.exists() and ended.read_text().count("--block") == 1 + (nodes > 1)):
        assert time.monotonic() < end, "Ray's processes outlive their job"
        time.sleep(0.05)
    (ours,) = [call for call in calls if call.program == "unseg-d2"]
    assert parsed(ours).run_on == "ray" and ours.option("--images") == ["photos"]

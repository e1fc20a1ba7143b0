"""The machine, and the tests that need a card."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import torch

from on_card.bench import Bench

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("tests/graph", "tests/refine", "tests/masks", "tests/data", "tests/features", "tests/loop")
LONGEST = 100  # seconds of the tests


def environment(bench: Bench) -> None:
    """Card, versions and PyTorch's switches for TF32."""
    card = "none"
    if bench.cuda:
        query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
        card = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    bench.figures.add(
        "environment",
        card=card,
        torch=torch.__version__,
        cores=len(os.sched_getaffinity(0)),
        tf32_of_convolutions=torch.backends.cudnn.allow_tf32,
        tf32_of_products=torch.backends.cuda.matmul.allow_tf32,
    )


def tests(bench: Bench) -> None:
    """The tests that name CUDA or a device; in eight processes where pytest-xdist is installed."""
    parallel = ["-n", "8"] if importlib.util.find_spec("xdist") else []
    options = ["-q", "-ra", "-p", "no:cacheprovider", *parallel, "-k", "cuda or Device or device"]
    command = [sys.executable, "-m", "pytest", *options, *ROOMS, "tests/test_devices.py"]
    log = bench.out / "tests.log"
    with log.open("w") as output:  # a file, so that it holds what was seen when time runs out
        done = subprocess.run(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT, timeout=LONGEST)
    last = log.read_text().strip().splitlines()[-1:]
    bench.figures.add("tests", status=done.returncode, last_line="".join(last))

"""The command for training, started by torchrun and on two machines (both of them here)."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from unseg_d2.data.coco import encode_mask
from unseg_d2.detectors.protocol import detectron2_availability

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
ENGINES = ["builtin", pytest.param("detectron2", marks=pytest.mark.detectron2)]
RECIPE = """
_BASE_: {base}
MODEL:
  DEVICE: cpu
  RESNETS: {{DEPTH: 18, RES2_OUT_CHANNELS: 64, NORM: FrozenBN}}
  FPN: {{OUT_CHANNELS: 32, NORM: ""}}
  RPN: {{POST_NMS_TOPK_TRAIN: 50, POST_NMS_TOPK_TEST: 20}}
  ROI_HEADS: {{BATCH_SIZE_PER_IMAGE: 16}}
  ROI_BOX_HEAD: {{FC_DIM: 32}}
  ROI_MASK_HEAD: {{CONV_DIM: 16}}
INPUT: {{MIN_SIZE_TRAIN: "(64,)", MIN_SIZE_TEST: 64}}
DATALOADER: {{NUM_WORKERS: 0}}
SOLVER: {{REFERENCE_WORLD_SIZE: 1, IMS_PER_BATCH: 1, MAX_ITER: 4, STEPS: "()"}}
"""


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., list[str]]:
    """Return ``make(engine, *options)``: the words after the interpreter for a training with an evaluation."""
    images, annotations = [], []
    rng = np.random.default_rng(0)
    for number in range(1, 131):  # more than one part of a prediction
        pixels, mask = rng.integers(0, 99, (64, 64, 3), dtype=np.uint8), np.zeros((64, 64), bool)
        mask[8:40, 16:48] = True
        pixels[mask] += 100
        cv2.imwrite(str(tmp_path / f"{number}.png"), pixels)
        images.append({"id": number, "file_name": f"{number}.png", "height": 64, "width": 64})
        one = {"id": number, "image_id": number, "category_id": 1, "iscrowd": 0, "bbox": [16, 8, 32, 32], "area": 1024}
        annotations.append(one | {"segmentation": encode_mask(mask)})
    labels = tmp_path / "labels.json"
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "object"}]}
    labels.write_text(json.dumps(content))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.format(base=REPOSITORY / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"))

    def make(engine: str, *options: str) -> list[str]:
        if engine == "detectron2" and not detectron2_availability()[0]:
            pytest.skip(detectron2_availability()[1])
        data = ["--labels", str(labels), "--gt", str(labels)]
        words = [str(REPOSITORY / "tools" / "train_net.py"), "--config-file", str(recipe), *data, *options]
        return [*words, "ENGINE", engine, "OUTPUT_DIR", str(tmp_path / "run")]

    return make


def run(*commands: list[str]) -> list[str]:
    """Run commands concurrently and return the output of each; all have to succeed."""
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL, "text": True}
    options = {"env": environment, "cwd": REPOSITORY, **pipes}
    processes = [subprocess.Popen([sys.executable, *words], **options) for words in commands]
    try:
        outputs = [process.communicate(timeout=600)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def assert_trained_by_two(output: str, folder: Path) -> None:
    assert "recipe for 1 GPUs on 2: factor 2/1 = 2" in output and "IMS_PER_BATCH: 1 x 2 = 2" in output
    assert torch.load(folder / "model_final.pth", weights_only=True)["iteration"] == 1  # 4 of one image are 2 of two
    assert len(re.findall(r"^labels .*\d", output, re.MULTILINE)) == 1  # one table, from one process
    images = {result["image_id"] for result in json.loads(next(folder.rglob("predictions.json")).read_text())}
    assert images == set(range(1, 131))


@pytest.mark.parametrize("engine", ENGINES)
def test_torchrun(engine: str, command: Callable[..., list[str]], tmp_path: Path) -> None:
    (output,) = run(["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *command(engine)])
    assert_trained_by_two(output, tmp_path / "run")


@pytest.mark.parametrize("engine", ENGINES)
def test_two_machines(engine: str, command: Callable[..., list[str]], tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    options = [("--num-machines", "2", "--dist-url", address, "--machine-rank", str(rank)) for rank in range(2)]
    outputs = run(*(command(engine, *words) for words in options))
    assert_trained_by_two(outputs[0], tmp_path / "run")
    assert "labels" not in outputs[1]  # the first machine evaluates

"""What the settings of speed do to a training step and to a prediction, on this device.

    python benchmarks/speed_settings.py [--device auto] [--config-file quickstart.yaml] [--height 128] [--width 192]
        [--rounds 5] [--steps 4] [--compile]

All variants have the same weights and take the same images. They take turns, so that other load on the machine affects
all of them; the median per step is printed, the ratio to the recipe as it is, and on a GPU the peak memory. Of a
prediction the largest difference of a score from float32 is printed too. --compile adds the compiled backbone, whose
first step takes a minute.
"""

from __future__ import annotations

import argparse
import copy
import functools
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.engine import detect
from unseg_d2.detectors.builtin.train import Trainer
from unseg_d2.detectors.predictor import Predictor
from unseg_d2.devices import resolve_device

TRAINING = {
    "as it is": [],
    "SOLVER.ACCUMULATE 2": ["SOLVER.ACCUMULATE", "2"],
    "MODEL.CHANNELS_LAST": ["MODEL.CHANNELS_LAST", "True"],
    "SOLVER.AMP.ENABLED": ["SOLVER.AMP.ENABLED", "True"],
    "MODEL.COMPILE": ["MODEL.COMPILE", "True"],
}
PREDICTION = {
    "as it is": [],
    "MODEL.CHANNELS_LAST": ["MODEL.CHANNELS_LAST", "True"],
    "TEST.PRECISION bfloat16": ["TEST.PRECISION", "bfloat16"],
    "TEST.PRECISION float16": ["TEST.PRECISION", "float16"],
    "MODEL.COMPILE": ["MODEL.COMPILE", "True"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--config-file", default="quickstart.yaml")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=4, help="of a turn")
    parser.add_argument("--compile", action="store_true", help="measure the compiled backbone too")
    args = parser.parse_args()
    device = resolve_device(args.device, "--device")
    left_out = set() if args.compile else {"MODEL.COMPILE"}
    left_out |= set() if device.type == "cuda" else {"SOLVER.AMP.ENABLED"}
    cfgs = {
        name: recipe(args, device, options)
        for name, options in {**TRAINING, **PREDICTION}.items()
        if name not in left_out
    }
    with tempfile.TemporaryDirectory() as folder:
        trainers = {name: trainer(cfg, folder) for name, cfg in cfgs.items() if name in TRAINING}
    images = [image(args.height, args.width, seed) for seed in range(cfgs["as it is"].SOLVER.IMS_PER_BATCH)]
    steps = {name: (lambda one=one: one._step(one.model, images, 0)) for name, one in trainers.items()}
    table("training step", measure(steps, args, device), {})
    predictors, scores = {}, {}
    for name in (name for name in PREDICTION if name in cfgs):
        model = copy.deepcopy(trainers["as it is"].model) if name not in trainers else trainers[name].model
        predictors[name] = Predictor(functools.partial(detect, model.eval()), cfgs[name])
        scores[name] = predictors[name]._detect(images)[0].scores
    timed = {name: (lambda one=one: one._detect(images)) for name, one in predictors.items()}
    table("prediction of a batch", measure(timed, args, device), {n: deviation(scores, n) for n in scores})


def recipe(args: argparse.Namespace, device: torch.device, options: list[str]) -> CfgNode:
    places = ["MODEL.DEVICE", str(device), "ENGINE", "builtin", "MODEL.WEIGHTS", "", "TEST.DETECTIONS_PER_IMAGE", "20"]
    return load_cfg(args.config_file, [*places, "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0", *options])


def trainer(cfg: CfgNode, folder: str) -> Trainer:
    cfg = cfg.clone()
    cfg.defrost()
    cfg.OUTPUT_DIR = folder
    cfg.freeze()
    one = Trainer(cfg, resume=False)
    one.model.train()
    return one


def image(height: int, width: int, seed: int) -> Sample:
    """Return noise with four brighter rectangles."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 128, (3, height, width), dtype=np.uint8)
    boxes, masks = torch.zeros(4, 4), torch.zeros(4, height, width, dtype=torch.bool)
    for box, mask in zip(boxes, masks):
        x, y = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        right, bottom = x + int(rng.integers(16, width // 2)), y + int(rng.integers(16, height // 2))
        mask[y:bottom, x:right] = True
        box[:] = torch.tensor([x, y, right, bottom])
        pixels[:, mask.numpy()] += 100
    return Sample(torch.from_numpy(pixels), boxes, masks, torch.ones(4), None, f"{seed}.jpg", seed, height, width)


def measure(
    steps: dict[str, Callable[[], object]], args: argparse.Namespace, device: torch.device
) -> dict[str, tuple[float, float]]:
    """Return the median milliseconds of a step, and the peak memory in megabytes, of each variant."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    peaks = dict.fromkeys(steps, 0.0)
    for turn in range(args.rounds + 1):  # the first one warms up
        for name, step in steps.items():
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            for _ in range(args.steps):
                started = time.perf_counter()
                step()
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                times[name] += [1000 * (time.perf_counter() - started)] if turn else []
            if device.type == "cuda":
                peaks[name] = torch.cuda.max_memory_allocated(device) / 1e6
    return {name: (statistics.median(times[name]), peaks[name]) for name in steps}


def deviation(scores: dict[str, torch.Tensor], name: str) -> float:
    """Return the largest difference of the three best scores from those of the recipe as it is."""
    expected, found = scores["as it is"], scores[name]
    count = min(len(expected), len(found), 3)
    return float((expected[:count] - found[:count]).abs().max()) if count else float("nan")


def table(title: str, measured: dict[str, tuple[float, float]], deviations: dict[str, float]) -> None:
    print(f"| {title} | ms | ratio | MB | scores differ by |\n|---|---:|---:|---:|---:|")
    first = measured["as it is"][0]
    for name, (milliseconds, peak) in measured.items():
        memory = f"{peak:.0f}" if peak else "-"
        differs = f"{deviations[name]:.1e}" if deviations.get(name) else "-"
        print(f"| {name} | {milliseconds:.0f} | {milliseconds / first:.2f} | {memory} | {differs} |")
    print()


if __name__ == "__main__":
    main()

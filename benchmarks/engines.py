"""The built-in engine against Detectron2 with equal settings: losses, time per iteration and memory.

    python benchmarks/engines.py [--rounds 5] [--iterations 6] [--device auto] [KEY VALUE ...]

Both engines train the same recipe (Cascade Mask R-CNN R50-FPN with DropLoss, spatial confidence and soft targets; two
images of 160 x 213 px, 64 RoIs of 1000 proposals each) on the same samples in memory. Three things are compared:

- the loss terms of one batch, with the same weights and the same seed;
- the time per iteration: they alternate, so that other load on the machine affects both, and the first iteration of
  every turn is not counted; the median of each and their ratio are printed;
- the peak memory of a short training in a process of its own, beyond what it uses after its imports.

Exits with status 1 if a bar is missed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import torch
from fvcore.common.config import CfgNode
from peak_memory import PeakMemory, in_own_process

from unseg_d2.config import load_cfg
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.model import build_model as build_builtin
from unseg_d2.detectors.builtin.train import train as train_builtin
from unseg_d2.detectors.checkpoints import load_weights, save_checkpoint
from unseg_d2.detectors.protocol import detectron2_availability
from unseg_d2.devices import resolve_device

RECIPE = Path(__file__).resolve().parents[1] / "configs" / "base_cascade_mask_rcnn_R_50_FPN.yaml"
SETTINGS = {
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "BN",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "64",
    "MODEL.ROI_HEADS.USE_DROPLOSS": "True",
    "MODEL.ROI_HEADS.DROPLOSS_IOU_THRESH": "0.01",
    "MODEL.ROI_HEADS.USE_SOFT_TARGETS": "True",
    "MODEL.ROI_MASK_HEAD.CONFIDENCE": "spatial",
    "SOLVER.IMS_PER_BATCH": "2",
}
HEIGHT, WIDTH, INSTANCES = 160, 213, 5
MAX_DIFFERENCE = 1e-4  # of a loss term, relative
MAX_TIME = 1.10  # the built-in engine takes at most this many times as long
MAX_MEMORY = 1.10  # and at most this many times the memory


class EnoughError(BaseException):
    """Ends a turn; no engine catches it, so no checkpoint is written."""


class Stopwatch:
    """Yields batches from memory and measures the time between requests: an iteration."""

    def __init__(self, iterations: int, batch_size: int) -> None:
        self.iterations = iterations
        self.batch = [make_sample(seed) for seed in range(batch_size)]
        self.times: list[float] = []

    def __iter__(self) -> Iterator[list[Sample]]:
        marks = []
        for _ in range(self.iterations + 2):
            _synchronise()
            marks.append(time.perf_counter())
            yield self.batch
        self.times = [after - before for before, after in pairwise(marks[1:])]
        raise EnoughError


def make_sample(seed: int) -> Sample:
    """Return an image of noise with rectangles of different scores, more confident in the middle than at the edge."""
    generator = torch.Generator().manual_seed(seed)
    image = torch.randint(256, (3, HEIGHT, WIDTH), generator=generator, dtype=torch.uint8)
    corners = torch.rand(INSTANCES, 2, generator=generator) * torch.tensor([WIDTH / 2, HEIGHT / 2])
    sides = 20 + torch.rand(INSTANCES, 2, generator=generator) * 60
    boxes = torch.cat([corners, corners + sides], dim=1).round()
    masks = torch.zeros(INSTANCES, HEIGHT, WIDTH, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes.int().tolist()):
        mask[y0:y1, x0:x1] = True
    scores = 0.5 + torch.rand(INSTANCES, generator=generator) / 2
    confidence = torch.where(masks, 128, 255).to(torch.uint8)
    for plane, (x0, y0, x1, y1) in zip(confidence, boxes.int().tolist()):
        plane[y0 + 4 : y1 - 4, x0 + 4 : x1 - 4] = 255
    return Sample(image, boxes, masks, scores, confidence, f"{seed}.png", seed, HEIGHT, WIDTH)


def loss_terms(cfg: CfgNode) -> dict[str, tuple[float, float]]:
    """Return each loss of a batch, of the built-in engine and of Detectron2, with the same weights and seed."""
    from detectron2.modeling import build_model as build_detectron2
    from detectron2.utils.events import EventStorage

    from unseg_d2.detectors.detectron2.config import to_detectron2
    from unseg_d2.detectors.detectron2.inputs import to_input

    device = resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE")
    torch.manual_seed(0)
    model = build_builtin(cfg)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in ("cls_score.weight", "cls_logits.weight", "bbox_pred.weight")):
                parameter *= 20  # with the initial weights all regions would look alike
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder) / "same.pth", model)
        reference = build_detectron2(to_detectron2(cfg))
        load_weights(reference, Path(folder) / "same.pth")
    samples = [make_sample(seed) for seed in range(cfg.SOLVER.IMS_PER_BATCH)]
    torch.manual_seed(1)
    ours = model.to(device).train()(samples)
    torch.manual_seed(1)
    with EventStorage():
        theirs = reference.train()([to_input(sample, channel_order=cfg.INPUT.FORMAT) for sample in samples])
    return {name: (ours[name].item(), theirs[name].item()) for name in sorted(ours.keys() | theirs.keys())}


def peak_megabytes(engine: str, opts: list[str], iterations: int) -> float:
    """Train for some iterations and return the growth of the peak memory of this process."""
    train = trainers()[engine]
    with tempfile.TemporaryDirectory() as folder:
        cfg = recipe(folder, opts)
        with PeakMemory(str(resolve_device(cfg.MODEL.DEVICE, "MODEL.DEVICE"))) as memory:
            turn(train, cfg, iterations)
    return memory.megabytes


def trainers() -> dict[str, Callable[..., object]]:
    """Return the training function of each engine."""
    return {"builtin": train_builtin, "detectron2": train_detectron2}


def train_detectron2(cfg: CfgNode, make_loader: Callable[..., Iterable[list[Sample]]], *, resume: bool) -> None:
    """Train with Detectron2 on given batches."""
    from unseg_d2.detectors.detectron2.inputs import TrainingInputs
    from unseg_d2.detectors.detectron2.trainer import EngineTrainer

    class Trainer(EngineTrainer):
        @classmethod
        def build_train_loader(cls, cfg: CfgNode) -> TrainingInputs:
            return TrainingInputs(make_loader(cfg, 0), cfg)

    trainer = Trainer(cfg)
    trainer.resume_or_load(resume)
    trainer.train()


def recipe(folder: str, opts: list[str]) -> CfgNode:
    """Return the recipe that all comparisons share."""
    return load_cfg(RECIPE, [*(text for pair in SETTINGS.items() for text in pair), "OUTPUT_DIR", folder, *opts])


def turn(train: Callable[..., object], cfg: CfgNode, iterations: int) -> list[float]:
    """Train for some iterations and return the seconds of each but the first."""
    stopwatch = Stopwatch(iterations, cfg.SOLVER.IMS_PER_BATCH)
    try:
        train(cfg, lambda recipe, start_iter: stopwatch, resume=False)
    except EnoughError:
        return stopwatch.times
    raise RuntimeError("the training ended too early; SOLVER.MAX_ITER is too small")


def measure(rounds: int, iterations: int, opts: list[str]) -> dict[str, float]:
    """Return the median seconds per iteration of each engine."""
    engines = trainers()
    times: dict[str, list[float]] = {name: [] for name in engines}
    with tempfile.TemporaryDirectory() as folder:
        cfg = recipe(folder, opts)
        for _ in range(rounds):
            for name, train in engines.items():
                times[name] += turn(train, cfg, iterations)
                print(f"{name:>10}: median {statistics.median(times[name]):.3f} s after {len(times[name])} iterations")
    return {name: statistics.median(values) for name, values in times.items()}


def show_losses(cfg: CfgNode) -> bool:
    """Print the loss terms of both engines and return whether they agree."""
    largest = 0.0
    print(f"{'loss term':22}{'built-in':>12}{'Detectron2':>12}{'relative difference':>22}")
    for name, (ours, theirs) in loss_terms(cfg).items():
        apart = abs(ours - theirs) / max(abs(theirs), 1e-12)
        largest = max(largest, apart)
        print(f"{name:22}{ours:12.6f}{theirs:12.6f}{apart:22.1e}")
    return verdict("largest difference of a loss term", largest, MAX_DIFFERENCE, ".1e")


def verdict(what: str, value: float, bar: float, form: str) -> bool:
    """Print a value beside its bar and return whether the bar is met."""
    print(f"{what} = {value:{form}} (at most {bar:g}): {'passed' if value <= bar else 'FAILED'}", flush=True)
    return value <= bar


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="turns of each engine")
    parser.add_argument("--iterations", type=int, default=6, help="iterations per turn that count")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    parser.add_argument("opts", nargs="*", help="KEY VALUE pairs that change the recipe")
    args = parser.parse_args()
    usable, reason = detectron2_availability()
    if not usable:
        print(f"skipped: {reason}")
        return
    opts = ["MODEL.DEVICE", args.device, *args.opts]
    passed = show_losses(recipe(tempfile.gettempdir(), opts))
    seconds = measure(args.rounds, args.iterations, opts)
    passed &= verdict("time, built-in / Detectron2", seconds["builtin"] / seconds["detectron2"], MAX_TIME, ".3f")
    memory = {engine: in_own_process(peak_megabytes, engine, opts, 2) for engine in seconds}
    print(f"peak memory: built-in {memory['builtin']:.0f} MB, Detectron2 {memory['detectron2']:.0f} MB")
    passed &= verdict("memory, built-in / Detectron2", memory["builtin"] / memory["detectron2"], MAX_MEMORY, ".3f")
    if not passed:
        raise SystemExit("FAILED")
    print("PASSED")


def _synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

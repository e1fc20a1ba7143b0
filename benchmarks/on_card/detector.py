"""The detector on a card: training steps, the loader, prediction, and whether a training can be repeated."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.models.detection import maskrcnn_resnet50_fpn

from on_card import inputs
from on_card.bench import Bench, Utilisation
from unseg_d2.config import load_cfg
from unseg_d2.data.catalog import load_dataset
from unseg_d2.data.sample import Sample
from unseg_d2.detectors.builtin.engine import BuiltinEngine
from unseg_d2.detectors.builtin.engine import predict as predict_with
from unseg_d2.detectors.builtin.model import build_model

RECIPE = Path(__file__).resolve().parents[2] / "configs" / "cutler" / "cascade_mask_rcnn_R_50_FPN.yaml"
TINY = {
    "MODEL.RESNETS.DEPTH": 18,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
    "MODEL.ROI_BOX_HEAD.FC_DIM": 64,
    "MODEL.FPN.OUT_CHANNELS": 32,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOPK_TEST": 50,
    "MODEL.ROI_MASK_HEAD.CONV_DIM": 32,
    "INPUT.MIN_SIZE_TRAIN": "(96,)",
    "INPUT.MIN_SIZE_TEST": 96,
}


def training(bench: Bench) -> None:
    """A step of the built-in engine's Cascade R-CNN, and of torchvision's Mask R-CNN at the same size."""
    height, width = (96, 128) if bench.tiny else (800, 1216)
    for batch, amp in itertools.product((2,) if bench.tiny else (2, 8), (False, True)):
        samples = [inputs.sample(seed, height, width) for seed in range(batch)]
        for name, make in {"cascade_mask_rcnn_R_50_FPN": _ours, "torchvision maskrcnn_resnet50_fpn": _theirs}.items():
            _measure_step(bench, name, *make(bench, samples), batch, amp)


Losses = Callable[[], dict[str, Tensor]]


def _ours(bench: Bench, samples: Sequence[Sample]) -> tuple[nn.Module, Losses]:
    model = build_model(_recipe(bench)).to(bench.device).train()
    return model, lambda: model(samples)


def _theirs(bench: Bench, samples: Sequence[Sample]) -> tuple[nn.Module, Losses]:
    height, width = samples[0].image.shape[1:]
    sizes = {"min_size": height, "max_size": width}
    model = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=2, **sizes)
    model.to(bench.device).train()
    images, targets = _torchvision_inputs(bench, samples)
    return model, lambda: model(images, targets)


def _measure_step(bench: Bench, name: str, model: nn.Module, losses: Losses, batch: int, amp: bool) -> None:
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], 1e-5)
    scaler = torch.amp.GradScaler(bench.device_type, enabled=amp and bench.cuda)

    def step() -> None:
        with torch.autocast(bench.device_type, enabled=amp and bench.cuda, dtype=torch.float16):
            loss = sum(losses().values())
        optimizer.zero_grad(set_to_none=True)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()

    if bench.cuda:
        torch.cuda.reset_peak_memory_stats()
    seconds = bench.seconds(step, repeats=1 if bench.tiny else 5, warm_up=1 if bench.tiny else 3)
    seen = bench.profile(step)
    bench.figures.add(
        "training",
        network=name,
        batch=batch,
        mixed_precision=amp,
        s_per_step=seconds,
        images_per_s=batch / seconds,
        kernel_share=seen.kernel_seconds / seen.wall,
        kernels=seen.kernels,
        waits=bench.waits(step),
        peak_gb=torch.cuda.max_memory_allocated() / 1e9 if bench.cuda else None,
    )


def _torchvision_inputs(bench: Bench, samples: Sequence[Sample]) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    images = [sample.image.to(bench.device).float() / 255 for sample in samples]
    targets = [
        {
            "boxes": sample.boxes.to(bench.device),
            "labels": torch.ones(len(sample.boxes), dtype=torch.long, device=bench.device),
            "masks": sample.masks.to(bench.device).byte(),
        }
        for sample in samples
    ]
    return images, targets


def loader(bench: Bench) -> None:
    """The command's own training with copy-paste: time of a step, and how long it waits for data."""
    for workers, where in ((4, "workers"), (12, "workers"), (4, "model")):
        changes = {
            "SOLVER.AMP.ENABLED": True,
            "SOLVER.IMS_PER_BATCH": 2,
            "SOLVER.MAX_ITER": 2 if bench.tiny else 40,
            "DATALOADER.NUM_WORKERS": workers,
            "DATALOADER.COPY_PASTE_DEVICE": where,
        }
        with Utilisation(bench) as used:
            output = _train(bench, f"loader_{workers}_{where}", changes).parent
        last = json.loads((output / "metrics.json").read_text().splitlines()[-1])
        bench.figures.add(
            "loader",
            workers=workers,
            pasted_in=where,
            s_per_step=last["time"],
            waits_for_data_s=last["data_time"],
            busy_percent=used.percent,
        )


def predict(bench: Bench) -> None:
    """Prediction by batch and precision, from files to run lengths."""
    folder = inputs.photos(bench, 64)
    for batch, autocast in ((1, False), (8, False), (8, True)):
        cfg = _recipe(bench, {"TEST.IMS_PER_BATCH": batch, "DATALOADER.NUM_WORKERS": 8})
        torch.manual_seed(0)
        model = build_model(cfg).to(bench.device)
        records = load_dataset(f"{folder}/labels.json::{folder}", cfg)[: 4 if bench.tiny else 64]

        def everything() -> int:
            with torch.autocast(bench.device_type, enabled=autocast and bench.cuda, dtype=torch.float16):
                return sum(len(prediction.rles) for prediction in predict_with(model, cfg, records))

        with Utilisation(bench) as used:
            seconds = bench.seconds(everything, repeats=1, warm_up=0 if bench.tiny else 1)
        bench.figures.add(
            "predict",
            batch=batch,
            autocast=autocast,
            ms_per_image=1e3 * seconds / len(records),
            busy_percent=used.percent,
        )


def determinism(bench: Bench) -> None:
    """Whether two trainings with one seed end in the same weights."""
    changes = {"SOLVER.IMS_PER_BATCH": 2, "SOLVER.MAX_ITER": 2 if bench.tiny else 8, "DATALOADER.NUM_WORKERS": 4}
    if not bench.tiny:
        changes["INPUT.MIN_SIZE_TRAIN"] = "(400,)"
    digests = []
    for run in range(2):
        checkpoint = torch.load(_train(bench, f"same_{run}", changes), map_location="cpu", weights_only=True)
        arrays = [np.ascontiguousarray(value) for _, value in sorted(checkpoint["model"].items())]
        digests.append(hashlib.sha256(b"".join(array.tobytes() for array in arrays)).hexdigest()[:12])
    bench.figures.add("determinism", same=digests[0] == digests[1], sha256=digests)


def _train(bench: Bench, name: str, changes: dict[str, Any]) -> Path:
    folder = inputs.photos(bench, 64)
    own = {
        "SEED": 1,
        "SOLVER.BASE_LR": 1e-5,
        "DATASETS.TRAIN": f"('{folder}/labels.json::{folder}',)",
        "OUTPUT_DIR": str(bench.scratch / name),
    }
    return BuiltinEngine().train(_recipe(bench, own | changes), resume=False)


def _recipe(bench: Bench, changes: dict[str, Any] | None = None):
    values = {"MODEL.WEIGHTS": "", "MODEL.DEVICE": bench.device} | (TINY if bench.tiny else {}) | (changes or {})
    return load_cfg(RECIPE, [text for key, value in values.items() for text in (key, str(value))])

"""Pseudo-masks on a card: the vision transformer, the cuts, the refiners, and the command as a whole."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch

from on_card import inputs
from on_card.bench import Bench, Utilisation
from unseg_d2.compiled import has_numba
from unseg_d2.config import get_cfg
from unseg_d2.data.images import read_image
from unseg_d2.features.vit import ViT
from unseg_d2.features.weights import create_vit
from unseg_d2.masks import build_generator
from unseg_d2.pseudo.generate import generate_label_set
from unseg_d2.refine import CardRefiner, build_refiner
from unseg_d2.structures import DepthMap, PatchFeatures

GENERATORS = ("maskcut", "promerge", "cuts3d", "tokencut", "primaps", "lost", "votecut", "uniap")
SHARD_SIZE = 16  # images
LABEL_RUNS = (  # generator, refiner, processes, images per batch
    *(("maskcut", "guided", processes, 8) for processes in (1, 4, 8, 16)),
    *(("maskcut", "crf", processes, 8) for processes in (1, 8)),
    *(("promerge", "guided", processes, 8) for processes in (1, 16)),
    ("maskcut", "guided", 1, 1),
)


def vit(bench: Bench) -> None:
    """Time per image by architecture, precision and batch; deviation of the tokens from float32."""
    side, batches = (96, (1,)) if bench.tiny else (480, (1, 8, 32))
    for arch in ("dino_vits16", "dino_vitb8"):
        exact = None
        for dtype in (torch.float32, torch.float16, torch.bfloat16):
            torch.manual_seed(0)
            backend = ViT(create_vit(arch), name=arch, device=bench.device, dtype=dtype)
            for batch in batches:
                images = [_noise(seed, side) for seed in range(batch)]
                seconds = bench.seconds(lambda: backend(images), repeats=2)
                seen = bench.profile(lambda: backend(images))
                found = backend(images[:1])[0].tokens.float().cpu()
                exact = found if exact is None else exact
                bench.figures.add(
                    "vit",
                    arch=arch,
                    precision=str(dtype).removeprefix("torch."),
                    batch=batch,
                    ms_per_image=1e3 * seconds / batch,
                    kernel_ms_per_image=1e3 * seen.kernel_seconds / batch,
                    deviation=float((found - exact).norm() / exact.norm()),
                )


def cuts(bench: Bench) -> None:
    """Every generator by batch: time, kernels and waits per image."""
    side, channels, batches = (20, 64, (2,)) if bench.tiny else (60, 768, (1, 8, 32))
    all_tokens = inputs.tokens(max(batches), channels, side).to(bench.device)
    ramp = torch.linspace(9, 3, side)[:, None].repeat(1, side) - (torch.arange(side) > side // 2) * 1.5
    depth = DepthMap(ramp, "metric")
    for name, batch in itertools.product(GENERATORS, batches):
        cfg = get_cfg()
        cfg.MASKS.GENERATOR = name
        generator = build_generator(cfg)
        attention = torch.rand(side, side, device=bench.device)
        images = [PatchFeatures(plane, 8, attention, depth) for plane in all_tokens[:batch]]
        if name == "votecut":
            images = [replace(image, members=(image, image)) for image in images]
        seen = bench.profile(lambda: generator(images))
        seconds = bench.seconds(lambda: generator(images), repeats=2, warm_up=0)
        bench.figures.add(
            "cuts",
            generator=name,
            batch=batch,
            ms_per_image=1e3 * seconds / batch,
            kernel_ms_per_image=1e3 * seen.kernel_seconds / batch,
            kernels_per_image=seen.kernels / batch,
            waits_per_image=bench.waits(lambda: generator(images)) / batch,
        )


def refine(bench: Bench) -> None:
    """Every refiner on CPU threads, and the CRFs on the card, one image at a time and eight together."""
    side = 96 if bench.tiny else 480
    files = sorted(inputs.photos(bench, 8).glob("*.jpg"))
    images = [cv2.resize(read_image(path), (side, side)) for path in files]
    rows, columns = np.mgrid[:side, :side] / side
    discs = ((0.3, 0.3, 0.2), (0.7, 0.6, 0.25), (0.5, 0.8, 0.15))
    masks = np.stack([(rows - y) ** 2 + (columns - x) ** 2 < radius**2 for y, x, radius in discs])
    threads_before = torch.get_num_threads(), cv2.getNumThreads()
    for name, threads in itertools.product(("guided", "crf", "crf_labels", "bilateral"), (1, 16)):
        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
        refiner = build_refiner(name, **({} if name == "bilateral" else {"device": "cpu"}))
        seconds = bench.seconds(lambda: [refiner(image, masks) for image in images[:2]], repeats=1) / 2
        bench.figures.add(
            "refine",
            refiner=name,
            device="cpu",
            threads=threads,
            compiled=has_numba(),
            ms_per_image=1e3 * seconds,
        )
    torch.set_num_threads(threads_before[0])
    cv2.setNumThreads(threads_before[1])
    for name in ("guided", "crf", "crf_labels"):
        _refine_on_card(bench, name, images, masks)


def _refine_on_card(bench: Bench, name: str, images: list[np.ndarray], masks: np.ndarray) -> None:
    ours, reference = build_refiner(name, device=bench.device), build_refiner(name, device="cpu")
    seen = bench.profile(lambda: ours(images[0], masks))
    seconds = bench.seconds(lambda: [ours(image, masks) for image in images], repeats=1) / len(images)
    bench.figures.add(
        "refine",
        refiner=name,
        device=bench.device,
        ms_per_image=1e3 * seconds,
        kernel_ms=1e3 * seen.kernel_seconds,
        kernels=seen.kernels,
        waits=bench.waits(lambda: ours(images[0], masks)),
        equal_pixels=float(np.mean(ours(images[0], masks) == reference(images[0], masks))),
    )
    if not isinstance(ours, CardRefiner):
        return
    stack = torch.from_numpy(np.stack([image.transpose(2, 0, 1) for image in images]))
    given, counts = torch.from_numpy(np.concatenate([masks] * len(images))), [len(masks)] * len(images)

    def together() -> torch.Tensor:
        with torch.inference_mode():
            return ours.refine(stack, given.to(bench.device), counts).cpu()

    seconds = bench.seconds(together, repeats=2) / len(images)
    waits = bench.waits(together) / len(images)
    bench.figures.add(
        "refine",
        refiner=f"{name}, {len(images)} images at once",
        device=bench.device,
        ms_per_image=1e3 * seconds,
        waits=waits,
    )


def labels(bench: Bench) -> None:
    """Images per second of ``generate-masks`` by generator, refiner, processes and batch, in half precision."""
    cores = len(os.sched_getaffinity(0))
    for generator, refiner, processes, batch in LABEL_RUNS[:2] if bench.tiny else LABEL_RUNS:
        count = 4 * SHARD_SIZE if bench.tiny else min(1024, 48 * max(processes, 4))
        folder = inputs.photos(bench, count)
        out = bench.scratch / f"labels_{generator}_{refiner}_{processes}_{batch}"
        cfg = _label_cfg(bench, generator, refiner, batch)
        started = time.perf_counter()
        with Utilisation(bench) as used:
            generate_label_set(cfg, folder, out, num_workers=min(processes, cores))
        total = time.perf_counter() - started
        bench.figures.add(
            "labels",
            generator=generator,
            refiner=refiner,
            processes=min(processes, cores),
            batch=batch,
            images=count,
            images_per_s=_steady_rate(out),
            seconds_with_start=total,
            busy_percent=used.percent,
            sha256_of_first_shards=_digest(out),
        )


def _label_cfg(bench: Bench, generator: str, refiner: str, batch: int):
    arch, size = ("dino_vits16", 96) if bench.tiny else ("dino_vitb8", 480)
    changes = {
        "FEATURES.VIT.ARCH": arch,
        "FEATURES.WEIGHTS": str(inputs.weights(bench, arch)),
        "FEATURES.IMAGE_SIZE": size,
        "FEATURES.DEVICE": bench.device,
        "FEATURES.PRECISION": "float16" if bench.cuda else "float32",
        "FEATURES.BATCH_SIZE": batch,
        "MASKS.GENERATOR": generator,
        "REFINE.NAME": refiner,
        "PSEUDO.SHARD_SIZE": SHARD_SIZE,
    }
    cfg = get_cfg()
    cfg.merge_from_list([item for pair in changes.items() for item in pair])
    cfg.freeze()
    return cfg


def _steady_rate(label_set: Path) -> float | None:
    """Images per second after the first shard, by the times at which shards were written."""
    written = sorted(path.stat().st_mtime for path in (label_set / "shards").glob("*.jsonl"))
    return SHARD_SIZE * (len(written) - 1) / (written[-1] - written[0]) if len(written) > 1 else None


def _digest(label_set: Path) -> str:
    shards = sorted((label_set / "shards").glob("*.jsonl"))[:2]
    return hashlib.sha256(b"".join(path.read_bytes() for path in shards)).hexdigest()[:12]


def _noise(seed: int, side: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)

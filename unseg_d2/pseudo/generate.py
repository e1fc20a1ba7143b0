"""Make a label set over many images: shares, worker processes, progress, resuming.

The result is the same, byte for byte, whatever the number of workers or shares and however often the command was
interrupted: a shard is a function of its images and the settings alone.
"""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

import unseg_d2
from unseg_d2.config import edited
from unseg_d2.devices import available_cores
from unseg_d2.errors import UnsegError
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.pseudo.label_set import export
from unseg_d2.pseudo.make_shard import Build, ShardJob, ShardMaker
from unseg_d2.pseudo.pipeline import build_pipeline
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.pseudo.workers import run_jobs
from unseg_d2.registry import code_of_parts

_SHARDS_OF_A_SMALL_SET = 16  # keeps several workers busy on few images
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "opencv-python-headless", "pillow", "pycocotools")


def generate_label_set(
    cfg: CfgNode,
    images: str | Path,
    output: str | Path,
    *,
    num_workers: int | None = None,
    shard_index: int = 0,
    num_shards: int = 1,
    build: Build = build_pipeline,
) -> Path | None:
    """Make pseudo-masks for images, or resume making them.

    Args:
        cfg: settings of features, generator, refinement and label set.
        images: folder, COCO file (``labels.json`` or ``labels.json::image/root``) or name of a data set.
        output: folder of the label set; after an interruption the same call resumes it.
        num_workers: processes; ``None`` for one per core or GPU; 0 works in this process.
        shard_index: which share of the work to do.
        num_shards: number of shares, each done by its own call, on any machine that sees the folder.
        build: makes the pipeline of a worker; must be picklable when there are workers.

    Returns:
        ``output/labels.json`` when all shares are done, otherwise ``None``.

    Raises:
        UnsegError: nothing to work on, another label set in the folder, a full disk, or no usable image.
    """
    if not 0 <= shard_index < num_shards:
        raise UnsegError(f"The share must be from 0 to {num_shards - 1}, but is {shard_index}.")
    inputs = list_inputs(images, cfg)
    shards = ShardFolder(output)
    shards.open(_manifest(cfg, inputs, build))
    mine = range(shard_index, shards.num_shards, num_shards)
    missing = [shard for shard in mine if not shards.is_finished(shard)]
    if missing:
        pairs = list(zip(inputs.ids, inputs.file_names))
        jobs = [ShardJob(shard, [pairs[index] for index in shards.positions(shard)]) for shard in missing]
        workers = default_num_workers(cfg) if num_workers is None else num_workers
        total = sum(len(shards.positions(shard)) for shard in mine)
        _run(ShardMaker(cfg, inputs.root, shards, build), jobs, workers, total)
    labels = shards.folder / "labels.json"
    if shards.unfinished():
        return None
    return labels if labels.is_file() else export(shards.folder)


def default_num_workers(cfg: CfgNode) -> int:
    """Return one process per GPU where there are GPUs and ``FEATURES.DEVICE`` allows them, otherwise one per core."""
    if cfg.FEATURES.DEVICE != "cpu" and torch.cuda.is_available():
        return torch.cuda.device_count() if cfg.FEATURES.DEVICE in ("auto", "cuda") else 1
    return available_cores()


def _run(maker: ShardMaker, jobs: list[ShardJob], num_workers: int, total: int) -> None:
    """Make the missing shards behind a progress bar."""
    missing = sum(len(job.images) for job in jobs)
    masks = failures = 0
    with progress_bar(
        desc=f"starting {min(num_workers, len(jobs))} workers" if num_workers else "masks",
        total=total,
        initial=total - missing,
        unit=" images",
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]",
        smoothing=0.05,
    ) as bar:
        for count, progress in enumerate(run_jobs(maker, jobs, num_workers)):
            if count == 0:
                bar.unpause()  # the start of the workers does not count in the speed
                bar.set_description("masks", refresh=False)
            masks += progress.masks
            failures += progress.failures
            bar.set_postfix(found=masks, failed=failures, refresh=False)
            bar.update(progress.images)


def _manifest(cfg: CfgNode, inputs: Inputs, build: Build) -> dict[str, Any]:
    """Return everything that the label set depends on, and what cannot be an image in it."""
    size = min(cfg.PSEUDO.SHARD_SIZE, -(-len(inputs) // _SHARDS_OF_A_SMALL_SET))
    batch = cfg.FEATURES.BATCH_SIZE
    if batch < 1 or cfg.PSEUDO.SHARD_SIZE < 1:
        raise UnsegError("FEATURES.BATCH_SIZE and PSEUDO.SHARD_SIZE must be at least 1.")
    pipeline = build(_on_cpu(cfg))  # settings that do not work are found before any process starts
    features, depth = pipeline.features, pipeline.depth
    return {
        "image_root": str(inputs.root),
        "num_images": len(inputs),
        "images_sha256": inputs.checksum,
        "shard_size": -(-size // batch) * batch,
        "features": {"name": features.name, "checksum": features.checksum},
        "depth": None if depth is None else {"name": depth.source.name, "kind": depth.source.kind},
        "settings": {name: cfg[name] for name in ("FEATURES", "DEPTH", "MASKS", "REFINE", "PSEUDO")},
        "versions": _versions(),
        "not_images": inputs.others,
        **code_of_parts(cfg, without=("LOSSES.", "TEST.")),
    }


def _on_cpu(cfg: CfgNode) -> CfgNode:
    """Return the settings with features that take no GPU memory, for a look at them."""
    return edited(cfg, {"FEATURES.DEVICE": "cpu", "FEATURES.PRECISION": "float32"})


def _versions() -> dict[str, str]:
    versions = {"unseg_d2": unseg_d2.__version__}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions

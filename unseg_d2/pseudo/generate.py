"""Make a label set over many images: shares, worker processes, progress, resuming.

The result is the same, byte for byte, whatever the number of workers or shares and however often the command was
interrupted: a shard is a function of its images and the settings alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fvcore.common.config import CfgNode

from unseg_d2.config import edited
from unseg_d2.data.beside import check_not_shared
from unseg_d2.data.presence import check_images, missing_images
from unseg_d2.data.settings import InputSettings
from unseg_d2.data.spec import relative_root, split_spec
from unseg_d2.description import versions
from unseg_d2.devices import available_cores
from unseg_d2.errors import UnsegError
from unseg_d2.features.follow_device import followed
from unseg_d2.jobs.places import LOCAL, RAY, check_place, run_jobs_at
from unseg_d2.locks import locked
from unseg_d2.manifest import MOST_NAMED
from unseg_d2.masks.registry import idle_prior
from unseg_d2.progress import progress_bar
from unseg_d2.pseudo.claims import ClaimedShards
from unseg_d2.pseudo.inputs import Inputs, list_inputs
from unseg_d2.pseudo.label_set import export
from unseg_d2.pseudo.make_shard import Build, Pipeline, ShardJob, ShardMaker
from unseg_d2.pseudo.pipeline import build_pipeline
from unseg_d2.pseudo.renew import Sources, outdated
from unseg_d2.pseudo.retries import RetriedImages
from unseg_d2.pseudo.shards import ShardFolder
from unseg_d2.pseudo.stage_times import StageTimes
from unseg_d2.registry import code_of_parts, unused_settings
from unseg_d2.supervision import joined, to_info

PARTS = ("FEATURES.NAME", "DEPTH.SOURCE", "MASKS.GENERATOR", "REFINE.NAME")
"""Keys of the parts that make a label set; settings of others have no effect on it, which is said."""
SECTIONS = ("FEATURES", "DEPTH", "MASKS", "REFINE", "PSEUDO")
"""Sections that a label set depends on."""
NUMBERS_OF_PROCESSES = (("PSEUDO", "READERS"), ("PSEUDO", "FINISHERS"))
_SHARDS_OF_A_SMALL_SET = 16  # keeps several workers busy on few images
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "scipy", "opencv-python-headless", "pillow", "pycocotools")

CHANGED = "images have changed since they were read, and are"

logger = logging.getLogger(__name__)


def generate_label_set(
    cfg: CfgNode,
    images: str | Path,
    output: str | Path,
    *,
    num_workers: int | None = None,
    shard_index: int = 0,
    num_shards: int = 1,
    run_on: str = LOCAL,
    build: Build = build_pipeline,
    parts: Sequence[str] = PARTS,
) -> Path:
    """Make pseudo-masks for images, or resume making them.

    Args:
        cfg: settings of features, generator, refinement and label set.
        images: folder, COCO file (``labels.json`` or ``labels.json::image/root``) or name of a data set.
        output: folder of the label set; after an interruption the same call resumes it.
        num_workers: processes; ``None`` for one per core or GPU; 0 works in this process.
        shard_index: which of several calls this is, on any machine that sees the folder: it begins with a share of its
            own, and continues with what the others have left or not begun.
        num_shards: number of calls.
        run_on: ``local`` for processes of this machine, ``ray`` for tasks of a Ray cluster that sees the folder.
        build: makes the pipeline of a worker; must be picklable when there are workers.
        parts: keys of the parts that it is made of.

    Returns:
        ``output/labels.json``, when everything is done.

    Raises:
        UnsegError: nothing to work on, images that are not there, two images with one depth file, another label set in
            the folder, a full disk, or no usable image.
    """
    if num_shards < 1 or (num_workers is not None and num_workers < 0):
        raise UnsegError(f"There must be 1 share or more and 0 processes or more, not {num_shards} and {num_workers}.")
    if not 0 <= shard_index < num_shards:
        raise UnsegError(f"The share must be from 0 to {num_shards - 1}, but is {shard_index}.")
    check_place(run_on, cfg)
    _say_what_is_idle(cfg, parts)
    cfg = edited(cfg, followed(cfg))
    inputs = list_inputs(images, cfg, without=Path(output))
    shards = ShardFolder(output)
    if not (shards.folder / "manifest.json").is_file():
        check_images([{"file_name": str(inputs.root / name)} for name in inputs.file_names], str(images))
        if inputs.lost_videos:
            _say_lost_videos(inputs.lost_videos, images)
    pipeline = build(_on_cpu(cfg))  # settings that do not work are found before any process starts
    sources = Sources(inputs.root, pipeline.depth)
    if sources.has_depth_files:
        check_not_shared(inputs.file_names, sources.depth_file)
    shards.open(_manifest(cfg, inputs, pipeline, Path(output)))
    del pipeline  # the processes have their own
    changed = _outdated(shards, range(shard_index, shards.num_shards, num_shards), sources)
    make = partial(_job, shards, inputs, changed)
    labels, anew = shards.folder / "labels.json", bool(changed)
    was_exported = labels.is_file()  # before shards are looked for, so that all have been there
    with ClaimedShards(shards, shard_index, num_shards, changed, make, elsewhere=run_on == RAY) as jobs:
        if len(jobs):
            _say_what_changed(jobs)
            _say_what_is_gone(jobs, inputs.root)
            if anew := anew or was_exported:
                labels.unlink(missing_ok=True)  # of the images as they were, or of shards that are gone
            workers = default_num_workers(cfg) if num_workers is None else num_workers
            cores = max(1, int(cfg.RAY.CPUS) if run_on == RAY else available_cores() // max(1, workers))
            _run(ShardMaker(cfg, inputs.root, shards.absolute(), build, cores), jobs, workers, run_on)
    return _exported(shards, anew=anew)


def _say_what_is_idle(cfg: CfgNode, parts: Sequence[str]) -> None:
    """Name the settings of parts, and of the foreground union, that have no effect."""
    named = [key for key in parts if key != "FEATURES.NAME" or not cfg.FEATURES.MEMBERS]
    for sentence in (*unused_settings(cfg, named), *(idle_prior(cfg) if "MASKS.GENERATOR" in parts else ())):
        logger.info(sentence)


def _say_lost_videos(number: int, images: str | Path) -> None:
    """Warn where a file says which images are the frames of a video, and folders and names say something else."""
    logger.warning(
        "The label set will not show %d videos of %s (video_id, frame_id): give each a folder of its own with "
        "numbered frames, so that track-masks finds them.",
        *(number, split_spec(images)[0]),
    )


def _outdated(shards: ShardFolder, own: range, sources: Sources) -> dict[int, tuple[int, ...]]:
    """Return the finished shards of a share with images that are not what they were, and the positions of these."""
    found = {shard: outdated(shards, shard, sources) for shard in own if shards.is_finished(shard)}
    return {shard: positions for shard, positions in found.items() if positions}


def _job(shards: ShardFolder, inputs: Inputs, changed: Mapping[int, tuple[int, ...]], shard: int) -> ShardJob:
    """Return the job of a shard."""
    images = [(inputs.ids[k], inputs.file_names[k]) for k in shards.positions(shard)]
    return ShardJob(shard, images, changed.get(shard, ()))


def _exported(shards: ShardFolder, *, anew: bool) -> Path:
    """Export the finished shards, unless another command has done so.

    Args:
        shards: of the label set.
        anew: whether shards have changed that were exported before.
    """
    labels = shards.folder / "labels.json"
    if labels.is_file() and not anew:
        return labels
    with locked(labels.with_name(".labels.json.lock"), until=labels, busy=f"is writing {labels}"):
        if anew or not labels.is_file():
            shards.wait_for_writers()
            export(shards.folder)
    return labels


def _say_what_changed(jobs: ClaimedShards) -> None:
    made = map(jobs.make, jobs.outdated)
    names = [job.images[position][1] for job in made for position in job.outdated]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        words = "image has changed since it was read, and is" if len(names) == 1 else CHANGED
        logger.warning("%d %s tried again: %s%s.", len(names), words, ", ".join(names[:MOST_NAMED]), more)


def _say_what_is_gone(jobs: ClaimedShards, root: Path) -> None:
    """Count the images that are not there any more; without them a label set is not begun, but it is finished."""
    own = [jobs.make(shard) for shard in jobs.left if shard in jobs.own]
    if gone := missing_images([str(root / name) for job in own for _, name in job.images]):
        logger.warning("Not there any more, and so failures: %d of the listed images, such as %s.", len(gone), gone[0])


def default_num_workers(cfg: CfgNode) -> int:
    """Return one process per GPU where there are GPUs and ``FEATURES.DEVICE`` allows them, otherwise one per core."""
    if cfg.FEATURES.DEVICE != "cpu" and torch.cuda.is_available():
        return torch.cuda.device_count() if cfg.FEATURES.DEVICE in ("auto", "cuda") else 1
    return available_cores()


def _run(maker: ShardMaker, jobs: ClaimedShards, num_workers: int, run_on: str) -> None:
    """Make the missing shards behind a progress bar: those of the own share, and those that are taken from others."""
    finished = sum(len(maker.shards.positions(shard)) for shard in jobs.own) - jobs.num_images
    masks = failures = 0
    times = StageTimes()
    where = "ray" if run_on == RAY else f"{min(num_workers, len(jobs))} workers" if num_workers else ""
    reports = run_jobs_at(
        *(run_on, maker.cfg, maker, jobs),
        num_workers=num_workers,
        device=maker.cfg.FEATURES.DEVICE,
        retry=RetriedImages(maker.cfg.FEATURES.BATCH_SIZE),
    )
    with progress_bar(
        desc=f"starting {where}" if where else "masks",
        total=finished + jobs.num_images,
        initial=finished,
        unit=" images",
        bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}{postfix}]",
        smoothing=0.05,
    ) as bar:
        for count, progress in enumerate(reports):
            if count == 0:
                bar.unpause()  # the start of the workers does not count in the speed
                bar.set_description("masks", refresh=False)
            masks += progress.masks
            failures += progress.failures
            times.add(progress.images, progress.seconds)
            bar.total = finished + jobs.num_images
            bar.set_postfix_str(f"found={masks}, failed={failures}{times.brief()}", refresh=False)
            bar.update(min(progress.images, bar.total - bar.n))  # whole batches are made again for one image
    if sentence := times.sentence():
        logger.info(sentence)
    times.record(maker.shards.folder)


def _manifest(cfg: CfgNode, inputs: Inputs, pipeline: Pipeline, output: Path) -> dict[str, Any]:
    """Return everything that the label set depends on, and what cannot be an image in it."""
    size = min(cfg.PSEUDO.SHARD_SIZE, -(-len(inputs) // _SHARDS_OF_A_SMALL_SET))
    batch = cfg.FEATURES.BATCH_SIZE
    if batch < 1 or cfg.PSEUDO.SHARD_SIZE < 1:
        raise UnsegError("FEATURES.BATCH_SIZE and PSEUDO.SHARD_SIZE must be at least 1.")
    features, depth = pipeline.features, pipeline.depth
    learnt = [getattr(part, "supervision", ()) for part in (features, *([depth.source] if depth else []))]
    return {
        "image_root": relative_root(inputs.root, output),
        "num_images": len(inputs),
        "images_sha256": inputs.checksum,
        "shard_size": -(-size // batch) * batch,
        "features": {"name": features.name, "checksum": features.checksum},
        "depth": None if depth is None else depth.identity,
        "supervision": to_info(joined(learnt)),
        "settings": {name: _kept(cfg, name) for name in SECTIONS} | _reading(cfg),
        "versions": versions(_PACKAGES),
        "not_images": inputs.others.to_json(),
        **code_of_parts(cfg, without=("LOSSES.", "TEST.")),
    }


def _kept(cfg: CfgNode, section: str) -> dict[str, Any]:
    """Return a section without the numbers of processes, which change nothing."""
    return {key: value for key, value in cfg[section].items() if (section, key) not in NUMBERS_OF_PROCESSES}


def _reading(cfg: CfgNode) -> dict[str, Any]:
    """Return the keys of ``INPUT`` that say how images are read, where they are not the defaults."""
    changes = InputSettings.from_config(cfg).reading.changes()
    return {"INPUT": changes} if changes else {}


def _on_cpu(cfg: CfgNode) -> CfgNode:
    """Return the settings with features that take no GPU memory, for a look at them."""
    return edited(cfg, {"FEATURES.DEVICE": "cpu", "FEATURES.PRECISION": "float32"})

"""Every command that writes, on inputs so small that a run takes about a second."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torchvision
from command_server import CommandServer, Ended
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "configs"
SCENES = "SYNTHETIC.NUM_TRAIN 6 SYNTHETIC.NUM_VAL 3 SYNTHETIC.SIZE (64,80) FEATURES.IMAGE_SIZE 96"
CPU = ["FEATURES.NAME", "descriptors", "FEATURES.DEVICE", "cpu", "FEATURES.IMAGE_SIZE", "96"]
DETECTOR = f"""_BASE_: {CONFIGS}/quickstart_instant.yaml
ENGINE: builtin
FEATURES: {{IMAGE_SIZE: 96, DEVICE: cpu}}
MODEL:
  DEVICE: cpu
  BACKBONE: {{NAME: build_timm_fpn_backbone}}
  TIMM: {{BASE_NAME: test_resnet}}
  FPN: {{OUT_CHANNELS: 8}}
  RPN: {{PRE_NMS_TOPK_TRAIN: 50, POST_NMS_TOPK_TRAIN: 20, PRE_NMS_TOPK_TEST: 50, POST_NMS_TOPK_TEST: 10}}
  ROI_HEADS: {{BATCH_SIZE_PER_IMAGE: 8}}
  ROI_BOX_HEAD: {{FC_DIM: 16}}
  ROI_MASK_HEAD: {{CONV_DIM: 8, NUM_CONV: 1}}
INPUT: {{MIN_SIZE_TRAIN: [48], MIN_SIZE_TEST: 48}}
DATALOADER: {{NUM_WORKERS: 0}}
SOLVER: {{MAX_ITER: 4, STEPS: [3], CHECKPOINT_PERIOD: 2, WARMUP_ITERS: 1, BASE_LR: 0.001, IMS_PER_BATCH: 2}}
TEST: {{DETECTIONS_PER_IMAGE: 5}}
ROUNDS: {{RECIPE: tiny.yaml, SCORE_THRESHOLDS: [0.01]}}
"""


@dataclass(frozen=True)
class Tiny:
    """A command that writes.

    Attributes:
        name: of the case.
        words: of the command line, given the folder of the inputs and that of the outputs.
        heavy: a run starts processes that import torch on their own, or takes several seconds.
        resumes: finished work is kept when the command is run again.
        images: it reads the images of the inputs while it works.
        inputs: copied from the folder of the inputs to that of the outputs before the first run.
    """

    name: str
    words: Callable[[Path, Path], list[str]]
    heavy: bool = False
    resumes: bool = False
    images: bool = True
    inputs: tuple[str, ...] = field(default=())


def _generate(workers: int) -> Callable[[Path, Path], list[str]]:
    def words(stage: Path, out: Path) -> list[str]:
        places = ["--images", f"{stage}/images", "--output", f"{out}/masks", "--num-workers", str(workers)]
        return ["generate-masks", *places, *CPU, "PSEUDO.SHARD_SIZE", "2", "FEATURES.BATCH_SIZE", "1"]

    return words


def _command(text: str) -> Callable[[Path, Path], list[str]]:
    """Return the words of a command line with ``{stage}``, ``{out}`` and ``{configs}`` in it."""

    def words(stage: Path, out: Path) -> list[str]:
        return [word.format(stage=stage, out=out, configs=CONFIGS) for word in text.split()]

    return words


DEPTH = "DEPTH.SOURCE files DEPTH.KIND metric DEPTH.FILES.ROOT {stage}/depth DEPTH.FILES.SCALE 0.001"
SALIENCY = (
    "--config-file {configs}/saliency/descriptors.yaml SOLVER.MAX_ITER 6 SOLVER.CHECKPOINT_PERIOD 2 "
    "SOLVER.IMS_PER_BATCH 2 SALIENCY.IMAGE_SIZE 32 SALIENCY.SHORTER_SIDE 40 SALIENCY.HEAD.CHANNELS [4] MODEL.DEVICE cpu"
)
SEMANTIC = (
    "--config-file {configs}/semantic/synthetic.yaml SYNTHETIC.ROOT {out}/scenes SYNTHETIC.SIZE (64,80) "
    "SYNTHETIC.NUM_TRAIN 6 SYNTHETIC.NUM_VAL 3 SEMANTIC.IMAGE_SIZE 64 FEATURES.IMAGE_SIZE 64 "
    "FEATURES.DESCRIPTORS.PATCH_SIZE 8 REFINE.NAME none SOLVER.IMS_PER_BATCH 3 SOLVER.CHECKPOINT_PERIOD 3 "
    "SEMANTIC.INIT.BASELINE_EPOCHS 1 SEMANTIC.EM.EPOCHS 4 MODEL.DEVICE cpu"
)
TRUTH = "{stage}/instances.json::{stage}/images"
TINY = [
    Tiny("generate-masks 0", _generate(0), resumes=True),
    Tiny("generate-masks 1", _generate(1), heavy=True, resumes=True),
    Tiny("generate-masks 2", _generate(2), heavy=True, resumes=True),
    Tiny(
        "cut-masks",
        _command("cut-masks --labels {stage}/masks --output {out}/cut --num-workers 0 PSEUDO.SHARD_SIZE 2 " + DEPTH),
        resumes=True,
    ),
    Tiny(
        "split-masks",
        _command(
            "split-masks --labels {stage}/masks --output {out}/split --num-workers 0 PSEUDO.SHARD_SIZE 2 "
            "MASKS.SPLIT.EDGES canny"
        ),
        resumes=True,
    ),
    Tiny(
        "track-masks",
        _command(f"track-masks --labels {{stage}}/masks --output {{out}}/tracks {' '.join(CPU)}"),
        resumes=True,
    ),
    *(
        [
            Tiny(
                "group-masks",
                _command(
                    "group-masks --labels {stage}/masks --images {stage}/images --output {out}/groups "
                    "FEATURES.NAME palette FEATURES.IMAGE_SIZE 96 GROUPS.NUMBER 2"
                ),
                resumes=True,
            )
        ]
        if importlib.util.find_spec("sklearn")
        else []
    ),
    Tiny("export-masks", _command("export-masks --labels {stage}/masks --output {out}/coco.json"), images=False),
    *(
        Tiny(
            f"export {form}",
            _command(f"export --labels {{stage}}/masks --images {{stage}}/images --output {{out}}/set --format {form}"),
        )
        for form in ("yolo --images-as copy", "voc", "cvat")
    ),
    Tiny("import", _command("import {stage}/masks/labels.json --labels {stage}/masks --output {out}/corrected.json")),
    Tiny(
        "score-masks",
        _command("score-masks --labels {stage}/masks --gt {stage}/instances.json --output {out}/figures.json"),
        images=False,
    ),
    Tiny(
        "evaluate detection of labels",
        _command(f"evaluate detection --datasets {TRUTH} --labels {{stage}}/masks/labels.json --output {{out}}/scores"),
        images=False,
    ),
    Tiny(
        "evaluate detection",
        _command(
            f"evaluate detection --config-file {{stage}}/tiny.yaml --weights {{stage}}/run/model_final.pth "
            f"--datasets {TRUTH} --output {{out}}/scores"
        ),
        resumes=True,
    ),
    Tiny(
        "train-net",
        _command(
            f"train-net --config-file {{stage}}/tiny.yaml --labels {{stage}}/masks/labels.json --gt {TRUTH} "
            "--output {out}/run"
        ),
        heavy=True,
        resumes=True,
    ),
    Tiny(
        "self-train",
        _command(
            "self-train --config-file {stage}/tiny.yaml --images synthetic_train --gt synthetic_val --rounds 1 "
            "--num-workers 0 --output {out}/run SYNTHETIC.ROOT {out}/scenes " + SCENES
        ),
        heavy=True,
        resumes=True,
        images=False,
    ),
    Tiny(
        "demo",
        _command(
            "demo --config-file {stage}/tiny.yaml --weights {stage}/run/model_final.pth --input {stage}/images "
            "--score-threshold 0.01 --format overlays,coco,labelstudio --output {out}/demo"
        ),
    ),
    Tiny(
        "demo of a video",
        _command(
            "demo --config-file {stage}/tiny.yaml --weights {stage}/run/model_final.pth --input {stage}/film.mp4 "
            "--score-threshold 0.01 --output {out}/demo"
        ),
        images=False,
    ),
    Tiny("visualize", _command("visualize --labels {stage}/many.json --images {stage}/many --output {out}/page")),
    Tiny(
        "visualize overlays",
        _command(
            "visualize --labels {stage}/masks --gt {stage}/instances.json --images {stage}/images "
            "--output {out}/page.html --overlays"
        ),
    ),
    Tiny(
        "train-saliency",
        _command(
            "train-saliency --output {out}/run --write-masks {out}/masks DATASETS.TRAIN ('{stage}/images',) " + SALIENCY
        ),
        resumes=True,
    ),
    Tiny("train-semantic", _command("train-semantic --output {out}/run " + SEMANTIC), resumes=True, images=False),
    Tiny(
        "evaluate saliency",
        _command(
            "evaluate saliency --datasets {stage}/images::{stage}/salient --weights {stage}/saliency/model_final.pth "
            "--labels {stage}/masks/labels.json --output {out}/scores"
        ),
    ),
    Tiny(
        "evaluate corloc",
        _command(f"evaluate corloc --datasets {TRUTH} --labels {{stage}}/masks/labels.json --output {{out}}/scores"),
    ),
    Tiny(
        "evaluate semantic",
        _command(
            "evaluate semantic --weights {stage}/semantic/run/model_final.pth --datasets synthetic_val "
            "--write-masks {out}/maps --output {out}/scores"
        ),
        images=False,
    ),
    Tiny(
        "explain-masks",
        _command(
            f"explain-masks --images {{stage}}/images --output {{out}}/pictures {' '.join(CPU)} MASKS.GENERATOR cuts3d "
            + DEPTH
        ),
    ),
    Tiny(
        "convert-checkpoint",
        _command("convert-checkpoint --weights {stage}/resnet.pth --output {out}/model.safetensors"),
        images=False,
    ),
    Tiny(
        "convert-checkpoint to pth",
        _command("convert-checkpoint --weights {stage}/resnet.pth --output {out}/model.pth"),
        images=False,
    ),
    Tiny("prepare-data", _command("prepare-data coco --root {out}"), images=False, inputs=("coco",)),
    Tiny(
        "compare",
        _command(
            "compare --labels ours={stage}/masks/labels.json --gt {stage}/instances.json --no-published "
            "--output {out}/table.csv"
        ),
        images=False,
    ),
]
"""Every command that writes; ``zoo get`` is tried against a server of its own in tests/zoo."""


def make_stage(server: CommandServer, stage: Path) -> None:
    """Make the inputs of all commands; most of them are outputs of others."""
    (stage / "tiny.yaml").write_text(DETECTOR)
    (stage / "photos").mkdir()
    Image.new("RGB", (32, 32)).save(stage / "photos" / "0.png")

    def run(text: str) -> Ended:
        ended = server.run(_command(text)(stage, stage), stage)
        assert ended.status == 0, ended.said
        return ended

    run("train-semantic --output {stage}/semantic/run " + SEMANTIC.replace("{out}", "{stage}"))
    (scenes,) = (path for path in (stage / "scenes").iterdir() if path.name.startswith("train-6-"))
    for name in ("images", "depth", "instances.json"):
        (scenes / name).rename(stage / name)
    run(" ".join(_generate(0)(stage, stage)))
    run("train-saliency --output {stage}/saliency DATASETS.TRAIN ('{stage}/images',) " + SALIENCY)
    run("train-net --config-file {stage}/tiny.yaml --labels {stage}/masks/labels.json --output {stage}/run")
    _salient(stage)
    _many(stage)
    _coco(stage)
    _film(stage)
    torch.save(torchvision.models.resnet18().state_dict(), stage / "resnet.pth")


def _salient(stage: Path) -> None:
    """Masks of the brighter half of each image."""
    (stage / "salient").mkdir()
    for path in sorted((stage / "images").iterdir()):
        grey = np.asarray(Image.open(path).convert("L"))
        Image.fromarray(np.where(grey > np.median(grey), 255, 0).astype(np.uint8)).save(stage / "salient" / path.name)


def _many(stage: Path, number: int = 501) -> None:
    """So many images that their pictures lie beside the page."""
    (stage / "many").mkdir()
    images = [{"id": k + 1, "file_name": f"{k:03d}.png", "height": 8, "width": 8} for k in range(number)]
    box = {"bbox": [1, 1, 4, 4], "segmentation": [[1, 1, 5, 1, 5, 5, 1, 5]], "area": 16, "iscrowd": 0, "category_id": 1}
    annotations = [{"id": image["id"], "image_id": image["id"], **box} for image in images]
    for k, image in enumerate(images):
        Image.new("RGB", (8, 8), (k % 256, 80, 90)).save(stage / "many" / str(image["file_name"]))
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}]}
    (stage / "many.json").write_text(json.dumps(content))


def _coco(stage: Path) -> None:
    """The files of COCO as its owners lay them out."""
    (stage / "coco" / "annotations").mkdir(parents=True)
    content = json.loads((stage / "instances.json").read_text())
    (stage / "coco" / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


def _film(stage: Path) -> None:
    import cv2

    writer = cv2.VideoWriter(str(stage / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 5.0, (80, 64))
    for path in sorted((stage / "images").iterdir())[:4]:
        writer.write(cv2.imread(str(path)))
    writer.release()

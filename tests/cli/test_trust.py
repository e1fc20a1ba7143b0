"""``--trust-checkpoint`` reaches the reader of every command that reads weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from unseg_d2.cli import main
from unseg_d2.errors import UnsegError

REPOSITORY = Path(__file__).resolve().parents[2]
DETECTOR = "--config-file {repository}/configs/quickstart.yaml ENGINE builtin MODEL.DEVICE cpu DATALOADER.NUM_WORKERS 0"
VIT = "FEATURES.NAME vit FEATURES.WEIGHTS {weights} FEATURES.DEVICE cpu"


class Payload:
    """An object that plain weights do not contain."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image, a label set of it, and arbitrary weights together with an object."""
    (tmp_path / "images").mkdir()
    Image.fromarray(np.full((64, 64, 3), 99, np.uint8)).save(tmp_path / "images" / "a.png")
    square = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [8, 8, 20, 20], "area": 400, "iscrowd": 0}
    square["segmentation"] = [[8, 8, 28, 8, 28, 28, 8, 28]]
    image = {"id": 1, "file_name": "a.png", "height": 64, "width": 64}
    content = {"images": [image], "annotations": [square], "categories": [{"id": 1, "name": "object"}]}
    (tmp_path / "labels.json").write_text(json.dumps(content))
    torch.save({"model": {"some.weight": torch.zeros(2)}, "extra": Payload()}, tmp_path / "weights.pth")
    return tmp_path


@pytest.mark.parametrize(
    "line",
    [
        f"train-net {DETECTOR} --labels {{data}} --weights {{weights}} --output {{output}} SOLVER.IMS_PER_BATCH 1",
        f"train-net {DETECTOR} --eval-only --gt {{data}} --weights {{weights}} --output {{output}}",
        f"self-train {DETECTOR} --labels {{labels}} --weights {{weights}} --output {{output}} SOLVER.IMS_PER_BATCH 1",
        f"demo {DETECTOR} --input {{images}} --weights {{weights}} --output {{output}}",
        f"evaluate detection {DETECTOR} --datasets {{data}} --weights {{weights}} --output {{output}}",
        "evaluate saliency --datasets {images}::{images} --weights {weights}",
        "evaluate corloc --datasets {data} --weights {weights}",
        "evaluate semantic --datasets {images} --weights {weights}",
        "convert-checkpoint --weights {weights} --output {output}.pth",
        f"generate-masks {VIT} --images {{images}} --output {{output}} --num-workers 0",
        f"explain-masks {VIT} --images {{images}} --output {{output}} MASKS.GENERATOR cuts3d DEPTH.SOURCE files "
        "DEPTH.KIND metric DEPTH.FILES.ROOT {images}",
        f"evaluate saliency {VIT} --datasets {{images}}::{{images}} --generator tokencut",
        f"train-saliency {VIT} --output {{output}} DATASETS.TRAIN ('{{images}}',)",
        f"train-semantic {VIT} --output {{output}} DATASETS.TRAIN ('{{images}}',)",
    ],
)
def test_an_object_is_refused_until_it_is_trusted(line: str, folder: Path) -> None:
    def run(*more: str) -> str:
        paths = {name: folder / name for name in ("images", "output")}
        files = {"weights": folder / "weights.pth", "labels": folder / "labels.json"}
        data = f"{folder / 'labels.json'}::{folder / 'images'}"
        words = [word.format(**paths, **files, data=data, repository=REPOSITORY) for word in line.split()]
        with pytest.raises(UnsegError) as error:
            args = main.parser(words).parse_args([*words, *more])
            args.execute(args)
        return str(error.value)

    assert "--trust-checkpoint" in run()
    assert "--trust-checkpoint" not in run("--trust-checkpoint")

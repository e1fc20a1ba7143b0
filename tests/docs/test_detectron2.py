"""docs/detectron2.md carried out in an empty folder with real Detectron2: its files written, its commands run."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from unseg_d2.rle import encode_confidence, encode_mask

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
pytestmark = pytest.mark.detectron2

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "detectron2.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.M | re.S)
CREATE = re.compile(r"# (\w+\.py)\n")
COMMANDS = dict(re.findall(r"^```bash\n# (\w+).*?\n(.*?)^```$", PAGE, re.M | re.S))
CUTS3D = "configs/cuts3d/cascade_mask_rcnn_R_50_FPN.yaml"
SMALL = {
    "MODEL.DEVICE": "cpu",
    "MODEL.RESNETS.DEPTH": "18",
    "MODEL.RESNETS.RES2_OUT_CHANNELS": "64",
    "MODEL.RESNETS.NORM": "BN",
    "MODEL.FPN.NORM": "BN",
    "MODEL.FPN.OUT_CHANNELS": "32",
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": "32",
    "MODEL.ROI_BOX_HEAD.FC_DIM": "64",
    "MODEL.ROI_MASK_HEAD.CONV_DIM": "32",
    "MODEL.RPN.POST_NMS_TOPK_TEST": "50",
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": "100",
    "INPUT.MIN_SIZE_TRAIN": "(72,96)",
    "INPUT.MIN_SIZE_TEST": "96",
    "SOLVER.REFERENCE_WORLD_SIZE": "0",
    "SOLVER.IMS_PER_BATCH": "2",
    "SOLVER.AMP.ENABLED": "False",
    "SOLVER.STEPS": "()",
    "SOLVER.MAX_ITER": "2",
    "TEST.PRECISE_BN.NUM_ITER": "2",
    "DATALOADER.NUM_WORKERS": "0",
    "SEED": "5",
}
"""A network and a training of seconds; everything else is the recipe's."""
OPTS = [text for pair in SMALL.items() for text in pair]
SMALL_LAZY = [
    "train.device=cpu",
    "train.max_iter=1",
    "dataloader.train.batch_size=2",
    "dataloader.train.opts=[DATALOADER.NUM_WORKERS,'0',INPUT.MIN_SIZE_TRAIN,'(72,)']",
    "dataloader.test.opts=[DATALOADER.NUM_WORKERS,'0',INPUT.MIN_SIZE_TEST,'72']",
    "model.backbone.norm=BN",
    "model.backbone.bottom_up.stem.norm=BN",
    "model.backbone.bottom_up.stages.norm=BN",
    "model.proposal_generator.post_nms_topk=[50,20]",
    "model.roi_heads.batch_size_per_image=16",
]


def write_images(folder: Path) -> None:
    """Four photos of squares, a label set with scores and confidence, and a ground truth."""
    (folder / "photos").mkdir()
    (folder / "masks").mkdir()
    images, objects = [], []
    for number in range(1, 5):
        photo = np.full((72, 96, 3), (40, 140, 60), np.uint8)
        for left in (4 * number, 48 + 2 * number):
            mask = np.zeros((72, 96), bool)
            mask[10 : 30 + 4 * number, left : left + 24] = True
            photo[mask] = (200, 30, 20 * number)
            grid = encode_confidence(np.linspace(1, 0.2, 12)[None].repeat(9, axis=0))
            box = [left, 10, 24, 20 + 4 * number]
            objects.append({"image_id": number, "bbox": box, "segmentation": encode_mask(mask)})
            objects[-1] |= {"id": len(objects), "category_id": 1, "score": 0.5 + 0.1 * number, "confidence": grid}
        Image.fromarray(photo).save(folder / "photos" / f"{number}.png")
        images.append({"id": number, "file_name": f"{number}.png", "height": 72, "width": 96})
    labels = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "object"}]}
    (folder / "masks" / "labels.json").write_text(json.dumps(labels))
    truth = [{key: value for key, value in item.items() if key not in ("score", "confidence")} for item in objects]
    (folder / "truth.json").write_text(json.dumps({**labels, "annotations": truth}))


def run(folder: Path, command: str, *more: str) -> str:
    """Run commands of the page, with more arguments appended to each."""
    for line in command.replace("\\\n", " ").splitlines():
        arguments = more if "--config-file" in line or "lazy_train.py" in line else ()
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            ["bash", "-ec", f"{line} {shlex.join(arguments)}"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the page's files and nothing else but data; the training script has run."""
    folder = tmp_path_factory.mktemp("project")
    write_images(folder)
    for language, code in BLOCKS:
        if language == "python":
            (folder / CREATE.match(code)[1]).write_text(code[code.index("\n") + 1 :])
    run(folder, COMMANDS["train"], *OPTS)
    return folder


def metrics(folder: Path, key: str) -> list[dict[str, float]]:
    lines = map(json.loads, (folder / "metrics.json").read_text().splitlines())
    return [line for line in lines if key in line]


def test_it_trains_with_the_losses_of_train_net(folder: Path) -> None:
    data = "--labels masks/labels.json::photos --gt truth.json::photos --output command"
    run(folder, f"unseg-d2 train-net --config-file {CUTS3D} {data}", "ENGINE", "detectron2", *OPTS)
    (own,), (expected,) = (metrics(folder / name, "loss_mask") for name in ("run", "command"))
    losses = [name for name in expected if "loss" in name]
    assert len(losses) == 10  # three stages of two each, the mask, two of the proposals, and their sum
    for name in losses:
        assert own[name] == pytest.approx(expected[name], abs=1e-6), name
    assert "MODEL.WEIGHTS is empty" in (folder / "run" / "log.txt").read_text()  # our lines are in Detectron2's log
    recipe = yaml.safe_load((folder / "run" / "config.yaml").read_text())
    assert recipe["DATALOADER"]["COPY_PASTE"] and recipe["MODEL"]["ROI_MASK_HEAD"]["CONFIDENCE"] == "spatial"
    (found,), (scored,) = metrics(folder / "run", "segm/AR100"), (folder / "command").glob("evaluation/*/figures.json")
    expected = json.loads(scored.read_text())["segm"]
    assert [found[f"segm/{name}"] for name in ("AP", "AR100")] == pytest.approx([expected["AP"], expected["AR100"]])


@pytest.mark.slow
def test_the_recipe_is_not_lost(folder: Path) -> None:
    """The same batch with the mask loss that knows no confidence: what the page promises would show if it were lost."""
    run(folder, COMMANDS["train"], *OPTS, "OUTPUT_DIR", "plain", "MODEL.ROI_MASK_HEAD.CONFIDENCE", "none")
    (own,), (plain,) = (metrics(folder / name, "loss_mask") for name in ("run", "plain"))
    assert abs(own["loss_mask"] - plain["loss_mask"]) > 1e-3


def test_a_checkpoint_is_evaluated(folder: Path) -> None:
    run(folder, COMMANDS["evaluate"], *OPTS, "OUTPUT_DIR", "evaluated")
    log = (folder / "evaluated" / "log.txt").read_text()
    figures = metrics(folder / "run", "bbox/AP")[0]
    assert f"{figures['bbox/AP']:.4f}" in log


@pytest.mark.slow
def test_a_round(folder: Path) -> None:
    hard = ["MODEL.ROI_MASK_HEAD.CONFIDENCE", "none"]
    run(folder, COMMANDS["a"], *OPTS, *hard)
    labels = json.loads((folder / "round1" / "labels.json").read_text())
    assert labels["info"]["rounds"][0]["score_threshold"] == 0.7
    assert (folder / "run1" / "model_final.pth").is_file()


def test_the_notebook(folder: Path) -> None:
    run(folder, "python look.py")
    assert Image.open(folder / "found.png").size == (96, 72)


@pytest.mark.slow
def test_detectron2s_loader_and_trainer(folder: Path) -> None:
    script = (folder / "train_net.py").read_text().replace("import UnsegTrainer, ", "import ")
    own = script.replace("UnsegTrainer", "Trainer").replace(
        "\n\ndef main", "from own_loader import Trainer\n\n\ndef main"
    )
    (folder / "own_trainer.py").write_text(own)
    run(folder, COMMANDS["train"].replace("train_net.py", "own_trainer.py"), *OPTS, "OUTPUT_DIR", "own")
    assert metrics(folder / "own", "loss_mask")[0]["loss_mask"] > 0
    assert 0 <= metrics(folder / "own", "segm/AP")[0]["segm/AP"] <= 100


@pytest.mark.slow
def test_the_lazy_config(folder: Path) -> None:
    assert "'AP50'" in run(folder, "python lazy_train.py", *SMALL_LAZY)


def test_the_installation_is_looked_at(folder: Path) -> None:
    command = next(code for language, code in BLOCKS if "availability" in code)
    assert run(folder, command).startswith("Detectron2 ")


def test_the_script_is_short_and_in_the_style_of_the_project(folder: Path) -> None:
    assert len((folder / "train_net.py").read_text().splitlines()) <= 40
    ruff = shutil.which("ruff", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if ruff is None:
        pytest.skip("ruff is not installed")
    files = " ".join(match[1] for _, code in BLOCKS if (match := CREATE.match(code)))
    run(folder, f"cp {ROOT}/pyproject.toml . && {ruff} check --ignore D {files} && {ruff} format --check {files}")


def test_every_public_name_is_described() -> None:
    import unseg_d2.detectron2

    assert [name for name in unseg_d2.detectron2.__all__ if f"{name}" not in PAGE] == []

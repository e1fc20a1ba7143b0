"""The page on published files: written by its script; what its table says about some files is stated here again."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.detectron2
pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)

SCRIPT = Path(__file__).with_name("published_page.py")


@pytest.fixture(scope="module")
def page() -> ModuleType:
    spec = importlib.util.spec_from_file_location("published_page", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(page: ModuleType) -> dict[tuple[str, str], list[str]]:
    """Cells by project and file."""
    found = {(project, file): cells for project, file, cells in page.rows()}
    page.rows = lambda: ((project, file, cells) for (project, file), cells in found.items())
    return found


def test_all_files_are_there(rows: dict[tuple[str, str], list[str]]) -> None:
    projects = [project for project, _ in rows]
    assert {name: projects.count(name) for name in projects} == {"CutLER": 16, "CuVLER": 3, "VideoCutLER": 7}


def test_the_page_is_up_to_date(page: ModuleType, rows: dict[tuple[str, str], list[str]]) -> None:
    assert page.PAGE.read_text() == page.render(), f"run: python {SCRIPT.relative_to(SCRIPT.parents[2])}"


CASCADE = "`DropLossCascadeROIHeads` + `ConfidenceMaskHead`: "


@pytest.mark.parametrize(
    ("project", "file", "builtin", "detectron2"),
    [
        ("CutLER", "CutLER-ImageNet/cascade_mask_rcnn_R_50_FPN.yaml", "3 stages: DropLoss 0.01, masks", CASCADE),
        ("CutLER", "CutLER-ImageNet/cascade_mask_rcnn_R_50_FPN_self_train.yaml", "3 stages: masks", CASCADE),
        ("CutLER", "COCO-Semisupervised/cascade_mask_rcnn_R_50_FPN_10perc.yaml", "3 stages: masks", CASCADE),
        (
            "CutLER",
            "CutLER-ImageNet/mask_rcnn_R_50_FPN.yaml",
            "1 stage: DropLoss 0.01, masks",
            "`DropLossStandardROIHeads` + `ConfidenceMaskHead`: ",
        ),
        (
            "CuVLER",
            "CutVER-ImageNet/cascade_mask_rcnn_R_50_FPN_votecut_cad.yaml",
            "3 stages: DropLoss 0.01, soft targets, masks",
            CASCADE,
        ),
    ],
)
def test_heads(project: str, file: str, builtin: str, detectron2: str, rows: dict[tuple[str, str], list[str]]) -> None:
    _, ours, theirs, _, own = rows[project, file]
    assert ours == f"`RoIHeads`, {builtin}"
    assert theirs == own == detectron2 + builtin.split(": ")[1]


def test_video_files_are_refused_key_by_key(page: ModuleType, tmp_path: Path) -> None:
    files = {file.name: file for file in page.write_files(tmp_path)["VideoCutLER"]}
    refused = page.refusals(files["Base-YouTubeVIS-VideoInstanceSegmentation.yaml"])
    assert refused.keys() == {
        "INPUT.AUGMENTATIONS",
        "INPUT.MIN_SIZE_TRAIN_SAMPLING",
        "INPUT.RANDOM_FLIP",
        "SOLVER.BACKBONE_MULTIPLIER",
        "SOLVER.OPTIMIZER",
    }
    assert "in FILE is 'flip_by_clip', but must be one of 'horizontal', 'vert" in refused["INPUT.RANDOM_FLIP"]


def test_a_clone_with_other_values_is_noticed(page: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    folder = tmp_path / "cad" / "model_zoo" / "configs"
    page.write_files(tmp_path)["CuVLER"]
    folder.parent.mkdir(parents=True)
    (tmp_path / "CuVLER").rename(folder)
    assert page.compare(tmp_path) == 0
    (folder / "Base-RCNN-FPN.yaml").write_text("VERSION: 1\n")
    assert page.compare(tmp_path) == 1
    assert capsys.readouterr().out == "CuVLER: Base-RCNN-FPN.yaml has other keys or values\n"

"""From data sets and predictions to one table, and the command that does it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from fake_engine import FakeEngine

from unseg_d2.cli import evaluate as command
from unseg_d2.config import load_cfg
from unseg_d2.data.builtin import ALIASES, BUILTIN
from unseg_d2.detectors.builtin.model import build_model
from unseg_d2.detectors.checkpoints import save_checkpoint
from unseg_d2.detectors.protocol import select_engine
from unseg_d2.errors import UnsegError
from unseg_d2.evaluation.backends import BACKENDS
from unseg_d2.evaluation.scores import Scores
from unseg_d2.evaluation.table import as_markdown, as_text
from unseg_d2.rle import to_rle
from unseg_d2.training.benchmark_table import benchmark_rows
from unseg_d2.training.benchmarks import Benchmark, predict_dataset, score_predictions, setting_of

SAMPLES = ["coco_dev", "kitti_sample", "voc_sample", "ade20k_sample"]
RECIPE = Path(__file__).resolve().parents[2] / "configs/base_cascade_mask_rcnn_R_50_FPN.yaml"
TINY = [
    *("ENGINE", "builtin", "MODEL.DEVICE", "cpu", "MODEL.RESNETS.DEPTH", "18", "MODEL.RESNETS.RES2_OUT_CHANNELS", "64"),
    *("MODEL.RESNETS.NORM", "BN", "MODEL.FPN.NORM", "", "MODEL.FPN.OUT_CHANNELS", "32", "INPUT.MIN_SIZE_TEST", "64"),
    *("INPUT.MAX_SIZE_TEST", "96", "MODEL.RPN.POST_NMS_TOPK_TEST", "20", "MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.0"),
    *("MODEL.ROI_BOX_HEAD.FC_DIM", "64", "MODEL.ROI_MASK_HEAD.CONV_DIM", "32", "DATALOADER.NUM_WORKERS", "0"),
]


def annotation(image: int, box: list[int], **more: Any) -> dict[str, Any]:
    left, top, width, height = box
    polygon = [[left, top, left + width, top, left + width, top + height, left, top + height]]
    return {"image_id": image, "category_id": image, "bbox": box, "segmentation": polygon} | more


def data_set(folder: Path, *, with_masks: bool = True) -> Path:
    """Two images with an object each, one of them with a crowd too, and an empty one."""
    crowd = annotation(2, [40, 0, 20, 40], iscrowd=1)
    annotations = [annotation(1, [0, 0, 20, 20]), annotation(2, [0, 0, 20, 20]), crowd]
    for index, item in enumerate(annotations):
        item |= {"id": index + 1, "area": item["bbox"][2] * item["bbox"][3]}
        if not with_masks:
            item["segmentation"] = []
    images = [{"id": key, "file_name": f"{key}.png", "height": 40, "width": 60} for key in (1, 2, 3)]
    path = folder / "labels.json"
    path.write_text(json.dumps({"info": {"protocol": "By hand."}, "images": images, "annotations": annotations}))
    return path


def predictions(folder: Path) -> Path:
    """The object of image 1, the left half of that of image 2, one on its crowd, and a false one on image 3."""
    boxes = {1: [[0, 0, 20, 20]], 2: [[0, 0, 10, 20], [45, 5, 10, 10]], 3: [[0, 0, 9, 9]]}
    results = []
    for image, given in boxes.items():
        for box in given:
            result = annotation(image, box, score=0.9 - 0.1 * image)
            results.append(result | {"segmentation": to_rle(result["segmentation"], 40, 60)})
    path = folder / "results.json"
    path.write_text(json.dumps(results))
    return path


@pytest.mark.parametrize("backend", BACKENDS)
def test_scores_by_hand(tmp_path: Path, backend: str) -> None:
    """IoU 1 and 0.5: at 0.5 both are found before the false one, above it half of them; best IoU is 0.75."""
    pytest.importorskip(backend)
    cfg = load_cfg(None, ["TEST.CLASS_AGNOSTIC.BACKEND", backend, "TEST.EVALUATORS", ("class_agnostic", "best_iou")])
    found = score_predictions(predictions(tmp_path), str(data_set(tmp_path)), cfg, setting="zero-shot")
    assert found.scores.counts == {
        "images": 3,
        "images_without_objects": 1,
        "objects": 2,
        "crowds": 1,
        "results": 4,
    } | {
        "without_mask": 0,
        "ignored_images": 0,
    }
    assert found.protocol == "By hand."
    for figures in found.scores.metrics.values():
        assert figures["AP50"] == pytest.approx(100)
        assert figures["AP75"] == pytest.approx(100 * 51 / 101)
        assert figures["AR100"] == pytest.approx(55)
        assert figures["BestIoU"] == pytest.approx(75)
    assert set(found.scores.metrics) == {"bbox", "segm"}


def test_boxes_where_the_truth_has_no_masks(tmp_path: Path) -> None:
    truth = data_set(tmp_path, with_masks=False)
    found = score_predictions(predictions(tmp_path), str(truth), load_cfg(), setting="zero-shot")
    assert set(found.scores.metrics) == {"bbox"}


def test_label_sets_are_matched_by_file_name(tmp_path: Path) -> None:
    """A COCO file with ids of its own, and an image that the ground truth does not have."""
    images = [{"id": f"x{key}", "file_name": f"{key}.png", "height": 40, "width": 60} for key in (1, 9)]
    masks = [
        annotation(1, [0, 0, 20, 20]) | {"id": index, "image_id": image["id"]} for index, image in enumerate(images)
    ]
    labels = tmp_path / "set.json"
    for item in masks:
        item["segmentation"] = to_rle(item["segmentation"], 40, 60)
    labels.write_text(json.dumps({"images": images, "annotations": masks}))
    scores = score_predictions(labels, str(data_set(tmp_path)), load_cfg(), setting="zero-shot").scores
    assert (scores.counts["results"], scores.counts["ignored_images"]) == (1, 1)
    assert scores.metrics["segm"]["Recall50"] == pytest.approx(50)


def test_measured_and_published_rows_stand_together() -> None:
    names = ("images", "images_without_objects", "objects", "crowds", "without_mask", "results", "ignored_images")
    counts = dict.fromkeys(names, 1)
    measured = {"bbox": {"AP": 12.0, "AP50": 21.0, "AR100": 30.0, "AR300": 31.0, "BestIoU": float("nan")}}
    scores = [Benchmark("cls_agnostic_kitti", "zero-shot", "", Scores(measured, counts, "pycocotools", 1))]
    rows = benchmark_rows(scores, "ours")
    ours, *others = (dict(zip(rows[0], row)) for row in rows[1:])
    assert (ours["method"], ours["setting"], ours["kind"]) == ("ours", "zero-shot", "box")
    assert (ours["AR300"], ours["best IoU"]) == ("31.0", "-")
    cutler = next(
        row for row in others if row["method"] == "CutLER, Cascade Mask R-CNN R50-FPN" and row["AR100"] != "-"
    )
    assert (cutler["AP50"], cutler["AR100"]) == ("18.4", "27.5") and "README" in cutler["source"]
    assert next(row for row in others if row["method"].startswith("ProMerge+"))["kind"] == "?"
    assert len(benchmark_rows(scores, "ours", published=False)) == 2
    apart = Scores(measured, counts, "pycocotools", 1, with_classes=True)  # published figures tell no classes apart
    assert len(benchmark_rows([Benchmark("cls_agnostic_kitti", "zero-shot", "", apart)], "ours")) == 2
    other = Benchmark("cls_agnostic_kitti", "zero-shot", "", Scores({"bbox": {"F1": 5.0}}, counts, "", 1))
    assert benchmark_rows([other], "ours", published=False)[0][4:-2] == ["F1"]
    assert {"AP50", "F1"} <= set(benchmark_rows([other], "ours")[0])
    assert len(as_text(rows).splitlines()) == len(rows) == len(as_markdown(rows).splitlines()) - 1


def test_settings() -> None:
    assert setting_of("kitti", ("imagenet_train",)) == "zero-shot"
    assert setting_of("coco20k", ("imagenet_train", "coco_2017_train")) == "in-domain"
    assert setting_of("coco20k", ()) == setting_of("labels.json", ("imagenet_train",)) == "not stated"


def test_every_alias_is_built_in() -> None:
    assert set(ALIASES.values()) <= BUILTIN.keys() and not ALIASES.keys() & BUILTIN.keys()


@pytest.mark.parametrize("sample", SAMPLES)
def test_perfect_predictions_on_real_layouts(shared_data: Path, tmp_path: Path, sample: str, capsys: Any) -> None:
    """The ground truth as predictions is found completely; crowd regions are neither missed nor false."""
    truth = shared_data / sample / "instances.json"
    content = json.loads(truth.read_text())
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"]}
    results = []
    for item in content["annotations"]:
        if item["iscrowd"]:
            continue
        result = {"image_id": item["image_id"], "category_id": 1, "bbox": item["bbox"], "score": 0.5}
        if item["segmentation"]:
            result["segmentation"] = to_rle(item["segmentation"], *sizes[item["image_id"]])
        results.append(result)
    (tmp_path / "perfect.json").write_text(json.dumps(results))
    given = [
        "detection",
        "--datasets",
        str(truth),
        "--labels",
        str(tmp_path / "perfect.json"),
        "--max-detections",
        "300",
    ]
    command.main([*given, "--output", str(tmp_path / "out")])
    written = json.loads((tmp_path / "out/figures.json").read_text())
    figures = written["benchmarks"][0]["figures"]
    assert set(figures) == ({"bbox"} if sample == "kitti_sample" else {"bbox", "segm"})
    for values in figures.values():
        assert values["AP50"] == pytest.approx(100) and values["AR300"] > 98 and values["BestIoU"] > 99
    printed = capsys.readouterr().out
    assert f"\n{sample}/instances.json " in printed and f"\n{truth}: " in printed
    assert ("so only boxes are compared" in printed) == (sample == "kitti_sample")
    assert f"COCOeval of {written['backend']}" in printed and "crowd regions" in printed
    assert printed == (tmp_path / "out/table.txt").read_text()


@pytest.mark.slow
def test_a_detector_on_real_layouts(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny random network on all samples; finished predictions are not repeated."""
    cfg = load_cfg(RECIPE, TINY)
    save_checkpoint(tmp_path / "random.pth", build_model(cfg))
    datasets = [f"{shared_data / name / 'instances.json'}::{shared_data / name / 'images'}" for name in SAMPLES]
    given = [
        "detection",
        "--config-file",
        str(RECIPE),
        "--datasets",
        *datasets,
        "--output",
        str(tmp_path),
        "--num-gpus",
        "1",
    ]
    given += [*TINY, "--weights", str(tmp_path / "random.pth")]
    command.main(given)
    written = json.loads((tmp_path / "figures.json").read_text())
    assert len(written["benchmarks"]) == 4
    assert len(list(tmp_path.glob("predictions/*/predictions.json"))) == 4
    monkeypatch.setattr(type(select_engine("builtin")), "predict", None)
    command.main(given)
    assert json.loads((tmp_path / "figures.json").read_text()) == written


def test_predictions_are_kept_per_recipe_and_resumed(tmp_path: Path) -> None:
    truth = str(data_set(tmp_path))
    for name in ("1.png", "2.png", "3.png"):
        (tmp_path / name).write_bytes(b"")
    weights = tmp_path / "model.pth"
    weights.write_text("weights")
    first, again, other = FakeEngine(), FakeEngine(), FakeEngine()
    options = {"weights": str(weights), "results": tmp_path / "out"}
    path = predict_dataset(first, load_cfg(), truth, **options)
    assert predict_dataset(again, load_cfg(), truth, **options) == path
    assert (len(first.predicted), len(again.predicted)) == (3, 0)
    changed = load_cfg(None, ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.3"])
    assert predict_dataset(other, changed, truth, **options) != path and len(other.predicted) == 3
    with pytest.raises(UnsegError, match=r"There is no checkpoint .*none\.pth"):
        predict_dataset(other, load_cfg(), truth, weights=str(tmp_path / "none.pth"), results=tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--datasets", "coco_val2017", "--labels", "x"], "make it with: unseg-d2 prepare-data coco"),
        (["--datasets", "coco_val2017", "--labels", "x"], "coco_cls_agnostic_instances_val2017.json"),
        (["--datasets", "clipart", "--labels", "x"], "put it there"),
        (["--datasets", "coco_val2071", "--labels", "x"], "Did you mean 'coco_val2017'"),
        (["--datasets", "none.json", "--labels", "x"], "There is no file none.json"),
        (["--datasets", "kitti", "uvo", "--labels", "x"], "1 --labels for 2 --datasets"),
        (["--datasets", "kitti"], "add --weights"),
    ],
)
def test_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str) -> None:
    monkeypatch.setenv("DETECTRON2_DATASETS", str(tmp_path))
    with pytest.raises(UnsegError) as error:
        command.main(["detection", *arguments, "--output", str(tmp_path / "out")])
    assert message in str(error.value)

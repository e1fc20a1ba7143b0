"""Prediction over a data set: parts, resuming, one result file."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_engine import FakeEngine
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.results import read_results
from unseg_d2.errors import UnsegError
from unseg_d2.jobs.workers import run_jobs
from unseg_d2.training import prediction
from unseg_d2.training.prediction import predict_to_file
from unseg_d2.training.prediction_jobs import PartJob, RetriedParts

RECORDS = [{"file_name": f"{index}.png", "image_id": index, "height": 8, "width": 8} for index in range(5)]


@pytest.fixture
def weights(tmp_path: Path) -> str:
    path = tmp_path / "model.pth"
    path.write_text("weights")
    return str(path)


def test_an_interrupted_run_resumes(tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With parts of two images, a run that dies at the fourth image has one part and repeats one image."""
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    cfg = load_cfg()
    whole = predict_to_file(FakeEngine(), cfg, RECORDS, weights=weights, output=tmp_path / "whole")

    with pytest.raises(KeyboardInterrupt):
        predict_to_file(FakeEngine(fail_after=3), cfg, RECORDS, weights=weights, output=tmp_path / "resumed")
    second = FakeEngine()
    resumed = predict_to_file(second, cfg, RECORDS, weights=weights, output=tmp_path / "resumed")
    assert second.predicted == ["2.png", "3.png", "4.png"]
    assert resumed.read_bytes() == whole.read_bytes()
    assert [result["image_id"] for result in json.loads(whole.read_text())] == [0, 1, 2, 3, 4]


def test_a_finished_run_is_not_repeated(tmp_path: Path, weights: str) -> None:
    predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights=weights, output=tmp_path)
    again = FakeEngine()
    no_effect = load_cfg(None, ["MODEL.TRUST_CHECKPOINT", "True", "OUTPUT_DIR", "b", "DATALOADER.NUM_WORKERS", "7"])
    copied = tmp_path / "copied.pth"
    copied.write_text("weights")
    predict_to_file(again, no_effect, RECORDS, weights=str(copied), output=tmp_path)
    assert not again.predicted


def test_parts_of_other_settings_are_not_mixed(tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(FakeEngine(fail_after=3), load_cfg(), RECORDS, weights=weights, output=tmp_path)
    other = FakeEngine()
    cfg = load_cfg(None, ["MODEL.ROI_HEADS.SCORE_THRESH_TEST", "0.3"])
    predict_to_file(other, cfg, RECORDS, weights=weights, output=tmp_path)
    assert len(other.predicted) == 5


def test_predictions_of_another_origin_are_made_again(
    tmp_path: Path, weights: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Another checkpoint of the same name, other images, and a folder that does not say what it was made from."""
    caplog.set_level("INFO")
    options = {"weights": weights, "output": tmp_path / "out"}
    path = predict_to_file(FakeEngine(), load_cfg(), RECORDS, **options)
    Path(weights).write_text("WEIGHTS")
    second, third, fourth = FakeEngine(), FakeEngine(), FakeEngine()
    predict_to_file(second, load_cfg(), RECORDS, **options)
    assert len(second.predicted) == 5 and f"{path} does not fit: weights was '" in caplog.messages[-1]
    predict_to_file(third, load_cfg(), RECORDS[:4], **options)
    assert len(third.predicted) == 4 and len(json.loads(path.read_text())) == 4
    (tmp_path / "out" / "made_from.json").unlink()
    (tmp_path / "out" / "parts").rename(tmp_path / "elsewhere")
    predict_to_file(fourth, load_cfg(), RECORDS, **options)
    assert len(fourth.predicted) == 5 and "is not recorded" in caplog.messages[-1]


def test_identity_of_weights(tmp_path: Path, weights: str) -> None:
    assert prediction.weights_identity(weights) == hashlib.sha256(b"weights").hexdigest()
    assert prediction.weights_identity("zoo:cutler_cascade_final") == "zoo:cutler_cascade_final"
    assert prediction.weights_identity("") == ""
    with pytest.raises(UnsegError, match=r"There is no checkpoint .*none\.pth"):
        prediction.weights_identity(str(tmp_path / "none.pth"))


def photos(folder: Path, colours: list[int]) -> list[dict]:
    """Uncompressed pictures: all of one size in bytes, whatever they show."""
    folder.mkdir(exist_ok=True)
    for index, colour in enumerate(colours):
        Image.new("L", (8, 8), colour).save(folder / f"{index}.bmp")
    names = [str(folder / f"{index}.bmp") for index in range(len(colours))]
    return [{"file_name": name, "image_id": index, "height": 8, "width": 8} for index, name in enumerate(names)]


def test_images_replaced_under_the_same_names_are_predicted_again(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of the same size in bytes and with the date of the file before; the part without them is kept."""
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    caplog.set_level("INFO")
    records = photos(tmp_path / "photos", [1, 2, 3, 4, 5])
    predict_to_file(FakeEngine(), load_cfg(), records, weights=weights, output=tmp_path / "out")
    replaced = Path(records[2]["file_name"])
    stat = replaced.stat()
    photos(tmp_path / "photos", [1, 2, 99, 4, 5])
    os.utime(replaced, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert replaced.stat().st_size == stat.st_size
    again = FakeEngine()
    predict_to_file(again, load_cfg(), records, weights=weights, output=tmp_path / "out")
    assert [Path(name).name for name in again.predicted] == ["2.bmp", "3.bmp"]
    assert "images have changed since" in caplog.messages[-1]
    third = FakeEngine()
    predict_to_file(third, load_cfg(), records, weights=weights, output=tmp_path / "out")
    assert not third.predicted


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: text.replace('"score":0.8', '"score":0.7'),
        lambda text: text.replace('"images": [', '"images": [null, '),
        lambda text: text.replace('"images"', '"pictures"'),
    ],
)
def test_a_damaged_part_is_made_again(
    tmp_path: Path,
    weights: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    damage: Callable[[str], str],
) -> None:
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    whole = predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights=weights, output=tmp_path).read_bytes()
    (part,) = (tmp_path / "parts").rglob("part_000001.json")
    content = part.read_text()
    assert damage(content) != content
    part.write_text(damage(content))
    again = FakeEngine()
    path = predict_to_file(again, load_cfg(), RECORDS, weights=weights, output=tmp_path)
    assert again.predicted == ["2.png", "3.png"] and path.read_bytes() == whole and part.read_text() == content
    (message,) = [text for text in caplog.messages if "is damaged and made again" in text]
    assert str(part) in message


def test_parts_and_identities_of_earlier_versions_are_kept(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parts of one line without a checksum; the identity of the images was the sha256 of one JSON text."""
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    path = predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights=weights, output=tmp_path)
    results, (folder,) = json.loads(path.read_text()), (tmp_path / "parts").iterdir()
    for number in range(3):
        found = results[2 * number : 2 * number + 2]
        text = json.dumps({"images": [None] * len(found), "results": found})
        (folder / f"part_{number:06d}.json").write_text(text)
    path.unlink()
    again = FakeEngine()
    predict_to_file(again, load_cfg(), RECORDS, weights=weights, output=tmp_path)
    assert not again.predicted and json.loads(path.read_text()) == results

    for names in (["/a/b/1.png", "/a/c/d/2.png"], ["/a/1.png"], ["1.png", "x/2.png"], ["/1.png", "/b/2.png"], []):
        records = [{"file_name": name, "image_id": number} for number, name in enumerate(names)]
        root = os.path.commonpath([os.path.dirname(os.path.abspath(name)) for name in names]) if names else ""
        listed = [[number, os.path.relpath(os.path.abspath(name), root)] for number, name in enumerate(names)]
        expected = hashlib.sha256(json.dumps(listed).encode()).hexdigest()
        assert prediction.made_from(FakeEngine(), load_cfg(), records, "")["images"] == expected


def test_each_result_has_a_line(tmp_path: Path, weights: str) -> None:
    path = predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights=weights, output=tmp_path)
    lines = path.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("[", "]") and len(lines) == 7
    assert [json.loads(line.rstrip(",")) for line in lines[1:-1]] == read_results(path)
    assert predict_to_file(FakeEngine(), load_cfg(), [], weights=weights, output=tmp_path / "none").is_file()
    assert read_results(tmp_path / "none" / "predictions.json") == []


def test_a_copy_of_the_images_elsewhere_changes_nothing(tmp_path: Path, weights: str) -> None:
    records = photos(tmp_path / "photos", [1, 2, 3])
    predict_to_file(FakeEngine(), load_cfg(), records, weights=weights, output=tmp_path / "out")
    staged = photos(tmp_path / "staged", [1, 2, 3])
    again, other = FakeEngine(), FakeEngine()
    predict_to_file(again, load_cfg(), staged, weights=weights, output=tmp_path / "out")
    assert not again.predicted
    predict_to_file(other, load_cfg(), photos(tmp_path / "others", [1, 2, 7]), weights=weights, output=tmp_path / "out")
    assert len(other.predicted) == 3


def test_parts_as_tasks_of_a_cluster_give_the_same_bytes(
    tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the work is done is no part of what predictions are made from."""
    monkeypatch.setattr(prediction, "PART_SIZE", 2)
    monkeypatch.setattr(prediction, "run_jobs_at", lambda place, cfg, maker, jobs, **_: run_jobs(maker, jobs, 0))
    cfg = load_cfg(None, ["RAY.CPUS", "2.0"])
    with pytest.raises(KeyboardInterrupt):
        predict_to_file(FakeEngine(3), cfg, RECORDS, weights=weights, output=tmp_path / "there", run_on="ray")
    second = FakeEngine()
    there = predict_to_file(second, cfg, RECORDS, weights=weights, output=tmp_path / "there", run_on="ray")
    assert second.predicted == ["2.png", "3.png", "4.png"]
    here = predict_to_file(FakeEngine(), load_cfg(), RECORDS, weights=weights, output=tmp_path / "here")
    assert there.read_bytes() == here.read_bytes()
    again = FakeEngine()
    predict_to_file(again, load_cfg(), RECORDS, weights=weights, output=tmp_path / "there")
    assert again.predicted == []


def test_a_part_that_ends_its_processes_ends_the_command() -> None:
    retry, job, error = RetriedParts(), PartJob(3, RECORDS), UnsegError("A process of the cluster ended, so.")
    moved = retry.elsewhere(retry(job, [1], error), [1, 1])
    assert moved == PartJob(3, RECORDS, counted=3, tries=1)
    with pytest.raises(UnsegError, match="A process of the cluster ended"):
        retry(retry(moved, [], error), [], error)

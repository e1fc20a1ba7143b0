"""docs/groups.md, "Things and stuff", carried out on scenes: a model is trained, its maps are scored beside groups."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from reproduce_walk import Call, execute

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco
from unseg_d2.data.synthetic import ensure_synthetic
from unseg_d2.groups.group_masks import group_label_set
from unseg_d2.rle import decode_mask

pytest.importorskip("sklearn", reason="the extra `groups` is not installed")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "groups.md"
SCENES = {
    "SURFACES": "by_class",
    "SIZE": (64, 80),
    "NUM_TRAIN": 10,
    "PITCH": (10.0, 28.0),
    "FLOOR_CONTRAST": 0.0,
}
SMALL = {
    "FEATURES.NAME": "palette",
    "FEATURES.IMAGE_SIZE": 64,
    "FEATURES.DESCRIPTORS.PATCH_SIZE": 4,
    "REFINE.NAME": "none",
    "SOLVER.IMS_PER_BATCH": 5,
    "DATALOADER.NUM_WORKERS": 0,
    "SEMANTIC.IMAGE_SIZE": 64,
    "SEMANTIC.NUM_CLASSES": 6,
    "SEMANTIC.EM.EPOCHS": 4,
    "SEMANTIC.TEST.CRF": False,
    "MODEL.DEVICE": "cpu",
}
STUFF = (0, 1)  # sky and floor


def documented() -> list[Call]:
    """The commands of the section, in order."""
    section = PAGE.read_text(encoding="utf-8").split("\n## Things and stuff\n")[1].split("\n## ")[0]
    lines = "".join(re.findall(r"^```bash\n(.*?)^```$", section, re.M | re.S)).splitlines()
    return [Call(tuple(shlex.split(line))) for line in lines]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the commands name: photos, groups of their masks, and both kinds of ground truth."""
    settings = {f"SYNTHETIC.{key}": value for key, value in SCENES.items()} | {"SYNTHETIC.ROOT": tmp_path / "scenes"}
    words = [str(word) for pair in settings.items() for word in pair]
    images, truth = ensure_synthetic(load_cfg(None, words), "train")
    shutil.copytree(images, tmp_path / "photos")
    shutil.copytree(images.parent / "semantic", tmp_path / "labels")
    shutil.copy(truth, tmp_path / "instances.json")
    write_panoptic(tmp_path)
    grouping = ["FEATURES.NAME", "palette", "FEATURES.IMAGE_SIZE", "64", "GROUPS.NUMBER", "4"]
    group_label_set(load_cfg(None, grouping), truth, tmp_path / "groups", images=tmp_path / "photos")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_panoptic(folder: Path) -> None:
    """Write the masks of ``instances.json`` and the sky and floor of ``labels`` as COCO's panoptic file."""
    truth, entries = read_coco(folder / "instances.json"), []
    (folder / "panoptic").mkdir()
    for image in truth.images:
        labels = np.asarray(Image.open(folder / "labels" / image["file_name"]))
        numbers, segments = np.zeros(labels.shape, np.int64), []
        for label in STUFF:
            if (labels == label).any():
                numbers[labels == label] = label + 1
                segments.append({"id": label + 1, "category_id": 10 + label})
        for number, item in enumerate((a for a in truth.annotations if a["image_id"] == image["id"]), 300):
            mask = decode_mask(item["segmentation"], *labels.shape).astype(bool)
            numbers[mask] = number
            segments.append({"id": number, "category_id": item["category_id"]})
        colours = np.stack([numbers % 256, numbers // 256, 0 * numbers], 2).astype(np.uint8)
        Image.fromarray(colours).save(folder / "panoptic" / image["file_name"])
        entries.append({"image_id": image["id"], "file_name": image["file_name"], "segments_info": segments})
    stuff = [{"id": 10 + label, "name": name, "isthing": 0} for label, name in zip(STUFF, ("sky", "floor"))]
    categories = [category | {"isthing": 1} for category in truth.categories] + stuff
    content = {"images": truth.images, "annotations": entries, "categories": categories}
    (folder / "panoptic.json").write_text(json.dumps(content))


def quality_of_stuff(folder: Path) -> tuple[float, float, float]:
    """PQ, SQ and RQ of stuff in percent, by their definitions, where things are found as they are."""
    known, found = [], []
    for path in sorted((folder / "labels").iterdir()):
        labels = np.asarray(Image.open(path))
        is_stuff = np.isin(labels, STUFF)
        known.append(np.where(is_stuff, labels, 99))
        found.append(np.where(is_stuff, np.asarray(Image.open(folder / "maps/labels" / path.name)), 99))
    pixels = [[sum(((f == k) & (g == c)).sum() for f, g in zip(found, known)) for c in STUFF] for k in range(6)]
    clusters = max(itertools.permutations(range(6), 2), key=lambda pair: pixels[pair[0]][0] + pixels[pair[1]][1])
    rows = []
    for label, cluster in zip(STUFF, clusters):
        ious, wrong = [], 0
        for one, other in zip(known, found):
            here, there = one == label, other == cluster
            union = (here | there).sum()
            if union and (here & there).sum() / union > 0.5:
                ious.append((here & there).sum() / union)
            else:
                wrong += int(here.any()) + int(there.any())
        sq, rq = float(np.mean(ious)) if ious else 0.0, len(ious) / (len(ious) + wrong / 2)
        rows.append((sq * rq, sq, rq))
    pq, sq, rq = 100 * np.mean(rows, axis=0)
    return float(pq), float(sq), float(rq)


def test_the_commands_of_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, write, *scorings = documented()
    execute(Call((*train.words, *(f"{key}={value}" for key, value in SMALL.items()))))
    execute(write)
    assert len(list((place / "maps/labels").iterdir())) == SCENES["NUM_TRAIN"]
    capsys.readouterr()
    tables = []
    for number, scoring in enumerate(scorings):
        execute(Call((*scoring.words, "--output", f"{number}.json")))
        tables.append(json.loads((place / f"{number}.json").read_text())["figures"]["segm"])
        assert "PQst" in capsys.readouterr().out
    of_panoptic, of_maps = tables
    assert of_panoptic == pytest.approx(of_maps)  # the same ground truth, written in two ways
    assert of_panoptic["SQth"] == pytest.approx(100)
    stuff = [of_panoptic[f"{name}st"] for name in ("PQ", "SQ", "RQ")]
    assert stuff == pytest.approx(quality_of_stuff(place)) and stuff[0] > 0

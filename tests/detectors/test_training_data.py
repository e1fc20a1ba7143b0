"""The loaders that both engines train on."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from fvcore.common.config import CfgNode
from PIL import Image

from unseg_d2.config import load_cfg
from unseg_d2.data.annotations.columns import CROWD
from unseg_d2.data.records import Records, as_records
from unseg_d2.data.training_records import usable_records
from unseg_d2.data.transport import PackedRecords
from unseg_d2.detectors.training_data import set_aside, train_loaders, training_records
from unseg_d2.errors import UnsegError
from unseg_d2.pseudo.label_set import write_label_set


def test_a_data_set_is_required() -> None:
    with pytest.raises(UnsegError, match=r"DATASETS\.TRAIN is empty"):
        train_loaders(load_cfg(None, ["DATASETS.TRAIN", "()"]))


def test_a_loader_starts_at_any_iteration(tmp_path: Path) -> None:
    options = [
        "MODEL.ROI_HEADS.NUM_CLASSES",
        "1",
        "SYNTHETIC.ROOT",
        str(tmp_path),
        "SYNTHETIC.NUM_TRAIN",
        "4",
        "SOLVER.IMS_PER_BATCH",
        "2",
    ]
    cfg = load_cfg(
        None, [*options, "DATASETS.TRAIN", "('synthetic_train',)", "DATALOADER.NUM_WORKERS", "0", "SEED", "1"]
    )
    make_loader = train_loaders(cfg)
    batches = iter(make_loader(cfg, 0))
    first, second = next(batches), next(batches)
    resumed = next(iter(make_loader(cfg, 1)))
    assert len(first) == 2
    assert all(torch.equal(one.image, other.image) for one, other in zip(second, resumed, strict=True))


def records(*counts: int) -> Records:
    annotation = {"bbox": [0, 0, 4, 4], "bbox_mode": 1, "category_id": 0, "segmentation": [[0, 0, 4, 0, 4, 4]]}
    return as_records(
        [
            {"file_name": f"{k}.png", "image_id": k, "height": 8, "width": 8, "annotations": [annotation] * count}
            for k, count in enumerate(counts)
        ]
    )


def test_evenly_spaced_images_with_masks_are_set_aside() -> None:
    train, held = set_aside(records(1, 0, 2, 1, 0, 1, 1, 1, 1, 1), 0.25)
    assert [image["image_id"] for image in held] == [3, 8]
    assert [image["image_id"] for image in train] == [0, 1, 2, 4, 5, 6, 7, 9]
    assert [len(part) for part in set_aside(records(1, 1), 0.01)] == [1, 1]
    assert [len(part) for part in set_aside(records(1, 1), 0.99)] == [1, 1]
    with pytest.raises(UnsegError, match=r"HELD_OUT needs two images with masks"):
        set_aside(records(1, 0), 0.5)


class TestGranularity:
    """DATASETS.GRANULARITY: which masks of a label set with levels of detail are trained on."""

    STATED = ((0.1, 0.4, 1.0), (0.1, None), (1.0,), (), (0.7, 0.25))

    @pytest.fixture
    def labels(self, tmp_path: Path) -> str:
        images, annotations = [], []
        box = {"bbox": [0, 0, 4, 4], "area": 8, "iscrowd": 0, "category_id": 1}
        for number, stated in enumerate(self.STATED, 1):
            Image.new("RGB", (8, 8)).save(tmp_path / f"{number}.png")
            images.append({"id": number, "file_name": f"{number}.png", "height": 8, "width": 8, "done": True})
            for coarse in stated:
                item = {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "segmentation": [[0.0, 0.0, 4.0, 0.0, 4.0, 4.0]],
                }
                annotations.append(box | item | ({} if coarse is None else {"granularity": coarse}))
        write_label_set(tmp_path / "labels.json", {}, images, annotations)
        return f"{tmp_path / 'labels.json'}::{tmp_path}"

    @staticmethod
    def kept(records: Records) -> list[list[float | None]]:
        return [[item.get("granularity") for item in record["annotations"]] for record in records]

    def cfg(self, *labels: str, least: float, most: float) -> CfgNode:
        options = ["DATASETS.TRAIN", repr(labels), "DATASETS.GRANULARITY", f"({least}, {most})"]
        return load_cfg(None, [*options, "MODEL.ROI_HEADS.NUM_CLASSES", "1"])

    def test_masks_in_the_interval_are_kept(self, labels: str, caplog: pytest.LogCaptureFixture) -> None:
        """Its ends belong to it, 0.1 and 0.7 as they are written too; a mask that states nothing counts as 1."""
        with caplog.at_level("INFO"):
            assert self.kept(training_records(self.cfg(labels, least=0.1, most=0.7))) == [
                *([0.1, 0.4], [0.1], [], [], [0.7, 0.25])
            ]
        assert "DATASETS.GRANULARITY 0.1 to 0.7: 5 of 8 masks are kept." in caplog.text
        assert self.kept(training_records(self.cfg(labels, least=0.7, most=1))) == [[1.0], [None], [1.0], [], [0.7]]
        every = training_records(self.cfg(labels, least=0, most=1))
        assert self.kept(every) == [list(stated) for stated in self.STATED]

    @pytest.mark.parametrize("interval", [(0.1, 0.7), (0.25, 0.4), (0.5, 1.0), (0.0, 1.0)])
    def test_what_is_known_without_reading_is_what_is_read(self, labels: str, interval: tuple[float, float]) -> None:
        """Also of some records, in memory, of two data sets, and in loader processes."""
        indexed = training_records(self.cfg(labels, labels, least=interval[0], most=interval[1]))
        everything = training_records(self.cfg(labels, labels, least=0, most=1))
        listed = Records([copy.deepcopy(record) for record in everything]).within(interval)
        assert self.kept(indexed) == self.kept(listed) and list(indexed) == list(listed)
        order = np.array([4, 0, 7, 3])
        packed = PackedRecords(indexed)
        assert [packed[place] for place in range(len(packed))] == list(listed)
        for chosen in (indexed, listed, indexed.chosen(order), listed.chosen(order)):
            facts, read = chosen.facts(), Records(list(chosen)).facts()
            for name in ("counts", "flags", "sizes", "done", "granularities"):
                np.testing.assert_array_equal(getattr(facts, name), getattr(read, name))
        assert not facts.done.all() or interval == (0.0, 1.0)

    def test_crowd_regions_stay_and_are_no_masks(self, labels: str, tmp_path: Path) -> None:
        """They say what is no background, whatever the level that is trained on."""
        content = json.loads((tmp_path / "labels.json").read_text())
        for item in content["annotations"][1:3]:
            item["iscrowd"] = 1
        (tmp_path / "labels.json").write_text(json.dumps(content))
        crowds = {item["image_id"] for item in content["annotations"][1:3]}
        for interval in ((0.1, 0.2), (0.9, 1.0)):
            records = training_records(self.cfg(labels, least=interval[0], most=interval[1]))
            flags = records.facts().flags
            assert (flags & CROWD > 0).sum() == 2 and len(flags) == sum(len(r["annotations"]) for r in records)
            found = {r["image_id"] for r in records for item in r["annotations"] if item["iscrowd"]}
            assert found == crowds
        for item in content["annotations"][1:]:
            item["iscrowd"] = 1
        (tmp_path / "labels.json").write_text(json.dumps(content))
        with pytest.raises(UnsegError, match="none of the 1 masks lies there"):  # the first one says 0.1
            training_records(self.cfg(labels, least=0.9, most=1))

    def test_images_without_such_masks_are_left_out(self, labels: str) -> None:
        cfg = self.cfg(labels, least=0.2, most=0.5)
        kept = usable_records(training_records(cfg), cfg)
        assert [record["image_id"] for record in kept] == [
            1,
            4,
            5,
        ]  # nothing is in the fourth one, as a person has said

    def test_an_interval_without_masks_is_refused(self, labels: str) -> None:
        with pytest.raises(UnsegError, match=r"GRANULARITY is 0\.5 to 0\.6, but none of the 8 masks lies there"):
            training_records(self.cfg(labels, least=0.5, most=0.6))
        with pytest.raises(UnsegError, match="the least one first"):
            self.cfg(labels, least=0.6, most=0.5)

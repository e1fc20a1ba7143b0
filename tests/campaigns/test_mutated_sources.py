"""Damaged sources of ``prepare-data``, of every kind: one sentence, or a file that the reader of annotations takes."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import BYTES, PLACES, Changes, mutated, replaced, sentence, trials
from PIL import Image

from unseg_d2.data.coco import read_coco, to_records
from unseg_d2.data.prepare import coco_like
from unseg_d2.data.prepare.openimages import BOXES, MASKS
from unseg_d2.data.prepare.sources import SOURCES
from unseg_d2.data.prepare.writer import Prepared
from unseg_d2.rle import encode_mask

pytestmark = pytest.mark.slow
SIZE = (20, 30)


def picture(values: np.ndarray | None = None, form: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.zeros((*SIZE, 3), np.uint8) if values is None else values).save(stream, form)
    return stream.getvalue()


def block() -> np.ndarray:
    mask = np.zeros(SIZE, bool)
    mask[3:9, 4:12] = True
    return mask


def instances(*names: str, **more: Any) -> bytes:
    """A COCO file of these images, each with an object and a crowd."""
    box = {"bbox": [4.0, 3.0, 8.0, 6.0], "area": 48.0}
    images = [
        {"id": n, "file_name": name, "coco_url": f"http://x/val2017/{name}", "height": 20, "width": 30}
        for n, name in enumerate(names, 1)
    ]
    annotations = [
        {"id": 2 * image["id"] + crowd, "image_id": image["id"], "category_id": 1, "iscrowd": crowd, **box}
        | {"segmentation": encode_mask(block()) if crowd else [[4, 3, 12, 3, 12, 9, 4, 9]]}
        for image in images
        for crowd in (0, 1)
    ]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "thing"}], **more}
    return json.dumps(content).encode()


XML = """<annotation><filename>000001.jpg</filename><size><width>30</width><height>20</height><depth>3</depth></size>
<object><name>cat</name><difficult>0</difficult><bndbox><xmin>5</xmin><ymin>4</ymin><xmax>12</xmax><ymax>9</ymax></bndbox>
</object><object><name>dog</name><difficult>1</difficult><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>4</xmax><ymax>4</ymax>
</bndbox></object></annotation>"""
KITTI = "Car 0.00 0 1.85 3.63 1.54 12.81 9.12 1.67 1.87 3.69 -16.53 2.39 58.49 1.57\n" * 2
SA1B = {
    "image": {"image_id": 1, "file_name": "sa_1.jpg", "height": 20, "width": 30},
    "annotations": [{"segmentation": encode_mask(block()), "bbox": [4, 3, 8, 6], "area": 48}],
}
ANNOTATIONS = "coco/annotations"
TREES: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "coco": ({f"{ANNOTATIONS}/instances_val2017.json": instances("000000000001.jpg", "000000000002.jpg")}, {}),
    "coco_semi": (
        {
            f"{ANNOTATIONS}/instances_train2017.json": instances("000000000001.jpg", "000000000002.jpg"),
            "list.txt": b"1\n2\n",
        },
        {"percent": 50, "split_list": "list.txt"},
    ),
    "coco20k": (
        {
            f"{ANNOTATIONS}/instances_train2014.json": instances("COCO_train2014_000000000001.jpg"),
            "list.txt": b"train2014/COCO_train2014_000000000001.jpg\n",
        },
        {"image_list": "list.txt"},
    ),
    "lvis": ({f"{ANNOTATIONS}/lvis_v1_val.json": instances("000000000001.jpg")}, {}),
    "objects365": (
        {
            "objects365/annotations/zhiyuan_objv2_val.json": instances("images/v2/patch16/a.jpg"),
            "objects365/val/a.jpg": picture(form="JPEG"),
        },
        {},
    ),
    "uvo": (
        {"uvo/annotations/UVO_frame_val.json": instances("v/1.png"), "uvo/all_UVO_frames/v/1.png": picture()},
        {},
    ),
    "voc": (
        {
            "voc/VOC2007/ImageSets/Main/trainval.txt": b"000001\n",
            "voc/VOC2007/ImageSets/Main/test.txt": b"",
            "voc/VOC2007/Annotations/000001.xml": XML.encode(),
        },
        {},
    ),
    "kitti": (
        {"kitti/training/label_2/000001.txt": KITTI.encode(), "kitti/training/image_2/000001.png": picture()},
        {},
    ),
    "kitti_instances": (
        {"kitti/semantics/training/instance/000000_10.png": picture(np.uint16(block()) * 513)},
        {},
    ),
    "openimages": (
        {
            f"openImages/annotations/{BOXES}": b"ImageID,XMin,XMax,YMin,YMax,IsGroupOf\n0001,0.1,0.5,0.2,0.6,0\n",
            "openImages/validation/0001.jpg": picture(form="JPEG"),
        },
        {},
    ),
    "openimages_masks": (
        {
            f"openImages/annotations/{MASKS}": b"ImageID,MaskPath\n0001,0001_m.png\n",
            "openImages/validation/0001.jpg": picture(form="JPEG"),
            "openImages/masks/0001_m.png": picture(np.uint8(block()) * 255),
        },
        {},
    ),
    "sa1b": ({"sa1b/sa_000000/sa_1.json": json.dumps(SA1B).encode()}, {}),
}
"""For each source: its files, and the options of its command; ``list.txt`` is below the root."""
FILES = [(name, path) for name, (files, _) in TREES.items() for path in files]


def prepared(name: str, root: Path) -> Prepared:
    options = {key: root / value if isinstance(value, str) else value for key, value in TREES[name][1].items()}
    prepare: Callable[..., Prepared] = SOURCES[name].prepare
    return prepare(root, **options)


def write(name: str, root: Path) -> None:
    for path, content in TREES[name][0].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)


def test_every_source_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coco_like, "COCO20K_IMAGES", 1)
    assert TREES.keys() == SOURCES.keys()
    for name in TREES:
        write(name, tmp_path / name)
        assert prepared(name, tmp_path / name).objects > 0


@trials
@given(st.sampled_from(FILES), BYTES | st.none(), PLACES)
def test_sources(
    tmp_path_factory: pytest.TempPathFactory,
    which: tuple[str, str],
    changes: Changes | None,
    places: list[tuple[list[int], Any]],
) -> None:
    name, path = which
    root = tmp_path_factory.mktemp("source")
    write(name, root)
    content = TREES[name][0][path]
    if path.endswith(".json") and changes is None:
        value: Any = json.loads(content)
        for place, other in places:
            value = replaced(value, place, copy.deepcopy(other))
        content = json.dumps(value).encode()
    (root / path).write_bytes(mutated(content, changes) if changes else content)

    def prepare() -> None:
        file = prepared(name, root).path
        list(to_records(read_coco(file), root))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(coco_like, "COCO20K_IMAGES", 1)
        sentence(prepare, "sources of prepare-data")

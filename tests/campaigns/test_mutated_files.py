"""Damaged files of every kind that is read: one sentence, never a traceback, never a wait without end.

The number of files per kind is ``UNSEG_D2_CAMPAIGN_EXAMPLES``; docs/reliability.md tells how many were tried.
"""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from mutations import BYTES, HOSTILE, PLACES, Changes, mutated, replaced, sentence, trials
from safetensors.torch import save as save_safetensors
from torch import nn

from unseg_d2.config import load_cfg
from unseg_d2.data.coco import read_coco, to_records
from unseg_d2.data.images import ImageFile
from unseg_d2.depth import FilesDepth
from unseg_d2.depth.files import FilesDepthSettings
from unseg_d2.features.weights import read_tensors
from unseg_d2.loop.checkpoint import load_network
from unseg_d2.pseudo.label_set import export, read_label_set
from unseg_d2.rle import encode_mask

pytestmark = pytest.mark.slow
KEYS = ["SEED", "SOLVER.STEPS", "SOLVER.BASE_LR", "FEATURES", "FEATURES.IMAGE_SIZE", "MASKS.NAME", "_BASE_", "PLUGINS"]
RECIPE = b"""_BASE_: configs/quickstart.yaml
PLUGINS: []
SEED: 3
FEATURES: {NAME: descriptors, IMAGE_SIZE: 96}
MASKS: {NAME: maskcut, MASKCUT: {TAU: 0.15, MAX_MASKS: 3}}
SOLVER:
  IMS_PER_BATCH: 2
  STEPS: [10, 20]
  BASE_LR: 1.0e-3
"""


@trials
@given(BYTES)
def test_recipes(tmp_path_factory: pytest.TempPathFactory, changes: Changes) -> None:
    path = tmp_path_factory.getbasetemp() / "recipe.yaml"
    path.write_bytes(mutated(RECIPE, changes))
    sentence(lambda: load_cfg(path), "recipes, bytes")


@trials
@given(
    st.sampled_from(["SEED", "SOLVER.STEPS", "FEATURES", "MASKS.NAME", "_BASE_", "PLUGINS"]), st.sampled_from(HOSTILE)
)
def test_values_of_recipes(tmp_path_factory: pytest.TempPathFactory, key: str, value: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "values.yaml"
    for part in reversed(key.split(".")):
        value = {part: value}
    path.write_text(json.dumps(value, ensure_ascii=True), encoding="utf-8")
    sentence(lambda: load_cfg(path), "recipes, values")


def checkpoint(kind: str) -> bytes:
    torch.manual_seed(0)
    state = nn.Linear(6, 5).state_dict()
    if kind == ".safetensors":
        return bytes(save_safetensors(state))
    stream = io.BytesIO()
    torch.save({"model": state, "iteration": 3}, stream, _use_new_zipfile_serialization=kind == ".pth")
    return stream.getvalue()


@trials
@given(st.sampled_from([".pth", ".pt", ".safetensors"]), BYTES)
def test_checkpoints(tmp_path_factory: pytest.TempPathFactory, kind: str, changes: Changes) -> None:
    path = tmp_path_factory.getbasetemp() / f"weights{kind}"
    path.write_bytes(mutated(checkpoint(kind), changes))
    network = nn.Linear(6, 5)
    sentence(lambda: load_network(network, path), "checkpoints")
    sentence(lambda: read_tensors(str(path)))
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def depth_file(suffix: str) -> bytes:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30)
    if suffix == ".png":
        return cv2.imencode(".png", values)[1].tobytes()
    stream = io.BytesIO()
    if suffix == ".npy":
        np.save(stream, values.astype(np.float32))
    else:
        np.savez_compressed(stream, depth=values)
    return stream.getvalue()


@trials
@given(st.sampled_from([".npy", ".npz", ".png"]), BYTES)
def test_depth_files(tmp_path_factory: pytest.TempPathFactory, suffix: str, changes: Changes) -> None:
    folder = tmp_path_factory.mktemp("depth")
    (folder / f"0{suffix}").write_bytes(mutated(depth_file(suffix), changes))
    source = FilesDepth("relative", FilesDepthSettings(root=str(folder)))
    image = np.zeros((20, 30, 3), np.uint8)
    sentence(lambda: source([image], [ImageFile(folder.parent / "0.jpg", "0.jpg")]), "depth files")


def coco() -> dict[str, Any]:
    mask = np.zeros((20, 30), bool)
    mask[3:9, 4:12] = True
    box = {"bbox": [4.0, 3.0, 8.0, 6.0], "area": 48.0, "iscrowd": 0, "category_id": 1, "score": 0.5}
    return {
        "images": [{"id": n, "file_name": f"{n}.png", "height": 20, "width": 30} for n in (1, 2)],
        "annotations": [
            {"id": 1, "image_id": 1, **box, "segmentation": encode_mask(mask)},
            {"id": 2, "image_id": 1, **box, "segmentation": [[4, 3, 12, 3, 12, 9, 4, 9]]},
            {"id": 3, "image_id": 2, **box},
        ],
        "categories": [{"id": 1, "name": "thing"}],
        "info": {"image_root": "images"},
    }


@trials
@given(PLACES)
@example([([1, 0, 1], [1])])
@example([([0, 0, 0], float("inf"))])
@example([([1, 1, 6], [[1e8, 1e8, -1e9, 5, 6, 7]])])
def test_coco_files(tmp_path_factory: pytest.TempPathFactory, places: list[tuple[list[int], Any]]) -> None:
    content: Any = coco()
    for path, value in places:
        content = replaced(content, path, value)
    file = tmp_path_factory.getbasetemp() / "coco.json"
    file.write_text(json.dumps(content))
    sentence(lambda: list(to_records(read_coco(file), file.parent)), "COCO files, values")


@trials
@given(BYTES)
def test_bytes_of_coco_files(tmp_path_factory: pytest.TempPathFactory, changes: Changes) -> None:
    file = tmp_path_factory.getbasetemp() / "bytes.json"
    file.write_bytes(mutated(json.dumps(coco()).encode(), changes))
    sentence(lambda: list(read_coco(file).annotations), "COCO files, bytes")


def label_set(folder: Path, manifest: Any, shard: bytes) -> None:
    (folder / "shards").mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "shards/000000.jsonl").write_bytes(shard)


def shard_lines() -> list[dict[str, Any]]:
    content = coco()
    lines = [{**image, "annotations": [], "content": [5, 7, "0" * 64]} for image in content["images"]]
    for annotation in content["annotations"]:
        kept = {key: value for key, value in annotation.items() if key not in ("id", "image_id")}
        lines[annotation["image_id"] - 1]["annotations"].append(kept)
    return [*lines, {"id": 3, "file_name": "3.png", "failure": "zero bytes"}]


MANIFEST = {
    "image_root": "images",
    "num_images": 3,
    "shard_size": 4,
    "settings": {},
    "not_images": ["notes.txt"],
    "images_sha256": "0" * 64,
    "features": {"name": "descriptors", "checksum": "0" * 64},
    "depth": None,
    "versions": {},
}


@trials
@given(PLACES)
@example([([1], 10**400)])
@example([([2], 0)])
@example([([0], "\0")])
def test_manifests_of_label_sets(tmp_path_factory: pytest.TempPathFactory, places: list[tuple[list[int], Any]]) -> None:
    manifest: Any = copy.deepcopy(MANIFEST)
    for path, value in places:
        manifest = replaced(manifest, path, value)
    folder = tmp_path_factory.mktemp("labels")
    label_set(folder, manifest, b"".join(json.dumps(line).encode() + b"\n" for line in shard_lines()))
    sentence(lambda: export(folder), "manifests of label sets")
    sentence(lambda: list(read_label_set(folder).annotations))


@trials
@given(PLACES, BYTES | st.none())
@example([([0, 4], None)], None)
def test_finished_shards(
    tmp_path_factory: pytest.TempPathFactory, places: list[tuple[list[int], Any]], changes: Changes | None
) -> None:
    lines: Any = shard_lines()
    for path, value in places:
        lines = replaced(lines, path or [0], value)
    shard = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    folder = tmp_path_factory.mktemp("labels")
    label_set(folder, MANIFEST, mutated(shard, changes) if changes else shard)
    sentence(lambda: export(folder), "finished shards")
    sentence(lambda: list(read_label_set(folder).annotations))

"""Checkpoints that are complete or absent, and never run code."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("detectron2._C", reason="Detectron2 is not installed", exc_type=ImportError)
from detectron2.checkpoint import DetectionCheckpointer

from unseg_d2.detectors.detectron2.checkpointer import SafeCheckpointer
from unseg_d2.errors import UnsegError

pytestmark = pytest.mark.detectron2


def network(value: float = 0.0) -> nn.Module:
    """Four tensors, three of them of a "backbone"."""
    model = nn.ModuleDict(
        {"backbone": nn.ModuleDict({"bottom_up": nn.BatchNorm1d(2)}), "predictor": nn.Linear(2, 1, bias=False)}
    )
    nn.init.constant_(model["predictor"].weight, value)
    return model


def test_detectron2_reads_what_is_written_and_the_reverse(tmp_path: Path) -> None:
    SafeCheckpointer(network(3.0), str(tmp_path)).save("ours", iteration=4)
    assert (tmp_path / "last_checkpoint").read_text() == "ours.pth"
    stock, model = DetectionCheckpointer(network(), str(tmp_path)), network()
    assert stock.resume_or_load("", resume=True)["iteration"] == 4
    assert stock.model["predictor"].weight.tolist() == [[3.0, 3.0]]
    DetectionCheckpointer(network(5.0), str(tmp_path)).save("theirs")
    SafeCheckpointer(model, str(tmp_path)).load(str(tmp_path / "theirs.pth"))
    assert model["predictor"].weight.tolist() == [[5.0, 5.0]]


def test_an_interrupted_write_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpointer = SafeCheckpointer(network(1.0), str(tmp_path))
    checkpointer.save("model_0000000")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def half(content: object, file: object) -> None:
        file.write(b"PK half a checkpoint")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    for name in ("model_0000001", "model_0000000"):
        with pytest.raises(KeyboardInterrupt):
            checkpointer.save(name)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(content: object, file: object) -> None:
        raise RuntimeError("[enforce fail at inline_container.cc:664] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UnsegError, match="Is the disk full"):
        SafeCheckpointer(network(), str(tmp_path)).save("model")
    assert list(tmp_path.iterdir()) == []


def test_pickled_objects_need_trust(tmp_path: Path) -> None:
    path = tmp_path / "pickled.pth"
    torch.save({"model": network(2.0).state_dict(), "args": collections.UserDict(a=1)}, path)
    with pytest.raises(UnsegError, match="--trust-checkpoint"):
        SafeCheckpointer(network()).load(str(path))
    model = network()
    SafeCheckpointer(model, trust=True).load(str(path))
    assert model["predictor"].weight.tolist() == [[2.0, 2.0]]


def test_a_part_of_the_network_is_an_error_that_counts_the_rest(tmp_path: Path) -> None:
    state = {"model": {"predictor.weight": torch.ones(1, 2)}}
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(UnsegError, match="the file holds 1 of its 6 tensors"):
        SafeCheckpointer(network()).load(str(tmp_path / "part.pth"))


def test_a_backbone_starts_a_training_but_does_not_resume_one(tmp_path: Path) -> None:
    state = {
        name: torch.full_like(tensor, 7) for name, tensor in network().state_dict().items() if "predictor" not in name
    }
    torch.save({"model": state}, tmp_path / "backbone.pth")
    (tmp_path / "last_checkpoint").write_text("backbone.pth")
    model = network(1.0)
    checkpointer = SafeCheckpointer(model, str(tmp_path), optimizer=torch.optim.SGD(model.parameters(), lr=1.0))
    checkpointer.resume_or_load(str(tmp_path / "backbone.pth"), resume=False)
    assert model["backbone"]["bottom_up"].weight.tolist() == [7, 7]
    assert model["predictor"].weight.tolist() == [[1.0, 1.0]]
    with pytest.raises(UnsegError, match="missing in the file"):
        checkpointer.resume_or_load("", resume=True)


def test_resuming_needs_all_parts_of_this_engine(tmp_path: Path) -> None:
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    SafeCheckpointer(model, str(tmp_path)).save("without_optimizer")
    with pytest.raises(UnsegError, match="ENGINE detectron2 cannot resume a training from"):
        SafeCheckpointer(model, str(tmp_path), optimizer=optimizer).resume_or_load("", resume=True)

"""Checkpoints: safe to read, and written completely or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import check_match, last_checkpoint, load_checkpoint, write_checkpoint


@pytest.fixture
def model() -> nn.Module:
    return nn.Linear(300, 200)


def save(path: Path, model: nn.Module, **more: object) -> None:
    write_checkpoint(path, {"model": model.state_dict(), **more})


def test_last_checkpoint_is_pointed_to(model: nn.Module, tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    save(tmp_path / "model_0000004.pth", model, iteration=4)
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000004.pth"
    assert load_checkpoint(tmp_path / "model_0000004.pth")["iteration"] == 4


def test_only_optional_names_may_differ() -> None:
    given, wanted = {"a": torch.zeros(2), "count": torch.zeros(1)}, {"a": torch.zeros(2), "mean": torch.zeros(1)}
    check_match("file", "names", given, wanted, re.compile("count|mean"))
    with pytest.raises(UnsegError, match=r"1 missing in the file \(mean\); 1 left over \(count\)"):
        check_match("file", "names", given, wanted)


class Harmful:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("harm"),))


def test_hidden_code_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": {"weight": torch.zeros(1)}, "extra": Harmful()}, "model.pth")
    with pytest.raises(UnsegError, match=r"could run code.* --trust-checkpoint \(in Python: trust_checkpoint=True\)"):
        load_checkpoint("model.pth")
    assert not Path("harm").exists()
    load_checkpoint("model.pth", trust=True)
    assert Path("harm").exists()


@pytest.mark.parametrize(
    ("content", "message"), [(b"", "cannot be read"), (b"no checkpoint at all", "cannot be read|could run code")]
)
def test_damaged_files(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "model.pth").write_bytes(content)
    with pytest.raises(UnsegError, match=message):
        load_checkpoint(tmp_path / "model.pth")


def test_truncated_file(model: nn.Module, tmp_path: Path) -> None:
    save(tmp_path / "model.pth", model)
    whole = (tmp_path / "model.pth").read_bytes()
    (tmp_path / "model.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnsegError, match=re.escape(str(tmp_path / "model.pth")) + " cannot be read"):
        load_checkpoint(tmp_path / "model.pth")


def test_missing_file_and_file_without_weights(tmp_path: Path) -> None:
    with pytest.raises(UnsegError, match="There is no checkpoint"):
        load_checkpoint(tmp_path / "model.pth")
    torch.save({"iteration": 3}, tmp_path / "model.pth")
    with pytest.raises(UnsegError, match="holds no weights"):
        load_checkpoint(tmp_path / "model.pth")


def test_a_full_disk_leaves_the_old_checkpoint(
    model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "model.pth", model, iteration=1)

    def full(*args: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/3: file write failed")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UnsegError, match="Is the disk full"):
        save(tmp_path / "model.pth", model, iteration=2)
    assert load_checkpoint(tmp_path / "model.pth")["iteration"] == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["last_checkpoint", "model.pth"]

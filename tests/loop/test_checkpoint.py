"""Checkpoints: safe to read, and written completely or not at all."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from unseg_d2.errors import UnsegError
from unseg_d2.loop.checkpoint import (
    check_match,
    has_checkpoint,
    last_checkpoint,
    load_checkpoint,
    load_network,
    restore_training,
    write_checkpoint,
)


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
    check_match("file", given, wanted, re.compile("count|mean"))
    with pytest.raises(UnsegError, match=r"1 missing in the file \(mean\); 1 left over \(count\)"):
        check_match("file", given, wanted)


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


def test_flipped_bits_are_found(model: nn.Module, tmp_path: Path) -> None:
    save(tmp_path / "model.pth", model)
    whole = bytearray((tmp_path / "model.pth").read_bytes())
    start = whole.index(model.weight.detach().numpy().tobytes())
    whole[start + 400] ^= 1  # the lowest bit of a number: it stays finite
    (tmp_path / "model.pth").write_bytes(whole)
    with pytest.raises(UnsegError, match=r"is damaged: the checksum of .*data/"):
        load_checkpoint(tmp_path / "model.pth")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_are_not_finite_are_named(value: float, suffix: str, model: nn.Module, tmp_path: Path) -> None:
    with torch.no_grad():
        model.bias[7] = value
    path = tmp_path / f"model{suffix}"
    torch.save(model.state_dict(), path) if suffix == ".pth" else save_file(model.state_dict(), path)
    with pytest.raises(UnsegError, match=rf"tensor bias in .*model{suffix} holds values that are not finite"):
        load_network(nn.Linear(300, 200), path)


@pytest.mark.parametrize("kind", ["sparse", "meta", "complex"])
def test_tensors_without_plain_values(kind: str, tmp_path: Path) -> None:
    weight = {
        "sparse": torch.eye(3).to_sparse(),
        "meta": torch.zeros(3, 3, device="meta"),
        "complex": torch.zeros(3, 3, dtype=torch.complex64),
    }[kind]
    torch.save({"model": {"weight": weight, "bias": torch.zeros(3)}}, tmp_path / "model.pth")
    with pytest.raises(UnsegError, match=r"The tensor weight in .* (not a plain array|no values)"):
        load_network(nn.Linear(3, 3), tmp_path / "model.pth")


@pytest.mark.parametrize("cut", [0, 4, 40, 300])
def test_damaged_safetensors(cut: int, model: nn.Module, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:cut])
    with pytest.raises(UnsegError, match="cannot be read; it is damaged") as caught:
        load_checkpoint(tmp_path / "model.safetensors")
    assert "\n" not in str(caught.value)


def test_addresses_are_not_fetched() -> None:
    zoo = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
    message = r"detectron2://Image.*R-50.pkl \(which is https://dl.fbaipublicfiles.com/detectron2/ImageNet.*R-50.pkl\)"
    for spelling in (zoo, Path(zoo)):
        with pytest.raises(UnsegError, match=f"not fetched: .*{message}"):
            load_checkpoint(spelling)


@pytest.mark.parametrize("name", ["../model.pth", "/etc/passwd", "", "a/b.pth"])
def test_a_pointer_out_of_its_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "last_checkpoint").write_text(name)
    with pytest.raises(UnsegError, match="must hold the name of a checkpoint in its folder"):
        last_checkpoint(tmp_path)


def test_a_state_of_another_optimiser_is_one_sentence(model: nn.Module) -> None:
    optimizer, scaler = torch.optim.SGD(model.parameters(), 0.1), torch.amp.GradScaler("cpu", enabled=False)
    whole = {"optimizer": optimizer.state_dict(), "grad_scaler": scaler.state_dict(), "iteration": 4}
    assert restore_training(optimizer, scaler, whole, "model.pth") == 5
    for damaged in ({**whole, "optimizer": 3}, {**whole, "iteration": None}, {"iteration": 4}):
        with pytest.raises(UnsegError, match=r"cannot be resumed from model\.pth"):
            restore_training(optimizer, scaler, damaged, "model.pth")


def test_a_deleted_last_checkpoint_leaves_the_one_before(tmp_path, caplog):
    for name in ("model_0000009.pth", "model_0000019.pth"):
        write_checkpoint(tmp_path / name, {"model": {"a": torch.zeros(1)}})
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    assert last_checkpoint(tmp_path) == tmp_path / "model_0000019.pth"
    assert has_checkpoint(tmp_path) and "model_final.pth any more" in caplog.messages[-1]
    for path in tmp_path.glob("model_*.pth"):
        path.unlink()
    assert last_checkpoint(tmp_path) == tmp_path / "model_final.pth" and not has_checkpoint(tmp_path)

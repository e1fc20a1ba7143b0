"""Read files of weights: no code in them runs, and nothing damaged passes for weights."""

from __future__ import annotations

import argparse
import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from unseg_d2.errors import TRUST_REMEDY, UnsegError

_DETECTRON2 = ("detectron2://", "https://dl.fbaipublicfiles.com/detectron2/")
"""Detectron2's own name for its model zoo, and where that is."""
_PUT_IN = re.compile(r"_orig_mod\.|_fsdp_wrapped_module\.|_checkpoint_wrapped_module\.")


def read_weight_file(path: str | Path, *, trust: bool = False) -> Any:
    """Return everything that a file of weights holds, with its tensors on the CPU.

    Args:
        path: ``.pth`` (torch), ``.safetensors`` or ``.pkl`` (Detectron2's model zoo; needs ``trust``).
        trust: unpickle arbitrary objects, which can run arbitrary code.

    Raises:
        UnsegError: it is an address, missing, damaged, or holds objects that need ``trust``.
    """
    refuse_address(path)
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a checkpoint" if path.is_dir() else ""
        raise UnsegError(f"{path} {what}." if what else f"There is no checkpoint {path}.")
    try:
        return _read(path, trust)
    except UnsegError:
        raise
    except pickle.UnpicklingError:
        raise UnsegError(
            f"{path} holds pickled objects, which could run code, or is damaged; if you trust its source, "
            f"{TRUST_REMEDY}."
        ) from None
    except MemoryError:
        raise UnsegError(f"{path} does not fit into the memory.") from None
    except Exception as error:  # the readers of zip, pickle and safetensors raise nearly anything on damaged files
        if "DefaultCPUAllocator" in str(error):
            raise UnsegError(f"{path} does not fit into the memory.") from None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise UnsegError(
            f"The checkpoint {path} cannot be read; it is damaged or in another format: {reason}"
        ) from None


def refuse_address(path: str | Path) -> None:
    """Raise :class:`UnsegError` if weights are named by an address in the network instead of a path."""
    text = str(path)
    address = re.match(r"([a-z][a-z0-9+.-]+):/+", text)  # a path object has dropped a slash
    if address is None:
        return
    text = f"{address[1]}://{text[address.end() :]}"
    if text.startswith(_DETECTRON2[0]):
        text = f"{text} (which is {_DETECTRON2[1]}{text.removeprefix(_DETECTRON2[0])})"
    raise UnsegError(
        f"Addresses are not fetched: download the file of {text} and give its path, or use an entry of the zoo "
        "(unseg-d2 zoo list)."
    )


def check_values(path: str | Path, tensors: Mapping[str, Tensor], names: Iterable[str] | None = None) -> None:
    """Raise :class:`UnsegError` unless tensors are plain arrays of finite numbers.

    Args:
        path: of the file, for the message.
        tensors: the weights.
        names: those that are used, by default all.
    """
    for name in tensors if names is None else names:
        tensor = tensors[name]
        if tensor.device.type == "meta":
            problem = "has a shape but no values (a meta tensor)"
        elif tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested or tensor.is_complex():
            problem = "is not a plain array of real numbers: it is sparse, nested, quantised or complex"
        elif tensor.is_floating_point() and not _finite(tensor):
            problem = "holds values that are not finite (NaN or infinity)"
        else:
            continue
        raise UnsegError(
            f"The tensor {name} in {path} {problem}, so the file is damaged or its training has failed; "
            "take an earlier checkpoint, or fetch the file again."
        )


def bare_name(name: str) -> str:
    """Return the name of a tensor without what torch.compile, FSDP and activation checkpointing put into it.

    >>> bare_name("_orig_mod.blocks.0._orig_mod.norm1.weight")
    'blocks.0.norm1.weight'
    """
    return _PUT_IN.sub("", name)


def _finite(tensor: Tensor) -> bool:
    values = tensor if tensor.dtype.itemsize > 1 else tensor.float()  # types of 8 bits know few operations
    return bool(torch.isfinite(values).all())


def _read(path: Path, trust: bool) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {"model": load_file(path)}
    if path.suffix == ".pkl":
        if not trust:
            raise pickle.UnpicklingError
        with open(path, "rb") as file:
            return pickle.load(file, encoding="latin1")
    _check_archive(path)
    with torch.serialization.safe_globals([argparse.Namespace]):  # options in DINO's checkpoints; holds no code
        return torch.load(path, map_location="cpu", weights_only=not trust)


def _check_archive(path: Path) -> None:
    """Compare the checksums that torch writes for each tensor; reading does not."""
    if not zipfile.is_zipfile(path):  # torch's format before 1.6
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise UnsegError(f"The checkpoint {path} is damaged: the checksum of {damaged} in it is wrong.")

"""Read files of weights: no code in them runs, and nothing damaged passes for weights."""

from __future__ import annotations

import argparse
import json
import pickle
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from unseg_d2.errors import TRUST_REMEDY, UnsegError

_DETECTRON2 = ("detectron2://", "https://dl.fbaipublicfiles.com/detectron2/")
"""Detectron2's own name for its model zoo, and where that is."""
ABOUT = "unseg_d2"
"""Entry of a ``.safetensors`` file's metadata that describes the weights, in JSON."""
_WRAPPERS = ("teacher", "model", "state_dict", "student")
"""Entries under which training codes keep the weights of a network, in the order in which they are looked for."""
PREFIXES = (
    *("module.", "teacher.", "teacher_embedding_model.", "student.", "student_embedding_model."),
    *("embedding_model.", "wrapped_model.", "_model.", "base_encoder.", "encoder_q.", "encoder."),
    *("backbone.", "model.", "net."),
)
"""What DataParallel, DINO, lightly-train, MoCo v2 and v3, Lightning and DiffNCuts put before the names of a network, in
the order in which it is stripped."""
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
    return _guarded(path, lambda file: _read(file, trust))


def _guarded(path: Path, read: Callable[[Path], Any]) -> Any:
    """Read a file, and say in one sentence what is wrong with it."""
    try:
        return read(path)
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


def read_about(path: str | Path, *, trust: bool = False) -> dict[str, Any]:
    """Return what a file of weights holds besides tensors, by name; tensors are mapped, not read, where that works.

    Args:
        path: see :func:`read_weight_file`.
        trust: see :func:`read_weight_file`.

    Raises:
        UnsegError: see :func:`read_weight_file`.
    """
    refuse_address(path)
    path = Path(path)
    if path.suffix == ".safetensors" and path.is_file():
        return _guarded(path, _metadata)
    if path.suffix != ".pkl" and path.is_file() and zipfile.is_zipfile(path):
        content = _guarded(path, lambda file: _load_torch(file, trust, mmap=True))
    else:
        content = read_weight_file(path, trust=trust)
    return dict(content) if isinstance(content, Mapping) else {}


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


def network_of(content: Any) -> dict[str, Tensor]:
    """Return the weights in the content of a file, from any of the places where training codes put them.

    Args:
        content: what :func:`read_weight_file` returned. Of a teacher and a student it is the teacher's weights.

    Returns:
        Name, see :func:`bare_name`, to tensor; empty where there are none.
    """
    while isinstance(content, Mapping):
        inside = next((content[key] for key in _WRAPPERS if isinstance(content.get(key), Mapping)), None)
        if inside is None:
            break
        content = inside
    if not isinstance(content, Mapping):
        return {}
    arrays = {
        name: torch.from_numpy(value) if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" else value
        for name, value in content.items()
        if isinstance(name, str)
    }
    return {bare_name(name): value for name, value in arrays.items() if isinstance(value, Tensor)}


def unwrapped(state: Mapping[str, Tensor], is_network: Callable[[Mapping[str, Tensor]], bool]) -> Mapping[str, Tensor]:
    """Return weights without what wrappers put before their names; what does not lie below them is left out.

    Args:
        state: weights of a file.
        is_network: whether names are those of a network; nothing more is stripped then.

    Returns:
        Where no stripping leads to a network: what is left when no prefix is left.
    """
    stripped = state
    while not is_network(stripped):
        prefix = next((prefix for prefix in PREFIXES if any(name.startswith(prefix) for name in stripped)), None)
        if prefix is None:
            break
        stripped = {name[len(prefix) :]: value for name, value in stripped.items() if name.startswith(prefix)}
    return stripped


def _finite(tensor: Tensor) -> bool:
    values = tensor if tensor.dtype.itemsize > 1 else tensor.float()  # types of 8 bits know few operations
    return bool(torch.isfinite(values).all())


def _read(path: Path, trust: bool) -> Any:
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {**_metadata(path), "model": load_file(path)}
    if path.suffix == ".pkl":
        if not trust:
            raise pickle.UnpicklingError
        with open(path, "rb") as file:
            return pickle.load(file, encoding="latin1")
    _check_archive(path)
    return _load_torch(path, trust)


def _load_torch(path: Path, trust: bool, *, mmap: bool = False) -> Any:
    with torch.serialization.safe_globals([argparse.Namespace]):  # options in DINO's checkpoints; holds no code
        return torch.load(path, map_location="cpu", weights_only=not trust, mmap=mmap)


def _metadata(path: Path) -> dict[str, Any]:
    """Return the description in the metadata of a ``.safetensors`` file; empty where there is none of ours."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(ABOUT, "{}")
    content = json.loads(text)
    return {str(key): value for key, value in content.items() if key != "model"} if isinstance(content, dict) else {}


def _check_archive(path: Path) -> None:
    """Compare the checksums that torch writes for each tensor; reading does not."""
    if not zipfile.is_zipfile(path):  # torch's format before 1.6
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged:
        raise UnsegError(f"The checkpoint {path} is damaged: the checksum of {damaged} in it is wrong.")

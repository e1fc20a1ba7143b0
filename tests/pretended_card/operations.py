"""Which operations a card refuses, which it is given as work, and which make the host wait for it.

What waits is what ``torch.cuda.set_sync_debug_mode`` warns of: a number or a size that depends on data, and a copy
between card and host, unless it comes from pinned memory and is not waited for.
"""

from __future__ import annotations

from typing import Any

import torch

NO_WORK = {
    "empty",
    "empty_like",
    "new_empty",
    "empty_strided",
    "new_empty_strided",
    "_unsafe_view",
    "is_same_size",
    "set_",
}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
NO_HOST_NUMBERS = {"cat", "stack", "gather", "scatter", "scatter_", "index_select", "mm", "bmm", "addmm", "baddbmm"}
SIZE_OF_DATA = {
    "nonzero",
    "masked_select",
    "_unique",
    "_unique2",
    "unique_dim",
    "unique_consecutive",
    "bincount",
    "nms",
}
CHECKED = {  # their errors are read on the host
    "_linalg_eigh", "linalg_eig", "_linalg_svd", "linalg_inv_ex", "_linalg_solve_ex", "linalg_cholesky_ex",
    "linalg_lstsq", "linalg_lu_factor_ex",
}  # fmt: skip


def base_name(func: Any) -> str:
    """Return ``add`` of ``aten::add.Tensor``."""
    return func._schema.name.split("::")[-1]


def is_pinned(tensor: torch.Tensor) -> bool:
    """Return whether a tensor of the host lies in memory that the pretended card can read by itself."""
    return getattr(tensor, "is_pinned_for_the_card", False)


def is_launched(func: Any) -> bool:
    """Return whether an operation is work for the card: neither a view nor memory without contents."""
    returned = func._schema.returns
    view = bool(returned) and returned[0].alias_info is not None and not returned[0].alias_info.is_write
    return not view and base_name(func) not in NO_WORK


def mixed_devices(func: Any, args: tuple, hosts: list[torch.Tensor]) -> bool:
    """Return whether a card refuses an operation on tensors of its own and on those of the host.

    A tensor of the host may be the source or the target of a copy, an index, or a single number beside others.
    """
    name = base_name(func)
    if name in ("_to_copy", "copy_", "_copy_from"):
        return False
    if name in INDEXING:
        indices = [index for index in args[1] if index is not None]
        hosts = [tensor for tensor in hosts if not any(tensor is index for index in indices)]
    return any(tensor.dim() > 0 for tensor in hosts) or bool(hosts and name in NO_HOST_NUMBERS)


def waits_for(func: Any, args: tuple, kwargs: dict, *, goes_up: bool, hosts: bool) -> str:
    """Return what the host waits for in an operation of the card, empty if it does not wait."""
    name = base_name(func)
    if name == "_to_copy":
        return _copy(args[0], kwargs, goes_up)
    if name == "copy_" and hosts:
        to_host = not _on_card(args[0])
        blocking = not (kwargs.get("non_blocking") or (len(args) > 2 and args[2]))
        return "copy to the host" if to_host and blocking else _upload(args[1], blocking) if not to_host else ""
    if name in ("_local_scalar_dense", "is_nonzero", "equal"):
        return "a number"
    if name in SIZE_OF_DATA or name in CHECKED:
        return name.lstrip("_")
    if name == "repeat_interleave" and kwargs.get("output_size") is None:
        return name
    return _index(name, args) if name in INDEXING else ""


def _copy(source: torch.Tensor, kwargs: dict, goes_up: bool) -> str:
    blocking = not kwargs.get("non_blocking")
    if goes_up:
        return _upload(source, blocking)
    goes_down = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    return "copy to the host" if goes_down and blocking else ""


def _upload(source: torch.Tensor, blocking: bool) -> str:
    """Return what an upload waits for; from memory that is not pinned it may wait even where it is told not to."""
    return "copy to the card" if blocking or not is_pinned(source) else ""


def _index(name: str, args: tuple) -> str:
    indices = [index for index in args[1] if index is not None]
    if any(index.dim() > 0 and not _on_card(index) for index in indices):
        return "index of the host"
    flags = [index for index in indices if index.dtype in (torch.bool, torch.uint8)]
    fills = name not in ("index", "_unsafe_index") and args[2].numel() == 1 and not (len(args) > 3 and args[3])
    return "boolean index" if flags and not (fills and len(indices) == len(flags)) else ""


def _on_card(tensor: torch.Tensor) -> bool:
    return tensor.device.type == "cuda"

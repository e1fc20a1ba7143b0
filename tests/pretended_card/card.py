"""A pretended card: tensors that say ``cuda:0`` and compute on the CPU, on a machine that has none.

    with pretended_card() as record:
        generator(images)  # their tokens moved with .to("cuda")
    print(record.report())

PyTorch need not be compiled with CUDA: a tensor is a wrapper whose device is a word, and PyTorch's core has an empty
guard for devices that are not there. What is found: operations that mix devices (an error, as on a card), arrays asked
of a tensor on the card, branches that only a card takes, launches, and waits. What is not: rounding of other kernels,
memory, time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import torch
from operations import is_launched, is_pinned, mixed_devices, waits_for
from record import Record, asking_line
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

CARD = torch.device("cuda", 0)


class CardTensor(torch.Tensor):
    """A tensor whose device is the card and whose numbers are held on the CPU."""

    held: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> CardTensor:
        size, strides, offset = held.size(), held.stride(), held.storage_offset()
        with torch.inference_mode(False):  # a tensor made in it could not be a view of one made outside
            made = torch.Tensor._make_wrapper_subclass(
                cls, size, strides=strides, storage_offset=offset, dtype=held.dtype, device=CARD
            )
        made.held = held.detach()
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"CardTensor({tuple(self.shape)}, {self.dtype})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return execute(func, args, kwargs or {}, Record())


def is_card(device: Any) -> bool:
    """Return whether a device, its name or ``None`` is the card."""
    return device is not None and not isinstance(device, int) and torch.device(device).type == "cuda"


def execute(func: Any, args: tuple, kwargs: dict, record: Record) -> Any:
    """Run an operation of the dispatcher where its tensors are, and record it if that is the card."""
    leaves = tree_leaves((args, kwargs))
    ours = [leaf for leaf in leaves if isinstance(leaf, CardTensor)]
    hosts = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor) and not isinstance(leaf, CardTensor)]
    goes_up = is_card(kwargs.get("device"))
    if not ours and not goes_up:
        return func(*args, **kwargs)
    line = asking_line()
    if hosts and ours and mixed_devices(func, args, hosts):
        raise RuntimeError(f"Expected all tensors to be on the same device, cuda:0 or cpu: {func} at {line}")
    what = waits_for(func, args, kwargs, goes_up=goes_up and bool(hosts), hosts=bool(hosts))
    if what:
        record.waits[what, line] += 1
    if is_launched(func):
        record.launches[line] += 1
    given = {id(tensor.held): tensor for tensor in ours}
    args, kwargs = tree_map(lambda leaf: leaf.held if isinstance(leaf, CardTensor) else leaf, (args, kwargs))
    stays_down = kwargs.get("device") is not None and not goes_up
    if goes_up:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    kwargs.pop("pin_memory", None)
    found = func(*args, **kwargs)
    if stays_down:
        return found

    def wrapped(leaf: Any) -> Any:
        if not isinstance(leaf, torch.Tensor):
            return leaf
        return given[id(leaf)] if id(leaf) in given else CardTensor(leaf)

    if any(id(leaf) in {id(host) for host in hosts} for leaf in tree_leaves(found)):
        return found  # a copy into a tensor of the host
    for tensor in given.values():
        assert tensor.shape == tensor.held.shape, f"{func} gives its output another shape, at {line}"
    return tree_map(wrapped, found)


class _Operations(TorchDispatchMode):
    """Sees every operation, also those that make a tensor from none."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"):
            with self:  # of several operations, which inference mode shows as one
                found = func.decompose(*args, **(kwargs or {}))
            if found is not NotImplemented:
                return found
        return execute(func, args, kwargs or {}, self.record)


class _Functions(TorchFunctionMode):
    """Functions that would start CUDA's driver, or take numbers out of a tensor, before any operation is seen."""

    def __init__(self, record: Record) -> None:
        super().__init__()
        self.record = record

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        special = SPECIAL.get(func)
        if special is not None:
            return special(self.record, *args, **kwargs)
        if not is_card(kwargs.get("device")):
            return func(*args, **kwargs)
        if args and isinstance(args[0], CardTensor) and func not in (torch.tensor, torch.as_tensor, torch.asarray):
            return func(*args, **{name: value for name, value in kwargs.items() if name != "device"})
        line = asking_line()
        self.record.launches[line] += func is not torch.empty
        if func in (torch.tensor, torch.as_tensor, torch.asarray):
            self.record.waits["tensor of numbers", line] += 1
        return CardTensor(func(*args, **{**kwargs, "device": "cpu"}))


def _to(record: Record, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    """``Tensor.to`` without asking the driver whether the card is there."""
    device, dtype, flags = kwargs.pop("device", None), kwargs.pop("dtype", None), []
    for value in args:
        if isinstance(value, torch.Tensor):
            device, dtype = value.device, value.dtype
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, bool):
            flags.append(value)
        elif value is not None:
            device = value
    options = dict(zip(("non_blocking", "copy"), flags)) | kwargs
    if isinstance(tensor, CardTensor) == is_card(device) or device is None:
        return torch.Tensor.to(tensor, tensor.dtype if dtype is None else dtype, **options)
    device = CARD if is_card(device) else torch.device("cpu")
    options.pop("copy", None)
    return torch.ops.aten._to_copy.default(tensor, dtype=dtype or tensor.dtype, device=device, **options)


def _tolist(record: Record, tensor: torch.Tensor) -> Any:
    if not isinstance(tensor, CardTensor):
        return tensor.tolist()
    record.waits["tolist", asking_line()] += 1
    record.launches[asking_line()] += 1
    return tensor.held.tolist()


def _numpy(record: Record, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if isinstance(tensor, CardTensor):
        raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first.")
    return tensor.numpy(*args, **kwargs)


def _array(record: Record, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    return _numpy(record, tensor).__array__(*args, **kwargs)


def _new_tensor(record: Record, tensor: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    if not isinstance(tensor, CardTensor):
        return tensor.new_tensor(*args, **kwargs)
    record.waits["tensor of numbers", asking_line()] += 1
    record.launches[asking_line()] += 1
    return CardTensor(tensor.held.new_tensor(*args, **kwargs))


def _with_tensors(index: Any) -> Any:
    """Return an index whose lists and arrays are tensors of the host, as they become before they go up."""
    if isinstance(index, tuple):
        return tuple(map(_with_tensors, index))
    return torch.as_tensor(index) if isinstance(index, (list, np.ndarray)) else index


def _get_item(record: Record, tensor: torch.Tensor, index: Any) -> torch.Tensor:
    return tensor[_with_tensors(index) if isinstance(tensor, CardTensor) else index]


def _set_item(record: Record, tensor: torch.Tensor, index: Any, value: Any) -> None:
    tensor[_with_tensors(index) if isinstance(tensor, CardTensor) else index] = value


def _pinned(record: Record, tensor: torch.Tensor, *_: Any) -> torch.Tensor:
    copy = tensor.clone()
    copy.is_pinned_for_the_card = True
    return copy


SPECIAL: dict[Any, Callable[..., Any]] = {
    torch.Tensor.to: _to,
    torch.Tensor.cuda: lambda record, tensor, device=None, **kwargs: _to(record, tensor, CARD, **kwargs),
    torch.Tensor.tolist: _tolist,
    torch.Tensor.numpy: _numpy,
    torch.Tensor.__array__: _array,
    torch.Tensor.pin_memory: _pinned,
    torch.Tensor.new_tensor: _new_tensor,
    torch.Tensor.__getitem__: _get_item,
    torch.Tensor.__setitem__: _set_item,
    torch.Tensor.is_pinned: lambda record, tensor, *_: is_pinned(tensor),
}


@contextlib.contextmanager
def pretended_card() -> Iterator[Record]:
    """Let PyTorch believe in one card, and record what it is asked to do."""
    record = Record()
    torch._C._ensureCUDADeviceGuardSet()
    lifted = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)  # lists become tensors of the host first, then move
    cudnn = torch._C._get_cudnn_enabled()
    torch._C._set_cudnn_enabled(False)  # whose operations a CPU does not have
    overwritten = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # a parameter that moves is a new object

    def synchronize(*_: Any) -> None:
        record.waits["synchronize", asking_line()] += 1

    answers = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "synchronize": synchronize,
        "is_bf16_supported": lambda *_, **__: True,
    }
    try:
        with contextlib.ExitStack() as stack:
            for name, answer in answers.items():
                stack.enter_context(mock.patch.object(torch.cuda, name, answer))
            stack.enter_context(torch.autograd.set_multithreading_enabled(False))
            stack.enter_context(_Functions(record))
            stack.enter_context(_Operations(record))
            yield record
    finally:
        torch._C._set_only_lift_cpu_tensors(lifted)
        torch._C._set_cudnn_enabled(cudnn)
        torch.__future__.set_overwrite_module_params_on_conversion(overwritten)

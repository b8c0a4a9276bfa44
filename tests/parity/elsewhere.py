"""An accelerator that is none: tensors say that they are on a GPU, and their numbers lie here.

What a GPU would refuse is refused: an operation on tensors of two devices, a generator of another
one, numbers that NumPy would read there. Kernels, streams and half precision are not pretended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
HERE_TOO = ("aten.copy_.", "aten._to_copy.", "aten.index.", "aten.index_put", "aten.expand_as.")
"""Beginnings of the names of operations that take tensors, or indices, of the host as well."""
WITH_NUMBERS = ("aten.cat.", "aten.stack.", "aten.scatter", "aten.gather.")
"""Those that take no number of the host either, if it is a tensor."""


class OnGpu(Tensor):
    """A tensor that says so.

    Attributes:
        numbers: the same on the host.
    """

    numbers: Tensor
    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, numbers: Tensor) -> OnGpu:
        made = torch.Tensor._make_subclass(cls, numbers)
        made.numbers = numbers
        return made

    def __init__(self, numbers: Tensor) -> None:
        super().__init__()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        name = str(func)
        given = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        there = [t for t in given if isinstance(t, OnGpu)]
        least = 0 if name.startswith(WITH_NUMBERS) else 1
        here = [t for t in given if not isinstance(t, OnGpu) and t.dim() >= least]
        if here and not name.startswith(HERE_TOO):
            shapes = [tuple(t.shape) for t in here]
            raise RuntimeError(f"{name}: {shapes} of the host beside a tensor on the GPU")
        if name.startswith(HERE_TOO[:1]) and not isinstance(args[0], OnGpu):
            return args[0].copy_(args[1].numbers)
        found = func(*_numbers(args), **_numbers(kwargs))
        own = {id(t.numbers): t for t in there}
        return tree_map(
            lambda t: (own[id(t)] if id(t) in own else OnGpu(t)) if isinstance(t, Tensor) else t,
            found,
        )

    def __repr__(self) -> str:  # type: ignore[override]
        return f"OnGpu({self.numbers})"


def _numbers(value: Any) -> Any:
    return tree_map(lambda t: t.numbers if isinstance(t, OnGpu) else t, value)


class _Dice(torch.Generator):
    """A generator of the GPU."""


class _Calls(TorchFunctionMode):
    """Makes tensors on the GPU, and brings them there and back."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.pop("pin_memory", False):
            assert func is torch.tensor
        if func is Tensor.to:
            return _to(*args, **kwargs)
        if func is Tensor.cpu:
            return _to(args[0], "cpu")
        if func is Tensor.tolist:
            return func(_to(args[0], "cpu"))
        if func is Tensor.numpy and isinstance(args[0], OnGpu):
            raise TypeError("a tensor on the GPU cannot be read by NumPy")
        there = torch.device(kwargs.get("device") or "cpu").type == "cuda"
        dice = kwargs.get("generator")
        if dice is not None and isinstance(dice, _Dice) != there:
            raise RuntimeError(f"{func}: the generator is of the other device")
        if not there:
            return func(*args, **kwargs)
        return OnGpu(func(*args, **{**kwargs, "device": "cpu"}).detach())


def _to(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """In place of `Tensor.to`; without a gradient where it moves one."""
    device, dtype = kwargs.get("device"), kwargs.get("dtype")
    for arg in args:
        if isinstance(arg, Tensor):
            device, dtype = arg.device, arg.dtype
        elif isinstance(arg, torch.dtype):
            dtype = arg
        elif isinstance(arg, str | torch.device):
            device = arg
    found = tensor if dtype is None else Tensor.to(tensor, dtype)
    if device is None or (torch.device(device).type == "cuda") == isinstance(tensor, OnGpu):
        return found
    found = found.detach()
    return found.numbers.clone() if isinstance(found, OnGpu) else OnGpu(found.clone())


def _apply(self: nn.Module, change: Callable[[Tensor], Tensor], recurse: bool = True) -> nn.Module:
    """In place of `Module._apply`: what was one weight stays one."""
    made: dict[int, Tensor] = {}
    for module in self.modules():
        for own in (module._parameters, module._buffers):
            for name, value in own.items():
                if value is None:
                    continue
                if id(value) not in made:
                    found = change(value.data)
                    if isinstance(value, nn.Parameter):
                        found = nn.Parameter(found, value.requires_grad)
                    made[id(value)] = found
                own[name] = made[id(value)]
    return self


@contextmanager
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Within it there is a GPU."""
    real = torch.Generator

    def generator(device: Any = "cpu") -> torch.Generator:
        return _Dice() if torch.device(device).type == "cuda" else real(device)

    with monkeypatch.context() as patched, _Calls():
        patched.setattr(torch, "Generator", generator)
        patched.setattr(nn.Module, "_apply", _apply)
        yield GPU

"""What would make an accelerator and the host wait for each other, seen on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = (
    "item", "_local_scalar_dense", "nonzero", "where.default", "repeat_interleave",
    "masked_select", "unique", "equal.default", "to.dtype_layout", "to.device", "lift_fresh",
)  # fmt: skip
"""Parts of the names of operations which wait for an accelerator, or put numbers of the host
on it: `int(t)`, `if t`, `t[mask]`, `t.cpu()`, `torch.tensor(...)`, ..."""
LIST = "aten.resolve_conj.default"  # what `t.tolist()` does first


class Waits(TorchDispatchMode):
    """Finds what would make an accelerator and the host wait for each other, while `watching`."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.watching = True

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = str(func), kwargs or {}
        indices = args[1] if name.startswith(("aten.index.", "aten.index_put")) else []
        masked = any(i is not None and i.dtype == torch.bool for i in indices)
        known = kwargs.get("output_size") is not None  # so that `repeat_interleave` need not ask
        waits = name == LIST or masked or (any(part in name for part in WAITING) and not known)
        if self.watching and waits:
            self.found.append(name)
        return func(*args, **kwargs)

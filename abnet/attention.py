"""Which of torch's attention kernels a training step takes."""

from __future__ import annotations

import contextlib
from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

FUSED_FROM = 256  # positions
"""From here on torch's fused attention is the faster one in bfloat16 on a CPU, too.

Below, its backward pass takes up to six times as long as that of plain matrix products (16
positions, 1,024 tokens). In 32 bits, and without a gradient, the fused one is always the faster.
"""


def training_attention(model: nn.Module, *ids: Tensor) -> AbstractContextManager[None]:
    """Within it, torch's attention is the fastest that there is for a step of training.

    Args:
        model: whose weights, or autocast's type, decide the precision.
        ids: (batch, length) each; what it reads.
    """
    device = ids[0].device
    dtype = next(model.parameters()).dtype
    if torch.is_autocast_enabled(device.type):
        dtype = torch.get_autocast_dtype(device.type)
    is_short = max(one.size(1) for one in ids) < FUSED_FROM
    is_slow = device.type == "cpu" and dtype == torch.bfloat16 and torch.is_grad_enabled()
    return sdpa_kernel(SDPBackend.MATH) if is_slow and is_short else contextlib.nullcontext()

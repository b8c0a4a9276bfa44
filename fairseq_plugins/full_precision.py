"""Weights in 32 bits across a stop of `--bf16` and `--fp16`.

With these fairseq trains copies of the weights in 32 bits. Its checkpoints have the model's weights
alone, in 16 bits, of which a training that goes on would make its copies anew, each rounded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from fairseq.optim import FairseqOptimizer
from torch import Tensor, nn


def copies_of(optimizer: FairseqOptimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """Each weight in 16 bits with its copy in 32; nothing where the optimizer has no copies."""
    copies = getattr(optimizer, "fp32_params", None)
    if copies is None:
        return
    weights = optimizer.fp16_params
    if optimizer.has_flat_params:  # all weights in one tensor, that of the only device
        [flat] = copies.values()
        parts = torch.split(flat.data, [weight.numel() for weight in weights])
        copies = [part.view_as(weight) for part, weight in zip(parts, weights, strict=True)]
    for weight, copy in zip(weights, copies, strict=True):
        yield weight, copy.data


def restore_copies(optimizer: FairseqOptimizer, loaded: Mapping[nn.Parameter, Tensor]) -> None:
    """Gives the copies the values that a checkpoint has of them, in 32 bits."""
    for weight, copy in copies_of(optimizer):
        if weight in loaded:
            copy.copy_(loaded[weight])

"""Frozen weights in half the memory, for computation in 32 bits.

Legend: I inputs and O outputs of a layer.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abnet.model import AbNet


def halve_frozen(model: AbNet) -> None:
    """Keeps frozen linear layers and embeddings of both BERTs in bfloat16; states have 32 bits.

    A weight is made 32 bits again where it is used, forward and backward, and not in between.

    Args:
        model: in 32 bits; is changed.
    """
    for backbone in (model.encoder.bert_backbone, model.decoder.backbone):
        for module in backbone.modules():
            own = list(module.parameters(recurse=False))
            if any(parameter.requires_grad for parameter in own):
                continue
            if isinstance(module, nn.Linear):
                module.forward = partial(_apply, module.weight, module.bias)  # type: ignore[method-assign]
            elif isinstance(module, nn.Embedding):
                module.register_forward_hook(_widen)
            else:
                continue
            for parameter in own:
                parameter.data = parameter.data.bfloat16()


def _widen(module: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output.float()


class _HalvedLinear(torch.autograd.Function):
    """A linear layer whose weight has no gradient, and is kept for the backward pass as it is."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, bias: Tensor | None, states: Tensor) -> Tensor:
        """Weight (O, I), bias (O,) or `None`, states (..., I) to (..., O)."""
        ctx.save_for_backward(weight)
        return F.linear(
            states, weight.to(states.dtype), None if bias is None else bias.to(states.dtype)
        )

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor]:
        """Gradient (..., O) to (..., I), of the states alone."""
        (weight,) = ctx.saved_tensors
        return None, None, gradient @ weight.to(gradient.dtype)


_apply: Callable[[Tensor, Tensor | None, Tensor], Tensor] = _HalvedLinear.apply

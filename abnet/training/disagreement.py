"""How far two predictions of the same words are apart: the consistency term of R-Drop.

Legend: N predictions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from abnet.training.word_loss import rows_at_once


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p||q) + KL(q||p)) / 2 of the two softmaxes, summed (Liang et al., NeurIPS 2021), in nats.

    Args:
        first, second: (N, V) logits.
    """
    return _apply(first, second)


class _Disagreement(torch.autograd.Function):
    """By rows; the gradient of both logits is made with the value, so that no softmax is kept."""

    @staticmethod
    def forward(ctx: Any, first: Tensor, second: Tensor) -> Tensor:
        """With r = log p - log q it is sum (p - q) r / 2."""
        total = torch.zeros((), device=first.device)
        gradients = torch.empty_like(first), torch.empty_like(second)
        rows = rows_at_once(first.size(1), first.device)
        parts = (torch.split(part, rows) for part in (first, second, *gradients))
        for one, two, of_one, of_two in zip(*parts, strict=True):
            log_p = one.log_softmax(dim=1, dtype=torch.float32)
            log_q = two.log_softmax(dim=1, dtype=torch.float32)
            ratio = log_p - log_q
            p, q = log_p.exp_(), log_q.exp_()
            forth = (p * ratio).sum(dim=1, keepdim=True)
            back = (q * ratio).sum(dim=1, keepdim=True)
            total += (forth - back).sum() / 2
            of_one.copy_((p * (1 + ratio - forth) - q) / 2)
            of_two.copy_((q * (1 + back - ratio) - p) / 2)
        ctx.gradients = gradients
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor, Tensor]:
        """What was made in `forward`, times the gradient of the sum."""
        first, second = ctx.gradients
        return first * outer, second * outer


_apply: Callable[..., Tensor] = _Disagreement.apply

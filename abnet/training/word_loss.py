"""The cross-entropy of words with all that is logged beside it, in one pass over the logits.

Legend: N words to predict, H the width of their states, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from abnet.decoding.selection import best_of

LOGITS_ON_CPU = 1 << 20  # at once: nearly what a cache holds
LOGITS_ON_GPU = 1 << 26  # at once: a quarter of a GiB in 32 bits
FEWEST_ROWS = 128  # for products of a good shape


class WordLoss(NamedTuple):
    """Sums over N words, in nats.

    Attributes:
        loss: with label smoothing; carries the gradient.
        nll: without.
        right: how many words have the highest logit, and are the first of those that have it.
    """

    loss: Tensor
    nll: Tensor
    right: Tensor


def word_loss(logits: Tensor, gold: Tensor, smoothing: float) -> WordLoss:
    """Label-smoothed cross-entropy: (1 - e) * -log p(gold) + e * mean over V of -log p, summed.

    Args:
        logits: (N, V).
        gold: (N,) ids.
        smoothing: e.
    """
    rows = rows_at_once(logits.size(1), logits.device)
    return WordLoss(*_apply(None, gold, smoothing, rows, logits))


def word_loss_of_states(
    head: nn.Module, states: Tensor, gold: Tensor, smoothing: float, rows: int
) -> WordLoss:
    """`word_loss(head(states), gold, smoothing)`, without ever holding more than some logits.

    Of each chunk the gradient is taken at once, before the next one, so that nothing is computed
    twice. It thus is not scaled: where 16 bits need that (float16), use `word_loss`.

    Args:
        head: states to logits, each by itself and without anything random.
        states: (N, H).
        gold: (N,) ids.
        smoothing: e.
        rows: words at once.
    """
    trained = [parameter for parameter in head.parameters() if parameter.requires_grad]
    if not torch.is_grad_enabled():  # which an autograd function is not told
        trained = []
    return WordLoss(*_apply(head, gold, smoothing, rows, states, *trained))


def rows_at_once(vocab_size: int, device: torch.device) -> int:
    """Words whose logits are computed together in training."""
    values = LOGITS_ON_CPU if device.type == "cpu" else LOGITS_ON_GPU
    return max(values // vocab_size, FEWEST_ROWS)


class _WordLoss(torch.autograd.Function):
    """The three sums; the gradient of the first is made with them, where it is wanted."""

    @staticmethod
    def forward(
        ctx: Any,
        head: Callable[[Tensor], Tensor] | None,
        gold: Tensor,
        smoothing: float,
        rows: int,
        states: Tensor,
        *trained: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Without a head the states are logits."""
        wanted: tuple[bool, ...] = ctx.needs_input_grad[4:]
        # Of the states each part is written once; what trains adds up.
        new = (torch.empty_like, *(torch.zeros_like for _ in trained))
        gradients = [
            make(value, dtype=torch.float32) if needed else None
            for make, value, needed in zip(new, (states, *trained), wanted, strict=True)
        ]
        sums = [torch.zeros((), device=states.device) for _ in range(2)]
        right = torch.zeros((), dtype=torch.long, device=states.device)
        for start in range(0, len(gold), rows):
            part = slice(start, start + rows)
            chunk = states[part].detach()
            logits, inputs = chunk, []
            if head is not None:
                with torch.set_grad_enabled(any(wanted)):
                    chunk.requires_grad_(wanted[0])
                    logits = head(chunk)
                inputs = [v for v, n in zip((chunk, *trained), wanted, strict=True) if n]
            loss, nll, hits, gradient = _sums(logits.detach(), gold[part], smoothing, any(wanted))
            sums[0] += loss
            sums[1] += nll
            right += hits
            if gradient is None:
                continue
            if head is None:
                found = [gradient]
            else:
                found = list(torch.autograd.grad(logits, inputs, gradient.to(logits.dtype)))
            for at, total in enumerate(gradients):
                if total is None:
                    continue
                if at == 0:
                    total[part] = found.pop(0)
                else:
                    total += found.pop(0)
        ctx.gradients = gradients
        ctx.dtypes = [value.dtype for value in (states, *trained)]
        ctx.mark_non_differentiable(sums[1], right)
        return sums[0], sums[1], right

    @staticmethod
    def backward(ctx: Any, loss: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        """What was made in `forward`, times the gradient of the loss."""
        found = [
            None if gradient is None else (gradient * loss).to(dtype)
            for gradient, dtype in zip(ctx.gradients, ctx.dtypes, strict=True)
        ]
        return None, None, None, None, *found


_apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = _WordLoss.apply


def _sums(
    logits: Tensor, gold: Tensor, smoothing: float, with_gradient: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Loss, nll and right words of (N, V) logits, and the gradient (N, V) of the loss.

    With p the softmax, the gradient is p - e / V, and (1 - e) less at the gold word.
    """
    log_probs = logits.log_softmax(dim=1, dtype=torch.float32)
    at_gold = gold[:, None]
    nll = -log_probs.gather(1, at_gold).sum()
    right = best_of(log_probs)[1].eq(gold).sum()
    mean = -log_probs.sum() / logits.size(1)
    loss = (1 - smoothing) * nll + smoothing * mean
    if not with_gradient:
        return loss, nll, right, None
    gradient = log_probs.exp_().sub_(smoothing / logits.size(1))
    gradient.scatter_add_(1, at_gold, torch.full_like(at_gold, smoothing - 1, dtype=torch.float32))
    return loss, nll, right, gradient

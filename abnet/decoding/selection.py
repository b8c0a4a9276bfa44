"""From states to tokens: the best allowed token of each position, and its log-probability.

Legend: R candidates, T target positions, N positions to predict, V vocabulary.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

POSITIONS_AT_ONCE = 1024  # logits of all positions of a large batch would fill the memory
BLOCK = 128  # tokens; see `best_of`


class Head(Protocol):
    """The last step of a model; see `abnet.model.AbNet`."""

    def logits(self, states: Any, part: slice) -> Tensor:
        """Logits of a part of the states, (n, V)."""


class Choice(NamedTuple):
    """The best tokens, (N,) each, and where asked for the second best."""

    tokens: Tensor
    scores: Tensor
    second_tokens: Tensor | None = None
    second_scores: Tensor | None = None


def choose(
    head: Head, states: Any, may_end: Tensor, banned: Tensor, sep: int, with_second: bool
) -> Choice:
    """Chooses a token for each position; nothing waits for an accelerator.

    The logits of `POSITIONS_AT_ONCE` positions are in memory at a time. Log-probabilities are those
    among the allowed tokens, in 32 bits.

    Args:
        head: makes logits of states.
        states: of N positions.
        may_end: (N,) boolean, where [SEP] is allowed.
        banned: ids that are never allowed, see `SymbolIds.never_predicted`.
        sep: the id of [SEP].
        with_second: whether to give the second-best tokens as well.
    """
    parts = []
    for start in range(0, may_end.size(0), POSITIONS_AT_ONCE):
        part = slice(start, start + POSITIONS_AT_ONCE)
        logits = head.logits(states, part).float().index_fill_(1, banned, -torch.inf)
        logits[:, sep].masked_fill_(~may_end[part], -torch.inf)
        parts.append(_choose(logits, with_second))
    if len(parts) == 1:
        return parts[0]
    tokens, scores, second_tokens, second_scores = zip(*parts, strict=True)
    if not with_second:
        return Choice(torch.cat(tokens), torch.cat(scores))
    return Choice(*(torch.cat(one) for one in (tokens, scores, second_tokens, second_scores)))


def best_of(scores: Tensor) -> tuple[Tensor, Tensor]:
    """The best score of each row and the first token that has it, (n,) each: `scores.max(dim=1)`.

    A CPU finds the largest of many values several times faster than its place, so that there the
    best block of tokens is found first.

    Args:
        scores: (n, V).
    """
    whole = scores.size(1) - scores.size(1) % BLOCK
    if scores.device.type != "cpu" or not whole:
        best, tokens = scores.max(dim=1)
        return best, tokens
    blocks = scores[:, :whole].reshape(len(scores), whole // BLOCK, BLOCK)
    best, block = blocks.amax(dim=2).max(dim=1)
    inside = blocks[torch.arange(len(scores)), block].argmax(dim=1)
    tokens = block * BLOCK + inside
    if whole < scores.size(1):
        last, place = scores[:, whole:].max(dim=1)
        tokens = torch.where(last > best, place + whole, tokens)
        best = torch.maximum(best, last)
    return best, tokens


def less_probable_repeats(tokens: Tensor, scores: Tensor, again: Tensor) -> Tensor:
    """Of each two equal neighbours the one to change: (R, T) boolean.

    The less probable one, of equals the later; one that was not predicted now stays.

    Args:
        tokens, scores: (R, T).
        again: (R, T) boolean, what was predicted now.
    """
    equal = tokens[..., 1:].eq(tokens[..., :-1])
    first_less = scores[..., :-1] < scores[..., 1:]
    first = equal & again[..., :-1] & (first_less | ~again[..., 1:])
    second = equal & again[..., 1:] & ~first
    return F.pad(first, (0, 1)) | F.pad(second, (1, 0))


def _choose(logits: Tensor, with_second: bool) -> Choice:
    """The same for some positions; overwrites the logits (n, V)."""
    best, tokens = best_of(logits)
    others = second_tokens = None
    if with_second:
        others, second_tokens = best_of(logits.scatter(1, tokens[:, None], -torch.inf))
    total = logits.sub_(best[:, None]).exp_().sum(dim=1).log_()
    if others is None:
        return Choice(tokens, -total)
    return Choice(tokens, -total, second_tokens, others - best - total)

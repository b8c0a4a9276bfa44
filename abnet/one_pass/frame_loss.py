"""The loss of CTC: the sum over all ways to spread a target's words over the frames.

Legend: B sentences, F frames, T target positions, N frames of a batch, K labels, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.one_pass.ctc import path_starts
from abnet.one_pass.frames import NEVER
from abnet.tokenizer import SymbolIds
from abnet.training.loss import LossParts
from abnet.training.word_loss import rows_at_once


def frame_loss(
    logits: Tensor, frames: Tensor, target: Tensor, symbols: SymbolIds, given: Tensor | None = None
) -> LossParts:
    """CTC (Graves et al., ICML 2006): -log p of each target, summed over all ways to spread it.

    Between two equal neighbours must stand a blank, so a target needs as many frames as it has
    words and such neighbours. The blank has the id of [MASK], and the final [SEP] is no word.
    Words that are given have probability 1 at their frames, so that the sum is over the ways that
    have them there.

    A frame may say one of the few words of its own sentence or the blank, and only their
    log-probabilities are looked at: no tensor but the logits has the size of the vocabulary.

    Args:
        logits: (B * F, V), at all frames.
        frames: (B, F) ids, [MASK] in each frame, [PAD] behind the last.
        target: (B, T) true ids, right-padded.
        symbols: of the target.
        given: (B, F) as `frames`, with some words of the target; `None` for none.
    """
    words = symbols.words(target) & target.ne(symbols.sep)
    lengths, sizes = words.sum(dim=1), frames.eq(symbols.mask).sum(dim=1)
    labels = F.pad(target, (1, 0), value=symbols.mask)
    scores = scores_at_frames(logits, frames, labels, symbols, given)
    path = logits.detach().argmax(dim=1).view(frames.shape)
    if given is not None:
        path = torch.where(given.eq(symbols.mask), path, given)
    # A word that the target has twice is one label: the place where it stands first.
    places = target[:, :, None].eq(labels[:, None]).int().argmax(dim=2)
    losses = F.ctc_loss(
        scores.transpose(0, 1), places, sizes, lengths, blank=0, reduction="none",
        zero_infinity=True,
    )  # fmt: skip
    # torch's gradient is exp(score) too high at each label: it counts on a softmax before it.
    equal = (target[:, 1:].eq(target[:, :-1]) & words[:, 1:]).sum(dim=1)
    impossible = (lengths + equal).gt(sizes)
    inside = frames.eq(symbols.mask) & ~impossible[:, None]
    excess = scores.exp().masked_fill(~inside[..., None], 0.0).sum()
    loss, taught = losses.sum(), lengths.masked_fill(impossible, 0).sum()
    found = path_starts(path, frames, symbols).sum(dim=1)
    return LossParts(
        loss=loss - (excess - excess.detach()),
        sample_size=taught,
        word_loss=loss.detach(),
        word_nll=loss.detach(),
        length_nll=torch.zeros_like(loss),
        masked=taught,
        tokens=lengths.sum(),
        sentences=target.new_full((), target.size(0)),
        words_right=torch.zeros_like(taught),
        lengths_right=found.eq(lengths).sum(),
        impossible=impossible.sum(),
    )


def scores_at_frames(
    logits: Tensor, frames: Tensor, labels: Tensor, symbols: SymbolIds, given: Tensor | None = None
) -> Tensor:
    """The log-probabilities (B, F, K) of each sentence's labels (B, K) at all of its frames.

    Args:
        logits, frames, symbols, given: see `frame_loss`.
        labels: (B, K) ids.
    """
    at_frames = labels[:, None].expand(-1, frames.size(1), -1)
    scores = label_scores(logits, at_frames.flatten(0, 1)).view(at_frames.shape)
    return scores if given is None else with_given(scores, at_frames, given, symbols)


def with_given(scores: Tensor, labels: Tensor, given: Tensor, symbols: SymbolIds) -> Tensor:
    """The scores with the words that are given as the only ones at their frames, certain there.

    Args:
        scores: (B, F, K) log-probabilities of the labels.
        labels: (B, F, K) ids.
        given: (B, F) ids, a word, [MASK] where none is given, or [PAD].
        symbols: of the target.
    """
    known = (given.ne(symbols.mask) & given.ne(symbols.pad))[..., None]
    only = torch.full_like(scores, NEVER).masked_fill(labels.eq(given[..., None]), 0.0)
    return torch.where(known, only, scores)


def label_scores(logits: Tensor, labels: Tensor) -> Tensor:
    """The log-probabilities of some labels.

    Args:
        logits: (N, V).
        labels: (N, K) ids.

    Returns:
        (N, K) in 32 bits, in nats.
    """
    return _apply(logits, labels)


class _LabelScores(torch.autograd.Function):
    """By rows, so that the softmax of all frames is never held."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, labels: Tensor) -> Tensor:
        """Keeps the logits."""
        ctx.save_for_backward(logits, labels)
        rows = rows_at_once(logits.size(1), logits.device)
        chunks = zip(torch.split(logits, rows), torch.split(labels, rows), strict=True)
        return torch.cat([chunk.float().log_softmax(dim=1).gather(1, own) for chunk, own in chunks])

    @staticmethod
    def backward(ctx: Any, of_scores: Tensor) -> tuple[Tensor, None]:
        """Of a frame with gradients g: g at its labels, less p times the sum of g everywhere."""
        logits, labels = ctx.saved_tensors
        gradient = torch.empty_like(logits)
        rows = rows_at_once(logits.size(1), logits.device)
        parts = (torch.split(part, rows) for part in (logits, labels, of_scores, gradient))
        for chunk, own, g, out in zip(*parts, strict=True):
            values = chunk.float().softmax(dim=1)
            values.mul_(-g.sum(dim=1, keepdim=True)).scatter_add_(1, own, g)
            out.copy_(values)
        return gradient, None


_apply: Callable[..., Tensor] = _LabelScores.apply

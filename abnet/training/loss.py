"""The loss of a batch: words at the positions to predict, and the length."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.training.word_loss import WordLoss


class LossParts(NamedTuple):
    """A batch's loss as sums, so that micro-batches and workers add up.

    Attributes:
        loss: to be divided by the summed `sample_size`; carries the gradient.
        sample_size: predicted tokens, or all target tokens (`loss_normalization`).
        word_loss, word_nll: sums over predicted tokens with and without label smoothing, in nats.
        length_nll: sum over sentences, in nats; 0 without a length to predict.
        masked, tokens, sentences: counts; `masked` is of predicted tokens.
        words_right, lengths_right: how many predicted tokens / lengths the argmax gets right; no
            words are counted in one pass, and of lengths that of CTC's best path.
        impossible: targets that the frames of one pass have no room for; neither they are in the
            loss nor their words in what it is divided by.
    """

    loss: Tensor
    sample_size: Tensor
    word_loss: Tensor
    word_nll: Tensor
    length_nll: Tensor
    masked: Tensor
    tokens: Tensor
    sentences: Tensor
    words_right: Tensor
    lengths_right: Tensor
    impossible: Tensor | int = 0


def sequence_loss(
    found: WordLoss,
    length_logits: Tensor | None,
    target: Tensor,
    chosen: Tensor,
    words: Tensor,
    config: AbNetConfig,
    soft_loss: Tensor | None = None,
) -> LossParts:
    """Label-smoothed cross-entropy of the chosen words plus the weighted length loss.

    With `loss_normalization` "masked" the loss is `words / masked + w * lengths / sentences`
    and batches weigh by their masked tokens; with "target" it is `(words + w * lengths) / tokens`,
    as the released code has it.

    Args:
        found: of the chosen words, label-smoothed.
        length_logits: (B, classes), or `None` for a system without.
        target: (B, T) true ids, right-padded.
        chosen: (B, T) boolean.
        words: (B, T) boolean, which tokens are no padding.
        config: length-loss weight and normalization, and the weight of:
        soft_loss: sum over the chosen words of the loss to a teacher's labels, in nats, which takes
            its share of the word loss in `loss` alone.

    Raises:
        AbNetError: a target is longer than the length classes.
    """
    taught = found.loss
    if soft_loss is not None:
        share = config.soft_label_weight
        taught = share * soft_loss + (1 - share) * found.loss
    lengths = words.sum(dim=1)
    masked, sentences = chosen.sum(), target.new_full((), target.size(0))
    length_nll, lengths_right = _length_loss(length_logits, lengths, target.size(1))
    tokens = lengths.sum()
    if config.loss_normalization == "masked":
        loss = taught + config.length_loss_weight * length_nll * masked / sentences
        sample_size = masked
    else:
        loss = taught + config.length_loss_weight * length_nll
        sample_size = tokens
    return LossParts(
        loss=loss,
        sample_size=sample_size,
        word_loss=found.loss.detach(),
        word_nll=found.nll,
        length_nll=length_nll.detach(),
        masked=masked,
        tokens=tokens,
        sentences=sentences,
        words_right=found.right,
        lengths_right=lengths_right,
    )


def _length_loss(logits: Tensor | None, lengths: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """The summed loss of the lengths (B,), in nats, and how many are right."""
    if logits is None:
        return torch.zeros((), device=lengths.device), torch.zeros_like(lengths).sum()
    if longest >= logits.size(1):
        raise AbNetError(
            f"A target must have fewer than `length_classes` = {logits.size(1)} tokens, but "
            f"one has {longest} instead. Drop it or train with more length classes."
        )
    right = logits.detach().argmax(dim=1).eq(lengths).sum()
    return F.cross_entropy(logits.float(), lengths, reduction="sum"), right

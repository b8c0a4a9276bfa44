"""The conditional masked LM loss: words at the masked positions, and the length."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.errors import AbNetError


class LossParts(NamedTuple):
    """A batch's loss as sums, so that micro-batches and workers add up.

    Attributes:
        loss: to be divided by the summed `sample_size`; carries the gradient.
        sample_size: masked tokens, or all target tokens (`loss_normalization`).
        word_loss, word_nll: sums over masked tokens with and without label smoothing, in nats.
        length_nll: sum over sentences, in nats.
        masked, tokens, sentences: counts.
        words_right, lengths_right: how many masked tokens / lengths the argmax gets right.
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


def conditional_masked_lm_loss(
    word_logits: Tensor,
    length_logits: Tensor,
    target: Tensor,
    chosen: Tensor,
    pad: int,
    config: AbNetConfig,
) -> LossParts:
    """Label-smoothed cross-entropy of the masked words plus the weighted length loss.

    With `loss_normalization` "masked" the loss is `words / masked + w * lengths / sentences`
    and batches weigh by their masked tokens; with "target" it is `(words + w * lengths) / tokens`,
    as the released code has it.

    Args:
        word_logits: (number of chosen positions, V), row-major.
        length_logits: (B, classes).
        target: (B, T) true ids, right-padded.
        chosen: (B, T) boolean.
        pad: padding id of the target.
        config: label smoothing, length-loss weight and normalization.

    Raises:
        AbNetError: a target is longer than the length classes.
    """
    words = target[chosen]
    logits = word_logits.float()
    word_loss = F.cross_entropy(
        logits, words, label_smoothing=config.label_smoothing, reduction="sum"
    )
    lengths = target.ne(pad).sum(dim=1)
    if target.size(1) >= length_logits.size(1):
        raise AbNetError(
            f"A target must have fewer than `length_classes` = {length_logits.size(1)} tokens, but "
            f"one has {target.size(1)} instead. Drop it or train with more length classes."
        )
    length_nll = F.cross_entropy(length_logits.float(), lengths, reduction="sum")

    masked, sentences = chosen.sum(), torch.tensor(target.size(0), device=target.device)
    tokens = lengths.sum()
    if config.loss_normalization == "masked":
        loss = word_loss + config.length_loss_weight * length_nll * masked / sentences
        sample_size = masked
    else:
        loss = word_loss + config.length_loss_weight * length_nll
        sample_size = tokens
    with torch.no_grad():
        word_nll = F.cross_entropy(logits, words, reduction="sum")
        words_right = logits.argmax(dim=1).eq(words).sum()
        lengths_right = length_logits.argmax(dim=1).eq(lengths).sum()
    return LossParts(
        loss=loss,
        sample_size=sample_size,
        word_loss=word_loss.detach(),
        word_nll=word_nll,
        length_nll=length_nll.detach(),
        masked=masked,
        tokens=tokens,
        sentences=sentences,
        words_right=words_right,
        lengths_right=lengths_right,
    )


def disagreement(first: Tensor, second: Tensor) -> Tensor:
    """How far two predictions of the same tokens are apart: (KL(p||q) + KL(q||p)) / 2, summed.

    The consistency term of R-Drop (Liang et al., NeurIPS 2021), in nats.

    Args:
        first, second: (number of tokens, V) logits.
    """
    p, q = first.float().log_softmax(dim=1), second.float().log_softmax(dim=1)
    forth = F.kl_div(q, p, reduction="sum", log_target=True)
    back = F.kl_div(p, q, reduction="sum", log_target=True)
    return (forth + back) / 2

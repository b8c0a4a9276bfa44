"""The loss as the released code computes it: the measure that ours is held to.

Legend: B sentences, T target positions, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.model import AbNet
from abnet.training.loss import LossParts, sequence_loss
from abnet.training.masking import MaskedTarget
from abnet.training.objective import Pairs
from abnet.training.word_loss import WordLoss


def released_loss(model: AbNet, pairs: Pairs, masked: MaskedTarget) -> LossParts:
    """Logits and log-probabilities of all B * T positions, padding too, of which few are used.

    How many words are right is not counted, as there.
    """
    everywhere = torch.ones_like(masked.chosen)
    output = model(pairs.source, masked.inputs, everywhere)
    log_probs = output.word_logits.log_softmax(dim=1)
    nll = -log_probs.gather(1, pairs.target.reshape(-1, 1))
    chosen = masked.chosen.reshape(-1, 1)
    nll, smooth = nll[chosen].sum(), -log_probs.sum(dim=1, keepdim=True)[chosen].sum()
    share = model.config.label_smoothing
    loss = (1 - share) * nll + share / log_probs.size(1) * smooth
    uncounted = torch.zeros_like(masked.chosen[0, 0], dtype=torch.long)
    return with_length(
        model, output.length_logits, pairs, masked, WordLoss(loss, nll.detach(), uncounted)
    )


def masked_loss(model: AbNet, pairs: Pairs, masked: MaskedTarget) -> LossParts:
    """Logits of the masked positions, read by torch's loss twice and once more for the best."""
    output = model(pairs.source, masked.inputs, masked.chosen)
    logits, gold = output.word_logits.float(), pairs.target[masked.chosen]
    share = model.config.label_smoothing
    loss = F.cross_entropy(logits, gold, label_smoothing=share, reduction="sum")
    with torch.no_grad():
        nll = F.cross_entropy(logits, gold, reduction="sum")
        right = logits.argmax(dim=1).eq(gold).sum()
    return with_length(model, output.length_logits, pairs, masked, WordLoss(loss, nll, right))


def with_length(
    model: AbNet, lengths: Tensor | None, pairs: Pairs, masked: MaskedTarget, words: WordLoss
) -> LossParts:
    """The loss of the words with that of the length."""
    return sequence_loss(
        words, lengths, pairs.target, masked.chosen, model.target_symbols.words(pairs.target),
        model.config,
    )  # fmt: skip

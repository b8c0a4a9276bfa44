"""How well a translation reads to the target BERT alone, which is a masked language model.

Legend: R translations, T target positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from abnet.decoding.hypothesis import ended
from abnet.decoding.likelihood import log_probs_of
from abnet.tokenizer import SymbolIds

HIDDEN_EVERY = 4  # fewer chose worse on a validation set, hiding one word at a time no better


class TargetReader(Protocol):
    """What has a target BERT; see `abnet.model.AbNet` for the shapes."""

    target_symbols: SymbolIds

    @property
    def max_target_positions(self) -> int:
        """Tokens of the longest translation."""

    def bert_states(self, target: Tensor, positions: Tensor) -> Any:
        """What `logits` are made of, from the target BERT without a source."""

    def logits(self, states: Any, part: slice) -> Tensor:
        """Logits of a part of the states."""


def read_alone(model: TargetReader, translations: Sequence[Tensor], device: torch.device) -> Tensor:
    """The pseudo-log-likelihood of translations.

    Args:
        model: in evaluation mode.
        translations: (L,) ids each, with or without their [SEP]. One that fills all positions is
            read without its last piece, since the BERT alone reads a [CLS] before it.
        device: to read them on.

    Returns:
        (R,) in nats, on the CPU.

    Raises:
        AbNetError: the target BERT is not the one that was pre-trained; see `AbNet.bert_states`.
    """
    symbols, longest = model.target_symbols, model.max_target_positions
    texts = [ended(one, symbols, longest)[: longest - 1] for one in translations]
    target = pad_sequence(texts, batch_first=True, padding_value=symbols.pad)
    return pseudo_log_likelihood(model, target.to(device)).cpu()


def pseudo_log_likelihood(model: TargetReader, target: Tensor) -> Tensor:
    """The sum of the words' log-probabilities, each given others of its sentence and no source.

    Salazar et al. (ACL 2020) hide one word at a time; here every fourth is hidden in each of four
    passes, made as one batch, which costs less and chooses as well. The final [SEP] is no word.

    Args:
        model: in evaluation mode.
        target: (R, T) ids `w1 .. wn [SEP]`, right-padded.

    Returns:
        (R,) in nats.

    Raises:
        AbNetError: the target BERT is not the one that was pre-trained; see `AbNet.bert_states`.
    """
    symbols = model.target_symbols
    words = symbols.words(target) & target.ne(symbols.sep)
    turn = torch.arange(target.size(1), device=target.device) % HIDDEN_EVERY
    hidden = torch.cat([words & turn.eq(own) for own in range(HIDDEN_EVERY)])
    inputs = target.repeat(HIDDEN_EVERY, 1).masked_fill(hidden, symbols.mask)
    [positions] = torch.where(hidden.flatten())
    gold = target.repeat(HIDDEN_EVERY, 1).flatten()[positions]
    states = model.bert_states(inputs, positions)
    log_probs = log_probs_of(model, states, gold)
    rows = positions // target.size(1) % len(target)
    return torch.zeros(len(target), device=target.device).index_add(0, rows, log_probs)

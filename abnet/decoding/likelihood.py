"""How probable a model finds translations that are there already.

Legend: R candidates, T target positions, N positions to predict, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from abnet.decoding.decodable import Predictor
from abnet.decoding.selection import Head

WORDS_AT_ONCE = 512  # whose logits are in memory
SHOWN_EVERY = 4  # more and fewer shown chose worse on a validation set
TOKENS_AT_ONCE = 1 << 15  # in a call of the decoder


def log_probs_of(head: Head, states: Any, gold: Tensor, banned: Sequence[int] = ()) -> Tensor:
    """The log-probability of one token at each position, in 32 bits.

    Args:
        head: makes logits of states.
        states: of N positions.
        gold: (N,) ids.
        banned: ids that are never predicted.

    Returns:
        (N,) in nats, on the device of `gold`.
    """
    log_probs = torch.zeros(len(gold), device=gold.device)
    for start in range(0, len(gold), WORDS_AT_ONCE):
        part = slice(start, start + WORDS_AT_ONCE)
        logits = head.logits(states, part).float()
        logits[:, list(banned)] = -torch.inf
        log_probs[part] = logits.log_softmax(dim=1).gather(1, gold[part, None])[:, 0]
    return log_probs


def given_the_source(model: Predictor, memory: Any, target: Tensor) -> Tensor:
    """The pseudo-log-likelihood of candidates by the model that made them.

    Mask-Predict's own probabilities are those that it chose each token with, in passes in which the
    others were still to change. Here every fourth token is shown, and the others have their
    log-probabilities given the source and what is shown. That is done in four copies of each
    candidate, which show the first token and every fourth from there, the second, and so on: in one
    call of the decoder, or in several where the candidates are many.

    Args:
        model: in evaluation mode.
        memory: of all sentences, each of which has as many candidates.
        target: (R, T) ids, right-padded; the candidates of a sentence stand together.

    Returns:
        (R,) in nats: each token's mean of the three copies that hide it, the final [SEP] counted.
    """
    symbols = model.target_symbols
    rows, length = target.shape
    turn = torch.arange(length, device=target.device) % SHOWN_EVERY
    total = torch.zeros(rows, device=target.device)
    at_once = max(1, TOKENS_AT_ONCE // target.numel())
    for shown in torch.split(torch.arange(SHOWN_EVERY, device=target.device), at_once):
        copies = target[:, None].expand(rows, len(shown), length)
        hidden = copies.ne(symbols.pad) & turn.ne(shown[:, None])
        [positions] = torch.where(hidden.flatten())
        inputs = copies.masked_fill(hidden, symbols.mask).flatten(0, 1)
        states = model.states(inputs, memory, positions)
        gold = copies.flatten()[positions]
        log_probs = log_probs_of(model, states, gold, symbols.never_predicted)
        total.index_add_(0, positions // (len(shown) * length), log_probs)
    return total / (SHOWN_EVERY - 1)

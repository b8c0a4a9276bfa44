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
HIDDEN_EVERY = 2  # every fourth, or all at once, chose no better on a validation set


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
    others were still to change. Here every second token is hidden, then the others, and each has
    its log-probability given the source and the tokens that are seen: two calls of the decoder.

    Args:
        model: in evaluation mode.
        memory: of all sentences, each of which has as many candidates.
        target: (R, T) ids, right-padded; the candidates of a sentence stand together.

    Returns:
        (R,) in nats, the final [SEP] counted.
    """
    symbols = model.target_symbols
    tokens = target.ne(symbols.pad)
    turn = torch.arange(target.size(1), device=target.device) % HIDDEN_EVERY
    total = torch.zeros(len(target), device=target.device)
    for own in range(HIDDEN_EVERY):
        hidden = tokens & turn.eq(own)
        [positions] = torch.where(hidden.flatten())
        states = model.states(target.masked_fill(hidden, symbols.mask), memory, positions)
        gold = target.flatten()[positions]
        log_probs = log_probs_of(model, states, gold, symbols.never_predicted)
        total.index_add_(0, positions // target.size(1), log_probs)
    return total

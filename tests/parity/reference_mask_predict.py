"""Mask-Predict, slow and obvious: one sentence, one candidate, one token at a time.

The yardstick for `abnet.mask_predict`. It shares no code with it beyond the model: no batches, no
cached keys and values (the encoder runs anew for every pass), logits for every position.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from abnet.model import AbNet


class Reference(NamedTuple):
    tokens: list[int]
    token_scores: list[float]
    score: float
    passes: int
    history: list[list[int]]


@torch.no_grad()
def translate(
    model: AbNet,
    source: Tensor,
    iterations: int,
    length_beam: int,
    length_penalty: float,
    force_max_iterations: bool,
) -> list[Reference]:
    """All candidates of one sentence, best first. source: (S,) without padding."""
    logits = model.encode(source[None]).length_logits[0]
    possible = range(1, min(len(logits) - 1, model.max_target_positions) + 1)
    by_probability = sorted(possible, key=lambda length: -float(logits[length]))
    candidates = [
        _one_length(model, source, length, iterations, length_penalty, force_max_iterations)
        for length in by_probability[:length_beam]
    ]
    return sorted(candidates, key=lambda candidate: -candidate.score)


def _one_length(
    model: AbNet,
    source: Tensor,
    length: int,
    iterations: int,
    length_penalty: float,
    force_max_iterations: bool,
) -> Reference:
    symbols = model.target_symbols
    tokens = [symbols.mask] * length
    scores = [-math.inf] * length
    history: list[list[int]] = []
    for number in range(1, iterations + 1):
        if number > 1:
            count = max(1, math.floor(length * (iterations - number + 1) / iterations + 1e-9))
            weakest = sorted(range(length), key=lambda place: (scores[place], place))[:count]
        else:
            weakest = list(range(length))
        before = list(tokens)
        inputs = [symbols.mask if place in weakest else tokens[place] for place in range(length)]
        every = torch.ones(1, length, dtype=torch.bool)
        memory = model.project(model.encode(source[None]))
        logits = model.decode(torch.tensor([inputs]), memory, every)
        for place in weakest:
            banned = {symbols.pad, symbols.mask, symbols.cls}
            if place != length - 1:
                banned.add(symbols.sep)
            allowed = [v for v in range(logits.size(1)) if v not in banned]
            row = logits[place, allowed].float().log_softmax(dim=0)
            best = int(row.argmax())
            tokens[place] = allowed[best]
            scores[place] = float(row[best])
        history.append(list(tokens))
        if tokens == before and not force_max_iterations:
            break
    score = sum(scores) / length**length_penalty
    return Reference(tokens, scores, score, len(history), history)

"""Mask-Predict, slow and obvious: one sentence, one candidate, one token at a time.

The yardstick for `abnet.mask_predict`. It shares no code with it beyond the model: no batches, no
cached keys and values (the encoder runs anew for every pass), logits for every position.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from abnet.mask_predict import DecodingOptions
from abnet.model import AbNet


class Reference(NamedTuple):
    tokens: list[int]
    token_scores: list[float]
    score: float
    passes: int
    history: list[list[int]]


@torch.no_grad()
def translate(model: AbNet, source: Tensor, options: DecodingOptions) -> list[Reference]:
    """All candidates of one sentence, best first. source: (S,) without padding."""
    logits = model.encode(source[None]).length_logits[0]
    possible = range(1, min(len(logits) - 1, model.max_target_positions) + 1)
    total = sum(math.exp(float(logits[length])) for length in possible)
    by_probability = sorted(possible, key=lambda length: -float(logits[length]))
    candidates = []
    for length in by_probability[: options.length_beam]:
        found = _one_length(model, source, length, options)
        bonus = options.length_weight * (float(logits[length]) - math.log(total))
        candidates.append(found._replace(score=found.score + bonus))
    return sorted(candidates, key=lambda candidate: -candidate.score)


def _one_length(model: AbNet, source: Tensor, length: int, options: DecodingOptions) -> Reference:
    symbols, iterations = model.target_symbols, options.iterations
    tokens = [symbols.mask] * length
    scores = [-math.inf] * length
    history: list[list[int]] = []
    repeated = 0
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
        predicted = range(length) if options.repredict else sorted(weakest)
        seconds = {}
        for place in predicted:
            banned = {symbols.pad, symbols.mask, symbols.cls}
            if place != length - 1:
                banned.add(symbols.sep)
            allowed = [v for v in range(logits.size(1)) if v not in banned]
            row = logits[place, allowed].float().log_softmax(dim=0)
            order = row.argsort(descending=True).tolist()
            tokens[place], scores[place] = allowed[order[0]], float(row[order[0]])
            seconds[place] = (allowed[order[1]], float(row[order[1]]))
        if options.ban_repeats:
            _replace_repeats(tokens, scores, seconds)
        history.append(list(tokens))
        repeated = repeated + 1 if tokens == before else 0
        if repeated == options.patience and not options.force_max_iterations:
            break
    score = sum(scores) / length**options.length_penalty
    return Reference(tokens, scores, score, len(history), history)


def _replace_repeats(
    tokens: list[int], scores: list[float], seconds: dict[int, tuple[int, float]]
) -> None:
    """Puts second choices in; `seconds` has them for the places that were predicted now."""
    losers = set()
    for left in range(len(tokens) - 1):
        right = left + 1
        if tokens[left] != tokens[right]:
            continue
        candidates = [place for place in (right, left) if place in seconds]
        if candidates:
            losers.add(min(candidates, key=lambda place: scores[place]))
    for place in losers:
        tokens[place], scores[place] = seconds[place]

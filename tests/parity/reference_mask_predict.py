"""Mask-Predict, slow and obvious: one sentence, one candidate, one token at a time.

The yardstick for `abnet.decoding.mask_predict`, with one model or an ensemble of several. It
shares no code with them beyond the model: no batches, no cached keys and values (the encoder runs
anew for every pass), logits for every position, plain probabilities.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from abnet.decoding.mask_predict import DecodingOptions
from abnet.model import AbNet


class Reference(NamedTuple):
    tokens: list[int]
    token_scores: list[float]
    score: float
    passes: int
    history: list[list[int]]
    score_history: list[list[float]]
    length_score: float = 0.0
    pruned: bool = False
    fluency: float = 0.0
    likelihood: float = 0.0


@torch.no_grad()
def translate(models: Sequence[AbNet], source: Tensor, options: DecodingOptions) -> list[Reference]:
    """All candidates of one sentence, best first. source: (S,) without padding."""
    lengths = [model.encode(source[None]).length_logits[0].softmax(0).tolist() for model in models]
    longest = min(model.max_target_positions for model in models)
    possible = range(1, longest + 1)
    probability = {n: sum(one[n] for one in lengths) / len(models) for n in possible}
    total = sum(probability.values())
    by_probability = sorted(possible, key=lambda length: -probability[length])
    candidates = []
    for length in by_probability[: options.length_beam]:
        found = _one_length(models, source, length, options)
        length_score = math.log(probability[length] / total)
        candidates.append(found._replace(length_score=length_score))
    if options.prune_after is not None:
        candidates = _prune(candidates, options)
    if options.lm_weight:
        candidates = [one._replace(fluency=_fluency(models, one.tokens)) for one in candidates]
    if options.rescore_weight:
        candidates = [
            one._replace(likelihood=_likelihood(models, source, one.tokens)) for one in candidates
        ]
    scored = [one._replace(score=_score(one, one.passes, options)) for one in candidates]
    return sorted(scored, key=lambda candidate: (candidate.pruned, -candidate.score))


def _score(candidate: Reference, passes: int, options: DecodingOptions) -> float:
    """Of a candidate as it was after so many passes, or after its last one."""
    scores = candidate.score_history[min(passes, candidate.passes) - 1]
    words = sum(scores) + options.lm_weight * candidate.fluency
    words += options.rescore_weight * candidate.likelihood
    return (
        words / len(scores) ** options.length_penalty
        + options.length_weight * candidate.length_score
    )


def _fluency(models: Sequence[AbNet], tokens: list[int]) -> float:
    """The words' log-probabilities, every fourth hidden at once, to the target BERTs alone."""
    symbols = models[0].target_symbols
    ended = tokens if tokens[-1] == symbols.sep else [*tokens, symbols.sep]
    total = 0.0
    for place in range(len(ended) - 1):
        hidden = range(place % 4, len(ended) - 1, 4)
        inputs = [symbols.mask if at in hidden else id for at, id in enumerate(ended)]
        mean = torch.zeros(())
        for model in models:
            states = model.bert_states(torch.tensor([inputs]), torch.tensor([place]))
            mean = mean + model.logits(states, slice(None)).softmax(dim=1) / len(models)
        total += math.log(float(mean[0, ended[place]]))
    return total


def _likelihood(models: Sequence[AbNet], source: Tensor, tokens: list[int]) -> float:
    """The tokens' log-probabilities given the source, every fourth token shown."""
    symbols = models[0].target_symbols
    memories = [model.project(model.encode(source[None])) for model in models]
    total = 0.0
    for place, token in enumerate(tokens):
        for distance in (1, 2, 3):  # to one that is shown
            shown = [(at - place) % 4 == distance for at in range(len(tokens))]
            inputs = [id if one else symbols.mask for one, id in zip(shown, tokens, strict=True)]
            mean = torch.zeros(())
            for model, memory in zip(models, memories, strict=True):
                states = model.states(torch.tensor([inputs]), memory, torch.tensor([place]))
                mean = mean + model.logits(states, slice(None)).softmax(dim=1)[0] / len(models)
            allowed = [id for id in range(len(mean)) if id not in symbols.never_predicted]
            total += math.log(float(mean[token] / mean[allowed].sum())) / 3
    return total


def _prune(candidates: list[Reference], options: DecodingOptions) -> list[Reference]:
    """Takes the later passes from those that are given up."""
    passes = options.prune_after
    assert passes is not None
    if passes >= options.iterations or all(one.passes < passes for one in candidates):
        return candidates
    scores = [_score(one, passes, options) for one in candidates]
    kept = []
    for candidate, score in zip(candidates, scores, strict=True):
        better = sum(other > score for other in scores)
        good = options.prune_keep is None or better < options.prune_keep
        good &= options.prune_margin is None or max(scores) - score <= options.prune_margin
        if good:
            kept.append(candidate)
            continue
        at = min(passes, candidate.passes)
        kept.append(
            candidate._replace(
                tokens=candidate.history[at - 1],
                token_scores=candidate.score_history[at - 1],
                passes=at,
                history=candidate.history[:at],
                score_history=candidate.score_history[:at],
                pruned=True,
            )
        )
    return kept


def _one_length(
    models: Sequence[AbNet], source: Tensor, length: int, options: DecodingOptions
) -> Reference:
    symbols, iterations = models[0].target_symbols, options.iterations
    tokens = [symbols.mask] * length
    scores = [-math.inf] * length
    history: list[list[int]] = []
    score_history: list[list[float]] = []
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
        mean = torch.zeros(())
        for model in models:
            memory = model.project(model.encode(source[None]))
            logits = model.decode(torch.tensor([inputs]), memory, every)
            mean = mean + logits.softmax(dim=1) / len(models)
        predicted = range(length) if options.repredict else sorted(weakest)
        seconds = {}
        for place in predicted:
            banned = {symbols.pad, symbols.mask, symbols.cls}
            if place != length - 1:
                banned.add(symbols.sep)
            allowed = [v for v in range(mean.size(1)) if v not in banned]
            row = (mean[place, allowed] / mean[place, allowed].sum()).log()
            order = row.argsort(descending=True).tolist()
            tokens[place], scores[place] = allowed[order[0]], float(row[order[0]])
            seconds[place] = (allowed[order[1]], float(row[order[1]]))
        if options.ban_repeats:
            _replace_repeats(tokens, scores, seconds)
        history.append(list(tokens))
        score_history.append(list(scores))
        repeated = repeated + 1 if tokens == before else 0
        if repeated == options.patience and not options.force_max_iterations:
            break
        if options.confidence is not None and math.exp(min(scores)) >= options.confidence:
            break
    return Reference(tokens, scores, 0.0, len(history), history, score_history)


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

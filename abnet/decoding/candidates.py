"""The candidates that Mask-Predict still works on, and what became of all.

Legend: B sentences, C length candidates a sentence, R candidates still worked on, T target
positions, N positions to predict. What the loop must know on the host (lengths, who is where) it
keeps there, so that an accelerator is waited for once a pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from abnet.adapters import Places
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.selection import Choice, less_probable_repeats
from abnet.length import LengthBeam
from abnet.tokenizer import SymbolIds


class Weights(NamedTuple):
    """What candidates are ranked by; see the fields of `DecodingOptions`."""

    length_penalty: float
    length: float
    lm: float
    rescore: float


class Results:
    """The last state of every candidate of the batch, by its number from 0 to B*C - 1.

    Attributes:
        beam: lengths and their log-probabilities, each (B, C).
        lengths: the same on the host, one a candidate.
        tokens: (B*C, T) filled predictions.
        scores: (B*C, T) log-probabilities.
        passes: decoder passes that each candidate took.
        pruned: whether each candidate was given up.
        fluency: (B*C,) how well each reads, as a log-probability; 0 until that is known.
        likelihood: (B*C,) how probable each is given the source, words hidden in turn; as fluency.
        history: (B*C, T) filled predictions, one a pass.
    """

    def __init__(self, beam: LengthBeam) -> None:
        self.beam = beam
        self.lengths: list[int] = beam.lengths.flatten().tolist()
        shape = (len(self.lengths), max(self.lengths))
        device = beam.lengths.device
        self.tokens = torch.zeros(shape, dtype=torch.long, device=device)
        self.scores = torch.zeros(shape, device=device)
        self.passes = [0] * len(self.lengths)
        self.pruned = [False] * len(self.lengths)
        self.fluency = torch.zeros(len(self.lengths))
        self.likelihood = torch.zeros(len(self.lengths))
        self.history: list[Tensor] = []

    def take(self, candidates: Candidates, passes: int) -> None:
        """Takes up what stands in the candidates after so many passes."""
        width = candidates.tokens.size(1)
        self.tokens[:, :width].index_copy_(0, candidates.numbers, candidates.tokens)
        self.scores[:, :width].index_copy_(0, candidates.numbers, candidates.scores)
        for number in candidates.host_numbers:
            self.passes[number] = passes

    def remember(self, candidates: Candidates) -> None:
        """Adds the candidates' predictions to the history."""
        page = torch.zeros_like(self.tokens)
        page[:, : candidates.tokens.size(1)].index_copy_(0, candidates.numbers, candidates.tokens)
        self.history.append(page)

    def finished(self, pad: int) -> Tensor:
        """(B*C, T) the tokens, [PAD] behind each length."""
        places = torch.arange(self.tokens.size(1), device=self.tokens.device)
        return self.tokens.masked_fill(places >= self.beam.lengths.flatten()[:, None], pad)

    def ranking(self, weights: Weights) -> Tensor:
        """(B, C) what candidates are ranked by, on the CPU."""
        scores, log_probs = self.scores.cpu(), self.beam.log_probs.cpu()
        lengths = torch.tensor(self.lengths)
        inside = torch.arange(scores.size(1)) < lengths[:, None]
        words = torch.where(inside, scores, 0.0).sum(dim=1)
        words += weights.lm * self.fluency + weights.rescore * self.likelihood
        words /= lengths.float() ** weights.length_penalty
        return words.view_as(log_probs) + weights.length * log_probs

    def best(self, n_best: int, weights: Weights) -> list[list[Hypothesis]]:
        """The `n_best` candidates of each sentence by score; of equals, the more probable length.

        Those that were given up come behind all others.
        """
        ranking = self.ranking(weights).tolist()
        tokens, scores = self.tokens.cpu(), self.scores.cpu()
        history = [page.cpu() for page in self.history]
        log_probs = self.beam.log_probs.tolist()
        found = []
        for sentence, row in enumerate(ranking):
            first = sentence * len(row)
            keys = [(self.pruned[first + place], -score) for place, score in enumerate(row)]
            hypotheses = []
            for candidate in sorted(range(len(row)), key=keys.__getitem__)[:n_best]:
                number = first + candidate
                length, passes = self.lengths[number], self.passes[number]
                hypotheses.append(
                    Hypothesis(
                        tokens=tokens[number, :length].clone(),
                        token_scores=scores[number, :length].clone(),
                        length_score=log_probs[sentence][candidate],
                        score=row[candidate],
                        passes=passes,
                        history=[page[number, :length].clone() for page in history[:passes]],
                        given_up=self.pruned[number],
                    )
                )
            found.append(hypotheses)
        return found


class Candidates:
    """The candidates still worked on; those of a sentence stand together.

    Attributes:
        lengths: (R,).
        host_lengths: the same on the host.
        numbers: (R,) each one's place in `Results`.
        host_numbers: the same on the host.
        tokens: (R, T) filled predictions, [PAD] behind the length.
        scores: (R, T) log-probabilities, infinite behind the length.
        repeated: (R,) how many times in a row the prediction has been the same.
    """

    def __init__(
        self,
        lengths: Tensor,
        host_lengths: list[int],
        numbers: Tensor,
        host_numbers: list[int],
        tokens: Tensor,
        scores: Tensor,
        repeated: Tensor,
    ) -> None:
        self.lengths = lengths
        self.host_lengths = host_lengths
        self.numbers = numbers
        self.host_numbers = host_numbers
        self.tokens = tokens
        self.scores = scores
        self.repeated = repeated
        self.places = torch.arange(tokens.size(1), device=tokens.device)

    @classmethod
    def start(cls, results: Results, symbols: SymbolIds) -> Candidates:
        """All of the batch, all [MASK]."""
        lengths = results.beam.lengths.flatten()
        places = torch.arange(results.tokens.size(1), device=lengths.device)
        inside = places < lengths[:, None]
        scores = torch.zeros(inside.shape, device=lengths.device)
        return cls(
            lengths,
            results.lengths,
            torch.arange(len(results.lengths), device=lengths.device),
            list(range(len(results.lengths))),
            torch.where(inside, symbols.mask, symbols.pad),
            scores.masked_fill_(~inside, torch.inf),
            torch.zeros_like(lengths),
        )

    def every(self) -> Tensor:
        """(N,) all positions, as indices into the flattened tokens."""
        return self._flat(self.lengths, sum(self.host_lengths), None)

    def weakest(self, passes: int, iterations: int) -> Tensor:
        """(N,) the positions to mask after so many passes, as indices into the flattened tokens.

        Of L positions the `max(1, L * (iterations - passes) // iterations)` of lowest probability,
        the earlier of equals first.
        """
        if passes == 0:
            return self.every()
        left = iterations - passes
        count = (self.lengths * left // iterations).clamp(min=1)
        total = sum(max(1, length * left // iterations) for length in self.host_lengths)
        return self._flat(count, total, self.scores.argsort(dim=1, stable=True))

    def _flat(self, count: Tensor, total: int, order: Tensor | None) -> Tensor:
        """The first `count` (R,) positions of each row by `order` (R, T), `total` in all."""
        rows = torch.arange(len(self.host_lengths), device=count.device)
        rows = rows.repeat_interleave(count, output_size=total)
        before = count.cumsum(0) - count
        rank = torch.arange(total, device=count.device) - before[rows]
        return rows * self.tokens.size(1) + (rank if order is None else order[rows, rank])

    def inputs(self, masked: Tensor, mask: int) -> Tensor:
        """(R, T) what the decoder reads: the tokens with [MASK] at the given positions."""
        return self.tokens.flatten().index_fill(0, masked, mask).view_as(self.tokens)

    def may_end(self, positions: Tensor) -> Tensor:
        """(N,) boolean: whether a position is the last of its candidate."""
        ends = self.places == self.lengths[:, None] - 1
        return ends.flatten().index_select(0, positions)

    def fill(self, positions: Tensor, choice: Choice) -> None:
        """Puts in tokens and scores, and counts how often the prediction has repeated."""
        shape = self.tokens.shape
        tokens = self.tokens.flatten().index_copy(0, positions, choice.tokens).view(shape)
        scores = self.scores.flatten().index_copy(0, positions, choice.scores).view(shape)
        if choice.second_tokens is not None and choice.second_scores is not None:
            again = torch.zeros_like(tokens, dtype=torch.bool).flatten()
            again = again.index_fill_(0, positions, True).view(shape)
            second = tokens.flatten().index_copy(0, positions, choice.second_tokens)
            second_scores = scores.flatten().index_copy(0, positions, choice.second_scores)
            repeats = less_probable_repeats(tokens, scores, again)
            tokens = torch.where(repeats, second.view(shape), tokens)
            scores = torch.where(repeats, second_scores.view(shape), scores)
        same = tokens.eq(self.tokens).all(dim=1)
        self.repeated = torch.where(same, self.repeated + 1, 0)
        self.tokens, self.scores = tokens, scores

    def keep(self, rows: Sequence[int]) -> Candidates:
        """The given rows only, as short as the longest of them."""
        picked = on_device(rows, self.tokens.device)
        lengths = [self.host_lengths[row] for row in rows]
        longest = max(lengths)
        return Candidates(
            self.lengths.index_select(0, picked),
            lengths,
            self.numbers.index_select(0, picked),
            [self.host_numbers[row] for row in rows],
            self.tokens[:, :longest].index_select(0, picked),
            self.scores[:, :longest].index_select(0, picked),
            self.repeated.index_select(0, picked),
        )


def places_of(sentences: Sequence[int], device: torch.device) -> Places | None:
    """Where candidates stand in a grid of sentences times the most that one has.

    Args:
        sentences: of each candidate, those of a sentence together.
        device: of the result.

    Returns:
        `None` if all sentences have as many.
    """
    counts: dict[int, int] = {}
    for sentence in sentences:
        counts[sentence] = counts.get(sentence, 0) + 1
    most = max(counts.values())
    if min(counts.values()) == most:
        return None
    slots = [
        row * most + place for row, count in enumerate(counts.values()) for place in range(count)
    ]
    return Places(on_device(slots, device), most)


def on_device(numbers: Sequence[int], device: torch.device) -> Tensor:
    """Numbers of the host as a tensor, without waiting for the device."""
    if device.type != "cuda":
        return torch.tensor(numbers, device=device)
    return torch.tensor(numbers, pin_memory=True).to(device, non_blocking=True)

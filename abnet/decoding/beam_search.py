"""Beam search: the best translations of an autoregressive system, word by word.

Legend: B sentences, K hypotheses a sentence, T tokens so far, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from abnet.decoding.checks import at_least_one, check_call, finite
from abnet.decoding.decodable import SourceReader
from abnet.decoding.hypothesis import Hypothesis
from abnet.errors import AbNetError
from abnet.field_types import check_types
from abnet.tokenizer import SymbolIds


@dataclass(frozen=True)
class BeamOptions:
    """How to search.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    beam: int = 5
    """Hypotheses kept a sentence."""
    length_penalty: float = 1.0
    """a of the score `sum(log p) / L ** a`, [SEP] counted; 1 is the mean."""
    max_length_factor: float = 2.0
    """A translation has at most this times the source's tokens ..."""
    max_length_offset: int = 50
    """... plus this many, and never more than the decoder has positions."""
    n_best: int = 1
    """How many translations to return."""

    def __post_init__(self) -> None:
        check_types(self)
        at_least_one(self, "beam", "n_best")
        if self.n_best > self.beam:
            raise AbNetError(
                f"`n_best` must be at most `beam` = {self.beam}, but is {self.n_best} instead."
            )
        finite(self, "length_penalty", "max_length_factor")
        if self.max_length_factor < 0 or self.max_length_offset < 1:
            raise AbNetError(
                "`max_length_factor` must be at least 0 and `max_length_offset` at least 1, but "
                f"they are {self.max_length_factor} and {self.max_length_offset} instead."
            )


class State(Protocol):
    """What a model remembers of the tokens so far."""

    def select(self, rows: Tensor) -> None:
        """Keeps the given hypotheses, in this order; rows: (K,) indices."""


class AutoregressiveModel(SourceReader, Protocol):
    """What beam search needs of a model; see `abnet.model.AbNet` for the shapes."""

    source_symbols: SymbolIds

    @property
    def max_target_positions(self) -> int:
        """The longest target in tokens, [SEP] included."""

    def new_state(self) -> State:
        """Of no tokens."""

    def step(self, tokens: Tensor, memory: Any, state: Any) -> Tensor:
        """Logits of the next token; memory: from `project`, state: from `new_state`."""


@torch.inference_mode()
def beam_search(
    model: AutoregressiveModel, source: Tensor, options: BeamOptions
) -> list[list[Hypothesis]]:
    """Translates a batch.

    In each step the 2K most probable continuations of a sentence's hypotheses are looked at. Those
    that end in [SEP] and are among the first K are finished; the first K others go on. A sentence
    is done when K hypotheses are finished, or none may become longer: then those that go on are
    ended by [SEP]. Of all finished ones those of the best score win. [PAD], [MASK] and [CLS] are
    never predicted, nor is [SEP] the first token where another may stand before it.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to search.

    Returns:
        For each sentence its `n_best` hypotheses, best first.

    Raises:
        AbNetError: see `check_call`.
    """
    check_call(model, source, options, BeamOptions)
    if not len(source):
        return []
    symbols = model.target_symbols
    encoded = model.encode(source)
    memory = model.project(encoded)
    lengths = source.ne(model.source_symbols.pad).sum(dim=1)
    most = model.max_target_positions
    allowed = lengths.double() * options.max_length_factor + min(options.max_length_offset, most)
    search = _Search(allowed.clamp(max=most).long(), symbols, options)
    state = model.new_state()
    while search.sentences:
        logits = model.step(search.tokens[:, :, -1].flatten(), memory, state)
        kept = search.extend(logits.view(*search.tokens.shape[:2], -1))
        staying = search.leave()
        rows = kept[staying].flatten()  # (B' * K) places among the B*K hypotheses
        if len(staying) < len(kept):
            memory = memory.select(staying)
            state.select(rows)
        elif options.beam > 1 and not _is_known_to_stay(rows):
            state.select(rows)
    return search.results


def _is_known_to_stay(rows: Tensor) -> bool:
    """Whether all rows stay where they are; an accelerator is not asked."""
    return rows.device.type == "cpu" and rows.equal(torch.arange(len(rows)))


class _Finished(NamedTuple):
    """A hypothesis that ended in [SEP]: tokens and their log-probabilities, each (L,)."""

    tokens: Tensor
    scores: Tensor
    score: float


class _Search:
    """The hypotheses of the sentences that are not done.

    Attributes:
        tokens: (B, K, 1+T) ids, [CLS] first.
        scores: (B, K, 1+T) log-probabilities, 0 for [CLS].
        totals: (B, K) their sums; -inf where there is no hypothesis.
        sentences: the row of the original batch that each sentence came from.
        results: of the sentences that are done.
    """

    def __init__(self, allowed: Tensor, symbols: SymbolIds, options: BeamOptions) -> None:
        batch, beam = allowed.size(0), options.beam
        self.allowed = allowed.tolist()
        self.symbols = symbols
        self.options = options
        self.tokens = torch.full((batch, beam, 1), symbols.cls, device=allowed.device)
        self.scores = torch.zeros(batch, beam, 1, device=allowed.device)
        self.totals = torch.full((batch, beam), -torch.inf, device=allowed.device)
        self.totals[:, 0] = 0.0  # the K hypotheses are the same at first
        self.sentences = list(range(batch))
        self.finished: list[list[_Finished]] = [[] for _ in range(batch)]
        self.results: list[list[Hypothesis]] = [[] for _ in range(batch)]

    def extend(self, logits: Tensor) -> Tensor:
        """One token more.

        Args:
            logits: (B, K, V) of the next token.

        Returns:
            (B, K) which of the B*K hypotheses each of the new ones continues.
        """
        batch, beam, vocabulary = logits.shape
        log_probs = self._log_probs(logits.float())
        totals = (self.totals[:, :, None] + log_probs).flatten(1)
        best = totals.topk(2 * beam, dim=1)
        origin, token = best.indices // vocabulary, best.indices % vocabulary
        ends = token.eq(self.symbols.sep)
        first = torch.arange(2 * beam, device=ends.device) < beam
        ended = ends & first & best.values.isfinite()
        self._finish(ended, origin, log_probs)
        place = torch.arange(2 * beam, device=ends.device)
        going = (place + ends.long() * 2 * beam).argsort(dim=1)[:, :beam]  # no end among them
        rows = torch.arange(batch, device=ends.device)[:, None]
        origin, token = origin.gather(1, going), token.gather(1, going)
        self.totals = best.values.gather(1, going)
        self.tokens = torch.cat([self.tokens[rows, origin], token[:, :, None]], dim=2)
        added = log_probs[rows, origin, token]
        self.scores = torch.cat([self.scores[rows, origin], added[:, :, None]], dim=2)
        return rows * beam + origin

    def leave(self) -> Tensor:
        """Takes out the sentences that are done; returns the rows (B',) of those that stay."""
        length = self.tokens.size(2) - 1
        done = [
            len(finished) >= self.options.beam or length >= allowed
            for finished, allowed in zip(self.finished, self.allowed, strict=True)
        ]
        staying = [row for row, is_done in enumerate(done) if not is_done]
        for row, is_done in enumerate(done):
            if is_done:
                self.results[self.sentences[row]] = self._best(self.finished[row])
        rows = torch.tensor(staying, dtype=torch.long, device=self.tokens.device)
        if len(staying) < len(done):
            self.tokens, self.scores = self.tokens[rows], self.scores[rows]
            self.totals = self.totals[rows]
            self.sentences = [self.sentences[row] for row in staying]
            self.finished = [self.finished[row] for row in staying]
            self.allowed = [self.allowed[row] for row in staying]
        return rows

    def _log_probs(self, logits: Tensor) -> Tensor:
        """(B, K, V), of the allowed tokens; at the longest length [SEP] alone is one."""
        for symbol in self.symbols.never_predicted:
            logits[:, :, symbol] = -torch.inf
        log_probs = logits.log_softmax(dim=2)
        length = self.tokens.size(2)  # of the hypotheses with the next token, without [CLS]
        last = [length >= allowed for allowed in self.allowed]
        if length > 1 and not any(last):
            return log_probs
        is_last = torch.tensor(last, device=logits.device)[:, None, None]
        is_sep = torch.arange(logits.size(2), device=logits.device) == self.symbols.sep
        banned = is_last & ~is_sep
        if length == 1:
            banned = banned | (~is_last & is_sep)
        return log_probs.masked_fill(banned, -torch.inf)

    def _finish(self, ended: Tensor, origin: Tensor, log_probs: Tensor) -> None:
        """Puts aside the hypotheses that end now; ended, origin: (B, 2K)."""
        for row, place in ended.nonzero().tolist():
            source = int(origin[row, place])
            end = self.tokens.new_full((1,), self.symbols.sep)
            tokens = torch.cat([self.tokens[row, source, 1:], end])
            last = log_probs[row, source, self.symbols.sep]
            scores = torch.cat([self.scores[row, source, 1:], last[None]])
            score = float(scores.sum()) / len(tokens) ** self.options.length_penalty
            self.finished[row].append(_Finished(tokens, scores, score))

    def _best(self, finished: list[_Finished]) -> list[Hypothesis]:
        ranked = sorted(finished, key=lambda one: -one.score)
        ranked += ranked[-1:] * (self.options.n_best - len(ranked))  # a short limit leaves few
        steps = self.tokens.size(2) - 1
        return [
            Hypothesis(
                tokens=one.tokens.cpu(),
                token_scores=one.scores.cpu(),
                length_score=0.0,
                score=one.score,
                passes=steps,
                history=[],
            )
            for one in ranked[: self.options.n_best]
        ]

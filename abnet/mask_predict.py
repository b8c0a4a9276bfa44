"""Mask-Predict (Ghazvininejad et al. 2019): all positions at once, refined in a few passes.

Legend: B sentences, C length candidates a sentence, T target positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from abnet.decoder import Memory
from abnet.encoder import EncoderOutput
from abnet.errors import AbNetError
from abnet.length import LengthBeam
from abnet.masking import rank
from abnet.tokenizer import SymbolIds


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    iterations: int = 10
    """Passes of the decoder at most; 10 iterations are 10 passes."""
    length_beam: int = 4
    """Length candidates a sentence (B of the paper)."""
    length_penalty: float = 1.0
    """a of the score `sum(log p) / L ** a`; 1 is the mean, as in Mask-Predict."""
    force_max_iterations: bool = False
    """Do all passes even when a prediction repeats."""
    n_best: int = 1
    """How many of the candidates to return."""
    keep_history: bool = False
    """Whether each hypothesis brings the filled prediction of every pass."""

    def __post_init__(self) -> None:
        for name in ("iterations", "length_beam", "n_best"):
            if getattr(self, name) < 1:
                raise AbNetError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)} instead."
                )
        if self.n_best > self.length_beam:
            raise AbNetError(
                f"`n_best` must be at most `length_beam` = {self.length_beam}, "
                f"but is {self.n_best} instead."
            )


class Hypothesis(NamedTuple):
    """One translation, on the CPU.

    Attributes:
        tokens: (L,) ids, with the final [SEP] where it was predicted.
        token_scores: (L,) log-probability of each token when it was last predicted.
        score: `sum(token_scores) / L ** length_penalty`.
        passes: decoder passes that it took.
        history: (L,) filled prediction of each pass; empty unless asked for.
    """

    tokens: Tensor
    token_scores: Tensor
    score: float
    passes: int
    history: list[Tensor]


class MaskPredictModel(Protocol):
    """What Mask-Predict needs of a model; see `abnet.model.AbNet` for the shapes."""

    target_symbols: SymbolIds

    def encode(self, source: Tensor) -> EncoderOutput:
        """Source ids to states and length logits."""

    def predict_length(self, encoded: EncoderOutput, candidates: int) -> LengthBeam:
        """The most probable lengths."""

    def project(self, encoded: EncoderOutput) -> Memory:
        """What all passes read of the source."""

    def decode(self, target: Tensor, memory: Memory, predict: Tensor) -> Tensor:
        """Logits of the positions to predict."""


@torch.inference_mode()
def mask_predict(
    model: MaskPredictModel, source: Tensor, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Translates a batch.

    Pass 1 predicts every position. Pass i of N masks the `max(1, L * (N - i + 1) // N)` tokens of
    lowest probability again, the earlier of equals first, and predicts them anew. A candidate is
    done when its *filled* prediction repeats; a sentence leaves the batch when its candidates are
    all done. [PAD], [MASK] and [CLS] are never predicted, [SEP] only at the end.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its `n_best` hypotheses, best first.

    Raises:
        AbNetError: the length beam is larger than the number of lengths.
    """
    encoded = model.encode(source)
    beam = model.predict_length(encoded, options.length_beam)
    state = _State.start(beam.lengths, model.target_symbols)
    memory = model.project(encoded)
    finished: list[list[Hypothesis]] = [[] for _ in range(source.size(0))]

    for iteration in range(options.iterations):
        again = state.positions_to_predict(iteration, options.iterations)
        inputs = state.tokens.masked_fill(again, model.target_symbols.mask)
        logits = model.decode(inputs.flatten(0, 1), memory, again.flatten(0, 1))
        state.fill(again, logits, iteration, options)
        leaving = state.done.all(dim=1)
        if iteration == options.iterations - 1:
            leaving = torch.ones_like(leaving)
        if not leaving.any():
            continue
        for row in leaving.nonzero().flatten().tolist():
            finished[state.sentence[row]] = state.best(row, options)
        staying = (~leaving).nonzero().flatten()
        if not staying.numel():
            break
        state = state.select(staying)
        memory = memory.select(staying)
    return finished


class _State:
    """The sentences still in the batch; their candidates stand together.

    Attributes:
        lengths: (B, C).
        tokens: (B, C, T) filled predictions, [PAD] behind the length.
        scores: (B, C, T) log-probabilities, 0 behind the length.
        done: (B, C) boolean.
        passes: (B, C) decoder passes each candidate took.
        history: (B, C, T) filled predictions, one a pass.
        sentence: the row of the original batch that each sentence came from.
    """

    def __init__(
        self,
        lengths: Tensor,
        tokens: Tensor,
        scores: Tensor,
        done: Tensor,
        passes: Tensor,
        history: list[Tensor],
        sentence: list[int],
        symbols: SymbolIds,
    ) -> None:
        self.lengths = lengths
        self.tokens = tokens
        self.scores = scores
        self.done = done
        self.passes = passes
        self.history = history
        self.sentence = sentence
        self.symbols = symbols
        positions = torch.arange(tokens.size(2), device=tokens.device)
        self.inside = positions < lengths[:, :, None]
        self.before_end = positions < lengths[:, :, None] - 1

    @classmethod
    def start(cls, lengths: Tensor, symbols: SymbolIds) -> _State:
        """All [MASK]."""
        longest = int(lengths.max())
        inside = torch.arange(longest, device=lengths.device) < lengths[:, :, None]
        return cls(
            lengths,
            torch.where(inside, symbols.mask, symbols.pad),
            torch.zeros(inside.shape, device=lengths.device),
            torch.zeros_like(lengths, dtype=torch.bool),
            torch.zeros_like(lengths),
            [],
            list(range(lengths.size(0))),
            symbols,
        )

    def positions_to_predict(self, iteration: int, iterations: int) -> Tensor:
        """(B, C, T) boolean: the least probable tokens of the candidates that are not done."""
        count = (self.lengths * (iterations - iteration) // iterations).clamp(min=1)
        order = rank(self.scores.masked_fill(~self.inside, torch.inf))
        return (order < count[:, :, None]) & ~self.done[:, :, None]

    def fill(self, again: Tensor, logits: Tensor, iteration: int, options: DecodingOptions) -> None:
        """Puts in the best allowed token and its log-probability at each predicted position.

        Args:
            again: (B, C, T) boolean, the predicted positions.
            logits: (number of those, V), row-major.
        """
        symbols = self.symbols
        logits = logits.float()
        logits[:, [symbols.pad, symbols.mask, symbols.cls]] = -torch.inf
        logits[:, symbols.sep].masked_fill_(self.before_end[again], -torch.inf)
        best = logits.log_softmax(dim=1).max(dim=1)
        tokens = self.tokens.masked_scatter(again, best.indices)
        self.scores = self.scores.masked_scatter(again, best.values)
        self.passes = self.passes + (~self.done).long()
        if not options.force_max_iterations:
            self.done = self.done | tokens.eq(self.tokens).all(dim=2)
        self.tokens = tokens
        if options.keep_history:
            self.history.append(tokens)

    def select(self, rows: Tensor) -> _State:
        """The given sentences only, as short as their longest candidate."""
        longest = int(self.lengths[rows].max())
        return _State(
            self.lengths[rows],
            self.tokens[rows, :, :longest],
            self.scores[rows, :, :longest],
            self.done[rows],
            self.passes[rows],
            [tokens[rows, :, :longest] for tokens in self.history],
            [self.sentence[row] for row in rows.tolist()],
            self.symbols,
        )

    def best(self, row: int, options: DecodingOptions) -> list[Hypothesis]:
        """The `n_best` candidates of a sentence by score; of equals, the more probable length."""
        total = self.scores[row].sum(dim=1)
        ranked = (total / self.lengths[row].float() ** options.length_penalty).cpu()
        order = ranked.argsort(descending=True, stable=True)[: options.n_best]
        return [
            self._hypothesis(row, candidate, float(ranked[candidate]))
            for candidate in order.tolist()
        ]

    def _hypothesis(self, row: int, candidate: int, score: float) -> Hypothesis:
        length = int(self.lengths[row, candidate])
        passes = int(self.passes[row, candidate])
        return Hypothesis(
            tokens=self.tokens[row, candidate, :length].cpu(),
            token_scores=self.scores[row, candidate, :length].cpu(),
            score=score,
            passes=passes,
            history=[tokens[row, candidate, :length].cpu() for tokens in self.history[:passes]],
        )

"""Mask-Predict (Ghazvininejad et al. 2019): all positions at once, refined in a few passes.

Legend: B sentences, C length candidates a sentence, T target positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.decodable import Predictor
from abnet.errors import AbNetError
from abnet.hypothesis import Hypothesis
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
    length_weight: float = 0.0
    """Weight of the log-probability of a candidate's length in its score; 0 in Mask-Predict."""
    force_max_iterations: bool = False
    """Do all passes even when a prediction repeats."""
    patience: int = 2
    """Stop when the prediction has repeated so many times in a row; 1 in the paper, which costs
    BLEU (docs/recipe.md)."""
    repredict: bool = False
    """Predict all positions in every pass, not the masked ones alone (CMLMC)."""
    ban_repeats: bool = False
    """Of two equal neighbours the less probable becomes its second-best token."""
    n_best: int = 1
    """How many of the candidates to return."""
    keep_history: bool = False
    """Whether each hypothesis brings the filled prediction of every pass."""

    def __post_init__(self) -> None:
        for name in ("iterations", "length_beam", "patience", "n_best"):
            if getattr(self, name) < 1:
                raise AbNetError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)} instead."
                )
        if self.n_best > self.length_beam:
            raise AbNetError(
                f"`n_best` must be at most `length_beam` = {self.length_beam}, "
                f"but is {self.n_best} instead."
            )


class MaskPredictModel(Predictor, Protocol):
    """What Mask-Predict needs of a model; see `abnet.model.AbNet` for the shapes."""

    def predict_length(self, encoded: Any, candidates: int) -> LengthBeam:
        """The most probable lengths; encoded: from `encode`."""


@torch.inference_mode()
def mask_predict(
    model: MaskPredictModel,
    source: Tensor,
    options: DecodingOptions,
    gold_lengths: Tensor | None = None,
) -> list[list[Hypothesis]]:
    """Translates a batch.

    Pass 1 predicts every position. Pass i of N masks the `max(1, L * (N - i + 1) // N)` tokens of
    lowest probability again, the earlier of equals first, and predicts them anew. A candidate is
    done when its *filled* prediction has repeated `patience` times in a row; a sentence leaves the
    batch when its candidates are all done. [PAD], [MASK] and [CLS] are never predicted, [SEP] only
    at the end. With `repredict` (Huang et al., ICLR 2022) the tokens that are not masked are
    predicted anew as well.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.
        gold_lengths: (B,) the only length of each sentence, instead of the predicted ones.

    Returns:
        For each sentence its `n_best` hypotheses, best first.

    Raises:
        AbNetError: the length beam is larger than the number of lengths.
    """
    encoded = model.encode(source)
    if gold_lengths is None:
        beam = model.predict_length(encoded, options.length_beam)
    else:
        beam = LengthBeam(gold_lengths[:, None], torch.zeros_like(gold_lengths[:, None]).float())
    state = _State.start(beam, model.target_symbols)
    memory = model.project(encoded)
    finished: list[list[Hypothesis]] = [[] for _ in range(source.size(0))]

    for iteration in range(options.iterations):
        masked = state.positions_to_mask(iteration, options.iterations)
        inputs = state.tokens.masked_fill(masked, model.target_symbols.mask)
        again = state.inside & ~state.done[:, :, None] if options.repredict else masked
        logits = model.decode(inputs.flatten(0, 1), memory, again.flatten(0, 1))
        state.fill(again, logits, options)
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
        beam: lengths and their log-probabilities, each (B, C).
        tokens: (B, C, T) filled predictions, [PAD] behind the length.
        scores: (B, C, T) log-probabilities, 0 behind the length.
        done: (B, C) boolean.
        repeated: (B, C) how many times in a row the prediction has been the same.
        passes: (B, C) decoder passes each candidate took.
        history: (B, C, T) filled predictions, one a pass.
        sentence: the row of the original batch that each sentence came from.
    """

    def __init__(
        self,
        beam: LengthBeam,
        tokens: Tensor,
        scores: Tensor,
        done: Tensor,
        repeated: Tensor,
        passes: Tensor,
        history: list[Tensor],
        sentence: list[int],
        symbols: SymbolIds,
    ) -> None:
        self.beam = beam
        self.tokens = tokens
        self.scores = scores
        self.done = done
        self.repeated = repeated
        self.passes = passes
        self.history = history
        self.sentence = sentence
        self.symbols = symbols
        positions = torch.arange(tokens.size(2), device=tokens.device)
        self.inside = positions < beam.lengths[:, :, None]
        self.before_end = positions < beam.lengths[:, :, None] - 1

    @classmethod
    def start(cls, beam: LengthBeam, symbols: SymbolIds) -> _State:
        """All [MASK]."""
        lengths = beam.lengths
        longest = int(lengths.max())
        inside = torch.arange(longest, device=lengths.device) < lengths[:, :, None]
        return cls(
            beam,
            torch.where(inside, symbols.mask, symbols.pad),
            torch.zeros(inside.shape, device=lengths.device),
            torch.zeros_like(lengths, dtype=torch.bool),
            torch.zeros_like(lengths),
            torch.zeros_like(lengths),
            [],
            list(range(lengths.size(0))),
            symbols,
        )

    def positions_to_mask(self, iteration: int, iterations: int) -> Tensor:
        """(B, C, T) boolean: the least probable tokens of the candidates that are not done."""
        count = (self.beam.lengths * (iterations - iteration) // iterations).clamp(min=1)
        order = rank(self.scores.masked_fill(~self.inside, torch.inf))
        return (order < count[:, :, None]) & ~self.done[:, :, None]

    def fill(self, again: Tensor, logits: Tensor, options: DecodingOptions) -> None:
        """Puts in the best allowed token and its log-probability at each predicted position.

        Args:
            again: (B, C, T) boolean, the predicted positions.
            logits: (number of those, V), row-major.
            options: how to decode.
        """
        symbols = self.symbols
        logits = logits.float()
        logits[:, [symbols.pad, symbols.mask, symbols.cls]] = -torch.inf
        logits[:, symbols.sep].masked_fill_(self.before_end[again], -torch.inf)
        log_probs = logits.log_softmax(dim=1)
        best = log_probs.max(dim=1)
        tokens = self.tokens.masked_scatter(again, best.indices)
        self.scores = self.scores.masked_scatter(again, best.values)
        if options.ban_repeats:
            repeats = again & _less_probable_repeats(tokens, self.scores, again)
            rows = repeats[again]
            second = log_probs[rows].scatter(1, best.indices[rows, None], -torch.inf).max(dim=1)
            tokens = tokens.masked_scatter(repeats, second.indices)
            self.scores = self.scores.masked_scatter(repeats, second.values)
        self.passes = self.passes + (~self.done).long()
        if not options.force_max_iterations:
            same = tokens.eq(self.tokens).all(dim=2)
            self.repeated = torch.where(same, self.repeated + 1, 0)
            self.done = self.done | (self.repeated >= options.patience)
        self.tokens = tokens
        if options.keep_history:
            self.history.append(tokens)

    def select(self, rows: Tensor) -> _State:
        """The given sentences only, as short as their longest candidate."""
        beam = LengthBeam(self.beam.lengths[rows], self.beam.log_probs[rows])
        longest = int(beam.lengths.max())
        return _State(
            beam,
            self.tokens[rows, :, :longest],
            self.scores[rows, :, :longest],
            self.done[rows],
            self.repeated[rows],
            self.passes[rows],
            [tokens[rows, :, :longest] for tokens in self.history],
            [self.sentence[row] for row in rows.tolist()],
            self.symbols,
        )

    def best(self, row: int, options: DecodingOptions) -> list[Hypothesis]:
        """The `n_best` candidates of a sentence by score; of equals, the more probable length."""
        words = self.scores[row].sum(dim=1)
        words = words / self.beam.lengths[row].float() ** options.length_penalty
        ranked = (words + options.length_weight * self.beam.log_probs[row]).cpu()
        order = ranked.argsort(descending=True, stable=True)[: options.n_best]
        return [
            self._hypothesis(row, candidate, float(ranked[candidate]))
            for candidate in order.tolist()
        ]

    def _hypothesis(self, row: int, candidate: int, score: float) -> Hypothesis:
        length = int(self.beam.lengths[row, candidate])
        passes = int(self.passes[row, candidate])
        return Hypothesis(
            tokens=self.tokens[row, candidate, :length].cpu(),
            token_scores=self.scores[row, candidate, :length].cpu(),
            length_score=float(self.beam.log_probs[row, candidate]),
            score=score,
            passes=passes,
            history=[tokens[row, candidate, :length].cpu() for tokens in self.history[:passes]],
        )


def _less_probable_repeats(tokens: Tensor, scores: Tensor, again: Tensor) -> Tensor:
    """Of each two equal neighbours the one to change: (B, C, T) boolean.

    The less probable one, of equals the later; one that was not predicted now stays.
    """
    equal = tokens[..., 1:].eq(tokens[..., :-1])
    first_less = scores[..., :-1] < scores[..., 1:]
    first = equal & again[..., :-1] & (first_less | ~again[..., 1:])
    second = equal & ~first
    return F.pad(first, (0, 1)) | F.pad(second, (1, 0))

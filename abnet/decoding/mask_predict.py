"""Mask-Predict (Ghazvininejad et al. 2019): all positions at once, refined in a few passes.

Legend: B sentences, C length candidates a sentence, T target positions, N positions to predict, V
vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from abnet.decoding.candidates import Candidates, Results, Weights, on_device, places_of
from abnet.decoding.checks import at_least_one, check_call, finite
from abnet.decoding.decodable import Predictor, Rows
from abnet.decoding.fluency import TargetReader, read_alone
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.likelihood import given_the_source
from abnet.decoding.pruning import survivors
from abnet.decoding.selection import choose
from abnet.errors import AbNetError
from abnet.field_types import check_types
from abnet.length import LengthBeam


@dataclass(frozen=True)
class DecodingOptions:
    """How to decode. `prune_*` and `confidence` save time and may change the output.

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
    lm_weight: float = 0.0
    """w, for the pseudo-log-likelihood f of a candidate by the frozen target BERT alone
    (`abnet.decoding.fluency`): `w f / L ** a` is added to its score; 0 in Mask-Predict."""
    rescore_weight: float = 0.0
    """w, for the pseudo-log-likelihood g of a candidate by the model itself, every fourth token
    shown (`abnet.decoding.likelihood`): `w g / L ** a` is added to its score; 0 in Mask-Predict. It
    takes one more pass, of four copies of each candidate."""
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

    prune_after: int | None = None
    """Give up length candidates after so many passes; `None` for never. What is given up has no
    more passes and ranks behind the others."""
    prune_keep: int | None = None
    """How many candidates to keep then, at most."""
    prune_margin: float | None = None
    """How much lower than the best a candidate's score may be then."""
    confidence: float | None = None
    """A candidate is done when each of its tokens has at least this probability, also with
    `force_max_iterations`; `None` for never."""

    def __post_init__(self) -> None:
        check_types(self)
        at_least_one(self, "iterations", "length_beam", "patience", "n_best")
        finite(self, "length_penalty", "length_weight", "lm_weight", "rescore_weight")
        if self.n_best > self.length_beam:
            raise AbNetError(
                f"`n_best` must be at most `length_beam` = {self.length_beam}, "
                f"but is {self.n_best} instead."
            )
        for name in ("lm_weight", "rescore_weight"):
            if getattr(self, name) and self.length_beam == 1:
                raise AbNetError(
                    f"`length_beam` must be at least 2 with `{name}`, which chooses among "
                    "candidates, but is 1 instead."
                )
        if self.confidence is not None and not 0 < self.confidence < 1:
            raise AbNetError(
                f"`confidence` must be between 0 and 1, but is {self.confidence} instead."
            )
        self._check_pruning()

    @property
    def weights(self) -> Weights:
        """What candidates are ranked by."""
        return Weights(self.length_penalty, self.length_weight, self.lm_weight, self.rescore_weight)

    def _check_pruning(self) -> None:
        limits = {"prune_keep": self.prune_keep, "prune_margin": self.prune_margin}
        given = [name for name, value in limits.items() if value is not None]
        if self.prune_after is None:
            if given:
                raise AbNetError(f"`{given[0]}` must go with `prune_after`.")
            return
        if not given:
            raise AbNetError("`prune_after` must go with `prune_keep`, `prune_margin` or both.")
        for name, least in (("prune_after", 1), ("prune_keep", 1), ("prune_margin", 0)):
            value = getattr(self, name)
            if value is not None and not value >= least:
                raise AbNetError(f"`{name}` must be at least {least}, but is {value} instead.")
        if self.prune_after >= self.iterations:
            raise AbNetError(
                f"`prune_after` must be less than the {self.iterations} passes that `iterations` "
                f"allows, but is {self.prune_after} instead: nothing would be pruned."
            )


class MaskPredictModel(Predictor, TargetReader, Protocol):
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
    done, and leaves the batch, when its *filled* prediction has repeated `patience` times in a row.
    [PAD], [MASK] and [CLS] are never predicted, [SEP] only at the end. With `repredict` (Huang et
    al., ICLR 2022) the tokens that are not masked are predicted anew as well. An accelerator is
    waited for once for the lengths and once a pass, to know who is done.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.
        gold_lengths: (B,) the only length of each sentence, instead of the predicted ones.

    Returns:
        For each sentence its `n_best` hypotheses, best first.

    Raises:
        AbNetError: see `check_call`; the length beam is larger than the number of lengths, the gold
            lengths are no such tensor, or there is an `lm_weight`, but no target BERT as it was
            pre-trained.
    """
    check_call(model, source, options, DecodingOptions)
    if gold_lengths is not None:
        _check_lengths(gold_lengths, len(source))
    if not len(source):
        return []
    symbols = model.target_symbols
    encoded = model.encode(source)
    if gold_lengths is None:
        beam = model.predict_length(encoded, options.length_beam)
    else:
        beam = LengthBeam(gold_lengths[:, None], torch.zeros_like(gold_lengths[:, None]).float())
    memory = model.project(encoded)
    del encoded
    of_all = memory if options.rescore_weight else None
    results = Results(beam)
    candidates = Candidates.start(results, symbols)
    banned = torch.tensor(symbols.never_predicted, device=source.device)
    width = beam.lengths.size(1)

    for passes in range(options.iterations):
        masked = candidates.weakest(passes, options.iterations)
        again = candidates.every() if options.repredict else masked
        states = model.states(candidates.inputs(masked, symbols.mask), memory, again)
        may_end = candidates.may_end(again)
        choice = choose(model, states, may_end, banned, symbols.sep, options.ban_repeats)
        candidates.fill(again, choice)
        if options.keep_history:
            results.remember(candidates)
        if passes + 1 == options.iterations:
            results.take(candidates, passes + 1)
            break
        done = _done(candidates, options)
        if passes + 1 == options.prune_after:
            results.take(candidates, passes + 1)
            _prune(results, options)
            done = [
                one or results.pruned[number]
                for one, number in zip(done, candidates.host_numbers, strict=True)
            ]
        if not any(done):
            continue
        results.take(candidates, passes + 1)
        staying = [row for row, one in enumerate(done) if not one]
        if not staying:
            break
        before = [number // width for number in candidates.host_numbers]
        candidates = candidates.keep(staying)
        after = [number // width for number in candidates.host_numbers]
        memory = _follow(memory, before, after, source.device)
    if options.lm_weight:
        rows = zip(results.tokens.cpu(), results.lengths, strict=True)
        texts = [row[:length] for row, length in rows]
        results.fluency = read_alone(model, texts, source.device)
    if of_all is not None:
        found = given_the_source(model, of_all, results.finished(symbols.pad))
        results.likelihood = found.cpu()
    return results.best(options.n_best, options.weights)


def _check_lengths(lengths: Tensor, sentences: int) -> None:
    is_fit = isinstance(lengths, Tensor) and not lengths.is_floating_point()
    if not is_fit or lengths.shape != (sentences,) or bool((lengths < 1).any()):
        raise AbNetError(
            f"`gold_lengths` must be a tensor of {sentences} whole numbers of at least 1, one a "
            f"sentence, but is {lengths!r} instead."
        )


def _done(candidates: Candidates, options: DecodingOptions) -> list[bool]:
    """Who is done; the one wait of a pass, and none where nobody can be."""
    done = None
    if not options.force_max_iterations:
        done = candidates.repeated >= options.patience
    if options.confidence is not None:
        sure = candidates.scores.amin(dim=1) >= math.log(options.confidence)
        done = sure if done is None else done | sure
    found: list[bool] = [False] * len(candidates.host_lengths) if done is None else done.tolist()
    return found


def _prune(results: Results, options: DecodingOptions) -> None:
    """Marks the candidates to give up."""
    ranking = results.ranking(options.weights)
    results.pruned = [
        not good
        for scores in ranking.tolist()
        for good in survivors(scores, options.prune_keep, options.prune_margin)
    ]


def _follow(
    memory: Rows, before: Sequence[int], after: Sequence[int], device: torch.device
) -> Rows:
    """The memory of the sentences that still have candidates.

    Args:
        memory: of those before.
        before, after: the sentence of each candidate, before and after some have left.
        device: of the memory.
    """
    sentences = list(dict.fromkeys(before))
    staying = set(after)
    if len(staying) < len(sentences):
        rows = [row for row, sentence in enumerate(sentences) if sentence in staying]
        memory = memory.select(on_device(rows, device))
    return memory.read_by(places_of(after, device))

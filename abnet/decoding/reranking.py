"""Candidates of all lengths, chosen among by an autoregressive model.

Legend: B sentences, C candidates a sentence, T target positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from abnet.decoding.decodable import SourceReader
from abnet.decoding.ensemble import Ensemble, check_vocabularies
from abnet.decoding.hypothesis import Hypothesis, ended
from abnet.decoding.likelihood import log_probs_of
from abnet.decoding.mask_predict import DecodingOptions, MaskPredictModel, mask_predict
from abnet.errors import AbNetError
from abnet.field_types import check_type
from abnet.model import AbNet
from abnet.training.masking import shift_targets


class TargetScorer(SourceReader, Protocol):
    """What tells the probability of a given translation; see `abnet.model.AbNet` for the shapes."""

    def states(self, target: Tensor, memory: Any, positions: Tensor) -> Any:
        """What `logits` are made of, at N positions of the flattened target."""

    def logits(self, states: Any, part: slice) -> Tensor:
        """Logits of a part of the states, (n, V)."""


@dataclass(frozen=True)
class Reranker:
    """An autoregressive model that chooses among the length candidates of a parallel one.

    A candidate's score becomes `w * s + (1 - w) * own`, where `own` is its score so far and
    `s = sum(log p) / L ** a` is made of the reranker's log-probabilities of its tokens, [SEP]
    counted, with the `length_penalty` a of the decoding. The usual w = 1, a = 1 is fairseq's
    `--iter-decode-with-external-reranker`, only that the log-probabilities are those of the
    reranker's own beam search: symbols that it never predicts have none.

    Raises:
        AbNetError: the model is not autoregressive, or the weight is not between 0 and 1.
    """

    model: AbNet | Ensemble
    """Any autoregressive system, in evaluation mode: `abnet_causal`, `transformer_base`, ..."""
    weight: float = 1.0
    """w, the reranker's share of the score."""

    def __post_init__(self) -> None:
        check_type("`rerank_weight`", self.weight, float)
        if self.model.config.objective != "autoregressive":
            raise AbNetError(
                "`reranker` must be an autoregressive system, such as abnet_causal or "
                f"transformer_base, but is of the objective {self.model.config.objective} instead."
            )
        if not 0 <= self.weight <= 1:
            raise AbNetError(
                f"`rerank_weight` must be between 0 and 1, but is {self.weight} instead."
            )

    def check(self, model: AbNet | Ensemble, options: DecodingOptions | None = None) -> None:
        """Whether it can choose among the candidates of a model.

        Args:
            options: how the model decodes, if that is known.

        Raises:
            AbNetError: the model predicts no lengths, has other vocabularies or longer
                translations, or the options leave no choice or have no part in it.
        """
        if model.config.objective != "conditional_masked_lm":
            raise AbNetError(
                "`reranker` must be left out: it chooses among the lengths of a parallel system "
                f"(Mask-Predict), and this one is of the objective {model.config.objective}."
            )
        check_vocabularies("A model and its reranker", model, self.model)
        longest, positions = model.max_target_positions, self.model.max_target_positions
        if positions < longest:
            raise AbNetError(
                f"`reranker` must have positions for the {longest} tokens of the longest "
                f"translation, but has {positions} instead."
            )
        if options is None:
            return
        if options.length_beam < 2:
            raise AbNetError(
                "`length_beam` must be at least 2 with a reranker, which chooses among the "
                f"lengths, but is {options.length_beam} instead."
            )
        own = [
            "lm_weight",
            "rescore_weight",
            *(["length_weight"] if not options.prune_after else []),
        ]
        idle = [name for name in own if getattr(options, name)]
        if self.weight == 1 and idle:
            raise AbNetError(
                f"`rerank_weight` must be less than 1 with `{idle[0]}`, which belongs to the share "
                "of the score that is the model's own."
            )


def mask_predict_and_rerank(
    model: MaskPredictModel, reranker: Reranker, source: Tensor, options: DecodingOptions
) -> list[list[Hypothesis]]:
    """Translates a batch with all candidates of Mask-Predict, and ranks them anew.

    Args:
        model: in evaluation mode.
        reranker: that suits the model; see `Reranker.check`.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its `n_best` hypotheses, best first, of equals the one that was before;
        those that were given up come behind all others. Their `score` is the new one;
        `token_scores` remain the model's own.
    """
    found = mask_predict(model, source, replace(options, n_best=options.length_beam))
    scores = _scores(reranker.model, source, found, options.length_penalty)
    ranked = []
    for candidates, theirs in zip(found, scores, strict=True):
        scored = [
            one._replace(score=reranker.weight * score + (1 - reranker.weight) * one.score)
            for one, score in zip(candidates, theirs, strict=True)
        ]
        scored.sort(key=lambda one: (one.given_up, -one.score))
        ranked.append(scored[: options.n_best])
    return ranked


@torch.inference_mode()
def target_log_probs(model: TargetScorer, source: Tensor, target: Tensor) -> Tensor:
    """What an autoregressive model's beam search would give to each token of given translations.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        target: (B*C, T) ids, right-padded; the C candidates of a sentence stand together.

    Returns:
        (B*C, T) log-probabilities, 0 at padding. One call of the decoder gives them all, and the
        logits of `abnet.decoding.likelihood.WORDS_AT_ONCE` tokens are in memory.
    """
    symbols = model.target_symbols
    shifted = shift_targets(target, symbols)
    memory = model.project(model.encode(source))
    [positions] = torch.where(shifted.chosen.flatten())
    words = target.flatten()[positions]
    states = model.states(shifted.inputs, memory, positions)
    log_probs = torch.zeros(target.numel(), device=target.device)
    log_probs[positions] = log_probs_of(model, states, words, symbols.never_predicted)
    return log_probs.view_as(target)


def _scores(
    model: AbNet | Ensemble,
    source: Tensor,
    candidates: Sequence[Sequence[Hypothesis]],
    length_penalty: float,
) -> list[list[float]]:
    """The score of each candidate; a sentence without its final [SEP] gets one, where it fits."""
    symbols, longest = model.target_symbols, model.max_target_positions
    texts = [ended(one.tokens, symbols, longest) for own in candidates for one in own]
    target = pad_sequence(texts, batch_first=True, padding_value=symbols.pad).to(source.device)
    sums = target_log_probs(model, source, target).sum(dim=1)
    lengths = torch.tensor([float(len(one)) for one in texts], device=source.device)
    scores: list[list[float]] = (sums / lengths**length_penalty).view(len(candidates), -1).tolist()
    return scores

"""The training objectives: from a batch of sentence pairs to a loss.

Legend: B sentences, S source positions, T target positions.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.errors import AbNetError
from abnet.model import AbNet, AbNetOutput
from abnet.one_pass.alignment import best_alignment
from abnet.one_pass.dag_loss import best_dag_path, dag_loss
from abnet.one_pass.frame_loss import frame_loss, scores_at_frames
from abnet.one_pass.frames import make_frames
from abnet.one_pass.fuzzy_alignment import fuzzy_alignment
from abnet.systems import ONE_PASS
from abnet.tokenizer import SymbolIds
from abnet.training.disagreement import disagreement
from abnet.training.loss import LossParts, sequence_loss
from abnet.training.masking import (
    MaskedTarget,
    corrupt_source,
    draw_revealed,
    mask_targets,
    reveal_frames,
    reveal_guesses,
    shift_targets,
)
from abnet.training.soft_labels import SoftLabels
from abnet.training.word_loss import word_loss


class Forward(Protocol):
    """`AbNet.forward`, or what wraps it."""

    def __call__(
        self, source: Tensor, target: Tensor, predict: Tensor, gold: Tensor | None = None
    ) -> AbNetOutput:
        """See `AbNet.forward`."""


class Pairs(NamedTuple):
    """A batch: source (B, S) and target (B, T) ids, right-padded, and the vocabularies' sizes."""

    source: Tensor
    target: Tensor
    source_vocab: int
    target_vocab: int


def training_loss(
    model: AbNet, forward: Forward, pairs: Pairs, generator: torch.Generator, training: bool
) -> LossParts:
    """The loss of the model's own objective.

    "conditional_masked_lm" masks the targets and takes the loss at the masked tokens and of the
    length; "autoregressive" predicts each token from those before it; "ctc" spreads the target's
    words over frames in all ways; "dag" takes all paths through frames that read as the target, or
    the n-grams of the target that all paths are expected to say.
    Source noise, revealed frames (Saharia et al., EMNLP 2020), correction (Huang et al., ICLR 2022;
    for masked targets), R-Drop (Liang et al., NeurIPS 2021), soft labels and distillation are for
    training only. With R-Drop all sums are over both passes.

    Args:
        model: whose config says what to do.
        forward: `model` itself or what wraps it, for the one call that gets a gradient.
        pairs: the batch; no target longer than the model's positions.
        generator: on the device of the batch.
        training: whether this is a training step, rather than validation.

    Raises:
        AbNetError: the config has soft labels, but the model no teacher.
    """
    config = model.config
    target = pairs.target
    if config.objective in ONE_PASS:
        return _one_pass_loss(model, forward, pairs, generator, training)
    if config.objective == "autoregressive":
        masked = shift_targets(target, model.target_symbols)
    else:
        masked = mask_targets(
            target,
            model.target_symbols,
            pairs.target_vocab,
            config.target_noise,
            generator,
            config.mask_count,
        )
    source = _noisy_source(model, pairs, generator, training)
    if training and config.correction > 0:
        replaced = draw_revealed(masked, config.correction, generator)
        masked = reveal_guesses(masked, replaced, _guess(model, source, target, replaced))
    labels = None
    if training and config.soft_label_weight > 0:
        labels = _soft_labels(model, pairs, masked)
    if training and config.r_drop > 0:
        return _with_r_drop(model, forward, source, target, masked, labels)
    gold = target[masked.chosen]
    output = forward(  # a teacher is compared by logits
        source, masked.inputs, masked.chosen, gold if labels is None else None
    )
    return _loss(model, output, target, masked.chosen, gold, labels)


def _one_pass_loss(
    model: AbNet, forward: Forward, pairs: Pairs, generator: torch.Generator, training: bool
) -> LossParts:
    """The loss of all ways to place the words, or of those with some words at given frames."""
    config, symbols, target = model.config, model.target_symbols, pairs.target
    source = _noisy_source(model, pairs, generator, training)
    given = frames = make_frames(model, source)
    if training and config.reveal_frames > 0:
        given = _reveal(model, source, frames, target, generator)
    twice = training and config.r_drop > 0
    if twice:
        source, target, frames, given = (
            torch.cat([part, part]) for part in (source, target, frames, given)
        )
        [hidden] = torch.where(given.eq(symbols.mask).flatten())
    output = forward(source, given, torch.ones_like(frames, dtype=torch.bool))
    logits, links = output.word_logits, output.links
    if links is None:
        parts = frame_loss(logits, frames, target, symbols, given)
    else:
        parts = _graph_loss(config, logits, links, frames, target, symbols, given)
    if twice:
        parts = _with_disagreement(parts, logits.index_select(0, hidden), config)
    return _with_distance(parts, output, config)


def _graph_loss(
    config: AbNetConfig, logits: Tensor, links: Tensor, frames: Tensor, target: Tensor,
    symbols: SymbolIds, given: Tensor,
) -> LossParts:  # fmt: skip
    """By likelihood, or by expected n-grams, each target with the weight of its words.

    Words that are given are certain at their frames, but paths may go round these; in the code of
    DA-Transformer (Huang et al., ICML 2022) none does.
    """
    n, weight = config.fuzzy_ngrams, config.fuzzy_likelihood_weight
    said = scores_at_frames(logits, frames, target, symbols, given)
    with torch.set_grad_enabled(torch.is_grad_enabled() and (not n or weight > 0)):  # or logged
        parts = dag_loss(said, links, frames, target, symbols)
    if not n:
        return parts
    matched = fuzzy_alignment(said, links, frames, target, symbols, n)
    words = (symbols.words(target) & target.ne(symbols.sep)).sum(dim=1)
    has_room = words + 2 <= frames.eq(symbols.mask).sum(dim=1)
    return parts._replace(loss=weight * parts.loss - (matched * words * has_room).sum())


@torch.no_grad()
def _reveal(
    model: AbNet, source: Tensor, frames: Tensor, target: Tensor, generator: torch.Generator
) -> Tensor:
    """The frames with words, in a share of the targets, where the model itself puts them."""
    symbols = model.target_symbols
    drawn = torch.rand(target.size(0), device=target.device, generator=generator)
    [rows] = torch.where(drawn < model.config.reveal_frames)
    if not len(rows):
        return frames
    own = frames[rows]
    output = model(source[rows], own, torch.ones_like(own, dtype=torch.bool))
    if output.links is None:
        logits = output.word_logits.view(*own.shape, -1)
        path = best_alignment(logits, own, target[rows], symbols)
    else:
        said = scores_at_frames(output.word_logits, own, target[rows], symbols)
        path = best_dag_path(said, output.links, own, target[rows], symbols)
    return frames.index_copy(0, rows, reveal_frames(path, own, symbols, generator))


def _noisy_source(model: AbNet, pairs: Pairs, generator: torch.Generator, training: bool) -> Tensor:
    """The sources, with noise in them while training if the config has it."""
    share = model.config.source_noise
    if not training or not share:
        return pairs.source
    return corrupt_source(pairs.source, model.source_symbols, pairs.source_vocab, share, generator)


def _soft_labels(model: AbNet, pairs: Pairs, masked: MaskedTarget) -> SoftLabels:
    """What the teacher says of the tokens to predict; it reads the source without noise."""
    if model.soft_teacher is None:
        raise AbNetError(
            "`soft_teacher` must name the checkpoint of a conditional masked LM for a "
            f"`soft_label_weight` of {model.config.soft_label_weight}, but is missing."
        )
    return model.soft_teacher.label(
        pairs.source,
        pairs.target,
        masked.chosen,
        model.config.soft_label_passes,
        model.config.soft_label_top_k,
        model.config.soft_label_temperature,
    )


@torch.no_grad()
def _guess(model: AbNet, source: Tensor, target: Tensor, places: Tensor) -> Tensor:
    """The model's own prediction of some tokens when all are masked: (N,) ids."""
    words = target.ne(model.target_symbols.pad)
    masks = target.masked_fill(words, model.target_symbols.mask)
    logits: Tensor = model(source, masks, places).word_logits
    logits[:, model.target_symbols.never_predicted] = -torch.inf
    if model.target_tokenizer is not None:
        logits = logits[:, : len(model.target_tokenizer.vocabulary)]
    return logits.argmax(dim=1)


def _with_r_drop(
    model: AbNet, forward: Forward, source: Tensor, target: Tensor, masked: MaskedTarget,
    labels: SoftLabels | None,
) -> LossParts:  # fmt: skip
    """Both passes as one batch of 2B sentences."""
    gold = target[masked.chosen]
    source, inputs, chosen, target, gold = (
        torch.cat([part, part]) for part in (source, masked.inputs, masked.chosen, target, gold)
    )
    output = forward(source, inputs, chosen)
    parts = _loss(model, output, target, chosen, gold, labels and labels.twice())
    return _with_disagreement(parts, output.word_logits, model.config)


def _with_disagreement(parts: LossParts, logits: Tensor, config: AbNetConfig) -> LossParts:
    """With how far the predictions of both halves of a batch are apart; logits: (2N, V).

    Where no target is of account, there is nothing to divide that by, and it is left out, too.
    """
    share = config.r_drop * (parts.sample_size > 0)
    return parts._replace(loss=parts.loss + share * disagreement(*logits.chunk(2)))


def _loss(
    model: AbNet, output: AbNetOutput, target: Tensor, chosen: Tensor, gold: Tensor,
    labels: SoftLabels | None,
) -> LossParts:  # fmt: skip
    """The loss of words and lengths, and a share of it for each teacher that there is.

    The words `gold` are the chosen ones of the target, picked out before the forward pass, which
    an accelerator would have to end first.
    """
    found = output.words
    if found is None:
        found = word_loss(output.word_logits, gold, model.config.label_smoothing)
    parts = sequence_loss(
        found,
        output.length_logits,
        target,
        chosen,
        model.target_symbols.words(target),
        model.config,
        None if labels is None else labels.loss(output.word_logits),
    )
    return _with_distance(parts, output, model.config)


def _with_distance(parts: LossParts, output: AbNetOutput, config: AbNetConfig) -> LossParts:
    """With the encoder's distance to a teacher's states, where there is one, as a share."""
    if output.distance is None:
        return parts
    share = config.distillation_weight
    distance = output.distance * parts.sample_size
    return parts._replace(loss=(1 - share) * parts.loss + share * distance)

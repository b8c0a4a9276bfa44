"""Several models that decode as one: their probabilities averaged at each pass or step."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import reduce
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, WeakSet

import torch
from torch import Tensor, nn

from abnet.adapters import Places
from abnet.backbone import Backbone
from abnet.checkpoint import load_checkpoint
from abnet.config import AbNetConfig
from abnet.decoder import DecoderState, Memory
from abnet.encoder import EncoderOutput
from abnet.errors import AbNetError
from abnet.length import LengthBeam, length_beam
from abnet.model import AbNet
from abnet.systems import ONE_PASS
from abnet.tokenizer import Tokenizer


class Memories(NamedTuple):
    """The source as each model's decoder reads it."""

    parts: tuple[Memory, ...]

    def select(self, sentences: Tensor) -> Memories:
        """The rows of some sentences only; sentences: (K,) indices."""
        return Memories(tuple(part.select(sentences) for part in self.parts))

    def read_by(self, places: Places | None) -> Memories:
        """The same, read by the given candidates; `None` if each sentence has as many."""
        return Memories(tuple(part.read_by(places) for part in self.parts))


class States(NamedTuple):
    """What each model's causal decoder remembers of the tokens so far."""

    parts: tuple[DecoderState, ...]

    def select(self, rows: Tensor) -> None:
        """Keeps the given hypotheses, in this order; rows: (K,) indices."""
        for part in self.parts:
            part.select(rows)


_SHARING: WeakKeyDictionary[nn.Module, WeakSet[AbNet]] = WeakKeyDictionary()
"""The models that have a part of a BERT in common, by that part."""


class Ensemble:
    """Systems of one way of decoding and one pair of vocabularies; all else may differ.

    Its "logits" are the logarithm of the mean of the models' probabilities: the mean of their whole
    distributions, over all pieces and all lengths. What must not be predicted is banned after that,
    by the decoding, which makes the rest sum to one again. So a model that has left little to what
    is allowed has as little to say. Legend: B sentences, C candidates a sentence, V vocabulary.

    Args:
        models: in evaluation mode, made by `AbNet.from_pretrained` or `load_checkpoint`. Frozen
            BERTs that are equal become one, so that they are in memory once.

    Attributes:
        models: the same.
        config: of the first model. Of its fields only `objective` is that of all models, and
            `reveal_frames` the least of all: 0 where one of them cannot refine.
        source_symbols, target_symbols: special ids of the two vocabularies.
        source_tokenizer, target_tokenizer: of the first model.

    Raises:
        AbNetError: there are no models, they have no tokenizers, or vocabularies or ways of
            decoding differ.
    """

    def __init__(self, models: Iterable[AbNet]) -> None:
        models = list(models)
        if not models:
            raise AbNetError("`models` must hold at least one model, but is empty instead.")
        first, *others = models
        for other in others:
            check_vocabularies("All models of an ensemble", first, other)
            if other.config.objective != first.config.objective:
                raise AbNetError(
                    "All models of an ensemble must decode in one way, but are of the objectives "
                    f"{first.config.objective} and {other.config.objective} instead. An "
                    "autoregressive model can rerank what a parallel one translates."
                )
            frames = {model.config.frames_per_piece for model in (first, other)}
            if first.config.objective in ONE_PASS and len(frames) > 1:
                raise AbNetError(
                    "All models of an ensemble must have the same `frames_per_piece`, but have "
                    f"{first.config.frames_per_piece} and {other.config.frames_per_piece} instead."
                )
        share_berts(models)
        self.models = tuple(models)
        least = min(model.config.reveal_frames for model in models)
        self.config: AbNetConfig = replace(first.config, reveal_frames=least)
        self.source_symbols = first.source_symbols
        self.target_symbols = first.target_symbols
        self.source_tokenizer, self.target_tokenizer = _tokenizers(first)

    @property
    def max_source_positions(self) -> int:
        """The longest source that all models take, in tokens, [SEP] included."""
        return min(model.max_source_positions for model in self.models)

    @property
    def max_target_positions(self) -> int:
        """The longest target that all models can give, in tokens, [SEP] included."""
        return min(model.max_target_positions for model in self.models)

    @property
    def training(self) -> bool:
        """Whether one of the models is in training mode."""
        return any(model.training for model in self.models)

    def eval(self) -> Ensemble:
        """Puts all models in evaluation mode."""
        for model in self.models:
            model.eval()
        return self

    def to(self, device: torch.device) -> Ensemble:
        """Moves all models."""
        for model in self.models:
            model.to(device)
        return self

    def encode(self, source: Tensor) -> tuple[EncoderOutput, ...]:
        """source: (B, S) ids; see `AbNet.encode`."""
        return tuple(model.encode(source) for model in self.models)

    def predict_length(self, encoded: Sequence[EncoderOutput], candidates: int) -> LengthBeam:
        """The most probable lengths by the mean of the models' probabilities, (B, C) each.

        Raises:
            AbNetError: the systems predict none, or there are fewer lengths than candidates.
        """
        logits = [m.length_logits(one) for m, one in zip(self.models, encoded, strict=True)]
        longest = self.max_target_positions
        mean = self._log_mean(one.float().log_softmax(1)[:, : longest + 1] for one in logits)
        return length_beam(mean, candidates, longest)

    def project(self, encoded: Sequence[EncoderOutput]) -> Memories:
        """See `AbNet.project`."""
        pairs = zip(self.models, encoded, strict=True)
        return Memories(tuple(model.project(one) for model, one in pairs))

    def dag(self, frames: Tensor, memory: Memories) -> tuple[tuple[Tensor, ...], Tensor]:
        """States, one tensor a model, and log-probabilities of links (B, F, F); see `AbNet.dag`."""
        pairs = zip(self.models, memory.parts, strict=True)
        states, links = zip(*(model.dag(frames, one) for model, one in pairs), strict=True)
        return states, self._log_mean(links)

    def states(self, target: Tensor, memory: Memories, positions: Tensor) -> tuple[Tensor, ...]:
        """What `logits` are made of, one tensor a model; see `AbNet.states`."""
        pairs = zip(self.models, memory.parts, strict=True)
        return tuple(model.states(target, one, positions) for model, one in pairs)

    def bert_states(self, target: Tensor, positions: Tensor) -> tuple[Tensor, ...]:
        """The same of the target BERTs alone; see `AbNet.bert_states`."""
        return tuple(model.bert_states(target, positions) for model in self.models)

    def logits(self, states: Sequence[Tensor], part: slice) -> Tensor:
        """Log-probabilities of a part of the states, (n, V)."""
        pairs = zip(self.models, states, strict=True)
        logits = (model.logits(one, part) for model, one in pairs)
        return self._log_mean(one.float().log_softmax(1) for one in logits)

    def new_state(self) -> States:
        """What `step` remembers, of no tokens yet."""
        return States(tuple(model.new_state() for model in self.models))

    def step(self, tokens: Tensor, memory: Memories, state: States) -> Tensor:
        """Log-probabilities of the next token, (B*C, V); see `AbNet.step`."""
        triples = zip(self.models, memory.parts, state.parts, strict=True)
        logits = (model.step(tokens, one, past) for model, one, past in triples)
        return self._log_mean(one.float().log_softmax(1) for one in logits)

    def _log_mean(self, log_probs: Iterable[Tensor]) -> Tensor:
        """Logarithm of the mean of probabilities; one model's after the other are in memory."""
        return reduce(torch.logaddexp, log_probs) - math.log(len(self.models))


def load_system(
    path: str | Path | Sequence[str | Path], overrides: Mapping[str, Any] | None = None
) -> AbNet | Ensemble:
    """Loads one checkpoint, or several as an ensemble.

    Args:
        path: of a checkpoint, or of each.
        overrides: see `load_checkpoint`; for each.

    Raises:
        AbNetError: see `load_checkpoint` and `Ensemble`.
    """
    paths = [path] if isinstance(path, str | Path) else path
    if not isinstance(paths, Sequence):
        raise AbNetError(f"`path` must name a checkpoint, or several, but is {path!r} instead.")
    models = [load_checkpoint(one, overrides) for one in paths]
    return models[0] if len(models) == 1 else Ensemble(models)


def share_berts(systems: Sequence[AbNet | Ensemble]) -> None:
    """Gives all models the first one's BERTs, part by part where theirs are equal and frozen."""
    parts_of = [one.models if isinstance(one, Ensemble) else (one,) for one in systems]
    first, *others = chain.from_iterable(parts_of)
    for other in others:
        if first.decodes_only or other.decodes_only:
            continue  # what was packed or rounded has no weights to compare
        for kept, own in zip(_berts(first), _berts(other), strict=True):
            if kept.settings != own.settings:
                continue
            parts = dict(kept.named_children())
            for name, part in own.named_children():
                if name in parts and _are_equal_and_frozen(parts[name], part):
                    setattr(own, name, parts[name])
                    _SHARING.setdefault(parts[name], WeakSet()).update((first, other))
        if other.decoder.backbone.lm_head is not None:
            other.decoder.lm_head = other.decoder.backbone.lm_head


def mark_lowered(model: AbNet, precision: str) -> None:
    """Notes that a model's weights were packed or rounded, on those that share them as well.

    Args:
        precision: what they have now; see `AbNet`.
    """
    for one in (model, *(one for group in _SHARING.values() if model in group for one in group)):
        one.precision, one.decodes_only = precision, True


def _berts(model: AbNet) -> tuple[Backbone, Backbone]:
    return model.encoder.bert_backbone, model.decoder.backbone


def _are_equal_and_frozen(one: nn.Module, other: nn.Module) -> bool:
    """Whether two modules compute the same and no weight of them trains."""
    if any(weight.requires_grad for weight in (*one.parameters(), *other.parameters())):
        return False
    weights, others = one.state_dict(), other.state_dict()
    return (
        str(one) == str(other)  # layers, epsilons, activations
        and weights.keys() == others.keys()
        and all(weight.equal(others[name]) for name, weight in weights.items())
    )


def check_vocabularies(who: str, one: AbNet | Ensemble, other: AbNet | Ensemble) -> None:
    """Holds the vocabularies of two systems, and what they make of a text, against each other.

    Args:
        who: must have them the same; begins the message.

    Raises:
        AbNetError: they differ, or a system was built from parts, without tokenizers.
    """
    pairs = zip(("source", "target"), _tokenizers(one), _tokenizers(other), strict=True)
    for side, ours, theirs in pairs:
        if ours.vocab_hash != theirs.vocab_hash:
            raise AbNetError(
                f"{who} must have the same {side} vocabulary, but {ours.name!r} has "
                f"{len(ours.vocabulary)} pieces ({ours.vocab_hash[:19]}) and {theirs.name!r} "
                f"{len(theirs.vocabulary)} ({theirs.vocab_hash[:19]})."
            )
        if ours.pieces_hash != theirs.pieces_hash:
            raise AbNetError(
                f"{who} must cut a text into the same {side} pieces, but the tokenizers of "
                f"{ours.name!r} and {theirs.name!r} do not, though they have one vocabulary."
            )


def _tokenizers(model: AbNet | Ensemble) -> tuple[Tokenizer, Tokenizer]:
    if model.source_tokenizer is None or model.target_tokenizer is None:
        raise AbNetError("Each model must have tokenizers: make it with `AbNet.from_pretrained`.")
    return model.source_tokenizer, model.target_tokenizer

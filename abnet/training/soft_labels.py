"""BERT-Distilled (Chen et al., ACL 2020): a conditional masked LM teaches with soft labels.

The teacher sees a target's words on both sides of the one that it predicts; the student, which
writes word by word, learns from its probabilities what may come later. The original fine-tunes one
multilingual BERT on source and target as one text; here the teacher is any conditional masked LM of
this package, the nearest being `abnet_fb`: two fine-tuned BERTs with cross-attention between them.

The original writes the teacher's predictions to disk once. Here they are made for each batch, which
needs no disk and costs an encoding and `passes` decodings by the teacher each time.

Legend: B sentences, S source positions, T target positions, N tokens to predict, K labels a token.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from abnet.checkpoint import load_checkpoint
from abnet.errors import AbNetError
from abnet.model import AbNet

logger = logging.getLogger(__name__)


class SoftLabels(NamedTuple):
    """What a teacher thinks of some tokens.

    Attributes:
        ids: (N, K) its most probable words.
        probabilities: (N, K), which add up to 1 for each token.
    """

    ids: Tensor
    probabilities: Tensor

    def twice(self) -> SoftLabels:
        """For a batch that is repeated."""
        return SoftLabels(*(torch.cat([part, part]) for part in self))

    def loss(self, logits: Tensor) -> Tensor:
        """Summed cross-entropy of a student's logits (N, V) to the labels, in nats."""
        log_probs = logits.float().log_softmax(dim=1).gather(1, self.ids)
        return -(self.probabilities * log_probs).sum()


class Teacher(nn.Module):
    """A frozen model beside the one that it teaches: never in training mode.

    Args:
        model: a conditional masked LM.
    """

    def __init__(self, model: AbNet) -> None:
        super().__init__()
        self.model = model.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stays in evaluation mode, without dropout."""
        super().train(False)
        return self

    @torch.no_grad()
    def label(
        self, source: Tensor, target: Tensor, chosen: Tensor, passes: int, top_k: int,
        temperature: float,
    ) -> SoftLabels:  # fmt: skip
        """The labels of the chosen tokens, each predicted from the source and the others.

        As in the original, a pass hides every `passes`-th token, so that short targets have one
        hidden token at a time.

        Args:
            source: (B, S) ids, right-padded.
            target: (B, T) true ids, right-padded.
            chosen: (B, T) boolean, no padding among them.
            passes: how many; each token is hidden in one.
            top_k: K, at most the vocabulary.
            temperature: by which the K logits are divided before their softmax.

        Returns:
            Labels in row-major order of `chosen`.
        """
        model = self.model
        memory = model.project(model.encode(source))
        place = torch.arange(target.size(1), device=target.device)
        words = model.target_symbols.words(target)
        pieces = model.decoder.backbone.vocab_size
        if model.target_tokenizer is not None:  # the rest are spare rows
            pieces = len(model.target_tokenizer.vocabulary)
        top_k = min(top_k, pieces)
        logits = torch.zeros((*target.shape, top_k), device=target.device)
        ids = torch.zeros((*target.shape, top_k), dtype=torch.long, device=target.device)
        for shift in range(min(passes, target.size(1))):
            hidden = words & (place % passes == shift)
            masked = target.masked_fill(hidden, model.target_symbols.mask)
            best = model.decode(masked, memory, hidden).float().topk(top_k, dim=1)
            logits[hidden], ids[hidden] = best.values, best.indices
        return SoftLabels(ids[chosen], (logits[chosen] / temperature).softmax(dim=1))


def load_teacher(student: AbNet, path: str | Path) -> Teacher:
    """The teacher of a checkpoint, for a student of the same vocabularies.

    Raises:
        AbNetError: see `load_checkpoint`; or it is no conditional masked LM, or of other
            vocabularies.
    """
    model = load_checkpoint(path)
    if model.config.objective != "conditional_masked_lm":
        raise AbNetError(
            "`soft_teacher` must be a conditional masked LM (`abnet_fb`, ...), which sees both "
            f"sides of a word, but {path} is {model.config.objective} instead."
        )
    for side, own in student.identities.items():
        theirs = model.identities[side]
        if (theirs.vocab_hash, theirs.pieces_hash) != (own.vocab_hash, own.pieces_hash):
            raise AbNetError(
                f"`soft_teacher` must have the vocabulary of the {side} BERT {own.name!r} and cut "
                f"a text as that does, but {path} goes by {theirs.name!r}."
            )
    logger.info("soft labels from %s (%s)", path, model.config.target_bert)
    return Teacher(model)

"""The [LENGTH] vector and the prediction of |y|."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from abnet.errors import AbNetError


class LengthBeam(NamedTuple):
    """The most probable lengths of each sentence, best first: each (B, C)."""

    lengths: Tensor
    log_probs: Tensor


class LengthPredictor(nn.Module):
    """[LENGTH] in front of the source, and a head on its encoder output that is tied to it.

    Row 0 of the table is the [LENGTH] vector, row n the class "n tokens" (class 0 is banned). The
    paper says only that the special token predicts |y|; table and tie follow the released code.

    Args:
        classes: rows of the table.
        width: H of the source BERT.
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.table = nn.Embedding(classes, width)
        nn.init.normal_(self.table.weight, std=0.02)

    def prepend(self, embedded: Tensor) -> Tensor:
        """[LENGTH] in front of embeddings: (B, S, H) -> (B, 1+S, H). Word positions do not move."""
        vector = self.table.weight[0].to(embedded.dtype)
        return torch.cat([vector.expand(embedded.size(0), 1, -1), embedded], dim=1)

    def forward(self, state: Tensor) -> Tensor:
        """Encoder output at [LENGTH] (B, H) to length logits (B, classes), class 0 banned."""
        logits = state @ self.table.weight.t().to(state.dtype)
        return logits.index_fill(1, torch.zeros(1, dtype=torch.long, device=logits.device), -1e4)


def length_beam(logits: Tensor, candidates: int, longest: int) -> LengthBeam:
    """The `candidates` most probable lengths from 1 to `longest`.

    Args:
        logits: (B, classes).
        candidates: C, how many lengths a sentence.
        longest: the most tokens that the decoder has positions for.

    Raises:
        AbNetError: there are fewer lengths than candidates.
    """
    allowed = check_beam(candidates, logits.size(1), longest)
    log_probs = torch.log_softmax(logits[:, 1 : allowed + 1].float(), dim=1)
    best = log_probs.topk(candidates, dim=1)
    return LengthBeam(best.indices + 1, best.values)


def check_beam(candidates: int, classes: int, longest: int) -> int:
    """How many lengths the model can predict.

    Raises:
        AbNetError: there are fewer lengths than candidates.
    """
    allowed = min(classes - 1, longest)
    if not 1 <= candidates <= allowed:
        raise AbNetError(
            f"`length_beam` must be between 1 and the {allowed} lengths that the model can "
            f"predict, but is {candidates} instead."
        )
    return allowed

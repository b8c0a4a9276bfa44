"""The source spread through the target: what a position may begin with besides its [MASK].

Legend: B sentences, R candidates of them, S source positions, T target positions, H the width of
the target BERT, M the width of the encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SourceSpread(nn.Module):
    """Adds to each target position what the encoder says of the source at the same share of it.

    Position i of n gets a projection of source position `i * s // n`, s being the sentence's source
    tokens, as the uniform copies of Gu et al. (ICLR 2018). The projection starts at zero, so that
    the decoder begins with plain embeddings. Not in the paper.

    Args:
        width: H.
        memory_width: M.
    """

    def __init__(self, width: int, memory_width: int) -> None:
        super().__init__()
        self.projection = nn.Linear(memory_width, width, bias=False)
        nn.init.zeros_(self.projection.weight)

    def project(self, memory: Tensor) -> Tensor:
        """(B, S, M) states of the encoder -> (B, S, H); once a sentence is enough."""
        projected: Tensor = self.projection(memory)
        return projected

    def forward(
        self, embedded: Tensor, projected: Tensor, sentence: Tensor, sizes: Tensor, counts: Tensor
    ) -> Tensor:
        """Embeddings with their part of the source.

        Args:
            embedded: (R, T, H), of R candidates.
            projected: (B, S, H), from `project`.
            sentence: (R,) whose candidate each is.
            sizes: (B,) source tokens of each sentence.
            counts: (R,) target positions of each candidate.
        """
        size = sizes[sentence][:, None]
        positions = torch.arange(embedded.size(1), device=embedded.device)
        places = positions * size // counts.clamp(min=1)[:, None]
        places = places.minimum(size - 1)  # behind the last position
        return embedded + projected[sentence[:, None], places]

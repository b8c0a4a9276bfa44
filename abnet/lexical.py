"""What a source piece is, beside what its sentence makes of it: a trained vector of each piece.

Frozen states know their words, but adapters are shared by all of them, and what a rare word means
drowns in the gradient of the frequent ones. A vector of its own learns it in a few updates, as the
embeddings of a Transformer do. The paper has nothing of the kind.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LexicalAdapter(nn.Module):
    """A trained vector of each source piece, for the encoder's output: `H' = H + W E[x]`.

    W = 0 at first, so that nothing changes.

    Args:
        vocab_size: pieces of the source vocabulary.
        dim: size of a vector.
        width: H of the source BERT.
        dropout: on the vectors.
    """

    def __init__(self, vocab_size: int, dim: int, width: int, dropout: float) -> None:
        super().__init__()
        self.table = nn.Embedding(vocab_size, dim)
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(dim, width, bias=False)
        nn.init.normal_(self.table.weight, std=dim**-0.5)
        nn.init.zeros_(self.projection.weight)

    @torch.no_grad()
    def begin_with(self, vectors: Tensor) -> None:
        """Takes over vectors for the first pieces; (at most vocab_size, dim). Others become 0."""
        self.table.weight.zero_()[: len(vectors)] = vectors

    def vectors(self, ids: Tensor) -> Tensor:
        """ids: (B, S) -> the vectors E[x], (B, S, dim)."""
        found: Tensor = self.dropout(self.table(ids))
        return found

    def forward(self, vectors: Tensor) -> Tensor:
        """vectors: (B, S, dim) -> what is added to the states, (B, S, H)."""
        added: Tensor = self.projection(vectors)
        return added

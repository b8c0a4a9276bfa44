"""The edges of a directed acyclic graph of words: which frame comes after which.

Legend: B sentences, F frames, H the width of the decoder.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from abnet.one_pass.frames import NEVER


class Links(nn.Module):
    """How probable each later frame is as the next, from the decoder's states.

    Each head is a softmax over the later frames, of the product of a query and a key and of a bias
    of their distance; the heads are mixed by weights that the earlier frame gives (Huang et al.,
    ICML 2022, who have absolute positions in place of distances).

    Args:
        width: H.
        heads: how many distributions are mixed.
        positions: the most frames.
    """

    def __init__(self, width: int, heads: int, positions: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.mixture = nn.Linear(width, heads)
        self.distance = nn.Parameter(torch.zeros(heads, positions))

    def forward(self, hidden: Tensor, counts: Tensor) -> Tensor:
        """Log-probabilities (B, F, F) in 32 bits: from the frame of the row to that of the column.

        `NEVER` where the column is not later, or behind a sentence's last frame.

        Args:
            hidden: (B, F, H).
            counts: (B,) frames of each sentence.
        """
        frames = hidden.size(1)
        query, key = (
            project(hidden).unflatten(2, (self.heads, -1)).transpose(1, 2).float()
            for project in (self.query, self.key)
        )
        place = torch.arange(frames, device=hidden.device)
        steps = place - place[:, None]
        bias = self.distance.float()[:, steps.clamp(min=0)]
        logits = query @ key.transpose(2, 3) / math.sqrt(query.size(3)) + bias
        allowed = (steps > 0) & (place < counts[:, None, None])
        by_head = logits.masked_fill(~allowed[:, None], NEVER).log_softmax(dim=3)
        weights = self.mixture(hidden).float().log_softmax(dim=2).transpose(1, 2)
        mixed = (weights[..., None] + by_head).logsumexp(dim=1)
        found: Tensor = mixed.masked_fill(~allowed, NEVER)
        return found

"""What the decoder of a one-pass system reads: more [MASK]s than the translation has words.

Legend: B sentences, S source positions, F frames.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from abnet.config import AbNetConfig
from abnet.tokenizer import SymbolIds

FEWEST = {"dag": 3}  # by objective: a graph's first, one that says a word, and its last
NEVER = -1e4  # a log-probability; with infinite ones gradients are not numbers


class Framed(Protocol):
    """What makes frames of sources."""

    config: AbNetConfig
    source_symbols: SymbolIds
    target_symbols: SymbolIds

    @property
    def max_target_positions(self) -> int:
        """The most frames."""


def make_frames(model: Framed, source: Tensor) -> Tensor:
    """What the decoder reads: [MASK] in each frame, [PAD] behind the last.

    Args:
        model: whose `config.frames_per_piece` says how many a source token, [SEP] counted, gives;
            a graph has three at least.
        source: (B, S) ids, right-padded.

    Returns:
        (B, F) ids.
    """
    symbols = model.target_symbols
    counts = model.source_symbols.words(source).sum(dim=1) * model.config.frames_per_piece
    fewest = FEWEST.get(model.config.objective, 1)
    counts = counts.clamp(min=fewest, max=model.max_target_positions)
    inside = torch.arange(int(counts.max()), device=source.device) < counts[:, None]
    return torch.where(inside, symbols.mask, symbols.pad)

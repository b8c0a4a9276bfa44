"""Raw lines to padded id tensors."""

from __future__ import annotations

import torch
from torch import Tensor

from abnet.tokenizer import Tokenizer


def batch(tokenizer: Tokenizer, lines: list[str]) -> Tensor:
    """(lines, longest) ids `w1 .. wn [SEP]`, right-padded."""
    symbols = tokenizer.symbols
    rows = [[*tokenizer.encode(line), symbols.sep] for line in lines]
    longest = max(map(len, rows))
    return torch.tensor([row + [symbols.pad] * (longest - len(row)) for row in rows])

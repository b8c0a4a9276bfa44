"""What every way of decoding returns."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from abnet.tokenizer import SymbolIds


class Hypothesis(NamedTuple):
    """One translation, on the CPU.

    Attributes:
        tokens: (L,) ids, with the final [SEP] where it was predicted.
        token_scores: (L,) log-probability of each token when it was last predicted.
        length_score: log-probability of the length; 0 where none is predicted.
        score: what the hypotheses of a sentence are ranked by, rewards left out; see the options of
            the decoding.
        passes: decoder passes (Mask-Predict) or steps (beam search) that it took.
        history: (L,) filled prediction of each pass; empty unless asked for.
        given_up: whether it had no more passes while others had (`prune_after`).
    """

    tokens: Tensor
    token_scores: Tensor
    length_score: float
    score: float
    passes: int
    history: list[Tensor]
    given_up: bool = False


def ended(tokens: Tensor, symbols: SymbolIds, longest: int) -> Tensor:
    """Ids (L,) of a translation with [SEP] at their end, where it fits into `longest` of them."""
    if len(tokens) == longest or (len(tokens) and tokens[-1] == symbols.sep):
        return tokens
    return torch.cat([tokens, tokens.new_tensor([symbols.sep])])

"""Batches of real sentence pairs of like length, as fairseq makes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from abnet.training.masking import MaskedTarget
from abnet.training.objective import Pairs

if TYPE_CHECKING:
    from abnet.bench.learner import Learner


@dataclass
class TrainingBatch:
    """Pairs on a device.

    Attributes:
        pairs: ids.
        sentences: how many.
        tokens: target tokens, the ends counted, padding not.
    """

    pairs: Pairs
    sentences: int
    tokens: int
    _masked: dict[int, MaskedTarget] = field(default_factory=dict)

    def masked(self, learner: Learner, seed: int) -> MaskedTarget:
        """The masks of a seed, which are made once: a data loader would have them ready."""
        if seed not in self._masked:
            self._masked[seed] = learner.mask(self, seed)
        return self._masked[seed]


def choose_lines(
    encoded: tuple[Sequence[list[int]], Sequence[list[int]]], tokens: int, count: int
) -> list[list[int]]:
    """The pairs of `count` batches that stand for all lengths.

    Pairs stand in order of length, and batches around the quantiles of it. Either side of a batch
    has at most `tokens` positions, padding and ends counted.

    Args:
        encoded: ids of the two sides, without ends.
        tokens: as fairseq's `--max-tokens`.
        count: of batches.

    Raises:
        AbNetError: a pair alone has more tokens.
    """
    sizes = [max(len(a), len(b)) + 1 for a, b in zip(*encoded, strict=True)]
    order = sorted(range(len(sizes)), key=lambda at: (len(encoded[1][at]), sizes[at]))
    batches = []
    for number in range(count):
        middle = (2 * number + 1) * len(order) // (2 * count)
        first = last = middle
        longest = sizes[order[middle]]
        if longest > tokens:
            raise AbNetError(
                f"`--tokens` must be at least {longest}, the longest sentence of a batch, but is "
                f"{tokens} instead."
            )
        while last - first + 1 < len(order):
            at = last + 1 if last + 1 < len(order) else first - 1
            grown = max(longest, sizes[order[at]])
            if grown * (last - first + 2) > tokens:
                break
            longest, first, last = grown, min(first, at), max(last, at)
        batches.append(order[first : last + 1])
    return batches


def collate(
    lines: Sequence[int],
    encoded: tuple[Sequence[list[int]], Sequence[list[int]]],
    tokenizers: tuple[Tokenizer, Tokenizer],
    device: torch.device,
) -> TrainingBatch:
    """The pairs of some lines as tensors."""
    source, target = (
        _pad([ids[at] for at in lines], tokenizer).to(device, non_blocking=True)
        for ids, tokenizer in zip(encoded, tokenizers, strict=True)
    )
    sizes = [len(tokenizer.vocabulary) for tokenizer in tokenizers]
    pairs = Pairs(source, target, sizes[0], sizes[1])
    return TrainingBatch(pairs, len(lines), sum(len(encoded[1][at]) + 1 for at in lines))


def _pad(sentences: list[list[int]], tokenizer: Tokenizer) -> Tensor:
    """(B, longest) ids, [SEP] last, right-padded."""
    symbols = tokenizer.symbols
    rows = [torch.tensor([*ids, symbols.sep]) for ids in sentences]
    return torch.nn.utils.rnn.pad_sequence(rows, True, symbols.pad)

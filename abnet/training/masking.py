"""Which tokens are hidden while training, drawn on the device of the tokens and seeded.

Legend: B sentences, T target positions, S source positions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from abnet.tokenizer import SymbolIds

BERT_SHARE = 0.15  # of the tokens that BERT predicts (Devlin et al. 2019)


class MaskedTarget(NamedTuple):
    """A masked target.

    Attributes:
        inputs: (B, T) what the decoder reads.
        chosen: (B, T) boolean, the tokens to predict.
        revealed: (B, T) boolean, the tokens that the decoder sees as they are; no padding.
    """

    inputs: Tensor
    chosen: Tensor
    revealed: Tensor


def batch_generator(device: torch.device, *numbers: int) -> torch.Generator:
    """A random generator that depends on the numbers alone: seed, update, sentence ids, ...

    The same batch draws the same masks in whichever process it is computed.
    """
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (2**63 - 1)
    return torch.Generator(device).manual_seed(seed)


def mask_targets(
    target: Tensor,
    symbols: SymbolIds,
    vocab_size: int,
    noise: str,
    generator: torch.Generator,
    count: str = "uniform",
) -> MaskedTarget:
    """Hides n = floor(s L) + 1 of the L tokens of each target.

    Args:
        target: (B, T) ids, right-padded.
        symbols: special ids of the target vocabulary.
        vocab_size: number of ids, for random replacements.
        noise: "mask": all become [MASK]; "bert": 80 % [MASK], 10 % a random token, 10 % kept.
        generator: on the device of `target`.
        count: with u ~ U[0, 1), "uniform": s = u, so that n ~ U{1..L} (Ghazvininejad et al. 2019);
            "cosine": s = cos(u pi/2), often most of the tokens (Chang et al., CVPR 2022);
            "share": s = 0.15, as BERT.
    """
    words = target.ne(symbols.pad)
    lengths = words.sum(dim=1)
    uniform = torch.rand(target.size(0), device=target.device, generator=generator)
    if count == "uniform":
        share = uniform
    elif count == "cosine":
        share = torch.cos(uniform * torch.pi / 2)
    else:
        share = torch.full_like(uniform, BERT_SHARE)
    chosen_count = ((share * lengths).long() + 1).minimum(lengths)
    order = torch.rand(target.shape, device=target.device, generator=generator)
    chosen = rank(order.masked_fill(~words, 2.0)) < chosen_count[:, None]
    if noise == "mask":
        inputs = target.masked_fill(chosen, symbols.mask)
    else:
        inputs = _bert_noise(target, chosen, symbols, vocab_size, generator)
    return MaskedTarget(inputs, chosen, words & ~chosen)


def reveal_frames(
    path: Tensor, frames: Tensor, symbols: SymbolIds, generator: torch.Generator
) -> Tensor:
    """What the decoder reads when some words of an alignment are known: (B, F) ids.

    Of the n frames that say a word U{1..n} stay hidden, as of the words of a masked target; blanks
    do always.

    Args:
        path: (B, F) ids, see `best_alignment`.
        frames: (B, F) ids, see `abnet.one_pass.frames.make_frames`.
        symbols: of the target.
        generator: on the device of `path`.
    """
    spoken = path.ne(symbols.mask)
    uniform = torch.rand(path.size(0), device=path.device, generator=generator)
    shown = (uniform * spoken.sum(dim=1)).floor()
    order = torch.rand(path.shape, device=path.device, generator=generator)
    first = rank(order.masked_fill(~spoken, 2.0)) < shown[:, None]
    return torch.where(first, path, frames)


def shift_targets(target: Tensor, symbols: SymbolIds) -> MaskedTarget:
    """What an autoregressive decoder reads: [CLS] in front, all tokens one place to the right.

    Args:
        target: (B, T) ids, right-padded.
        symbols: special ids of the target vocabulary.
    """
    first = target.new_full((target.size(0), 1), symbols.cls)
    words = symbols.words(target)
    return MaskedTarget(torch.cat([first, target[:, :-1]], dim=1), words, torch.zeros_like(words))


def draw_revealed(masked: MaskedTarget, share: float, generator: torch.Generator) -> Tensor:
    """A share of the revealed tokens, each drawn for itself: (B, T) boolean.

    Args:
        masked: what `mask_targets` made of a target.
        share: 0.3 in Huang et al. (ICLR 2022).
        generator: on the device of the target.
    """
    revealed = masked.revealed
    drawn = torch.rand(revealed.shape, device=revealed.device, generator=generator) < share
    return drawn & revealed


def reveal_guesses(masked: MaskedTarget, replaced: Tensor, guesses: Tensor) -> MaskedTarget:
    """Replaces revealed tokens by guesses and has them predicted too (CMLMC).

    Args:
        masked: what `mask_targets` made of a target, with [MASK] as its only noise.
        replaced: (B, T) boolean, see `draw_revealed`.
        guesses: (N,) ids that a model predicted there, in the order of the flattened target.
    """
    return MaskedTarget(
        masked.inputs.masked_scatter(replaced, guesses),
        masked.chosen | replaced,
        masked.revealed & ~replaced,
    )


def corrupt_source(
    source: Tensor, symbols: SymbolIds, vocab_size: int, share: float, generator: torch.Generator
) -> Tensor:
    """Corrupts one span of about `share` of each source 80/10/10, as the released code does.

    Of L tokens it is one longer than max(1, round(share * L)), and begins at the first token or
    ends with the last in a fifth of the cases each. Other than there, [SEP] is left alone.

    Args:
        source: (B, S) ids, right-padded, [SEP] last.
    """
    tokens = source.ne(symbols.pad).sum(dim=1)
    span = (tokens * share).round().long().clamp(min=1)
    latest = tokens - span
    drawn = torch.rand(source.size(0), device=source.device, generator=generator)
    start = (drawn / 0.6 * latest).long()
    start = torch.where(drawn < 0.6, start, latest).masked_fill(drawn >= 0.8, 0)
    positions = torch.arange(source.size(1), device=source.device)[None, :]
    chosen = (positions >= start[:, None]) & (positions <= (start + span)[:, None])
    chosen &= source.ne(symbols.sep) & source.ne(symbols.pad)
    return _bert_noise(source, chosen, symbols, vocab_size, generator)


def rank(values: Tensor) -> Tensor:
    """The place of each value in its row: lowest first, of equals the earlier; as `values`."""
    order = values.argsort(dim=-1, stable=True)
    return torch.empty_like(order).scatter_(
        -1, order, torch.arange(values.size(-1), device=values.device).expand_as(order)
    )


def _bert_noise(
    ids: Tensor, chosen: Tensor, symbols: SymbolIds, vocab_size: int, generator: torch.Generator
) -> Tensor:
    """80 % of the chosen ids become [MASK], 10 % a random ordinary token, 10 % stay."""
    kind = torch.rand(ids.shape, device=ids.device, generator=generator)
    noise = torch.randint(
        vocab_size - len(symbols), ids.shape, device=ids.device, generator=generator
    )
    for special in sorted(symbols):  # steps over the special ids
        noise = noise + noise.ge(special).long()
    masked = torch.where(chosen & (kind < 0.8), symbols.mask, ids)
    return torch.where(chosen & (kind >= 0.8) & (kind < 0.9), noise, masked)

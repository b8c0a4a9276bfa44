"""One pass: the decoder fills frames, and repeats and blanks fall out (CTC, Graves et al. 2006).

The frames are [MASK]s, more of them than the translation has tokens; a frame that stays [MASK] is
CTC's blank. A model that learned with some words at their frames (`AbNetConfig.reveal_frames`) may
refine its translation in a few more passes, as Mask-Predict does.

Legend: B sentences, S source positions, F frames, T target positions, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.decoding.candidates import on_device
from abnet.decoding.checks import at_least_one, finite
from abnet.decoding.decodable import Predictor
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.selection import POSITIONS_AT_ONCE, best_of
from abnet.errors import AbNetError
from abnet.field_types import check_types
from abnet.one_pass.alignment import best_alignment
from abnet.one_pass.frames import NEVER, Framed, make_frames
from abnet.tokenizer import SymbolIds
from abnet.training.masking import rank

PREFIX_TOKENS = 20  # how many of a frame's tokens the prefix search looks at
FIRST_LABEL = 0x10000  # of Unicode; any range without gaps would do


class CtcModel(Framed, Predictor, Protocol):
    """What CTC needs of a model; see `abnet.model.AbNet` for the shapes."""


def path_starts(path: Tensor, frames: Tensor, symbols: SymbolIds) -> Tensor:
    """Where a token begins when repeats and blanks are taken out of a path.

    Args:
        path: (B, F) ids.
        frames: (B, F) ids, see `abnet.one_pass.frames.make_frames`.

    Returns:
        (B, F) boolean.
    """
    path = path.masked_fill(frames.ne(symbols.mask), symbols.mask)
    before = F.pad(path, (1, 0), value=symbols.mask)[:, :-1]
    return path.ne(symbols.mask) & path.ne(before)


def pin(log_probs: Tensor, given: Tensor, scores: Tensor, symbols: SymbolIds) -> Tensor:
    """Makes the words that are given the only possible ones at their frames.

    Args:
        log_probs: (B, F, V).
        given: (B, F) ids, a word, [MASK] where none is given, or [PAD].
        scores: (B, F) the log-probabilities that the given words are to have.
    """
    known = _known(given, symbols)
    only = torch.full_like(log_probs, NEVER).scatter_(2, given[..., None], scores[..., None])
    return torch.where(known[..., None], only, log_probs)


@dataclass(frozen=True)
class CtcOptions:
    """How to decode.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    beam: int = 1
    """1 takes the most probable token of each frame. More keeps so many beginnings of translations
    and adds up all ways to spread each over the frames (prefix beam search)."""
    blank_penalty: float = 0.0
    """What the blank's logit loses, in nats. A model in doubt says blank, so that its translations
    are too short; find the value on a validation set."""
    length_penalty: float = 1.0
    """a of the score `log p / L ** a` that is told; there is no choice to make by it."""
    n_best: int = 1
    """There is one translation a sentence."""
    iterations: int = 1
    """Passes; more than one is for a model that was trained with `reveal_frames`."""

    def __post_init__(self) -> None:
        check_types(self)
        at_least_one(self, "iterations", "beam")
        finite(self, "blank_penalty", "length_penalty")
        if self.n_best != 1:
            raise AbNetError(
                f"`n_best` must be 1 for a system of CTC, but is {self.n_best} instead."
            )


@torch.inference_mode()
def ctc_decode(model: CtcModel, source: Tensor, options: CtcOptions) -> list[list[Hypothesis]]:
    """Translates a batch with one call of the decoder, or as many as there are iterations.

    [PAD], [CLS] and [SEP] are never predicted. After pass i of N, of the n frames that say a word
    the n * i // N most probable keep it, the earlier of equals first; all others are [MASK] again.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its one hypothesis. Its score is made of the probability of the best path,
        or, with a beam, of all paths; `token_scores` has each token's log-probability in its best
        frame. All of them are after the blank's penalty.

    Raises:
        AbNetError: a beam is asked for without `fast-ctc-decode`, or iterations of a model that
            cannot refine.
    """
    if options.iterations > 1 and not model.config.reveal_frames:
        raise AbNetError(
            "`iterations` must be 1 for a system that was trained without `reveal_frames`, but is "
            f"{options.iterations} instead."
        )
    symbols = model.target_symbols
    memory = model.project(model.encode(source))
    frames = make_frames(model, source)
    head = _Head(model, options.blank_penalty, source.device)
    everywhere = torch.arange(frames.numel(), device=source.device)
    given, scores = frames, torch.zeros(frames.shape, device=source.device)
    states = model.states(given, memory, everywhere)
    for passes in range(1, options.iterations):
        tokens, scores = _choose(head, states, given, scores)
        spoken = tokens.ne(symbols.mask) & frames.eq(symbols.mask)
        count = spoken.sum(dim=1, keepdim=True) * passes // options.iterations
        surest = rank(-scores.masked_fill(~spoken, -torch.inf)) < count
        given = torch.where(surest, tokens, frames)
        states = model.states(given, memory, everywhere)
    if options.beam == 1:
        tokens, scores = _choose(head, states, given, scores)
        paths = _best_paths(tokens, scores, frames, symbols)
    else:
        log_probs = head.log_probs(states, slice(None)).view(*frames.shape, -1)
        if options.iterations > 1:
            log_probs = pin(log_probs, given, scores, symbols)
        paths = _prefix_search(log_probs, frames, symbols, options.beam)
    return [
        [
            path._replace(
                score=path.score / max(len(path.tokens), 1) ** options.length_penalty,
                passes=options.iterations,
            )
        ]
        for path in paths
    ]


class _Head:
    """The last step of a model, without what CTC never predicts and after the blank's penalty."""

    def __init__(self, model: CtcModel, penalty: float, device: torch.device) -> None:
        self.model = model
        self.symbols = model.target_symbols
        self.penalty = penalty
        banned = {self.symbols.pad, self.symbols.cls, self.symbols.sep} - {self.symbols.mask}
        self.banned = on_device(sorted(banned), device)

    def log_probs(self, states: Any, part: slice) -> Tensor:
        """Of a part of the states, (n, V) in 32 bits."""
        logits = self.model.logits(states, part).float().index_fill_(1, self.banned, -torch.inf)
        logits[:, self.symbols.mask] -= self.penalty
        return logits.log_softmax(dim=1)


def _choose(head: _Head, states: Any, given: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """The most probable token of each frame, or the word given there, and its log-probability.

    The logits of `POSITIONS_AT_ONCE` frames are in memory at a time.

    Args:
        head: makes log-probabilities of states.
        states: of all frames.
        given, scores: (B, F), see `pin`.
    """
    parts = [
        best_of(head.log_probs(states, slice(start, start + POSITIONS_AT_ONCE)))
        for start in range(0, given.numel(), POSITIONS_AT_ONCE)
    ]
    own, tokens = (torch.cat(one).view(given.shape) for one in zip(*parts, strict=True))
    known = _known(given, head.symbols)
    return torch.where(known, given, tokens), torch.where(known, scores, own)


def _known(given: Tensor, symbols: SymbolIds) -> Tensor:
    """(B, F) boolean: where a word is given."""
    return given.ne(symbols.mask) & given.ne(symbols.pad)


def _best_paths(
    tokens: Tensor, best: Tensor, frames: Tensor, symbols: SymbolIds
) -> list[Hypothesis]:
    """The tokens (B, F), repeats and blanks taken out; score: the sum of all log p."""
    filled = frames.eq(symbols.mask)
    best, spoken = best.masked_fill(~filled, 0.0), tokens.ne(symbols.mask) & filled
    starts = path_starts(tokens, frames, symbols)
    # Run 0 takes up the blanks.
    run = starts.cumsum(dim=1).masked_fill(~spoken, 0)
    of_run = torch.full_like(best, -torch.inf)
    of_run = F.pad(of_run, (1, 0)).scatter_reduce(1, run, best, "amax")
    # In one copy; 32 bits hold each id.
    packed = torch.cat([tokens, starts, of_run, best.sum(dim=1, keepdim=True)], dim=1).cpu()
    length = frames.size(1)
    found = []
    for row in packed:
        of, start, runs, total = row.split([length, length, length + 1, 1])
        own = of[start.bool()].long()
        found.append(Hypothesis(own, runs[1 : 1 + len(own)], 0.0, float(total), 1, []))
    return found


def _prefix_search(
    log_probs: Tensor, frames: Tensor, symbols: SymbolIds, beam: int
) -> list[Hypothesis]:
    """Beam search over prefixes among each frame's most probable tokens; score: log p."""
    try:
        from fast_ctc_decode import beam_search
    except ImportError as error:
        raise AbNetError(
            "`beam` must be 1 without `pip install 'ab-net[ctc]'`, which searches prefixes, but "
            f"is {beam} instead."
        ) from error
    log_probs, frames = log_probs.cpu(), frames.cpu()
    found, totals = [], []
    counts = frames.eq(symbols.mask).sum(dim=1).tolist()
    for of_sentence, count in zip(log_probs, counts, strict=True):
        own = of_sentence[:count]
        likely = own.topk(min(PREFIX_TOKENS, own.size(1)), dim=1).indices.unique()
        # The library writes labels into a string: a character each, the blank's in front.
        ids = [symbols.mask, *(id for id in likely.tolist() if id != symbols.mask)]
        alphabet = [chr(FIRST_LABEL + place) for place in range(len(ids))]
        labels, _ = beam_search(own[:, ids].exp().numpy(), alphabet, beam)
        tokens = torch.tensor([ids[ord(label) - FIRST_LABEL] for label in labels], dtype=torch.long)
        sizes = torch.tensor([count]), torch.tensor([len(tokens)])
        total = -F.ctc_loss(own, tokens, *sizes, blank=symbols.mask, reduction="sum")
        found.append(tokens)
        totals.append(float(total))
    # The library tells where a beginning was first thought of, not the frames that say its words.
    padded = torch.nn.utils.rnn.pad_sequence(found, True, symbols.pad)
    path = best_alignment(log_probs, frames, padded, symbols)
    said = log_probs.gather(2, path[..., None])[..., 0]
    return [
        one._replace(score=total)
        for one, total in zip(_best_paths(path, said, frames, symbols), totals, strict=True)
    ]

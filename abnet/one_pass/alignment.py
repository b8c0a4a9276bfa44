"""Which frame says which word: the most probable path of CTC through a known target.

Legend: B sentences, F frames, T target positions, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from abnet.tokenizer import SymbolIds


def best_alignment(logits: Tensor, frames: Tensor, target: Tensor, symbols: SymbolIds) -> Tensor:
    """The most probable of the paths that become each target when blanks and repeats fall out.

    The Viterbi algorithm over the target's words with a blank around each: a path stays, goes on
    to the next, or leaves out the blank between two different words.

    Args:
        logits: (B, F, V).
        frames: (B, F) ids, see `abnet.one_pass.frames.make_frames`.
        target: (B, T) true ids, right-padded.
        symbols: of the target.

    Returns:
        (B, F) ids, [MASK] where the path is blank and behind the last frame, and everywhere if a
        target needs more frames than there are.
    """
    words = symbols.words(target) & target.ne(symbols.sep)
    states = torch.full((target.size(0), 2 * target.size(1) + 1), symbols.mask).to(target.device)
    states[:, 1::2] = target.masked_fill(~words, symbols.mask)
    # Every path has one state a frame, so that a frame's normalizer changes nothing.
    emitted = logits.gather(2, states[:, None].expand(-1, frames.size(1), -1)).float()
    may_skip = states.ne(symbols.mask) & states.ne(F.pad(states, (2, 0), value=-1)[:, :-2])
    counts = frames.eq(symbols.mask).sum(dim=1)

    score = torch.full_like(emitted[:, 0], -torch.inf)
    score[:, :2] = emitted[:, 0, :2]
    moves = []
    for frame in range(1, frames.size(1)):
        forward = F.pad(score, (1, 0), value=-torch.inf)[:, :-1]
        skipping = F.pad(score, (2, 0), value=-torch.inf)[:, :-2]
        skipping = skipping.masked_fill(~may_skip, -torch.inf)
        best, move = torch.stack([score, forward, skipping]).max(dim=0)
        inside = (frame < counts)[:, None]
        score = torch.where(inside, best + emitted[:, frame], score)
        moves.append(move.masked_fill(~inside, 0))

    last = 2 * words.sum(dim=1, keepdim=True)  # the blank behind the last word, or that word
    ends = torch.cat([last, (last - 1).clamp(min=0)], dim=1)
    total, end = score.gather(1, ends).max(dim=1, keepdim=True)
    places = [ends.gather(1, end)]
    for move in reversed(moves):
        places.append(places[-1] - move.gather(1, places[-1]))
    path = states.gather(1, torch.cat(places[::-1], dim=1))
    return path.masked_fill(frames.ne(symbols.mask) | ~total.isfinite(), symbols.mask)

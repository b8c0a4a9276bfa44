"""The loss of a directed acyclic graph of words: the sum over all its paths that read as a target.

Legend: B sentences, F frames, T target positions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from abnet.tokenizer import SymbolIds
from abnet.training.loss import LossParts

UNREACHED = -1e9  # a log-probability below that of any path, however long
LEAST = 1e-300  # the smallest share of a step's best path that is told from none


def dag_loss(
    said: Tensor, links: Tensor, frames: Tensor, target: Tensor, symbols: SymbolIds
) -> LossParts:
    """-log p of each target, summed over all paths (Huang et al., ICML 2022).

    A path begins at the first frame and ends at the last; both say nothing, each frame between
    them says one word of the target. So a target needs two frames more than it has words. Paths
    that come to a frame with less than e^-690 of what comes to the likeliest one are not counted.

    Args:
        said: (B, F, T) log-probability of each target word at each frame, see
            `abnet.one_pass.frame_loss.scores_at_frames`.
        links: (B, F, F), see `abnet.one_pass.links.Links`.
        frames: (B, F) ids, [MASK] in each frame, [PAD] behind the last.
        target: (B, T) true ids, right-padded; the final [SEP] is no word.
        symbols: of the target.
    """
    words = symbols.words(target) & target.ne(symbols.sep)
    lengths, counts = words.sum(dim=1), frames.eq(symbols.mask).sum(dim=1)
    # As one product a word; its factors span more powers of e than 32 bits have.
    follows = links.double().exp()
    frame = torch.arange(links.size(1), device=links.device)
    reached = [_start(links.double())]
    for position in range(int(lengths.max())):
        most = reached[-1].detach().amax(dim=1, keepdim=True)
        arrived = ((reached[-1] - most).exp()[:, None] @ follows)[:, 0]
        # Frames too late for the words to come would hide, by their probability, those that count.
        in_time = frame < (counts - lengths + position)[:, None]
        possible = in_time & (frame > position)
        # What is too small for a product is left out, unless a sentence has nothing else.
        told = possible & (arrived > LEAST)
        possible = torch.where(told.any(dim=1, keepdim=True), told, possible)
        log_p = (arrived.clamp(min=LEAST).log() + most).where(possible, UNREACHED)
        reached.append(log_p + said[:, :, position])
    rows = torch.arange(len(target), device=target.device)
    at_end = torch.stack(reached)[lengths, rows] + _to_last(links, counts)
    impossible = lengths + 2 > counts
    loss = -at_end.logsumexp(dim=1).masked_fill(impossible, 0.0).sum().to(said.dtype)
    taught = lengths.masked_fill(impossible, 0).sum()
    none = torch.zeros_like(taught)
    return LossParts(
        loss=loss,
        sample_size=taught,
        word_loss=loss.detach(),
        word_nll=loss.detach(),
        length_nll=torch.zeros_like(loss),
        masked=taught,
        tokens=lengths.sum(),
        sentences=target.new_full((), target.size(0)),
        words_right=none,
        lengths_right=none,
        impossible=impossible.sum(),
    )


def best_dag_path(
    said: Tensor, links: Tensor, frames: Tensor, target: Tensor, symbols: SymbolIds
) -> Tensor:
    """Which frame says which word on the most probable path that reads as the target.

    Args:
        said, links, frames, target, symbols: see `dag_loss`.

    Returns:
        (B, F) ids, [MASK] at all frames without a word, and everywhere if a target needs more
        frames than there are.
    """
    words = symbols.words(target) & target.ne(symbols.sep)
    lengths, counts = words.sum(dim=1), frames.eq(symbols.mask).sum(dim=1)
    score, moves = [_start(links)], []
    for position in range(int(lengths.max())):
        best, move = (score[-1][:, :, None] + links).max(dim=1)
        score.append(best + said[:, :, position])
        moves.append(move)
    rows = torch.arange(len(target), device=target.device)
    place = (torch.stack(score)[lengths, rows] + _to_last(links, counts)).argmax(dim=1)
    path = torch.full_like(frames, symbols.mask)
    for position in reversed(range(len(moves))):
        inside = (position < lengths) & (lengths + 2 <= counts)
        path[rows[inside], place[inside]] = target[inside, position]
        place = torch.where(position < lengths, moves[position][rows, place], place)
    return path


def _start(links: Tensor) -> Tensor:
    """Log-probabilities (B, F) of where a path is before its first word: at the first frame."""
    start = torch.full_like(links[:, 0], UNREACHED)
    start[:, 0] = 0.0
    return start


def _to_last(links: Tensor, counts: Tensor) -> Tensor:
    """(B, F): from each frame to its sentence's last one."""
    last = (counts - 1).clamp(min=0)[:, None, None].expand(-1, links.size(1), 1)
    return links.gather(2, last).squeeze(2)

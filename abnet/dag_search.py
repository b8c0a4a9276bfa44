"""The most probable translations of a graph of words, each with all its paths (beam search).

Legend: B sentences, F frames, V vocabulary, K translations that are kept at each frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WORDS_A_FRAME = 2  # the most probable ones, which may be said there
COMPARED = 4  # times K beginnings of translations that arrive at a frame
BASE = 0x5851F42D4C957F2D  # odd; of the polynomial by which equal beginnings are recognized


class Found(NamedTuple):
    """One translation.

    Attributes:
        words: ids, without [SEP].
        frames: where the most probable of its paths says them.
        log_p: summed over its paths, without rewards.
    """

    words: list[int]
    frames: list[int]
    log_p: float


def search(
    log_probs: Tensor, links: Tensor, last: Tensor, beam: int, word_reward: float
) -> list[list[Found]]:
    """The K best translations of each sentence, by `log p + r L`.

    At each frame stand the K best beginnings of translations that end there. Beginnings of the same
    words arrive from several frames; they are one, whose probability is the sum, as far as the
    beam has kept them (Huang et al., ICML 2022, search in the same way).

    Args:
        log_probs: (B, F, V) of the words, -inf for what may not be said.
        links: (B, F, F), see `abnet.links.Links`.
        last: (B,) the last frame of each sentence, which like the first says nothing.
        beam: K.
        word_reward: r, in nats.

    Returns:
        For each sentence at most K different ones, best first; an empty translation only if there
        is no other.
    """
    sentences, frames, _ = log_probs.shape
    said, likely = log_probs.topk(WORDS_A_FRAME, dim=2)
    # Beginnings by the frame of their last word. Of each: log p + r L, what its words hash to, the
    # place (frame * K + slot) of the beginning that it makes longer, and its last word.
    size = (sentences, frames, beam)
    score = torch.full(size, -torch.inf, device=links.device)
    score[:, 0, 0] = 0.0
    history, before, word = (
        torch.zeros(size, dtype=torch.long, device=links.device) for _ in range(3)
    )
    ends = torch.full((sentences, beam), -torch.inf, device=links.device)
    ends_at = torch.zeros_like(ends, dtype=torch.long)
    for frame in range(1, frames):
        arriving = (score[:, :frame] + links[:, :frame, frame, None]).flatten(1)
        value, place = arriving.topk(min(COMPARED * beam, arriving.size(1)), dim=1)
        hashed = history[:, :frame].flatten(1).gather(1, place)
        equal = hashed[:, :, None].eq(hashed[:, None])
        total = value[:, None].where(equal, -torch.inf).logsumexp(dim=2)
        total = total.masked_fill(equal.tril(-1).any(dim=2), -torch.inf)  # the first has it all
        total, kept = total.topk(min(beam, total.size(1)), dim=1)
        place, hashed = place.gather(1, kept), hashed.gather(1, kept)
        at_end = last.eq(frame)[:, None]
        width = total.size(1)
        ends[:, :width] = total.where(at_end, ends[:, :width])
        ends_at[:, :width] = place.where(at_end, ends_at[:, :width])
        longer = (total[:, :, None] + said[:, frame, None] + word_reward).flatten(1)
        best, choice = longer.topk(min(beam, longer.size(1)), dim=1)
        slots = slice(0, best.size(1))
        origin, nth = choice // WORDS_A_FRAME, choice % WORDS_A_FRAME
        score[:, frame, slots] = best
        before[:, frame, slots] = place.gather(1, origin)
        word[:, frame, slots] = likely[:, frame].gather(1, nth)
        history[:, frame, slots] = hashed.gather(1, origin) * BASE + word[:, frame, slots] + 1
    return _read(ends, ends_at, before.flatten(1), word.flatten(1), word_reward)


def _read(
    ends: Tensor, ends_at: Tensor, before: Tensor, word: Tensor, word_reward: float
) -> list[list[Found]]:
    """Follows each translation back from its end; ends: (B, K), before and word: (B, F * K)."""
    beam = ends.size(1)
    rows = zip(ends.tolist(), ends_at.tolist(), before.tolist(), word.tolist(), strict=True)
    found: list[list[Found]] = []
    for scores, places, back, words in rows:
        of_sentence = []
        for score, place in zip(scores, places, strict=True):
            path = []
            while place >= beam:
                path.append(place)
                place = back[place]
            path.reverse()
            log_p = score - word_reward * len(path)
            said = [words[at] for at in path]
            of_sentence.append(Found(said, [at // beam for at in path], log_p))
        there = [one for one in of_sentence if one.log_p > -torch.inf]
        found.append([one for one in there if one.words] or there)
    return found

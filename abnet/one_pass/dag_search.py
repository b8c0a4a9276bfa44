"""The most probable translations of a graph of words, each with all its paths (beam search).

Legend: B sentences, F frames, W words that a frame may say, K translations kept at each frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

COMPARED = 4  # times K beginnings of translations that arrive at a frame
BASE = 0x5851F42D4C957F2D  # odd; of the polynomial by which equal beginnings are recognized


class Found(NamedTuple):
    """One translation.

    Attributes:
        words: ids, without [SEP].
        said: their log-probabilities at their frames.
        frames: where the most probable of its paths says them.
        log_p: summed over its paths, without rewards.
    """

    words: list[int]
    said: list[float]
    frames: list[int]
    log_p: float


def search(
    words: Tensor, said: Tensor, links: Tensor, last: Tensor, beam: int, word_reward: float
) -> list[list[Found]]:
    """The K best translations of each sentence, by `log p + r L`.

    At each frame stand the K best beginnings of translations that end there. Beginnings of the same
    words arrive from several frames; they are one, whose probability is the sum, as far as the
    beam has kept them (Huang et al., ICML 2022, search in the same way).

    Args:
        words: (B, F, W) ids that each frame may say, best first.
        said: (B, F, W) their log-probabilities.
        links: (B, F, F), see `abnet.one_pass.links.Links`.
        last: (B,) the last frame of each sentence, which like the first says nothing.
        beam: K.
        word_reward: r, in nats.

    Returns:
        For each sentence at most K different ones, best first; an empty translation only if there
        is no other.
    """
    sentences, frames, choices = words.shape
    # Beginnings by the frame of their last word. Of each: log p + r L, what its words hash to, the
    # place (frame * K + slot) of the beginning that it makes longer, and which of its frame's words
    # is its last.
    size = (sentences, frames, beam)
    score = torch.full(size, -torch.inf, device=links.device)
    score[:, 0, 0] = 0.0
    history, before, nth = (
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
        origin, nth[:, frame, slots] = choice // choices, choice % choices
        added = words[:, frame].gather(1, nth[:, frame, slots])
        score[:, frame, slots] = best
        before[:, frame, slots] = place.gather(1, origin)
        history[:, frame, slots] = hashed.gather(1, origin) * BASE + added + 1
    return _read(ends, ends_at, before.flatten(1), nth.flatten(1), words, said, word_reward)


def _read(
    ends: Tensor, ends_at: Tensor, before: Tensor, nth: Tensor, words: Tensor, said: Tensor,
    word_reward: float,
) -> list[list[Found]]:  # fmt: skip
    """Follows each translation back from its end; ends: (B, K), before and nth: (B, F * K)."""
    beam = ends.size(1)
    parts = (part.tolist() for part in (ends, ends_at, before, nth, words, said))
    found: list[list[Found]] = []
    for scores, places, back, of_place, names, values in zip(*parts, strict=True):
        of_sentence = []
        for score, place in zip(scores, places, strict=True):
            path = []
            while place >= beam:
                path.append(place)
                place = back[place]
            path.reverse()
            log_p = score - word_reward * len(path)
            spoken = [(at // beam, of_place[at]) for at in path]
            ids, log_probs = ([of[at][n] for at, n in spoken] for of in (names, values))
            of_sentence.append(Found(ids, log_probs, [at for at, _ in spoken], log_p))
        there = [one for one in of_sentence if one.log_p > -torch.inf]
        found.append([one for one in there if one.words] or there)
    return found

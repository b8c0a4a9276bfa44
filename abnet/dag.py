"""One pass over a directed acyclic graph: the decoder says a word and what follows at each frame.

A path from the first frame to the last is a translation; frames off the path hold the words of
other translations, which CTC would mix up (Huang et al., ICML 2022).

Legend: B sentences, S source positions, F frames, V vocabulary.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from abnet.decodable import SourceReader
from abnet.errors import AbNetError
from abnet.frames import NEVER, Framed, make_frames
from abnet.hypothesis import Hypothesis


class DagModel(Framed, SourceReader, Protocol):
    """What decoding a graph needs of a model; see `abnet.model.AbNet` for the shapes."""

    def dag(self, frames: Tensor, memory: Any) -> tuple[Tensor, Tensor]:
        """Logits (B * F, V) and log-probabilities of the links (B, F, F)."""


@dataclass(frozen=True)
class DagOptions:
    """How to decode.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    word_reward: float = 1.0
    """What each word adds to a path's log-probability, in nats. The most probable path of all is
    too short; find the value on a validation set."""
    length_penalty: float = 1.0
    """a of the score `log p / L ** a`."""
    n_best: int = 1
    """There is one translation a sentence."""

    def __post_init__(self) -> None:
        if not math.isfinite(self.word_reward):
            raise AbNetError(
                f"`word_reward` must be a finite number, but is {self.word_reward} instead."
            )
        if self.n_best != 1:
            raise AbNetError(
                f"`n_best` must be 1 for a system of one pass, but is {self.n_best} instead."
            )


@torch.inference_mode()
def dag_decode(model: DagModel, source: Tensor, options: DagOptions) -> list[list[Hypothesis]]:
    """Translates a batch with one call of the decoder: the best path of one word or more.

    Among all paths that say their frames' most probable words, that of the highest `log p + r L`
    is found by dynamic programming (as Shao et al., Findings of EMNLP 2022, who divide by lengths
    instead). Special symbols are never predicted.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its one hypothesis. `token_scores` has each token's log-probability in its
        frame; the score has those of the links, too, and no reward.
    """
    symbols = model.target_symbols
    frames = make_frames(model, source)
    logits, links = model.dag(frames, model.project(model.encode(source)))
    logits = logits.float()
    logits[:, sorted({symbols.pad, symbols.cls, symbols.sep, symbols.mask})] = -torch.inf
    said, tokens = logits.log_softmax(dim=1).max(dim=1)
    said, tokens = said.view(frames.shape), tokens.view(frames.shape)
    last = frames.eq(symbols.mask).sum(dim=1, keepdim=True) - 1
    gain = (said + options.word_reward).scatter(1, last, 0.0)

    arrivals = links.transpose(1, 2).contiguous()
    arrivals[:, :, 0].scatter_(1, last, NEVER)  # a word at least
    best = torch.zeros_like(said)
    moves = torch.zeros_like(frames)
    for frame in range(1, frames.size(1)):
        value, move = (best[:, :frame] + arrivals[:, frame, :frame]).max(dim=1)
        best[:, frame] = value + gain[:, frame]
        moves[:, frame] = move
    totals = best.gather(1, last)[:, 0].tolist()
    found = []
    for row, (back, place) in enumerate(zip(moves.tolist(), last[:, 0].tolist(), strict=True)):
        path = []
        while (place := back[place]) > 0:
            path.append(place)
        at = torch.tensor(path[::-1], dtype=torch.long, device=source.device)
        log_p = totals[row] - options.word_reward * len(path)
        score = log_p / max(len(path), 1) ** options.length_penalty
        found.append([Hypothesis(tokens[row, at].cpu(), said[row, at].cpu(), 0.0, score, 1, [])])
    return found

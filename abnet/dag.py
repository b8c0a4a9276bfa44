"""One pass over a directed acyclic graph: the decoder says a word and what follows at each frame.

A path from the first frame to the last is a translation; frames off the path hold the words of
other translations, which CTC would mix up (Huang et al., ICML 2022).

Legend: B sentences, S source positions, F frames, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from abnet.decodable import SourceReader
from abnet.errors import AbNetError
from abnet.frames import Framed, make_frames
from abnet.hypothesis import Hypothesis
from abnet.links import NEVER


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

    length_penalty: float = 1.0
    """a of the score `log p / L ** a` by which paths of different lengths are compared."""
    n_best: int = 1
    """There is one translation a sentence."""

    def __post_init__(self) -> None:
        if self.n_best != 1:
            raise AbNetError(
                f"`n_best` must be 1 for a system of one pass, but is {self.n_best} instead."
            )


@torch.inference_mode()
def dag_decode(model: DagModel, source: Tensor, options: DagOptions) -> list[list[Hypothesis]]:
    """Translates a batch with one call of the decoder: the best path of one word or more.

    Among all paths that say their frames' most probable words, that of the highest
    `log p / L ** a` is found by dynamic programming (Shao et al., Findings of EMNLP 2022).
    Special symbols are never predicted.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its one hypothesis. `token_scores` has each token's log-probability in its
        frame; the score has those of the links, too.
    """
    symbols = model.target_symbols
    frames = make_frames(model, source)
    logits, links = model.dag(frames, model.project(model.encode(source)))
    logits = logits.float()
    logits[:, sorted({symbols.pad, symbols.cls, symbols.sep, symbols.mask})] = -torch.inf
    said, tokens = logits.log_softmax(dim=1).max(dim=1)
    said, tokens = said.view(frames.shape), tokens.view(frames.shape)
    counts = frames.eq(symbols.mask).sum(dim=1)
    last = (counts - 1).clamp(min=0)[:, None, None].expand(-1, frames.size(1), 1)
    to_last = links.gather(2, last).squeeze(2)

    score = torch.full_like(said, NEVER)
    score[:, 0] = 0.0
    ends, moves = [], []
    for _ in range(max(frames.size(1) - 2, 1)):
        best, move = (score[:, :, None] + links).max(dim=1)
        score = best + said
        moves.append(move)
        ends.append((score + to_last).max(dim=1))
    totals = torch.stack([end.values for end in ends])
    totals = totals.masked_fill(totals < NEVER / 2, -torch.inf)  # more words than frames
    lengths = torch.arange(1, len(ends) + 1, device=source.device)[:, None]
    scores, chosen = (totals / lengths**options.length_penalty).max(dim=0)
    places = torch.stack([end.indices for end in ends]).tolist()
    back = torch.stack(moves).tolist()
    found = []
    for row, steps in enumerate(chosen.tolist()):
        path, place = [], places[steps][row]
        for step in range(steps, -1, -1):
            path.append(place)
            place = back[step][row][place]
        at = torch.tensor(path[::-1], dtype=torch.long, device=source.device)
        score_of_path = float(scores[row])
        own = tokens[row, at].cpu(), said[row, at].cpu()
        found.append([Hypothesis(*own, 0.0, score_of_path, 1, [])])
    return found

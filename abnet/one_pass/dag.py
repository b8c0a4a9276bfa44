"""One pass over a directed acyclic graph: the decoder says a word and what follows at each frame.

A path from the first frame to the last is a translation; frames off the path hold the words of
other translations, which CTC would mix up (Huang et al., ICML 2022). Of the best translations the
target BERT may choose the one that reads best.

Legend: B sentences, S source positions, F frames, K words that a frame may say, best first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from abnet.decoding.candidates import on_device
from abnet.decoding.checks import at_least_one, finite
from abnet.decoding.decodable import SourceReader
from abnet.decoding.fluency import TargetReader, read_alone
from abnet.decoding.hypothesis import Hypothesis
from abnet.decoding.selection import choose
from abnet.errors import AbNetError
from abnet.field_types import check_types
from abnet.one_pass.dag_search import Found, search
from abnet.one_pass.frames import NEVER, Framed, make_frames


class DagModel(Framed, SourceReader, TargetReader, Protocol):
    """What decoding a graph needs of a model; see `abnet.model.AbNet` for the shapes."""

    def dag(self, frames: Tensor, memory: Any) -> tuple[Any, Tensor]:
        """What `logits` are made of, and log-probabilities of the links (B, F, F)."""


@dataclass(frozen=True)
class DagOptions:
    """How to decode.

    The translations that are found are ranked by `log p + w f + r L`, where f is the
    pseudo-log-likelihood of their L words.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    word_reward: float = 1.0
    """r, what each word adds, in nats. The most probable translation of all is too short; find the
    value on a validation set."""
    length_penalty: float = 1.0
    """a of the score `(log p + w f) / L ** a` that is told; the choice is by the rank above."""
    n_best: int = 1
    """Translations a sentence, at most `beam`; where there are fewer, the last one is repeated."""
    beam: int = 1
    """1 takes the best path of all that say their frames' most probable words. More keeps so many
    translations at each frame, and adds up the paths of each (`abnet.one_pass.dag_search`)."""
    lm_weight: float = 0.0
    """w, for what the frozen target BERT makes of a translation alone (`abnet.decoding.fluency`);
    it needs a beam to choose from."""

    def __post_init__(self) -> None:
        check_types(self)
        finite(self, "word_reward", "lm_weight", "length_penalty")
        at_least_one(self, "beam")
        if self.lm_weight and self.beam == 1:
            raise AbNetError(
                "`beam` must be at least 2 with an `lm_weight`, which chooses among translations, "
                "but is 1 instead."
            )
        if not 1 <= self.n_best <= self.beam:
            raise AbNetError(
                f"`n_best` must be from 1 to the `beam` of {self.beam}, but is {self.n_best} "
                "instead."
            )


@torch.inference_mode()
def dag_decode(model: DagModel, source: Tensor, options: DagOptions) -> list[list[Hypothesis]]:
    """Translates a batch with one call of the decoder.

    Special symbols are never predicted; a translation is empty only if there is no other.

    Args:
        model: in evaluation mode.
        source: (B, S) ids, right-padded.
        options: how to decode.

    Returns:
        For each sentence its `n_best` hypotheses, best first. `token_scores` has each token's
        log-probability in its frame; the score has those of the links, too, and no reward.

    Raises:
        AbNetError: there is an `lm_weight`, but no target BERT as it was pre-trained.
    """
    symbols = model.target_symbols
    frames = make_frames(model, source)
    states, links = model.dag(frames, model.project(model.encode(source)))
    words, said = _words(model, states, frames, with_second=options.beam > 1)
    last = frames.eq(symbols.mask).sum(dim=1) - 1
    links = links.clone()
    links[:, 0].scatter_(1, last[:, None], NEVER)  # a word at least
    if options.beam == 1:
        found = _best_paths(words, said, links, last, options.word_reward)
    else:
        found = search(words, said, links, last, options.beam, options.word_reward)
    fluency = [[0.0] * len(own) for own in found]
    if options.lm_weight:
        texts = [torch.tensor(one.words, dtype=torch.long) for own in found for one in own]
        values = iter(read_alone(model, texts, source.device).tolist())
        fluency = [[next(values) for _ in own] for own in found]
    decoded = []
    for own, reads in zip(found, fluency, strict=True):
        scores = [one.log_p + options.lm_weight * f for one, f in zip(own, reads, strict=True)]
        ranks = [
            score + options.word_reward * len(one.words)
            for one, score in zip(own, scores, strict=True)
        ]
        best = sorted(range(len(own)), key=lambda at: -ranks[at])
        best += best[-1:] * (options.n_best - len(best))
        decoded.append(
            [
                _hypothesis(own[at], scores[at], options.length_penalty)
                for at in best[: options.n_best]
            ]
        )
    return decoded


def _words(
    model: DagModel, states: Any, frames: Tensor, with_second: bool
) -> tuple[Tensor, Tensor]:
    """The best word of each frame, or the best two, and their log-probabilities: (B, F, K) each."""
    symbols = model.target_symbols
    banned = on_device(symbols.never_predicted, frames.device)
    may_end = torch.zeros(frames.numel(), dtype=torch.bool, device=frames.device)
    choice = choose(model, states, may_end, banned, symbols.sep, with_second)
    words, said = [choice.tokens], [choice.scores]
    if choice.second_tokens is not None and choice.second_scores is not None:
        words.append(choice.second_tokens)
        said.append(choice.second_scores)
    shape = (*frames.shape, len(words))
    return torch.stack(words, dim=1).view(shape), torch.stack(said, dim=1).view(shape)


def _best_paths(
    words: Tensor, said: Tensor, links: Tensor, last: Tensor, word_reward: float
) -> list[list[Found]]:
    """Of all paths that say their frames' most probable words, that of the highest `log p + r L`.

    By dynamic programming (as Shao et al., Findings of EMNLP 2022, who divide by lengths instead);
    see `search` for the arguments.
    """
    # Frame by frame, these are far too small for an accelerator, or for torch's calls on a CPU.
    parts = (words[..., 0], said[..., 0], links.transpose(1, 2).contiguous(), last)
    tokens, scores, arrivals, ends = (part.cpu().numpy() for part in parts)
    rows = np.arange(len(scores))
    gain = scores + np.float32(word_reward)
    gain[rows, ends] = 0.0
    best = np.zeros_like(scores)
    moves = np.zeros_like(tokens)
    for frame in range(1, scores.shape[1]):
        reached = best[:, :frame] + arrivals[:, frame, :frame]
        moves[:, frame] = move = reached.argmax(axis=1)
        best[:, frame] = reached[rows, move] + gain[:, frame]
    lists = (part.tolist() for part in (best[rows, ends], moves, ends, tokens, scores))
    found = []
    for total, back, place, names, values in zip(*lists, strict=True):
        path = []
        while (place := back[place]) > 0:
            path.append(place)
        path.reverse()
        log_p = total - word_reward * len(path)
        ids, log_probs = ([of[at] for at in path] for of in (names, values))
        found.append([Found(ids, log_probs, path, log_p)])
    return found


def _hypothesis(found: Found, score: float, length_penalty: float) -> Hypothesis:
    """In the form that all decoding has."""
    words = torch.tensor(found.words, dtype=torch.long)
    score /= max(len(words), 1) ** length_penalty
    return Hypothesis(words, torch.tensor(found.said), 0.0, score, 1, [])

"""The source spread through the target: what a position may begin with besides its [MASK].

Legend: B sentences, R candidates of them, S source positions, T target positions, H the width of
the target BERT, M the width of the encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from abnet.errors import AbNetError


class Spread(NamedTuple):
    """What `SourceSpread` adds, made once a sentence.

    Attributes:
        states: (B, S, H) what the encoder says of each source position.
        glosses: (B, S, H) what each source piece is in the target language, beside a [MASK]; else
            `None`.
    """

    states: Tensor
    glosses: Tensor | None = None

    def each(self, change: Callable[[Tensor], Tensor]) -> Spread:
        """The same of changed tensors."""
        return Spread(change(self.states), None if self.glosses is None else change(self.glosses))


class SourceSpread(nn.Module):
    """Adds to each target position what the encoder says of the source at the same share of it.

    Position i of n gets a projection of source position `i * s // n`, s being the sentence's source
    tokens, as the uniform copies of Gu et al. (ICLR 2018). The projection starts at zero, so that
    the decoder begins with plain embeddings. Not in the paper.

    Where the target has more positions than the source, several in a row have the same source
    position. With `gloss_dim` the second of them, if it is a [MASK], begins as what that piece is
    translated by: the target BERT then reads a gloss of the source, word by word, with [MASK]s
    between the words, rather than [MASK]s alone.

    Args:
        width: H.
        memory_width: M.
        gloss_dim: size of the source pieces' own vectors (`abnet.lexical`), which are projected to
            these words; 0 for no gloss.
    """

    def __init__(self, width: int, memory_width: int, gloss_dim: int = 0) -> None:
        super().__init__()
        self.projection = nn.Linear(memory_width, width, bias=False)
        nn.init.zeros_(self.projection.weight)
        self.gloss = nn.Linear(gloss_dim, width, bias=False) if gloss_dim else None
        if self.gloss is not None:
            nn.init.zeros_(self.gloss.weight)

    @torch.no_grad()
    def begin_with(self, axes: Tensor) -> None:
        """Takes over what makes words of the vectors of a lexicon.

        Args:
            axes: (gloss_dim, H).

        Raises:
            AbNetError: H is that of another BERT.
        """
        if self.gloss is None:
            return
        if axes.size(1) != self.gloss.out_features:
            raise AbNetError(
                f"`lexicon` must be of a target BERT of width {self.gloss.out_features}, but is "
                f"of one of width {axes.size(1)}. Make one with `abnet lexicon`."
            )
        self.gloss.weight.copy_(axes.T)

    def project(self, memory: Tensor, pieces: Tensor | None = None) -> Spread:
        """What `forward` adds; once a sentence is enough.

        Args:
            memory: (B, S, M) states of the encoder.
            pieces: (B, S, gloss_dim) vectors of the source pieces, for the gloss.
        """
        glosses = None
        if self.gloss is not None and pieces is not None:
            glosses = self.gloss(pieces)
        return Spread(self.projection(memory), glosses)

    def forward(
        self,
        embedded: Tensor,
        masked: Tensor,
        spread: Spread,
        sentence: Tensor,
        sizes: Tensor,
        counts: Tensor,
    ) -> Tensor:
        """Embeddings with their part of the source.

        Args:
            embedded: (R, T, H), of R candidates.
            masked: (R, T) boolean, `True` at each [MASK].
            spread: of the B sentences, from `project`.
            sentence: (R,) whose candidate each is.
            sizes: (B,) source tokens of each sentence.
            counts: (R,) target positions of each candidate.
        """
        size, counts = sizes[sentence][:, None], counts[:, None]
        positions = torch.arange(embedded.size(1), device=embedded.device)
        places = positions * size // counts.clamp(min=1)
        places = places.minimum(size - 1)  # behind the last position
        rows = sentence[:, None]
        if spread.glosses is not None:
            once = _second_of_equals(places, positions < counts) & masked
            embedded = embedded + spread.glosses[rows, places] * once[..., None]
        return embedded + spread.states[rows, places]


def _second_of_equals(places: Tensor, inside: Tensor) -> Tensor:
    """The second of each run of equal neighbours, or the only one; boolean (R, T)."""
    goes_on = places[:, 1:].eq(places[:, :-1]) & inside[:, 1:]  # from a position to the next
    after, before = nn.functional.pad(goes_on, (1, 0)), nn.functional.pad(goes_on, (0, 1))
    second = after & ~nn.functional.pad(goes_on, (2, 0))[:, :-1]
    return second | ~(after | before)

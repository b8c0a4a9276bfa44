"""What is translated: batches of real lines whose translations have one length each."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer


class Line(NamedTuple):
    """A source line, its length in pieces, and that of its reference; the ends not counted."""

    text: str
    source_pieces: int
    target_pieces: int


class Batch(NamedTuple):
    """Lines that are translated at once.

    Attributes:
        lines: raw text.
        length: target tokens of each reference, the end counted; all have the same number, so that
            every engine, also one that takes a single length for a batch, can be made to write
            translations as long as the references.
    """

    lines: list[str]
    length: int


@dataclass(frozen=True)
class Text:
    """A test set.

    Attributes:
        name: of the data set.
        lines: those that all systems can take.
        dropped: how many were empty or too long.
    """

    name: str
    lines: list[Line]
    dropped: int

    @classmethod
    def of(
        cls,
        name: str,
        source: Sequence[str],
        target: Sequence[str],
        tokenizers: tuple[Tokenizer, Tokenizer],
        longest: int,
    ) -> Text:
        """Counts the pieces of each pair of lines.

        Args:
            name: of the data set.
            source, target: line n of one is the translation of line n of the other.
            tokenizers: of the two sides.
            longest: most pieces of a side.

        Raises:
            AbNetError: no pair is left.
        """
        lengths = [
            [len(ids) for ids in tokenizer.encode_batch(lines)]
            for tokenizer, lines in zip(tokenizers, (source, target), strict=True)
        ]
        lines = [
            Line(text, source_pieces, target_pieces)
            for text, source_pieces, target_pieces in zip(source, *lengths, strict=True)
            if 1 <= source_pieces <= longest and 1 <= target_pieces <= longest
        ]
        if not lines:
            raise AbNetError(
                f"the text must have pairs of 1 to {longest} pieces a side, but none of its "
                f"{len(source)} pairs is one."
            )
        return cls(name, lines, len(source) - len(lines))

    def batches(self, size: int, count: int) -> list[Batch]:
        """`count` batches that stand for all lengths: their lengths are quantiles of the text's.

        Lines of one target length fill a batch in the order of the text; where there are too few
        they are repeated, which no engine gains from.
        """
        of_length: dict[int, list[Line]] = defaultdict(list)
        for line in self.lines:
            of_length[line.target_pieces].append(line)
        endless: dict[int, Iterator[Line]] = {
            length: itertools.cycle(lines) for length, lines in of_length.items()
        }
        lengths = sorted(line.target_pieces for line in self.lines)
        chosen = [lengths[(2 * at + 1) * len(lengths) // (2 * count)] for at in range(count)]
        return [
            Batch([next(endless[length]).text for _ in range(size)], length + 1)
            for length in chosen
        ]

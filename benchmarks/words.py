"""Which words of the references a system finds, by how often the training data have them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

BAND_STARTS = (0, 1, 6, 21, 101, 1001)
"""Where a band begins; the last has no end."""


class Band(NamedTuple):
    """Words of the references that are about as frequent.

    Attributes:
        name: how often they are in the training data.
        words: how many there are, each occurrence counted.
        found: how many of these the hypothesis of the same sentence has.
    """

    name: str
    words: int
    found: int


def found_by_frequency(
    hypotheses: Sequence[str], references: Sequence[str], training: Iterable[str]
) -> list[Band]:
    """Recall of words in bands of frequency, cased, as sacreBLEU's 13a tokenizes.

    Args:
        hypotheses, references: raw lines.
        training: raw lines of the training data in the same language.
    """
    tokenize = Tokenizer13a()
    frequency = Counter(word for line in training for word in tokenize(line).split())
    words, found = Counter[int](), Counter[int]()
    for hypothesis, reference in zip(hypotheses, references, strict=True):
        written = Counter(tokenize(hypothesis).split())
        for word, times in Counter(tokenize(reference).split()).items():
            band = max(bound for bound in BAND_STARTS if bound <= frequency[word])
            words[band] += times
            found[band] += min(times, written[word])
    names = [_name(first, after - 1) for first, after in pairwise(BAND_STARTS)] + [
        f"{BAND_STARTS[-1]:,}+"
    ]
    return [
        Band(name, words[first], found[first])
        for name, first in zip(names, BAND_STARTS, strict=True)
    ]


def _name(first: int, last: int) -> str:
    return f"{first}-{last:,}" if last > first else str(first)

"""Which of a model's translations are left out of the training data."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from abnet.corpora.corpus import Pair
from abnet.errors import AbNetError
from abnet.text import clean_line, comparable

# Chinese and Japanese write no spaces: each of their characters is a word of its own here. Nor do
# Thai, Lao, Tibetan, Burmese and Khmer, whose words have about four letters, marks left out.
_LONE = "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_JOINED = "\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"
_WORD = re.compile(rf"[{_LONE}]|[{_JOINED}]{{1,4}}|[^\W{_LONE}{_JOINED}]+|[^\w\s]")


class Candidate(NamedTuple):
    """A line and what a model made of it.

    Attributes:
        original: the line.
        translation: of the line.
        trouble: "cut" if the line was longer than what the model takes, "unknown" if its
            BERT knows less than half of the line's pieces.
    """

    original: str
    translation: str
    trouble: str | None = None


@dataclass(frozen=True)
class PairFilter:
    """What makes a pair unfit for training, tried in this order.

    "empty": a side is. "cut", "unknown": see `Candidate`. "copy": the translation is the line, but
    for case and spacing. "repeats": the translation has a word too many times in a row, and more
    often than the line has any. "ratio": one side has too many words for the other.

    Words are runs of letters and digits, other signs, single Chinese or Japanese characters, and
    up to four letters in a row of scripts such as Thai, which write no spaces either; accents and
    vowel signs that stand as characters of their own do not count.

    Raises:
        AbNetError: a value is outside of what its field allows.
    """

    max_ratio: float = 3.0
    """The most that the longer side's words may be of the shorter side's."""
    max_repeats: int = 3
    """The most times that a word may stand in a row."""
    drop_copies: bool = False
    """Whether copies are dropped; where names and numbers stand alone, a copy is right."""

    def __post_init__(self) -> None:
        for name in ("max_ratio", "max_repeats"):
            if not getattr(self, name) >= 1:  # nor nan
                raise AbNetError(
                    f"`{name}` must be at least 1, but is {getattr(self, name)} instead."
                )

    def verdict(self, candidate: Candidate) -> str | None:
        """Why a pair is dropped, or `None` if it is kept."""
        original, translation = clean_line(candidate.original), clean_line(candidate.translation)
        if not original or not translation:
            return "empty"
        if candidate.trouble is not None:
            return candidate.trouble
        if self.drop_copies and comparable(original) == comparable(translation):
            return "copy"
        words, translated = _words(original), _words(translation)
        run = longest_run(translated)
        if run > self.max_repeats and run > longest_run(words):
            return "repeats"
        longer, shorter = max(len(words), len(translated)), min(len(words), len(translated))
        return "ratio" if longer > self.max_ratio * shorter else None


USUAL = PairFilter()


def keep_good(
    candidates: Iterable[Candidate], rules: PairFilter | None, dropped: Counter[str]
) -> Iterator[Pair]:
    """The lines and translations that are fit.

    Args:
        candidates: all of them.
        rules: what is dropped; `None` keeps all.
        dropped: is told how many are dropped, by reason.
    """
    for candidate in candidates:
        reason = rules.verdict(candidate) if rules is not None else None
        if reason is None:
            yield candidate.original, candidate.translation
        else:
            dropped[reason] += 1


def describe_rules(rules: PairFilter | None) -> dict[str, Any] | None:
    """As a manifest has them."""
    return None if rules is None else asdict(rules)


def describe_drops(dropped: Mapping[str, int]) -> str:
    """In words: "3 empty, 1 ratio", or "none"."""
    return ", ".join(f"{count} {reason}" for reason, count in sorted(dropped.items())) or "none"


def longest_run(words: Iterable[str]) -> int:
    """How many times the same word stands in a row at most."""
    return max((sum(1 for _ in run) for _, run in itertools.groupby(words)), default=0)


def _words(text: str) -> list[str]:
    marked = unicodedata.normalize("NFD", text.casefold())
    return _WORD.findall("".join(sign for sign in marked if unicodedata.category(sign)[0] != "M"))

from __future__ import annotations

import math
import unicodedata
from collections import Counter

import pytest

from abnet.errors import AbNetError
from abnet.translated.filtering import (
    Candidate,
    PairFilter,
    describe_drops,
    keep_good,
    longest_run,
)


@pytest.mark.parametrize(
    ("original", "translation", "reason"),
    [
        ("ein Hund", "a dog", None),
        ("ein Hund", " \t", "empty"),
        ("", "a dog", "empty"),
        ("ein", "a a a", None),  # three in a row, three times as long: both just allowed
        ("ein", "a dog a dog", "ratio"),
        ("ein kleiner Hund im Schnee", "dog", "ratio"),
        ("ein kleiner Hund", "a dog dog dog Dog", "repeats"),
        ("ein kleiner Hund", "a dog , dog , dog , dog", None),
        ("ha ha ha ha", "ha ha ha ha", None),  # as the line itself has it
        ("ha ha ha ha", "ha ha ha ha ha", "repeats"),
        ("Er ging .....", "He left .....", None),
        ("Er ging .", "He left .....", "repeats"),
        ("一只小狗在雪地里跑", "a little dog runs in the snow", None),  # nine words, not one
        ("a little dog runs", "一只只只只狗", "repeats"),
        ("Hello, I live in Bangkok", "สวัสดีครับผมอาศัยอยู่ในกรุงเทพ", None),
        ("dog", "สวัสดีครับผมอาศัยอยู่ในกรุงเทพ", "ratio"),
        ("Max Mustermann", "max  mustermann", None),
        ("good morning", "காலை வணக்கம்", None),  # two words, whatever marks they have
        ("long live Vietnam", unicodedata.normalize("NFD", "Việt Nam muôn năm"), None),
    ],
)
def test_reasons(original: str, translation: str, reason: str | None) -> None:
    assert PairFilter().verdict(Candidate(original, translation)) == reason


@pytest.mark.parametrize("trouble", ["cut", "unknown"])
def test_trouble_with_the_line(trouble: str) -> None:
    assert PairFilter().verdict(Candidate("ein Hund", "a dog", trouble)) == trouble
    assert PairFilter().verdict(Candidate("ein Hund", "", trouble)) == "empty"


def test_copies_on_request() -> None:
    rules = PairFilter(drop_copies=True)
    assert rules.verdict(Candidate("Max Mustermann", "max  mustermann")) == "copy"
    assert rules.verdict(Candidate("Max Mustermann", "Max Muster")) is None


def test_bounds() -> None:
    long = Candidate("ein", "a dog of mine")
    assert PairFilter(max_ratio=4).verdict(long) is None
    twice = Candidate("ein Hund", "dog dog")
    assert PairFilter(max_repeats=1).verdict(twice) == "repeats"
    with pytest.raises(AbNetError, match=r"`max_ratio` must be at least 1, but is 0\.5 instead"):
        PairFilter(max_ratio=0.5)
    with pytest.raises(AbNetError, match="`max_ratio` must be at least 1, but is nan"):
        PairFilter(max_ratio=math.nan)
    with pytest.raises(AbNetError, match="`max_repeats` must be at least 1, but is 0 instead"):
        PairFilter(max_repeats=0)


def test_drops_are_counted() -> None:
    candidates = [Candidate("ein", "a"), Candidate("ein", ""), Candidate("x", "a b c d")]
    dropped: Counter[str] = Counter()
    assert list(keep_good(candidates, PairFilter(), dropped)) == [("ein", "a")]
    assert dropped == {"empty": 1, "ratio": 1}
    assert describe_drops(dropped) == "1 empty, 1 ratio"
    none: Counter[str] = Counter()
    assert len(list(keep_good(candidates, None, none))) == 3
    assert (none, describe_drops(none)) == ({}, "none")


def test_longest_run() -> None:
    assert longest_run([]) == 0
    assert longest_run("abbbab") == 3

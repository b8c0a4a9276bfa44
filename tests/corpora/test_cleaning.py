from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abnet.corpora import cleaning
from abnet.corpora.cleaning import Cleaner, Side, clean_in_parallel, count_words
from abnet.corpora.corpus import Rules
from abnet.errors import AbNetError
from tests.conftest import TinyBerts


@pytest.fixture(scope="module")
def cleaner(tiny_berts: TinyBerts) -> Cleaner:
    return Cleaner(tiny_berts.german, tiny_berts.english)


def texts(cleaner: Cleaner, pairs: list[tuple[str, str]], rules: Rules | None) -> list[str]:
    return [source.text for source, _ in cleaner.clean(pairs, rules).kept]


def test_text_and_pieces(cleaner: Cleaner) -> None:
    chunk = cleaner.clean([(" der\tkleine\x00Hund ", "the little dog 🤷")], Rules())
    ((source, target),) = chunk.kept
    assert source.text == "der kleine Hund"
    assert source.pieces.split() == cleaner.source.pieces("der kleine Hund")
    assert (source.length, source.unknown) == (len(source.pieces.split()), 0)
    assert target.text == "the little dog 🤷"
    assert target.unknown == 1
    assert target.pieces.split()[-1] == "[UNK]"


def test_case_and_specials_survive(cleaner: Cleaner) -> None:
    ((source, _),) = cleaner.clean([("Der Hund [SEP] läuft", "x")], None).kept
    assert source.text == "Der Hund [SEP] läuft"
    assert "[SEP]" not in source.pieces.split()


def test_empty_sides_are_dropped_from_training_only(cleaner: Cleaner) -> None:
    pairs = [("", "the dog"), ("der Hund", " \u200a"), ("der Hund", "the dog")]
    chunk = cleaner.clean(pairs, Rules())
    assert (chunk.read, len(chunk.kept), chunk.dropped) == (3, 1, {"empty": 2})
    kept = cleaner.clean(pairs, None)
    assert (len(kept.kept), kept.dropped) == (3, {})
    assert kept.kept[0][0] == Side("", "", 0, 0)


def test_ratio_and_length_in_words(cleaner: Cleaner) -> None:
    rules = Rules(max_length=6, max_ratio=1.5, unit="words")
    pairs = [
        ("a b", "a b c"),  # 1.5 is not above 1.5
        ("a b", "a b c d"),
        ("a b, c.", "a b, c."),  # five: signs count
        ("a b, c. d", "a b, c. d"),
        ("a b, c. d e", "a b c d e"),
    ]
    chunk = cleaner.clean(pairs, rules)
    assert [source.text for source, _ in chunk.kept] == ["a b", "a b, c.", "a b, c. d"]
    assert chunk.dropped == {"ratio": 1, "too_long": 1}
    assert texts(cleaner, pairs, None) == [source for source, _ in pairs]


def test_ratio_in_pieces(cleaner: Cleaner) -> None:
    short, long = "der", "rabbet"  # one word each, but not one piece each
    assert len(cleaner.source.pieces(short)) == 1
    assert len(cleaner.target.pieces(long)) > 2
    words = cleaner.clean([(short, long)], Rules(max_ratio=1.5, unit="words"))
    pieces = cleaner.clean([(short, long)], Rules(max_ratio=1.5, unit="pieces"))
    assert (len(words.kept), len(pieces.kept)) == (1, 0)
    assert pieces.dropped == {"ratio": 1}


@given(st.integers(1, 300), st.integers(1, 300))
def test_verdict_is_symmetric_and_as_defined(one: int, other: int) -> None:
    rules = Rules(max_length=175, max_ratio=1.5)
    verdict = rules.verdict(one, other)
    assert verdict == rules.verdict(other, one)
    too_long = max(one, other) > 175
    assert (verdict == "too_long") == too_long
    assert (verdict is None) == (not too_long and one / other <= 1.5 and other / one <= 1.5)


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("ein Wort", 2), ("Größe: 3,5 m!", 7), ("it's", 3), ("日本", 1)]
)
def test_count_words(text: str, number: int) -> None:
    assert count_words(text) == number


def test_processes_give_what_one_process_gives(
    cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cleaning, "CHUNK_PAIRS", 7)
    pairs = [(f"der Hund {n} .", f"the dog {n * n} .") for n in range(100)] + [("", "x")]
    rules = Rules(max_ratio=1.5, unit="pieces")
    alone = list(clean_in_parallel(pairs, cleaner, rules, workers=1))
    monkeypatch.setattr(cleaning, "CHUNKS_BEFORE_PROCESSES", 2)
    together = list(clean_in_parallel(pairs, cleaner, rules, workers=2))
    assert together == alone
    assert sum(chunk.read for chunk in together) == 101
    assert [chunk.read for chunk in together] == [7] * 14 + [3]


def test_sources_that_are_too_long_lose_their_last_pieces(
    tiny_berts: TinyBerts, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleaner = Cleaner(tiny_berts.german, tiny_berts.english)
    cleaner.longest_source = 5
    pairs = [("der kleine Hund", "the dog"), ("ein Mann im blauen Hemd läuft", "a " * 9)] * 10
    chunk = cleaner.clean(pairs, Rules())
    (short, _), (long, target) = chunk.kept[:2]
    assert short == cleaner.clean(pairs[:1], None).kept[0][0]
    assert not short.truncated
    whole = cleaner.source.pieces("ein Mann im blauen Hemd läuft")
    assert (long.pieces.split(), long.length, long.truncated) == (whole[:5], 5, True)
    assert long.text == "ein Mann im blauen Hemd läuft"
    assert (target.length, target.truncated) == (9, False)
    assert sum(source.truncated for source, _ in chunk.kept) == 10
    monkeypatch.setattr(cleaning, "CHUNK_PAIRS", 4)
    together = clean_in_parallel(pairs, cleaner, Rules(), workers=2)
    assert [pair for one in together for pair in one.kept] == chunk.kept


def test_killed_process(cleaner: Cleaner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cleaning, "CHUNK_PAIRS", 1)
    monkeypatch.setattr(cleaning, "CHUNKS_BEFORE_PROCESSES", 1)
    monkeypatch.setattr(cleaning, "_start_process", sys.exit)
    with pytest.raises(AbNetError, match=r"ended from outside.*with fewer `--workers`"):
        list(clean_in_parallel([("der", "the")] * 5, cleaner, None, workers=2))

from __future__ import annotations

import gzip
import itertools
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abnet.errors import AbNetError
from abnet.translated.files import Lines, Sample, replacing, sha256_of, write_pairs
from tests.corpora.making import lines
from tests.translated.conftest import write


@given(st.data(), st.integers(1, 60), st.integers())
def test_a_sample_has_its_size_and_the_order_of_the_lines(
    data: st.DataObject, of: int, seed: int
) -> None:
    taken = data.draw(st.integers(0, of))
    texts = [str(number) for number in range(of)]
    chosen = list(Sample(taken, of, seed).choose(iter(texts)))
    assert len(chosen) == taken
    assert chosen == sorted(set(chosen), key=int)
    assert chosen == list(Sample(taken, of, seed).choose(iter(texts)))


def test_every_sample_is_equally_probable() -> None:
    found = Counter("".join(Sample(2, 4, seed).choose(iter("abcd"))) for seed in range(6000))
    assert set(found) == {"".join(two) for two in itertools.combinations("abcd", 2)}
    assert min(found.values()) > 850  # 1000 each are expected
    assert max(found.values()) < 1150


def test_lines_of_several_files(tmp_path: Path) -> None:
    first = write(tmp_path / "a.en", ["one", "", "Two  words", "three"])
    second = tmp_path / "b.en.gz"
    second.write_bytes(gzip.compress(lines(["four", " ", "five"]).encode()))
    paths = (first, second)
    everything = ["one", "", "Two  words", "three", "four", " ", "five"]
    assert list(Lines(paths)) == everything
    assert Lines(paths).count() == 7
    held_out = write(tmp_path / "test.en", ["two WORDS", "five"])
    new = Lines(paths, only_new=True, exclude=(held_out,))
    assert list(new) == ["one", "three", "four"]
    assert list(Lines(paths, True, (held_out,), Sample(3, 3, 1))) == list(new)


def test_no_text(tmp_path: Path) -> None:
    empty = write(tmp_path / "a.en", [])
    with pytest.raises(AbNetError, match=r"text to translate, but no line of .*a\.en"):
        Lines((empty,)).count()
    blank = write(tmp_path / "b.en", [" "])
    with pytest.raises(AbNetError, match=r"but no line is left of .*b\.en"):
        Lines((blank,), only_new=True).count()
    with pytest.raises(AbNetError, match=r"Cannot read .*c\.en: No such file"):
        sha256_of(tmp_path / "c.en")


def test_a_file_appears_when_all_is_written(tmp_path: Path) -> None:
    path = write(tmp_path / "text", ["old"])
    with pytest.raises(KeyError), replacing(path) as (stream,):  # noqa: PT012
        stream.write("half")
        stream.flush()
        assert len(list(tmp_path.glob("text.*.part"))) == 1
        raise KeyError
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("text", "old\n")]
    with replacing(path) as (ours,), replacing(path) as (theirs,):  # two at a time
        ours.write("ours")
        theirs.write("theirs")
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("text", "ours")]


def test_pairs(tmp_path: Path) -> None:
    files = [tmp_path / "train.de", tmp_path / "train.en"]
    assert write_pairs(files, [("eins", "one"), ("zwei", "two")]) == 2
    assert [file.read_text() for file in files] == ["eins\nzwei\n", "one\ntwo\n"]
    with pytest.raises(AbNetError, match=r"a pair for train\.de and train\.en, but all were drop"):
        write_pairs(files, [])
    assert files[0].read_text() == "eins\nzwei\n"

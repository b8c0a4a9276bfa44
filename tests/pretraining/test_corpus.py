from __future__ import annotations

import hashlib
import itertools
import os
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from abnet.errors import AbNetError
from abnet.pretraining.corpus import SPECIAL_SYMBOLS, encode_lines, learn_tokenizer, read_corpus
from abnet.tokenizer import Tokenizer
from tests.tiny import GERMAN


def write(path: Path, lines: Sequence[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def numbered(count: int) -> list[str]:
    return [f"line {number}" for number in range(count)]


def test_every_line_trains_or_is_held_out(tmp_path: Path) -> None:
    first, second = numbered(100), ["", "line 3", " \t ", "line 100", "line\t100 "]
    texts = [write(tmp_path / "a", first), write(tmp_path / "b", second)]
    corpus = read_corpus(texts)
    kept = [*first, "line 3", "line 100", "line 100"]
    assert corpus.training == [line for line in kept if line not in corpus.held_out]
    assert set(corpus.training) | set(corpus.held_out) == set(kept)
    assert len(corpus.held_out) == len(set(corpus.held_out)) == 2  # 2 % of 101
    assert corpus.dropped == 0
    assert corpus.hashes == {
        path.name: "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest() for path in texts
    }


@pytest.mark.parametrize(("lines", "held_out"), [(2, 1), (149, 2), (150, 3), (60_000, 1000)])
def test_size_of_the_held_out_slice(tmp_path: Path, lines: int, held_out: int) -> None:
    corpus = read_corpus([write(tmp_path / "a", numbered(lines))])
    assert (len(corpus.held_out), len(corpus.training)) == (held_out, lines - held_out)


def test_no_copy_of_a_held_out_line_trains(tmp_path: Path) -> None:
    copies = [*numbered(500), *(f"LINE  {number} " for number in range(500))]
    corpus = read_corpus([write(tmp_path / "a", copies)])
    assert len(corpus.held_out) == 10
    assert len(corpus.training) == 980
    assert {line.lower() for line in corpus.training}.isdisjoint(corpus.held_out)


def test_seed_and_text_alone_choose_the_held_out_lines(tmp_path: Path) -> None:
    one, backwards = numbered(300), numbered(300)[::-1]
    first = read_corpus([write(tmp_path / "a", one)], seed=1)
    assert first == read_corpus([tmp_path / "a"], seed=1)
    other = read_corpus([write(tmp_path / "b", backwards)], seed=1)
    assert other.held_out == first.held_out
    assert read_corpus([tmp_path / "a"], seed=2).held_out != first.held_out


def test_excluded_lines_are_dropped(tmp_path: Path) -> None:
    """Whatever their case, spacing and accents' form; a part of a line or two are not the line."""
    text = ["Ein Hund .", "ein  HUND\u00a0.", "Ein Hund", "Ein Hund . Eine Katze .", "Straße", "a"]
    text += ["", " ", "scho\u0308n"]
    exclude = [
        write(tmp_path / "valid", ["", "ein Hund ."]),
        write(tmp_path / "test", ["\tSTRASSE\u0000", "Schön"]),
    ]
    corpus = read_corpus([write(tmp_path / "a", text)], exclude)
    assert sorted(corpus.training + corpus.held_out) == ["Ein Hund", "Ein Hund . Eine Katze .", "a"]
    assert corpus.dropped == 4


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    """Its hash is that of what was read."""
    file, pipe = write(tmp_path / "text", ["one", "two", "three"]), tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=lambda: pipe.write_bytes(file.read_bytes()))
    writer.start()
    found, expected = read_corpus([pipe]), read_corpus([file])
    writer.join()
    assert found.hashes["pipe"] == expected.hashes["text"]
    assert found.training == expected.training


def test_files_of_one_name(tmp_path: Path) -> None:
    texts = [write(tmp_path / folder / "a", [folder]) for folder in ("x", "y")]
    corpus = read_corpus(texts)
    assert list(corpus.hashes) == ["a", str(tmp_path / "y/a")]
    assert len(set(corpus.hashes.values())) == 2
    again = read_corpus([*texts, *texts])
    more = [f"{tmp_path / folder / 'a'}{number}" for folder, number in (("x", ""), ("y", " (2)"))]
    assert list(again.hashes) == [*corpus.hashes, *more]


@pytest.mark.parametrize("lines", [[], ["", "  "], ["only", "Only "], ["yes", "banned"]])
def test_too_little_text(tmp_path: Path, lines: list[str]) -> None:
    exclude = [write(tmp_path / "valid", ["banned"])]
    with pytest.raises(AbNetError, match=r"at least 2 different lines, but [01] are left of .*/a"):
        read_corpus([write(tmp_path / "a", lines)], exclude)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    good = write(tmp_path / "a", numbered(3))
    with pytest.raises(AbNetError, match=r"Cannot read .*missing: No such file"):
        read_corpus([good, tmp_path / "missing"])
    with pytest.raises(AbNetError, match=r"Cannot read .*missing: No such file"):
        read_corpus([good], [tmp_path / "missing"])
    (tmp_path / "latin").write_bytes("a\nschön\n".encode("latin-1"))
    with pytest.raises(AbNetError, match=r"latin, line 2: the text must be UTF-8"):
        read_corpus([tmp_path / "latin"])


def learn(lines: Sequence[str] = GERMAN, **changes: object) -> PreTrainedTokenizerBase:
    options = {"size": 120, "lowercase": False, "max_positions": 20, "with_cls": True} | changes
    return learn_tokenizer(lines, **options)  # type: ignore[arg-type]


def pieces(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    vocabulary = tokenizer.get_vocab()
    assert sorted(vocabulary.values()) == list(range(len(tokenizer)))
    return sorted(vocabulary, key=vocabulary.__getitem__)


def test_learned_vocabulary() -> None:
    """Every letter, alone and inside a word; then what is there twice or more."""
    words = " ".join(GERMAN).split()
    vocabulary = pieces(learn())
    assert tuple(vocabulary[:5]) == SPECIAL_SYMBOLS
    singles = set("".join(words)) | {f"##{letter}" for word in words for letter in word[1:]}
    assert singles < set(vocabulary)
    longer = set(vocabulary[5:]) - singles
    assert all(" ".join(GERMAN).count(piece.removeprefix("##")) > 1 for piece in longer)
    assert {"der", "den", "einem"} & longer == {"der"}  # there four times, once, and once


def test_learned_vocabulary_is_the_same_each_time() -> None:
    """`tokenizers` alone numbers ties in the order of a hash table."""
    lines = [" ".join(word) for word in itertools.permutations(["abcd", "bcda", "cdab", "dabc"])]
    first = pieces(learn(lines, size=24))
    assert all(pieces(learn(lines, size=24)) == first for _ in range(10))
    assert pieces(learn(lines[::-1], size=24)) == first


@pytest.mark.parametrize("size", [7, 8, 20, 60, 10_000])
def test_vocabulary_is_no_larger_than_asked(size: int) -> None:
    vocabulary = pieces(learn(size=size))
    assert len(vocabulary) <= size
    assert tuple(vocabulary[:5]) == SPECIAL_SYMBOLS
    assert len(vocabulary) > 5


def test_rare_letters_are_unknown() -> None:
    tokenizer = learn(["aaa bbb aaa bbb", "aaa x"], size=9)  # room for 2 letters, and inside
    assert set(pieces(tokenizer)[5:]) == {"a", "b", "##a", "##b"}
    assert tokenizer.tokenize("ba x a") == ["b", "##a", "[UNK]", "a"]


@pytest.mark.parametrize("size", [0, 5, 6])
def test_vocabulary_without_room(size: int) -> None:
    with pytest.raises(AbNetError, match=rf"`vocab_size` must be more than .*, but is {size}"):
        learn(size=size)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("with_cls", [False, True])
def test_learned_tokenizer_when_loaded(tmp_path: Path, lowercase: bool, with_cls: bool) -> None:
    """Case as asked, accents kept, [CLS] as asked; Hugging Face and AB-Net read it alike."""
    learn(["Schön schon"] * 9, lowercase=lowercase, with_cls=with_cls).save_pretrained(tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    words = ["schön", "schon"] if lowercase else ["Schön", "schon"]
    head = ["[CLS]"] if with_cls else []
    ids = theirs("Schön schon").input_ids
    assert theirs.convert_ids_to_tokens(ids) == [*head, *words, "[SEP]"]
    pair = theirs("schon", "schon").input_ids
    assert theirs.convert_ids_to_tokens(pair) == [*head, *["schon", "[SEP]"] * 2]
    assert theirs.model_max_length == 20
    ours = Tokenizer.from_pretrained(str(tmp_path))
    assert ours.encode("Schön schon") == ids[len(head) : -1]
    assert ours.lowercases == lowercase
    assert ours.symbols == (0, 1, 2, 3, 4)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder = tmp_path_factory.mktemp("tokenizer")
    learn().save_pretrained(folder)
    return Tokenizer.from_pretrained(str(folder))


@pytest.mark.parametrize("with_cls", [False, True])
def test_long_lines_make_several_sequences(tokenizer: Tokenizer, with_cls: bool) -> None:
    lines = [GERMAN[0], " ".join(GERMAN[1:4]), "\u200b", "der"]
    expected = [tokenizer.encode(line) for line in lines]
    sequences = encode_lines(tokenizer, lines, max_positions=12, with_cls=with_cls)
    head = [tokenizer.symbols.cls] if with_cls else []
    start, inner = len(head), []
    for sequence in sequences:
        assert len(sequence) <= 12
        assert sequence[:start] == head
        assert sequence[-1] == tokenizer.symbols.sep
        inner.append(sequence[start:-1])
    assert all(inner)  # the line of zero width makes none
    assert list(itertools.chain(*inner)) == list(itertools.chain(*expected))
    full = sum(len(sequence) == 12 for sequence in sequences)
    assert len(sequences) - full <= 3  # all but the last of a line are full


def test_sequences_need_room_for_a_piece(tokenizer: Tokenizer) -> None:
    with pytest.raises(AbNetError, match=r"sequences of at least 3 pieces, .*, but takes 2"):
        encode_lines(tokenizer, ["eins"], 2, True)


def test_text_without_a_word(tokenizer: Tokenizer) -> None:
    with pytest.raises(AbNetError, match="must have words, but the tokenizer finds none in 2 line"):
        encode_lines(tokenizer, ["\u200b", "\u200b\u200d"], max_positions=12, with_cls=True)

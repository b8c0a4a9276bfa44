"""JSONL files with two keys, read alone and prepared to the binary files that fairseq reads."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from abnet.cli import main
from abnet.corpora import jsonl
from abnet.corpora.corpus import Pair
from abnet.corpora.files import Files
from abnet.corpora.jsonl import read_json_pairs
from abnet.errors import AbNetError
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.corpora.making import lines
from tests.tiny import ENGLISH


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text(lines([json.dumps(row) for row in rows]))
    return path


def row(document: str, summary: str) -> dict[str, Any]:
    return {"id": 7, "summary": summary, "document": document}


def read(path: Path) -> list[Pair]:
    return list(read_json_pairs(path, "document", "summary"))


def test_pairs_of_plain_and_compressed_files(tmp_path: Path) -> None:
    rows = [row("two\nlines", "one"), row("grün", "")]
    path = write(tmp_path / "a.jsonl", rows)
    expected = [("two\nlines", "one"), ("grün", "")]
    assert read(path) == expected
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(b"\xef\xbb\xbf" + path.read_bytes() + b"\n \n"))
    assert read(packed) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"document": "a"', r"this one cannot be read: Expecting ',' delimiter"),
        ("a\tb", "this one cannot be read: Expecting value"),
        ("[" * 100_000, "this one cannot be read: .*recursion"),
        ('[{"document": "a", "summary": "b"}]', r"object such as \{.*\}, but is a list instead"),
        ('"a"', "but is a text instead"),
        ('{"document": "a", "article": "b"}', "the key summary, but its keys are: document, art"),
        ("{}", "the key document, but its keys are: none. Name another one with `--source-key`"),
        ('{"document": "a", "summary": null}', "summary must be a text, but is null instead"),
        ('{"document": ["a"], "summary": "a"}', "document must be a text, but is a list instead"),
        ('{"document": {}, "summary": "a"}', "document must be a text, but is an object instead"),
        ('{"document": 3.5, "summary": "a"}', "document must be a text, but is a number instead"),
        ('{"document": true, "summary": "a"}', "must be a text, but is a boolean instead"),
        (" ", "line must be a JSON object, but this one is blank. Delete it"),
    ],
)
def test_bad_lines_are_named(tmp_path: Path, line: str, message: str) -> None:
    good = json.dumps(row("a", "b"))
    path = tmp_path / "a.jsonl"
    path.write_text(lines([good, line, good]))
    with pytest.raises(AbNetError, match=rf"a\.jsonl, line 2: .*{message}"):
        read(path)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('{"document": "ü", "summary": "a"}\n'.encode("latin-1"))
    with pytest.raises(AbNetError, match=r"a\.jsonl, line 1: the text must be UTF-8"):
        read(path)


def test_build(tmp_path: Path) -> None:
    train = str(write(tmp_path / "train.jsonl", [row("a", "b")]))
    valid = str(write(tmp_path / "dev.jsonl", [row("c", "d"), row("e", "f")]))
    corpus = jsonl.build("long", "short", train, valid, None, "document", "summary")
    assert (corpus.source, corpus.target, corpus.splits) == ("long", "short", ("valid", "train"))
    assert corpus.choices == ("source is document, target is summary",)
    located = Files(tmp_path / "work", Path(), lambda line: None).locate(corpus)
    pairs = {part.split: list(part.read(source, target)) for part, source, target in located}
    assert pairs == {"train": [("a", "b")], "valid": [("c", "d"), ("e", "f")]}
    by_names = jsonl.build("document", "summary", train, valid, None)
    assert by_names.choices == corpus.choices
    with pytest.raises(AbNetError, match=r"must be different keys, but both are document"):
        jsonl.build("document", "summary", train, valid, None, None, "document")
    with pytest.raises(AbNetError, match=r"`--test` must be an existing JSONL file, but is .*no"):
        jsonl.build("document", "summary", train, valid, str(tmp_path / "no.jsonl"))


def test_a_compressed_file_may_be_a_link(tmp_path: Path) -> None:
    blob = tmp_path / "6f1a"
    blob.write_bytes(gzip.compress(json.dumps({"a": "x", "b": "y"}).encode()))
    link = tmp_path / "train.jsonl.gz"
    link.symlink_to(blob)
    corpus = jsonl.build("a", "b", str(link), str(link), None)
    for part, *paths in Files(tmp_path / "work", Path(), lambda line: None).locate(corpus):
        assert list(part.read(*paths)) == [("x", "y")]


@pytest.mark.slow
def test_to_binary(
    tmp_path: Path, tiny_berts: TinyBerts, capsys: pytest.CaptureFixture[str]
) -> None:
    """Documents of two lines, one of which is too long for the BERT's 46 pieces."""
    from fairseq.data.data_utils import infer_language_pair
    from fairseq.data.indexed_dataset import MMapIndexedDataset

    long = " ".join(["the little dog"] * 20)
    rows = [row(f"{one}\n\n{one}", one) for one in ENGLISH]
    rows.append(row(long, "the dog"))
    rows.append(row("the girl \ud800\t", "the \u2028 boy"))
    for split, some in (("train", rows), ("valid", rows[:2]), ("test", rows[7:9])):
        write(tmp_path / f"{split}.jsonl", some)
    dest = tmp_path / "out"
    command = ["prepare", "jsonl", "--pair", "long-short", "--overlong-source", "truncate"]
    command += ["--source-key", "document", "--target-key", "summary", "--workers", "1"]
    command += ["--source-bert", tiny_berts.english, "--target-bert", tiny_berts.english]
    for split in ("train", "valid", "test"):
        command += [f"--{split}", str(tmp_path / f"{split}.jsonl")]
    assert main([*command, "--dest", str(dest)]) == 0

    tokenizer = Tokenizer.from_pretrained(tiny_berts.english)
    assert (dest / "raw/test.long").read_text().splitlines()[1] == long
    sources = [*(f"{one} {one}" for one in ENGLISH), long, "the girl \N{REPLACEMENT CHARACTER}"]
    targets = [*ENGLISH, "the dog", "the boy"]
    assert (dest / "raw/train.long").read_text() == lines(sources)
    assert (dest / "raw/train.short").read_text() == lines(targets)
    assert (dest / "raw/valid.long").read_text() == lines(sources[:2])
    for side, texts in (("long", sources), ("short", targets)):
        pieces = (dest / f"pieces/train.{side}").read_text().splitlines()
        assert [line.split() for line in pieces] == [tokenizer.pieces(text)[:46] for text in texts]
        data = MMapIndexedDataset(str(dest / f"train.long-short.{side}"))
        assert [ids.tolist() for ids in data] == [
            [*tokenizer.encode(text)[:46], tokenizer.symbols.sep] for text in texts
        ]
    assert infer_language_pair(str(dest)) == ["long", "short"]
    said = capsys.readouterr().err
    assert "abnet: train: 10 pairs; dropped of 10: 0" in said
    assert "abnet: test: 1 sources were truncated to the 46 pieces that" in said

    before = (dest / "train.long-short.long.bin").stat().st_mtime_ns
    assert main([*command, "--dest", str(dest)]) == 0
    assert (dest / "train.long-short.long.bin").stat().st_mtime_ns == before
    swapped = [{"document": "summary", "summary": "document"}.get(one, one) for one in command]
    assert main([*swapped, "--dest", str(dest)]) == 2
    assert "something else: choices" in capsys.readouterr().err

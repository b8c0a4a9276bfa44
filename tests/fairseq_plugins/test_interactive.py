"""`fairseq-interactive` on text as people have it."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from abnet.errors import AbNetError
from abnet.text import read_lines
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts
from tests.fairseq_plugins.commands import lines, run
from tests.fairseq_plugins.conftest import Corpus, Trained, preprocess

UNUSUAL = [
    "ein\tMann",
    "ein\0 Mann\x07 .",
    "ein\u2028kleiner\x0bHund\x0c.",
    "zwei\x85Frauen\x1cspielen",
    "\u200fשלום עולם\u200e",
    "مرحبا ein Mann",
    "漢字 語",
    "",
    " \t ",
    "[SEP] ein [MASK] Mann [PAD]",
    "ein " * 100,
    "\ufeffder Arzt",
]


def interactive(corpus: Corpus, trained: Trained, *arguments: object) -> str:
    return run("interactive", corpus.data_bin, "--path", trained.checkpoint, "--cpu", *arguments)


def test_unusual_lines_come_out_as_from_generate(
    corpus: Corpus, trained: Trained, tiny_berts: TinyBerts, tmp_path: Path
) -> None:
    raw, pieces, data = tmp_path / "raw.de", tmp_path / "pieces.de", tmp_path / "data-bin"
    raw.write_text("".join(f"{line}\n" for line in UNUSUAL), encoding="utf-8", newline="\n")
    tokenizer = Tokenizer.from_pretrained(tiny_berts.german)
    pieces.write_text("".join(f"{' '.join(tokenizer.pieces(t))}\n" for t in read_lines(raw)))
    preprocess(data, tiny_berts, "--only-source", "--testpref", pieces.with_suffix(""))
    (data / "dict.en.txt").write_bytes((corpus.data_bin / "dict.en.txt").read_bytes())
    generated = run(
        "generate", data, "--path", trained.checkpoint, "--cpu", "--num-workers", 0,
        "-s", "de", "-t", "en",
    )  # fmt: skip
    found = interactive(corpus, trained, "--input", raw, "--buffer-size", 7, "--max-tokens", 60)
    assert sorted(lines(found, "D")) == list(range(len(UNUSUAL)))
    for kind in "HD":  # fairseq prints the source as pieces here, as text there
        assert lines(found, kind) == lines(generated, kind)
    for output in (generated, found):
        assert (
            output.count("made of unknown words for the most part: is the text in the language")
            == 1
        )
        assert output.count("source sentences are longer than the 48 tokens") == 1


def test_standard_input(corpus: Corpus, trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content), "ascii"))

    give("\ufeffein Mann\r\nein\rMann\näöü".encode())
    output = interactive(corpus, trained)
    sources = lines(output, "S")
    assert sources[0] == sources[1]
    assert sorted(lines(output, "D")) == [0, 1, 2]
    give(b"ein Mann\nein M\xe4nnchen\n")
    with pytest.raises(AbNetError, match=r"Line 2 of the input must be UTF-8.*iconv"):
        interactive(corpus, trained)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ein Mann\nein M\xe4nnchen\n", r"input\.de, line 2: the text must be UTF-8.*0xe4.*iconv"),
        (b"ein Mann\rein Hund\nzwei\n", r"input\.de, line 1: .* carriage return .*`tr "),
        (None, r"Cannot read .*input\.de: No such file"),
    ],
)
def test_input_file(
    corpus: Corpus, trained: Trained, tmp_path: Path, content: bytes | None, message: str
) -> None:
    path = tmp_path / "input.de"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AbNetError, match=message):
        interactive(corpus, trained, "--input", path)


def test_what_is_too_long_is_skipped_alone(
    corpus: Corpus, trained: Trained, tmp_path: Path
) -> None:
    raw = tmp_path / "raw.de"
    raw.write_text(f"ein Mann\n{'ein ' * 100}\nder Arzt\n")
    skipping = "--skip-invalid-size-inputs-valid-test"
    found = interactive(corpus, trained, "--input", raw, skipping)
    assert lines(found, "D").keys() == {0, 2}
    assert (
        lines(found, "D").items()
        <= lines(interactive(corpus, trained, "--input", raw), "D").items()
    )


def test_no_line_at_all(corpus: Corpus, trained: Trained, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert lines(interactive(corpus, trained, "--input", tmp_path / "empty"), "D") == {}

import io
import os
from pathlib import Path

import pytest

from abnet.cli import main
from abnet.commands.tokenize import chunks
from abnet.tokenizer import Tokenizer
from tests.conftest import TinyBerts

LINES = ["der kleine Hund", "", "[SEP] \t [MASK]", "ein Mann im Hemd ."]


def test_one_line_a_line(
    tiny_berts: TinyBerts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "raw.de"
    path.write_bytes("\r\n".join(LINES).encode())
    assert main(["tokenize", str(path), "--bert", tiny_berts.german]) == 0
    tokenizer = Tokenizer.from_pretrained(tiny_berts.german)
    expected = [" ".join(tokenizer.pieces(line)) for line in LINES]
    assert capsys.readouterr().out.split("\n") == [*expected, ""]


def test_many_unknown_pieces_give_a_warning(
    tiny_berts: TinyBerts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "raw.ru"
    path.write_text("der Hund\nпривет мир\n")
    assert main(["tokenize", str(path), "--bert", tiny_berts.german]) == 0
    captured = capsys.readouterr()
    assert captured.out.split("\n")[1] == "[UNK] [UNK]"
    assert "unknown" in captured.err
    assert "is it a BERT for this language and script?" in captured.err


def test_a_pipe_with_bad_bytes_names_the_line(
    tiny_berts: TinyBerts, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"gut\n\xff\n")))
    assert main(["tokenize", "--bert", tiny_berts.german]) == 2
    message = "abnet: error: standard input, line 2: the text must be UTF-8"
    assert message in capsys.readouterr().err


def test_there_must_be_a_thread(tiny_berts: TinyBerts, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tokenize", "--bert", tiny_berts.german, "--workers", "0"]) == 2
    assert "`--workers` must be at least 1, but is 0 instead" in capsys.readouterr().err


def test_threads_are_as_many_as_were_asked_for(
    tiny_berts: TinyBerts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYON_NUM_THREADS", "1")
    (tmp_path / "text").write_text("der Hund\n", encoding="utf-8")
    command = ["tokenize", str(tmp_path / "text"), "--bert", tiny_berts.german]
    assert main([*command, "--workers", "3"]) == 0
    assert os.environ["RAYON_NUM_THREADS"] == "3"


def test_chunks() -> None:
    assert list(chunks("abcde", 2)) == [["a", "b"], ["c", "d"], ["e"]]

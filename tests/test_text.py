import gzip
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from abnet.errors import AbNetError
from abnet.text import clean_line, comparable, read_lines, read_pair


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("a\tb\x00c\x07d", "a b c d"),
        ("  two   spaces \u00a0 and\u3000more ", "two spaces and more"),
        ("line\u2028separator\u2029and\x0bfeeds\x0c\x85here\r", "line separator and feeds here"),
        ("\u200fשלום \u202bעולם\u202c", "\u200fשלום \u202bעולם\u202c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("half \ud800 pair", "half \ufffd pair"),
        ("\t\x00 \n", ""),
    ],
)
def test_clean_line(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


@given(st.text())
def test_clean_line_is_one_line_and_needs_no_second_cleaning(text: str) -> None:
    clean = clean_line(text)
    assert len(clean.splitlines()) == (1 if clean else 0)
    assert clean_line(clean) == clean
    assert clean.split() == clean.split(" ") or not clean
    clean.encode("utf-8")


def test_read_lines_ends_a_line_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffeins\r\n\nzwei\u2028drei\rvier\x0bfünf\nletzte".encode())
    assert read_lines(path) == ["eins", "", "zwei\u2028drei\rvier\x0bfünf", "letzte"]


def test_read_lines_names_file_and_line_of_bad_bytes(tmp_path: Path) -> None:
    path = tmp_path / "latin1.de"
    path.write_bytes(b"gut\nauch gut\nsch\xf6n\n")
    with pytest.raises(
        AbNetError, match=r"latin1\.de, line 3: .* byte 4 of the line is 0xf6.*iconv"
    ):
        read_lines(path)


def test_a_compressed_file_is_called_so(tmp_path: Path) -> None:
    path = tmp_path / "news.de.gz"
    path.write_bytes(gzip.compress("Ein Hund läuft.\n".encode()))
    with pytest.raises(
        AbNetError, match=r"news\.de\.gz must be text, but is compressed: .* `zcat`"
    ):
        read_lines(path)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_called_so(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "news.de"
    path.write_bytes(("\ufeff" * (encoding != "utf-16") + "Ein Hund läuft.\n").encode(encoding))
    with pytest.raises(AbNetError, match=r"news\.de must be UTF-8, but is UTF-16: .* -f UTF-16 "):
        read_lines(path)


def test_comparable_lines_differ_in_more_than_case_and_spacing() -> None:
    assert comparable(" Der\tHUND  läuft\n") == comparable("der Hund läuft")
    assert comparable("Straße") == comparable("STRASSE")
    assert comparable("schön") == comparable("scho\u0308n") == comparable("SCHO\u0308N")
    assert comparable("der Hund") != comparable("der Hund .")


def test_read_lines_of_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"Cannot read .*nowhere: No such file"):
        read_lines(tmp_path / "nowhere")


def test_read_pair(tmp_path: Path) -> None:
    source, target = tmp_path / "t.de", tmp_path / "t.en"
    source.write_text("eins\n\n")
    target.write_text("one\n\n")
    assert read_pair(source, target) == (["eins", ""], ["one", ""])
    target.write_text("one\n")
    with pytest.raises(AbNetError, match="same number of lines, but have 2 and 1"):
        read_pair(source, target)

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path

import pytest

from abnet.corpora.formats import (
    read_segment_pairs,
    read_segments,
    read_text,
    read_text_pairs,
    read_tmx_pairs,
    read_wit3_training_pairs,
)
from abnet.errors import AbNetError
from tests.corpora.making import lines, newstest, tmx, wit3_test, wit3_training

DATA = Path(os.environ.get("ABNET_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
WIT3 = DATA / "wit3-sample"
needs_wit3 = pytest.mark.skipif(not WIT3.is_dir(), reason=f"no WIT3 files in {WIT3}")


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@needs_wit3
@pytest.mark.parametrize(("name", "number"), [("dev2010", 887), ("tst2014", 1305)])
def test_real_wit3_files(name: str, number: int) -> None:
    german, english = (WIT3 / f"IWSLT16.TED.{name}.de-en.{one}.xml" for one in ("de", "en"))
    pairs = list(read_segment_pairs(german, english))
    assert len(pairs) == number
    assert all(source and target for source, target in pairs)
    assert not any("<seg" in text or "&lt;" in text for pair in pairs for text in pair)


@needs_wit3
def test_real_wit3_text() -> None:
    path = WIT3 / "IWSLT16.TED.dev2010.de-en.de.xml"
    segments = read_segments(path)
    assert segments[3] == ("4", "Wir werden alle geboren. Wir bringen Kinder zur Welt.")
    assert segments[-1] == ("70", "ich freue mich auf die Gespräche mit Ihnen allen!")


@needs_wit3
def test_real_wit3_files_that_do_not_belong_together() -> None:
    german = WIT3 / "IWSLT16.TED.dev2010.de-en.de.xml"
    english = WIT3 / "IWSLT16.TED.tst2014.de-en.en.xml"
    with pytest.raises(AbNetError, match=r"887 and 1305.*do not belong together"):
        list(read_segment_pairs(german, english))


def test_segments_with_entities_and_stray_signs(tmp_path: Path) -> None:
    texts = ["A &amp; B", "x &lt; y > z", "R&D", "&quot;so&quot;", "über&#223;"]
    path = write(tmp_path / "x.xml", wit3_test(texts))
    assert [segment.text for segment in read_segments(path)] == [
        "A & B", "x < y > z", "R&D", '"so"', "überß",
    ]  # fmt: skip


def test_newstest_pairs(tmp_path: Path) -> None:
    german = write(tmp_path / "src.de.sgm", newstest(["Guten Tag.", "Ja."], "srcset"))
    english = write(tmp_path / "ref.en.sgm", newstest(["Good day.", "Yes."]))
    assert list(read_segment_pairs(german, english)) == [
        ("Guten Tag.", "Good day."),
        ("Ja.", "Yes."),
    ]


def test_segment_over_two_lines_and_upper_case_tags(tmp_path: Path) -> None:
    path = write(tmp_path / "x.sgm", '<DOC>\n<SEG ID="7">Eins\nzwei</SEG>\n</DOC>\n')
    assert [tuple(segment) for segment in read_segments(path)] == [("7", "Eins\nzwei")]


def test_cut_off_segments(tmp_path: Path) -> None:
    content = newstest(["Guten Tag.", "Ja."])
    path = write(tmp_path / "x.sgm", content[: content.index("Ja.") + 2])
    with pytest.raises(AbNetError, match=r"x\.sgm must be a test set.*2 start and 1 end"):
        read_segments(path)
    with pytest.raises(AbNetError, match="0 start and 0 end"):
        read_segments(write(tmp_path / "y.sgm", "<html>not found</html>"))


def test_wit3_training_keeps_titles_and_drops_metadata(tmp_path: Path) -> None:
    german = write(tmp_path / "t.de", wit3_training({"Titel": ["Eins.", "5 < 6"], "B": ["Zwei."]}))
    english = write(tmp_path / "t.en", wit3_training({"Title": ["One.", "5 < 6"], "B": ["Two."]}))
    pairs = [
        (source.strip(), target.strip())
        for source, target in read_wit3_training_pairs(german, english)
    ]
    assert pairs == [
        ("Titel", "Title"),
        ("About Titel", "About Title"),
        ("Eins.", "One."),
        ("5 < 6", "5 < 6"),
        ("B", "B"),
        ("About B", "About B"),
        ("Zwei.", "Two."),
    ]


def test_metadata_of_one_side_only_does_not_shift_the_other(tmp_path: Path) -> None:
    german = write(tmp_path / "t.de", lines(["<reviewer>x</reviewer>", "Eins."]))
    english = write(tmp_path / "t.en", lines(["One."]))
    assert list(read_wit3_training_pairs(german, english)) == [("Eins.", "One.")]


def test_unequal_files(tmp_path: Path) -> None:
    german = write(tmp_path / "t.de", "a\nb\nc\n")
    english = write(tmp_path / "t.en", "a\nb\n")
    with pytest.raises(AbNetError, match=r"t\.en ends after 2 and .*t\.de goes on"):
        list(read_text_pairs(german, english))
    with pytest.raises(AbNetError, match=r"t\.en ends after 2 and .*t\.de goes on"):
        list(read_text_pairs(english, german))


def test_lines_end_in_newlines_only(tmp_path: Path) -> None:
    text = "a\u2028b\x0cc\x85d\r\ne"
    assert list(read_text(write(tmp_path / "t", text))) == ["a\u2028b\x0cc\x85d", "e"]
    assert list(read_text(write(tmp_path / "t.gz", gzip.compress(text.encode())))) == [
        "a\u2028b\x0cc\x85d",
        "e",
    ]


def test_bad_utf8_names_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(AbNetError, match=r"t\.de, line 2: the text must be UTF-8"):
        list(read_text(write(tmp_path / "t.de", b"gut\nsch\xf6n\n")))


def test_truncated_gz_is_named(tmp_path: Path) -> None:
    whole = gzip.compress(os.urandom(5000).hex().encode())
    with pytest.raises(AbNetError, match=r"t\.gz cannot be unpacked: it is not whole"):
        list(read_text(write(tmp_path / "t.gz", whole[:3000])))


def test_tmx(tmp_path: Path) -> None:
    units = [
        {"en": "One &amp; two", "ro": "Unu și doi"},
        {"en": "Only English"},
        {"en-GB": "Three", "RO": "Trei"},
    ]
    path = write(tmp_path / "x.tmx.gz", tmx(units))
    assert list(read_tmx_pairs(path, "ro", "en")) == [
        ("Unu și doi", "One & two"),
        ("Trei", "Three"),
    ]
    assert list(read_tmx_pairs(path, "en", "ro"))[1] == ("Three", "Trei")


def test_tmx_is_not_kept_in_memory(tmp_path: Path) -> None:
    units = [{"en": "x" * 5_000, "ro": "y" * 5_000}] * 400  # 4 MB
    path = write(tmp_path / "x.tmx.gz", tmx(units))
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_tmx_pairs(path, "en", "ro")) == 400
        assert tracemalloc.get_traced_memory()[1] < 1_500_000
    finally:
        tracemalloc.stop()


def test_truncated_tmx_is_named(tmp_path: Path) -> None:
    packed = tmx([{"en": f"{n * n}", "ro": f"{n}"} for n in range(500)])
    with pytest.raises(AbNetError, match=r"x\.tmx\.gz cannot be read"):
        list(read_tmx_pairs(write(tmp_path / "x.tmx.gz", packed[:-400]), "ro", "en"))
    text = gzip.decompress(packed)[:-40]
    with pytest.raises(AbNetError, match=r"x\.tmx cannot be read"):
        list(read_tmx_pairs(write(tmp_path / "x.tmx", text), "ro", "en"))

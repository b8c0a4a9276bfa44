"""Tables in documents: made anew between their markers, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import records, table
from tests.benchmarks.test_records import quality


def test_only_what_is_between_the_markers_changes(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- results: multi30k -->\nold\n<!-- end of results -->\nafter\n")
    records.write(quality(), tmp_path / "results" / "one.json")
    where = ["--document", str(document), "--results", str(tmp_path / "results")]
    assert table.main([*where, "--check"]) == 1
    assert "old" in document.read_text()
    assert table.main(where) == 0
    text = document.read_text()
    assert text.startswith("before\n<!-- results: multi30k -->\n\n| direction |")
    assert text.endswith("\n\n<!-- end of results -->\nafter\n")
    assert "old" not in text
    assert table.main([*where, "--check"]) == 0
    assert table.main(where) == 0
    assert document.read_text() == text


def test_a_document_without_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="must have a line `<!-- KIND: DATASET -->`"):
        table.renew("no table here", [])


def test_all_documents_are_renewed_unless_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = tmp_path / "one.md", tmp_path / "other.md"
    for page in (one, other):
        page.write_text("<!-- results: multi30k -->\n<!-- end of results -->\n")
    monkeypatch.setattr(table, "DOCUMENTS", (one, other))
    results = tmp_path / "results"
    records.write(quality(), results / "one.json")
    assert table.renew_documents(one, results) == 0
    assert "AB-Net" in one.read_text()
    assert table.main(["--results", str(results), "--check"]) == 1
    said = capsys.readouterr().err
    assert f"{other} is out of date: run python -m benchmarks.table" in said
    assert str(one) not in said
    assert table.main(["--results", str(results)]) == 0
    assert other.read_text() == one.read_text()


def test_documents_show_the_results_of_the_project() -> None:
    assert table.main(["--check"]) == 0

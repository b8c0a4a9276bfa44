"""scripts/bench.sh: the command inside, from end to end at the tiny size."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import bench, records, table
from tests.commands import check_script
from tests.tiny import ENGLISH, GERMAN

OPTIONS = ["--size", "tiny", "--device", "cpu", "--batches", "1", "--threads", "1"]
OPTIONS += ["--repeats", "1", "--count", "1"]


def test_all_inputs_and_systems_in_one_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check_script("scripts/bench.sh")
    monkeypatch.setattr("abnet.bench.rates.ENOUGH", 1e-5)
    monkeypatch.setattr("abnet.bench.ours.computes_in_bfloat16", lambda: False)
    for at in bench.INPUTS.values():
        for language, lines in (("de", GERMAN), ("en", ENGLISH)):
            path = tmp_path / f"{at}.{language}"
            path.parent.mkdir(exist_ok=True)
            path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    results = tmp_path / "results"
    rows = "transformer-fairseq-beam5,transformer-ctranslate2-beam5,cmlm,abnet-1-"
    given = [str(tmp_path), *OPTIONS, "--rows", rows, "--results", str(results), "--minutes", "60"]
    assert bench.main(given) == 0
    found = records.read_all(results)
    assert {record["input"] for record in found} == {"newstest2013", "multi30k"}
    assert len(found) == 2 * 6
    assert {record["engine"] for record in found} == {"abnet", "fairseq", "ctranslate2"}
    assert all("ctranslate2" in record["versions"] for record in found)
    assert found[0]["command"].startswith("scripts/bench.sh DIR/")
    document = tmp_path / "speed.md"
    document.write_text("<!-- speed: multi30k -->\n<!-- end of speed -->\n")
    assert table.main(["--document", str(document), "--results", str(results)]) == 0
    assert "| AB-Net (abnet) | 1 pass, length beam 4 | float32 |" in document.read_text()
    assert "skipped" not in capsys.readouterr().out


def test_a_folder_without_text_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench.main([str(tmp_path), *OPTIONS]) == 2
    assert "`DIR` must have newstest2013/newstest2013.de or multi30k" in capsys.readouterr().err

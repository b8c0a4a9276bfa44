"""Results: what a file must hold, and how it is written."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from abnet.bench.machine import commit
from benchmarks import records


def quality(**changes: Any) -> dict[str, Any]:
    record = {
        "kind": "quality",
        "system": "abnet",
        "dataset": "multi30k",
        "direction": "de-en",
        "split": "test2016",
        "distilled": False,
        "seeds": [1],
        "bleu": 31.25,
        "bleu_by_seed": [31.25],
        "chrf": 52.0,
        "signature": "nrefs:1|case:mixed",
        "device": "cpu",
        "command": "scripts/reproduce/multi30k.sh DIR",
        "versions": {"torch": "2.13.0"},
        "commit": "abc",
    }
    return {**record, **changes}


def test_a_written_result_reads_back(tmp_path: Path) -> None:
    records.write(quality(), tmp_path / "deep" / "one.json")
    records.write(quality(system="cmlm"), tmp_path / "deep" / "two.json")
    assert records.read_all(tmp_path / "deep") == [quality(), quality(system="cmlm")]
    assert not list(tmp_path.glob("**/*.partial"))


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (quality(kind="beauty"), "`kind` must be one of .*'quality'.* is 'beauty'"),
        (
            {**quality(), "kind": "speed"},
            "A speed result must have batch, decoding, device_kind, engine",
        ),
        ({k: v for k, v in quality().items() if k != "signature"}, "must have signature, but"),
        (quality(distilled="no"), "`distilled` must be true or false, but is 'no' instead"),
        (quality(distilled=True), "`teacher` must name the model where .* but is '' with True"),
        (quality(distilled=True, teacher=" "), "`teacher` must name the model"),
        (quality(distilled=True, teacher=3), "`teacher` must name the model .* is 3 with True"),
        (quality(teacher="big"), "and be absent where it is not, but is 'big' with False"),
        (quality(passes=None), "must be absent, but passes is null"),
    ],
)
def test_an_improper_result_is_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        records.check(record)


def test_an_improper_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({"kind": "quality"}))
    with pytest.raises(ValueError, match=r"bad\.json: A quality result must have"):
        records.read_all(tmp_path)


def test_the_results_of_the_project_are_proper() -> None:
    found = [record for record in records.read_all() if record["kind"] == "quality"]
    assert found
    for record in found:
        assert record["bleu"] == pytest.approx(
            sum(record["bleu_by_seed"]) / len(record["seeds"]), abs=0.01
        )


def test_a_commit_is_dirty_where_code_was_changed_and_not_by_results(tmp_path: Path) -> None:
    def git(*command: str) -> None:
        author = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
        subprocess.run(["git", *author, *command], cwd=tmp_path, check=True, capture_output=True)

    names = ["abnet/model.py", "benchmarks/results/one.json", "docs/speed.md", "README.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    assert commit(tmp_path / "abnet") == "unknown"
    git("init")
    git("add", ".")
    git("commit", "-m", "all")
    clean = commit(tmp_path / "abnet")
    assert len(clean) == 40
    for name in names[1:]:
        (tmp_path / name).write_text("after")
    (tmp_path / "new.py").write_text("untracked")
    assert commit(tmp_path / "abnet") == commit(tmp_path / "benchmarks") == clean
    (tmp_path / names[0]).write_text("after")
    assert commit(tmp_path / "abnet") == f"{clean}-dirty"


def test_stamps_name_versions_and_commit() -> None:
    stamps = records.stamps()
    assert set(stamps["versions"]) == {"python", *records.PACKAGES}
    assert stamps["versions"]["fairseq"] == "0.12.3"
    assert stamps["commit"]

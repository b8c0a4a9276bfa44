"""The quickstart at toy size: the whole road, the report, and a step that fails."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.quickstart_report import unseen
from tests.commands import ROOT


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project without its set-up, to write in."""
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "scripts" / "setup.sh").write_text("#!/bin/sh\n")
    (tmp_path / "fairseq_plugins").symlink_to(ROOT / "fairseq_plugins")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    return tmp_path


def quickstart(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [checkout / "scripts" / "quickstart.sh", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)}, cwd="/",
        stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_the_whole_road(checkout: Path) -> None:
    done = quickstart(checkout, "--toy")
    assert done.returncode == 0, done.stderr
    data, run = (checkout / name / "quickstart-toy" for name in ("data-bin", "checkpoints"))

    blocks = done.stdout.split("  source       ")[1:]
    shown = [[line.split(None, 1) for line in block.splitlines()[1:3]] for block in blocks]
    assert [names for (names, *_), _ in shown] == ["translation"] * 10
    references = (data / "text" / "test.en").read_text().splitlines()
    assert [reference for _, (_, reference) in shown] == references[:10]
    translations = [
        line.split("\t")[2]
        for line in (run / "generate-test.txt").read_text().splitlines()
        if line.startswith("D-")
    ]
    assert len(translations) == 20
    report = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert "|tok:13a|" in report["BLEU"]
    assert " 100.0 %" in report["unseen"]
    assert "of 1,263,660 parameters: 512,160" in report["trained"]
    assert float(report["latency"].split()[1]) > 0
    # The bar of the training and that of the German BERT.
    assert "training: 100%" in done.stderr
    assert "pre-training 100%" in done.stderr

    # What is done stays done, and a failure names its cause and its log.
    bert = (run / "bert-de" / "model.safetensors").stat().st_mtime_ns
    (run / "trained").unlink()
    (run / "checkpoint_last.pt").write_bytes(b"damaged")
    failed = quickstart(checkout, "--toy")
    assert failed.returncode == 1
    assert "all that was said is in checkpoints/quickstart-toy/train.log" in failed.stderr
    assert "checkpoint_last.pt" in failed.stderr
    assert not (run / "trained").exists()
    assert (run / "bert-de" / "model.safetensors").stat().st_mtime_ns == bert


def test_help_and_unknown_options_do_nothing(checkout: Path) -> None:
    assert "scripts/quickstart.sh --hard" in quickstart(checkout, "--help").stdout
    unknown = quickstart(checkout, "--harder")
    assert unknown.returncode == 2
    assert "scripts/quickstart.sh --hard" in unknown.stderr
    assert not (checkout / "checkpoints").exists()


def test_a_sentence_counts_as_seen_by_either_side(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    lines = {
        "train.de": ["eins", "zwei"],
        "train.en": ["one", "two"],
        "test.de": ["eins", "drei", "vier", "fünf"],
        "test.en": ["first", "two", "four", "five"],
    }
    for name, text in lines.items():
        (raw / name).write_text("".join(f"{line}\n" for line in text))
    assert unseen(tmp_path) == 0.5
